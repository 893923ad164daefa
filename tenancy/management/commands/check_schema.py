from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from tenancy.management import schema
from tenancy.management.description import describe
from tenancy.management.faults import FaultCommand


class Command(FaultCommand):
    """Compare the tables of the live database with what the models state."""

    name = "check_schema"
    help = (
        "Compares the tables, columns, indexes, constraints, policies and triggers of "
        "the database with the models of all apps. Prints each difference with its "
        "mend, and fails when there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --describe."""
        super().add_arguments(parser)
        parser.add_argument(
            "--describe",
            action="store_true",
            dest="is_described",
            help="Print the tables in words that are the same for every vendor, as "
            "JSON, and compare nothing.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the faults, or how many tables there are when there are none.

        Raises:
            CommandError: there is a fault; the exit status is 1.
        """
        alias = options["database"]
        connection = connections[alias]
        if options["is_described"]:
            self.stdout.write(json.dumps(describe(connection), indent=2))
            return
        models = schema.find_models(connection)
        faults = schema.find_faults(connection)
        content = {"tables": [model._meta.db_table for model in models]}
        self.report(alias, faults, content, as_json=options["as_json"])
        if not faults and not options["as_json"]:
            self.stdout.write(
                self.style.SUCCESS(
                    f"{len(models)} tables of the database {alias!r} are as the "
                    "models state them."
                )
            )
        self.refuse(alias, faults)
