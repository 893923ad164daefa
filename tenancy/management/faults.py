from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from tenancy.backends.enforcement import Fault


class FaultCommand(BaseCommand):
    """A command that compares a live database with the models, and fails on a fault."""

    name = ""
    """What is typed to run it again."""

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

    def report(
        self,
        alias: str,
        faults: Sequence[Fault],
        content: Mapping[str, Any],  # Any: what JSON holds.
        *,
        as_json: bool,
    ) -> None:
        """Print the faults; JSON is printed without any too.

        Args:
            content (Mapping[str, Any]): what else the JSON says.
        """
        if as_json:
            listed = [asdict(fault) for fault in faults]
            self.stdout.write(
                json.dumps({"database": alias, **content, "faults": listed}, indent=2)
            )
            return
        for fault in faults:
            self.stdout.write(self.style.ERROR(fault.message))
            self.stdout.write(f"    {fault.hint}")

    def refuse(self, alias: str, faults: Sequence[Fault]) -> None:
        """End the command when there is a fault.

        Raises:
            CommandError: there is one; the exit status is 1.
        """
        if faults:
            count, them = f"{len(faults)} faults", "them"
            if len(faults) == 1:
                count, them = "One fault", "it"
            raise CommandError(
                f"{count} found in the database {alias!r}. Mend {them}, and run "
                f"'{self.name}' again.",
                returncode=1,
            )
