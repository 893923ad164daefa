"""The two forms of PostgreSQL's policies: a range, or an equality beside a role.

TENANCY_TEST_POSTGRESQL_SUPERUSER_URL is who makes the role, which is another one for
each test database.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from tenancy.backends import get_backend
from tenancy.exceptions import UnsupportedDatabase
from tenancy.policies import find_faults


@pytest.fixture(scope="module")
def unscoped_role(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The role of unscoped(), and policies that ask for it, for the tests of a file."""
    with enter_role_form(django_db_blocker) as role:
        yield role


@contextmanager
def enter_role_form(blocker: Any) -> Iterator[str]:
    """Give the test database the policies that a role passes by, for a while.

    Args:
        blocker (DjangoDbBlocker): pytest-django's, whose type is not public.
    """
    with blocker.unblock():
        role, statements = write_role()
    run_as_administrator(statements)
    try:
        with override_settings(TENANCY_UNSCOPED_ROLE=role):
            with blocker.unblock():
                call_command("create_unscoped_role", stdout=io.StringIO())
                assert find_faults(connection) == []
            yield role
            with blocker.unblock():
                call_command("create_unscoped_role", "--drop", stdout=io.StringIO())
        with blocker.unblock():
            assert find_faults(connection) == []
            connection.close()
    finally:
        drop_role(role)


def write_role(suffix: str = "unscoped") -> tuple[str, list[str]]:
    """Return the name of a role of this database's own, and the SQL that makes it."""
    if not get_backend(connection).hides_rows:
        pytest.skip("The database has no policies that ask for a role.")
    role = f"{connection.settings_dict['NAME']}_{suffix}"
    try:
        return role, get_backend(connection).enforcement.write_unscoped_role(role)
    except UnsupportedDatabase:
        pytest.skip("The database cannot keep a membership from being inherited.")


def run_as_administrator(statements: Sequence[str]) -> None:
    """Run statements in the test database as a superuser."""
    import psycopg

    own = connection.settings_dict
    url = os.environ.get("TENANCY_TEST_POSTGRESQL_SUPERUSER_URL")
    if not url:
        pytest.skip("TENANCY_TEST_POSTGRESQL_SUPERUSER_URL is not set.")
    parts = urlsplit(url)
    with psycopg.connect(
        host=own["HOST"],
        port=own["PORT"],
        user=parts.username,
        password=parts.password,
        dbname=own["NAME"],
        autocommit=True,
    ) as driver:
        for statement in statements:
            driver.execute(statement.encode())


def drop_role(role: str) -> None:
    """Take a role and its rights away."""
    run_as_administrator([f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"'])
