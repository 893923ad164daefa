from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from tenancy import conf, policies
from tenancy.backends.enforcement import get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.exceptions import UnsupportedDatabase

DEFAULT_NAME = "tenancy_unscoped"


class Command(BaseCommand):
    """Make the role of TENANCY_UNSCOPED_ROLE, and policies that ask for it."""

    help = (
        "Makes the PostgreSQL role that tenancy.unscoped() enters, gives it the rights "
        "that it needs, and makes every policy an equality that the role passes by. "
        "Again is nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --name, --to, --database, --print and --drop."""
        parser.add_argument(
            "--name",
            help="The role's name. Defaults to TENANCY_UNSCOPED_ROLE.",
        )
        parser.add_argument(
            "--to",
            metavar="ROLE",
            help="The role that may enter it. Defaults to the connection's.",
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The alias of the database. Defaults to "default".',
        )
        parser.add_argument(
            "--print",
            action="store_true",
            dest="is_printed",
            help="Print the SQL, for an administrator, and run nothing.",
        )
        parser.add_argument(
            "--drop",
            action="store_true",
            dest="is_dropped",
            help="Give the policies the form again that needs no role.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the statements, or print them.

        Raises:
            CommandError: the setting does not name the role, the database has no such
                roles, or the connection's role may not make one.
        """
        connection = connections[options["database"]]
        enforcement = get_enforcement(connection)
        rules = policies.find_organization_policies(connection)
        role = conf.unscoped_role()
        administrator: list[str] = []
        if options["is_dropped"]:
            owner = enforcement.write_policies(rules, None)
        else:
            role = _require_role(role, options["name"])
            try:
                administrator = enforcement.write_unscoped_role(
                    role, member=options["to"]
                )
            except UnsupportedDatabase as error:
                raise CommandError(str(error)) from error
            owner = [
                *enforcement.write_unscoped_rights(role, owner=options["to"]),
                *enforcement.write_policies(rules, role),
            ]
        if options["is_printed"]:
            for statement in (*administrator, *owner):
                self.stdout.write(f"{statement};")
            return
        is_ready = not administrator or (
            options["to"] is None and not enforcement.find_unscoped_role(str(role))
        )
        with transaction.atomic(using=connection.alias):
            if not is_ready:
                _run_as_administrator(connection, administrator)
            _run(connection, owner)
        self.stdout.write(self.style.SUCCESS(_describe(role, len(rules), options)))


def _require_role(role: str | None, name: str | None) -> str:
    if role is None:
        raise CommandError(
            "TENANCY_UNSCOPED_ROLE is not set, so that nothing would enter the role. "
            f"Set it to {name or DEFAULT_NAME!r}, and run 'create_unscoped_role' again."
        )
    if name not in (None, role):
        raise CommandError(
            f"TENANCY_UNSCOPED_ROLE is {role!r}, and '--name' is {name!r}. Make them "
            "the same."
        )
    return role


def _run_as_administrator(
    connection: BaseDatabaseWrapper, statements: Sequence[str]
) -> None:
    try:
        _run(connection, statements)
    except Error as error:
        text = "\n".join(f"{statement};" for statement in statements)
        raise CommandError(
            f"The connection's role may not make the role: {str(error).strip()}. Run "
            "what 'create_unscoped_role --print' prints as an administrator; or this "
            f"part of it, and 'create_unscoped_role' again:\n{text}"
        ) from error


def _run(connection: BaseDatabaseWrapper, statements: Sequence[str]) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _describe(role: str | None, count: int, options: dict[str, Any]) -> str:
    if options["is_dropped"]:
        return (
            f"{count} policies need no role. Remove TENANCY_UNSCOPED_ROLE; then an "
            "administrator may run DROP OWNED BY and DROP ROLE."
        )
    return f"{count} policies let the role '{role}' pass. Run 'check_isolation'."
