"""Keys that a database looks at when a transaction ends."""

from __future__ import annotations

from django.db import connection


def check_deferred() -> None:
    """Look at them now.

    MySQL and MariaDB put none off, and Django would read their whole catalogue.

    Raises:
        IntegrityError: a row refers to none.
    """
    if connection.features.can_defer_constraint_checks:
        connection.check_constraints()
