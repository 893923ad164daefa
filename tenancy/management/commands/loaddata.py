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
from tenancy.models import Membership, Ownership
from tenancy.ownership import name_owners
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
        if Membership in self.models:
            _name_owners(self.using)
        stray = policies.find_stray_relation(connections[self.using], self.models)
        if stray is not None:
            raise IntegrityError(
                f"Problem installing fixtures: '{stray}' leads to a row that is not of "
                "the same organization. Load rows that refer to each other for one "
                "organization."
            )

    def reset_sequences(
        self, connection: BaseDatabaseWrapper, models: set[type[Model]]
    ) -> None:
        """Reset the sequences, which follow the greatest key of all organizations."""
        with look_up(LookUp.SEQUENCE_RESET):
            super().reset_sequences(connection, models)


def _name_owners(alias: str) -> None:
    """Have the database keep an owner of each organization that was loaded with one."""
    owners = Membership.objects.db_manager(alias).owners()
    named = Ownership._base_manager.using(alias).values("organization")
    unnamed = owners.exclude(organization__in=named).order_by()
    name_owners(alias, set(unnamed.values_list("organization", flat=True)))
