from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import loaddata
from django.db import IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from tenancy import policies
from tenancy.context import LookUp, look_up
from tenancy.management.organizations import (
    add_organization_arguments,
    enter_organization,
)
from tenancy.querysets import loading_fixtures


class Command(loaddata.Command):
    """Django's loaddata, of one organization's rows or, said aloud, of all."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options that say whose rows."""
        super().add_arguments(parser)
        add_organization_arguments(parser)

    def handle(self, *fixture_labels: Any, **options: Any) -> Any:
        """Run the command in the scope that the options name."""
        with enter_organization("loaddata", options):
            return super().handle(*fixture_labels, **options)

    def loaddata(self, fixture_labels: Sequence[str]) -> None:
        """Load the fixtures, and check the keys that the database did not.

        Raises:
            IntegrityError: a row refers to a row of another organization.
        """
        with loading_fixtures():
            super().loaddata(fixture_labels)
        stray = policies.find_stray_relation(connections[self.using], self.models)
        if stray is not None:
            raise IntegrityError(
                f"Problem installing fixtures: '{stray}' leads to a row that is not of "
                "the same organization."
            )

    def reset_sequences(
        self, connection: BaseDatabaseWrapper, models: set[type[Model]]
    ) -> None:
        """Reset the sequences, which follow the greatest key of all organizations."""
        with look_up(LookUp.SEQUENCE_RESET):
            super().reset_sequences(connection, models)
