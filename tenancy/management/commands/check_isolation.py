from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Model

from tenancy import policies
from tenancy.backends.enforcement import get_enforcement
from tenancy.management.faults import FaultCommand


class Command(FaultCommand):
    """Compare the policies of the live database with what the models promise."""

    name = "check_isolation"
    help = (
        "Compares the policies, triggers, keys and indexes of the database with what "
        "the models declare. Prints each difference with its mend, and fails when "
        "there is one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the faults, or the tables when there are none.

        Raises:
            CommandError: there is a fault; the exit status is 1.
        """
        alias = options["database"]
        models = policies.find_protected_models(connections[alias])
        faults = policies.find_faults(connections[alias])
        content = {
            "means": get_enforcement(connections[alias]).means,
            "tables": [model._meta.db_table for model in models],
        }
        self.report(alias, faults, content, as_json=options["as_json"])
        if not faults and not options["as_json"]:
            self._print_tables(alias, models)
        self.refuse(alias, faults)

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
