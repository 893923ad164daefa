"""What every test may use."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import django
import pytest
from django.db import connection
from pytest_django import Settings
from pytest_django.plugin import blocking_manager_key

from tenancy.models import Organization, User
from tests import capabilities, sharing
from tests.nameserver import NameServer
from tests.sharing import share

LEFT_OUT = pytest.StashKey[dict[str, int]]()
"""How many tests were left out, by the reason."""


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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what cannot be here; let tests that share rows follow each other."""
    with config.stash[blocking_manager_key].unblock():
        left = capabilities.leave_out(items)
    config.stash[LEFT_OUT] = {
        capabilities.CAPABILITIES[name].reason: len(tests)
        for name, tests in left.items()
    }
    config.hook.pytest_deselected(items=[one for many in left.values() for one in many])
    items[:] = sharing.bring_together(items)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests are none of this database; tests.run reads it."""
    for reason, count in sorted(config.stash.get(LEFT_OUT, {}).items()):
        terminalreporter.write_line(f"left out: {count}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Undo shared rows before fixtures of the next module, or of none, are made."""
    try:
        return (yield)
    finally:
        if sharing.find_key(nextitem) != sharing.held.key:
            with item.config.stash[blocking_manager_key].unblock():
                sharing.held.drop()


@pytest.fixture
def _shared_rows(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock():
        builds = sharing.find_builds(request.node)
        sharing.held.hold(sharing.find_key(request.node), builds)


@pytest.fixture
def _django_db_helper(_shared_rows: None, _django_db_helper: None) -> None:
    """Begin the test's own transaction, which is pytest-django's, within."""


@share
def alice(db: None) -> User:
    """The owner of acme."""
    return User.objects.create_user("alice@acme.example", "demo", name="Alice")


@share
def bob(db: None) -> User:
    """The owner of globex."""
    return User.objects.create_user("bob@globex.example", "demo", name="Bob")


@share
def acme(alice: User) -> Organization:
    """The organization in which the tests act."""
    return Organization.objects.create_with_owner(name="Acme", owner=alice)


@share
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
