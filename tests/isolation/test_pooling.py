"""Connections that others use next: PgBouncer's in transaction mode, psycopg's pool.

TENANCY_TEST_PGBOUNCER_URL is the pooler before the server that is tested.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

import tenancy
from project.tracker.models import Label, Project
from tenancy.backends import get_backend
from tenancy.models import Organization

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 20
LEFT_BEHIND = (
    "SELECT count(*), current_setting('tenancy.organization', true),"
    " current_setting('tenancy.user', true)"
    " FROM tracker_project"
)


@pytest.fixture
def postgresql() -> Any:
    """The driver, where the database carries the scope in each message."""
    if not get_backend(connection).hides_rows:
        pytest.skip("The database has no settings that a pool could leave behind.")
    import psycopg

    return psycopg


@pytest.fixture
def add_alias(postgresql: Any) -> Iterator[Callable[..., str]]:
    """Give the tested database further aliases, with other options."""
    added: list[str] = []

    def add(name: str, **changes: Any) -> str:
        own = connections["default"].settings_dict
        connections.settings[name] = {**own, "TEST": dict(own["TEST"]), **changes}
        added.append(name)
        adopt(name)
        return name

    yield add
    for name in added:
        driver: Any = connections[name]
        driver.close()
        if getattr(driver, "pool", None):
            driver.close_pool()
        del connections[name]
        del connections.settings[name]


def adopt(alias: str) -> Any:
    """Return this thread's connection of an alias that the test case does not know."""
    driver: Any = connections[alias]
    # Django refuses connections of other aliases than those named before the test.
    driver.alias = "default"
    return driver


@pytest.fixture
def bouncer(postgresql: Any) -> Iterator[dict[str, Any]]:
    """The settings by which a client comes through the pooler."""
    url = os.environ.get("TENANCY_TEST_PGBOUNCER_URL")
    if not url:
        pytest.skip("PgBouncer is missing: TENANCY_TEST_PGBOUNCER_URL is not set.")
    parts = urlsplit(url)
    yield {
        "HOST": parts.hostname,
        "PORT": str(parts.port),
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    wait_for_pooler()


def wait_for_pooler() -> None:
    """Wait until the pooler has left the database, which can then be dropped."""
    for _ in range(50):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            (others,) = cursor.fetchone()
        if not others:
            return
        time.sleep(0.1)


@pytest.fixture
def clients(bouncer: dict[str, Any], add_alias: Any) -> tuple[str, str]:
    """Two clients of the pooler, which share one connection of the server."""
    return add_alias("first", **bouncer), add_alias("second", **bouncer)


@pytest.fixture
def outsider(bouncer: dict[str, Any], postgresql: Any) -> Iterator[Callable[[], Any]]:
    """A client of the same pooler that is no Django, and has no scope."""
    own = connection.settings_dict
    with postgresql.connect(
        host=bouncer["HOST"],
        port=bouncer["PORT"],
        user=own["USER"],
        password=own["PASSWORD"],
        dbname=own["NAME"],
        autocommit=True,
        prepare_threshold=None,
    ) as client:

        def look() -> None:
            """Require that it sees no rows, and no setting."""
            count, *left = client.execute(LEFT_BEHIND).fetchone()
            assert count == 0
            assert not any(left), left

        yield look


@pytest.fixture
def both(acme: Organization, globex: Organization) -> tuple[Any, Any]:
    """The two organizations, with a project each."""
    for organization in (acme, globex):
        with tenancy.scope(organization):
            Project.objects.create(name=organization.name)
    return acme, globex


def read_names(alias: str) -> list[str]:
    """Return the names of the projects that a client sees."""
    return list(Project.objects.using(alias).values_list("name", flat=True))


def read_pid(alias: str) -> int:
    """Return which process of the server serves a client."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_pooler_when_two_clients_shares_connection(clients: tuple[str, str]) -> None:
    """The two clients really share one connection of the server."""
    first, second = clients

    assert read_pid(first) == read_pid(second)


def test_pooler_when_statements_alternate_leaves_nothing(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """Two scopes that alternate statement by statement each see their own rows."""
    for _ in range(ROUNDS):
        for alias, organization in zip(clients, both, strict=True):
            with tenancy.scope(organization):
                assert read_names(alias) == [organization.name]
                outsider()
            outsider()
        with tenancy.unscoped("all rows"):
            assert len(read_names(clients[0])) == 2
            outsider()


def test_pooler_when_scopes_stay_open_leaves_nothing(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """Statements of one scope through both clients see the same rows."""
    with tenancy.scope(both[0]):
        for _ in range(ROUNDS):
            for alias in clients:
                assert read_names(alias) == [both[0].name]
                outsider()


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_pooler_when_transaction_ends_leaves_nothing(
    clients: tuple[str, str],
    both: tuple[Any, Any],
    outsider: Callable[[], None],
    commit: bool,
) -> None:
    """After a transaction, however it ended, nothing of its scope is left."""
    for alias, organization in zip(clients, both, strict=True):
        with tenancy.scope(organization), transaction.atomic(using=alias):
            Label.objects.using(alias).create(name="label")
            with transaction.atomic(using=alias):
                assert read_names(alias) == [organization.name]
                transaction.set_rollback(True, using=alias)
            assert Label.objects.using(alias).count() == 1
            transaction.set_rollback(not commit, using=alias)
        outsider()

    for organization in both:
        with tenancy.scope(organization):
            assert Label.objects.count() == int(commit)


def test_pooler_when_statement_fails_leaves_nothing(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """After an error, inside a transaction and outside, nothing is left."""
    for is_atomic in (True, False):
        with tenancy.scope(both[0]), pytest.raises(IntegrityError):
            if is_atomic:
                with transaction.atomic(using=clients[0]):
                    Project.objects.using(clients[0]).create(name=both[0].name)
            else:
                Project.objects.using(clients[0]).create(name=both[0].name)
        outsider()
        with tenancy.scope(both[1]):
            assert read_names(clients[1]) == [both[1].name]


def test_pooler_when_function_keeps_its_plan_serves_each(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """A plan that one client's scope left on the server shows others their own rows."""

    def count(alias: str) -> int:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT made_count()")
            return int(cursor.fetchone()[0])

    with tenancy.unscoped("a test"), connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION made_count() RETURNS bigint STABLE LANGUAGE plpgsql"
            " AS 'BEGIN RETURN (SELECT count(*) FROM tracker_project); END'"
        )
    try:
        for _ in range(3):
            for alias, organization in zip(clients, both, strict=True):
                with tenancy.scope(organization):
                    assert count(alias) == 1
                with tenancy.unscoped("all rows"):
                    assert [count(one) for one in clients] == [2, 2]
                outsider()
    finally:
        with tenancy.unscoped("a test"), connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION made_count()")


def test_pooler_when_threads_compete_keeps_scopes(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """Two threads whose transactions queue for one connection stay in their scopes."""

    def work(alias: str, organization: Organization) -> None:
        adopt(alias)
        try:
            for number in range(ROUNDS):
                with tenancy.scope(organization):
                    assert read_names(alias) == [organization.name]
                    with transaction.atomic(using=alias):
                        name = f"label {number}"
                        Label.objects.using(alias).create(name=name)
                        assert read_names(alias) == [organization.name]
                    assert Label.objects.using(alias).count() == number + 1
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work, *pair) for pair in zip(clients, both, strict=True)]
        for _ in range(ROUNDS):
            outsider()
        for future in futures:
            future.result()


def test_pooler_when_iterating_reads_own_rows(
    clients: tuple[str, str], both: tuple[Any, Any], outsider: Callable[[], None]
) -> None:
    """iterator(), executemany and bulk statements leave nothing either."""
    with tenancy.scope(both[0]):
        rows = list(Project.objects.using(clients[0]).iterator(chunk_size=1))
        outsider()
        Label.objects.using(clients[0]).bulk_create(
            [Label(name=f"label {number}") for number in range(50)]
        )
        outsider()
        with connections[clients[0]].cursor() as cursor:
            cursor.executemany(
                "UPDATE tracker_label SET color = %s WHERE name = %s",
                [("red", f"label {number}") for number in range(50)],
            )
        outsider()
        assert Label.objects.filter(color="red").count() == 50

    assert [row.name for row in rows] == [both[0].name]


# psycopg's own pool


def test_pool_when_connection_returns_leaves_nothing(
    add_alias: Any, both: tuple[Any, Any], postgresql: Any
) -> None:
    """A connection that goes back to the pool takes no setting along."""
    alias = add_alias(
        "pooled", CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 1, "max_size": 1}}
    )
    pids = set()
    for _ in range(3):
        for organization in both:
            with tenancy.scope(organization):
                assert read_names(alias) == [organization.name]
                with transaction.atomic(using=alias):
                    assert read_names(alias) == [organization.name]
                pids.add(read_pid(alias))
                connections[alias].close()
            pooled: Any = connections[alias]
            with pooled.pool.connection() as driver:
                driver.autocommit = True
                count, *left = postgresql.Cursor(driver).execute(LEFT_BEHIND).fetchone()
                assert count == 0
                assert not any(left), left
        with tenancy.unscoped("all rows"):
            assert len(read_names(alias)) == 2
        connections[alias].close()

    assert len(pids) == 1


def test_pool_when_threads_share_it_keeps_scopes(
    add_alias: Any, both: tuple[Any, Any]
) -> None:
    """Threads that take turns at one pooled connection stay in their scopes."""
    alias = add_alias(
        "pooled", CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 1, "max_size": 1}}
    )

    def work(organization: Organization) -> None:
        adopt(alias)
        for _ in range(ROUNDS):
            with tenancy.scope(organization):
                assert read_names(alias) == [organization.name]
            connections[alias].close()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, organization) for organization in both]:
            future.result()


# The wire


@pytest.fixture
def require_one_message(postgresql: Any) -> Callable[[Callable[[], Any]], None]:
    """Require that an action sends one message for each statement that Django logs."""

    def require(action: Callable[[], Any]) -> None:
        connection.ensure_connection()
        driver: Any = connection.connection
        with tempfile.TemporaryFile("w+") as file:
            driver.pgconn.trace(file.fileno())
            driver.pgconn.set_trace_flags(postgresql.pq.Trace.SUPPRESS_TIMESTAMPS)
            try:
                with CaptureQueriesContext(connection) as logged:
                    action()
            finally:
                driver.pgconn.untrace()
            file.seek(0)
            lines = [line.split("\t") for line in file if line.startswith("F\t")]
        assert [line[2].strip() for line in lines] == ["Query"] * len(logged)
        assert len(logged)

    return require


@pytest.mark.parametrize("is_unscoped", [False, True], ids=["scope", "unscoped"])
@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
def test_wire_when_in_scope_sends_one_message(
    both: tuple[Any, Any],
    require_one_message: Callable[[Callable[[], Any]], None],
    is_atomic: bool,
    is_unscoped: bool,
) -> None:
    """Each statement is one message, which carries the scope as well."""
    acme = both[0]
    rows = [Label(name=f"label {number}", organization=acme) for number in range(100)]

    def act() -> None:
        with transaction.atomic() if is_atomic else nullcontext():
            project = Project.objects.get(name=acme.name)
            Project.objects.filter(pk=project.pk).update(description="other")
            Label.objects.create(name="one", organization=acme)
            Label.objects.bulk_create(rows)
            list(Label.objects.filter(tasks=None).select_related("organization"))
            tenancy.raw("SELECT count(*) FROM tracker_label")
            Label.objects.all().delete()

    with tenancy.unscoped("all rows") if is_unscoped else tenancy.scope(acme):
        # The role's attributes are asked for once a process.
        Project.objects.count()
        require_one_message(act)


def test_wire_when_getting_by_key_sends_one_message(
    both: tuple[Any, Any], require_one_message: Callable[[Callable[[], Any]], None]
) -> None:
    """A single query is a single message, outside a transaction."""
    with (
        tenancy.scope(both[0]),
        CaptureQueriesContext(connection) as logged,
    ):
        require_one_message(lambda: Project.objects.get(name=both[0].name))

    assert len(logged) == 1
