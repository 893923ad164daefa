"""What SQLite's own SQL could get round."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

import tenancy
from project.tracker.models import Project
from tenancy.backends import get_backend
from tenancy.backends.sqlite.cursors import SQLiteBackend
from tenancy.exceptions import (
    CrossOrganization,
    RawSQLRefused,
    ScopeRequired,
    UnsupportedDatabase,
)
from tenancy.models import Organization, User

Execute = Callable[..., Any]

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "sqlite",
        reason="The database does not have what is SQLite's own",
    ),
    pytest.mark.django_db,
]


def text_of(organization: Organization) -> Any:
    """Return the organization's key as its columns hold it."""
    return Organization._meta.pk.get_db_prep_value(organization.pk, connection)


def test_function_allows_the_scopes_rows_only(
    alice: User, acme: Organization, globex: Organization
) -> None:
    """The triggers' function knows the active organization's key as it is stored."""
    backend = get_backend(connection)
    assert isinstance(backend, SQLiteBackend)
    own, other = (
        Organization._meta.pk.get_db_prep_value(organization.pk, connection)
        for organization in (acme, globex)
    )

    assert backend.allows(own) == 0
    with tenancy.scope(user=alice):
        assert backend.allows(own) == 0
    with tenancy.scope(acme):
        found = [backend.allows(key) for key in (own, other, None)]
        assert found == [1, 0, 0]
    with tenancy.unscoped("a test"):
        assert backend.allows(other) == 1


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
def test_insert_over_a_foreign_row_is_refused(
    acme: Organization, projects: dict[str, Project], execute: Execute, verb: str
) -> None:
    """A row that has the key, and is not acme's, is neither replaced nor made."""
    project = projects["z"]
    columns, values = [], []
    for field in Project._meta.local_concrete_fields:
        value = field.pre_save(project, add=False)
        columns.append(connection.ops.quote_name(str(field.column)))
        values.append(field.get_db_prep_value(value, connection))
    places = ", ".join(["%s"] * len(values))

    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization),
        transaction.atomic(),
    ):
        execute(
            f"{verb} INTO tracker_project ({', '.join(columns)}) VALUES ({places})",
            values,
        )


def test_script_is_judged_as_a_whole(acme: Organization) -> None:
    """executescript() passes where each statement would, and no tenant table is in."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        with pytest.raises(RawSQLRefused, match="several statements"):
            cursor.executescript("SELECT 1; SELECT * FROM tracker_project")
        with pytest.raises(RawSQLRefused, match="ATTACH"):
            cursor.executescript("SELECT 1; ATTACH ':memory:' AS other")


@pytest.mark.parametrize(
    "create",
    [
        "CREATE VIEW hidden AS SELECT * FROM tracker_project",
        "CREATE TEMP VIEW hidden AS SELECT * FROM tracker_project",
        "CREATE VIRTUAL TABLE hidden USING fts5(name, content=tracker_project)",
    ],
)
def test_views_over_tenant_tables_are_refused(
    acme: Organization, execute: Execute, create: str
) -> None:
    """A name behind which a tenant table stands is as good as the table's."""
    with tenancy.unscoped("a test"):
        execute(create)
        execute("CREATE VIEW plain AS SELECT * FROM django_content_type")
        execute("CREATE VIEW view_of_view AS SELECT * FROM hidden")
        execute('CREATE VIEW "An odd view" AS SELECT * FROM hidden')
        execute("CREATE VIEW view_of_odd AS SELECT * FROM [An odd view]")

    for name in ("hidden", "view_of_view", "[an odd view]", "view_of_odd"):
        sql = f"SELECT * FROM {name}"
        with pytest.raises(ScopeRequired):
            execute(sql)
        with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="may show rows"):
            execute(sql)
    with tenancy.scope(acme):
        execute("SELECT count(*) FROM plain")


def test_view_that_another_process_makes_is_seen(
    acme: Organization, execute: Execute
) -> None:
    """A name that the database did not know is looked up again each time."""
    with tenancy.scope(acme):
        with (
            pytest.raises(OperationalError, match="no such table"),
            transaction.atomic(),
        ):
            execute("SELECT * FROM later")
        # A statement of another process, past the guard.
        connection.connection.open_plain_cursor().execute(
            "CREATE VIEW later AS SELECT * FROM tracker_project"
        )

        with pytest.raises(RawSQLRefused, match="'later' may show rows"):
            execute("SELECT * FROM later")
        with pytest.raises(RawSQLRefused, match="'later' may show rows"):
            execute("SELECT * FROM \ufefflater")


def test_own_expressions_are_no_unknown_names(
    acme: Organization, execute: Execute
) -> None:
    """The verdict on a statement with a WITH of its own is kept."""
    guard = get_backend(connection).guard
    sql = "WITH x AS (SELECT 1 AS n) SELECT * FROM x"

    with tenancy.scope(acme):
        execute(sql)

        assert guard.judge(sql, None) is guard.judge(sql, None)
        other = "WITH later AS (SELECT * FROM later) SELECT * FROM later"
        unknown = get_backend(connection).judge
        assert unknown(other, None) is not unknown(other, None)


def test_vacuum_and_pragmas_pass_in_a_scope(acme: Organization) -> None:
    """What tells of tables, and not of rows, is in nobody's way."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        cursor.execute("PRAGMA table_info(tracker_project)")
        assert cursor.fetchall()


READ = "SELECT name FROM tracker_project"

DRIVERS_WAYS: dict[str, Callable[[Any], Any]] = {
    "cursor": lambda driver: driver.cursor().execute(READ),
    "cursor of a class": lambda driver: driver.cursor(sqlite3.Cursor).execute(READ),
    "cursor of Django's class": lambda driver: driver.cursor(
        factory=SQLiteCursorWrapper
    ).execute(READ),
    "execute": lambda driver: driver.execute(READ),
    "execute with parameters": lambda driver: driver.execute(
        f"{READ} WHERE name <> ?", ["x"]
    ),
    "executemany": lambda driver: driver.executemany(
        "UPDATE django_content_type SET model = (SELECT max(name) FROM"
        " tracker_project) WHERE id = ?",
        [(0,), (0,)],
    ),
    "executescript": lambda driver: driver.executescript(READ),
    "context manager": lambda driver: driver.__enter__().execute(READ),
    "backup": lambda driver: driver.backup(driver),
    "blobopen": lambda driver: driver.blobopen("tracker_project", "name", 1),
    "deserialize": lambda driver: driver.deserialize(b""),
    "iterdump": lambda driver: list(driver.iterdump()),
    "serialize": lambda driver: driver.serialize(),
}


@pytest.mark.parametrize("way", DRIVERS_WAYS.values(), ids=DRIVERS_WAYS)
def test_drivers_connection_is_guarded(
    acme: Organization, projects: dict[str, Project], way: Callable[[Any], Any]
) -> None:
    """What is taken out of Django's connection is no way round the guard."""
    driver = connection.connection

    with pytest.raises(ScopeRequired):
        way(driver)
    with tenancy.scope(acme), pytest.raises(RawSQLRefused):
        way(driver)


def test_drivers_connection_reads_what_the_scope_holds(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """A statement with the organization's predicate passes, and any in unscoped."""
    driver = connection.connection

    with tenancy.scope(acme):
        rows = driver.execute(
            f"{READ} WHERE name <> 'a%s' AND organization_id = ?", [text_of(acme)]
        )
        assert {name for (name,) in rows} == {"a", "b", "c"}
    with tenancy.unscoped("a test"):
        assert len(driver.execute(READ).fetchall()) == 5
        dump = "".join(driver.iterdump())
        assert "tracker_project" in dump
        assert driver.serialize()


def test_drivers_parameters_are_counted_as_the_driver_does(
    acme: Organization, globex: Organization, projects: dict[str, Project]
) -> None:
    """To the driver "%s" is a modulo and no placeholder, so that none is skipped."""
    sql = f"{READ} WHERE 1 <> 5%s AND organization_id = ? AND 'x' <> ?"

    with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="tracker_project"):
        connection.connection.execute(sql, [text_of(globex), text_of(acme)])
    with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="tracker_project"):
        connection.connection.executemany(sql, [(text_of(globex), text_of(acme))])


def test_cursor_of_a_function_is_refused(acme: Organization) -> None:
    """What makes cursors and is no class could make unguarded ones."""
    with pytest.raises(TypeError, match="is no class. Pass a subclass"):
        connection.connection.cursor(lambda driver: sqlite3.Cursor(driver))


class OwnConnection(sqlite3.Connection):
    """A project's own class of connections, in its settings."""


def open_with(factory: Any, name: str = ":memory:") -> Any:
    """Return a connection with the option that settings may name."""
    options = {**connection.settings_dict["OPTIONS"], "factory": factory}
    kind: Any = type(connection.copy())
    return kind({**connection.settings_dict, "NAME": name, "OPTIONS": options}, "own")


def test_own_class_of_connections_is_guarded() -> None:
    """The option 'factory' is kept, with the guard before it."""
    other = open_with(OwnConnection)
    other.ensure_connection()
    try:
        assert isinstance(other.connection, OwnConnection)
        with pytest.raises(ScopeRequired):
            other.connection.execute(READ)
    finally:
        other.connection.close()


def test_connection_of_a_function_refuses_tenant_tables(acme: Organization) -> None:
    """What opens connections and is no class leaves no way to guard them."""
    other = open_with(lambda *args, **kwargs: sqlite3.Connection(*args, **kwargs))
    other.ensure_connection()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
            with (
                tenancy.scope(acme),
                pytest.raises(UnsupportedDatabase, match="option 'factory' a class"),
            ):
                cursor.execute(READ)
    finally:
        other.connection.close()


def test_connection_that_was_opened_early_is_opened_again(tmp_path: Path) -> None:
    """A connection that is older than the guard is closed when it comes."""
    other = open_with(sqlite3.Connection, str(tmp_path / "own.sqlite3"))
    other.connection = sqlite3.connect(tmp_path / "own.sqlite3")
    backend = get_backend(other)

    backend.prepare()

    was_closed = other.connection is None
    assert was_closed
    other.ensure_connection()
    with pytest.raises(ScopeRequired):
        other.connection.execute(READ)
    other.close()


def test_cursor_of_a_connections_own_making_is_guarded(acme: Organization) -> None:
    """A cursor that is made past the driver's method is made anew."""

    class Own(type(connection.copy())):  # type: ignore[misc]  # of the settings
        def create_cursor(self, name: str | None = None) -> Any:
            return SQLiteCursorWrapper(self.connection)

    other = Own({**connection.settings_dict, "NAME": ":memory:"}, "own")
    with other.cursor() as cursor, pytest.raises(ScopeRequired):
        cursor.execute(f"{READ} WHERE name = %s", ["a"])
    other.connection.close()
