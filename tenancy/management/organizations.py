"""The options by which a command says whose rows it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser

from tenancy.context import scope, unscoped
from tenancy.exceptions import ScopeRequired


def add_organization_arguments(parser: CommandParser) -> None:
    """Add --organization and --all-organizations, of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--organization",
        metavar="KEY",
        help="The primary key of the organization whose rows these are.",
    )
    group.add_argument(
        "--all-organizations",
        action="store_true",
        help="Reach the rows of every organization.",
    )


@contextmanager
def enter_organization(command: str, options: dict[str, Any]) -> Iterator[None]:
    """Enter the scope that the options of a command name, if they name one.

    Args:
        command (str): the command's name, for messages and the log.
        options (dict): those of the command, from which the two are taken out.
    Raises:
        CommandError: there is no such organization, or the command met tenant rows
            while none was named.
    """
    key = options.pop("organization", None)
    is_everything = options.pop("all_organizations", False)
    try:
        with ExitStack() as stack:
            if key is not None:
                _enter(stack, key)
            elif is_everything:
                stack.enter_context(
                    unscoped(f"{command} --all-organizations", in_generator=True)
                )
            yield
    except (ScopeRequired, CommandError) as error:
        if not isinstance(error, ScopeRequired) and not isinstance(
            error.__context__, ScopeRequired
        ):
            raise
        raise CommandError(
            f"'{command}' met rows that belong to organizations, and none was named. "
            "Name one with --organization KEY, or say --all-organizations."
        ) from error


def _enter(stack: ExitStack, key: str) -> None:
    try:
        stack.enter_context(scope(key, in_generator=True))
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
