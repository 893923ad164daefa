"""What every test may use."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator
from datetime import timedelta

import django
import pytest
from django.db import connection
from pytest_django import Settings
from pytest_django.plugin import blocking_manager_key

from tenancy.models import Organization, User
from tests.nameserver import NameServer


def pytest_report_header(config: pytest.Config) -> str:
    """Name the database, the Django and the Python that are tested."""
    with config.stash[blocking_manager_key].unblock():
        database = describe_database()
    return (
        f"database: {database}, "
        f"Django {django.get_version()}, Python {platform.python_version()}"
    )


def describe_database() -> str:
    """Return the database's product and version.

    The server is asked without opening the configured database: before the first
    test it need not exist.
    """
    if connection.vendor == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    with connection._nodb_cursor() as cursor:
        server = cursor.db
        version = ".".join(str(part) for part in server.get_database_version())
        return f"{server.display_name} {version}"


@pytest.fixture
def alice(db: None) -> User:
    """The owner of acme."""
    return User.objects.create_user("alice@acme.example", "demo", name="Alice")


@pytest.fixture
def bob(db: None) -> User:
    """The owner of globex."""
    return User.objects.create_user("bob@globex.example", "demo", name="Bob")


@pytest.fixture
def acme(alice: User) -> Organization:
    """The organization in which the tests act."""
    return Organization.objects.create_with_owner(name="Acme", owner=alice)


@pytest.fixture
def globex(bob: User) -> Organization:
    """The organization that the tests must not reach."""
    return Organization.objects.create_with_owner(name="Globex", owner=bob)


@pytest.fixture
def name_server(settings: Settings) -> Iterator[NameServer]:
    """A name server of the test's own, which domains' records are asked of."""
    with NameServer() as server:
        settings.TENANCY_DNS_SERVERS = [server.address]
        # Longer than the default: many tests share the machine.
        settings.TENANCY_DNS_TIMEOUT = timedelta(seconds=20)
        yield server
