from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tenancy import conf
from tenancy.backends.enforcement import get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.management.autodetector import TenancyAutodetector

logger = logging.getLogger("tenancy")


class Command(migrate.Command):
    """Django's migrate, unscoped: data migrations reach every organization's rows."""

    # Django asks that it is the one of makemigrations.
    autodetector = TenancyAutodetector

    def handle(self, *args: Any, **options: Any) -> Any:
        """Run the command, and say in the log that it is unscoped.

        Raises:
            CommandError: the role of TENANCY_UNSCOPED_ROLE cannot be entered.
        """
        _let_unscoped_role_reach_tables(connections[options["database"]])
        logger.info("migrate runs unscoped on the database %r", options["database"])
        with look_up(LookUp.MIGRATION):
            return super().handle(*args, **options)


def _let_unscoped_role_reach_tables(connection: BaseDatabaseWrapper) -> None:
    """Give the role of unscoped() its rights, in a database that may be a new one."""
    role = conf.unscoped_role()
    if role is None:
        return
    enforcement = get_enforcement(connection)
    if fault := enforcement.find_unscoped_role(role):
        raise CommandError(f"{fault} Run 'create_unscoped_role', then 'migrate'.")
    statements = enforcement.write_unscoped_rights(role)
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
