from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from tenancy import policies
from tenancy.backends.enforcement import Fault, get_enforcement


class Command(BaseCommand):
    """Compare the live database with what the models promise."""

    help = (
        "Compares the policies, triggers, keys and indexes of the database with what "
        "the models declare. Prints each difference with its mend, and fails when "
        "there is one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database and --json."""
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The alias of the database. Defaults to "default".',
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="Print JSON."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the faults, or the tables when there are none.

        Raises:
            CommandError: there is a fault; the exit status is 1.
        """
        alias = options["database"]
        models = policies.find_protected_models(connections[alias])
        faults = policies.find_faults(connections[alias])
        if options["as_json"]:
            self._print_json(alias, models, faults)
        elif faults:
            for fault in faults:
                self.stdout.write(self.style.ERROR(fault.message))
                self.stdout.write(f"    {fault.hint}")
        else:
            self._print_tables(alias, models)
        if faults:
            count = f"{len(faults)} faults" if len(faults) > 1 else "One fault"
            raise CommandError(
                f"{count} found in the database {alias!r}. Mend them, and run "
                "'check_isolation' again.",
                returncode=1,
            )

    def _print_json(
        self, alias: str, models: Sequence[type[Model]], faults: Sequence[Fault]
    ) -> None:
        content = {
            "database": alias,
            "means": get_enforcement(connections[alias]).means,
            "tables": [model._meta.db_table for model in models],
            "faults": [asdict(fault) for fault in faults],
        }
        self.stdout.write(json.dumps(content, indent=2))

    def _print_tables(self, alias: str, models: Sequence[type[Model]]) -> None:
        if not models:
            self.stdout.write(
                self.style.WARNING(
                    f"The database {alias!r} holds no protected table: the routers "
                    "keep them elsewhere. Nothing was compared."
                )
            )
            return
        means = get_enforcement(connections[alias]).means
        rows = [("table", "organization", "composite keys")]
        for model in models:
            rows.append(policies.describe(model))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        self.stdout.write(
            self.style.SUCCESS(
                f"{len(models)} tables of the database {alias!r} are kept by {means}."
            )
        )
