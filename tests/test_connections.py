"""Raw SQL through Django's connections, with the ORM out of the way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management.color import no_style
from django.db import DatabaseError, connection, transaction

import tenancy
from project.tracker.models import Project, Task
from tenancy.backends import get_backend
from tenancy.connections import araw, attach, install, raw
from tenancy.exceptions import (
    CrossOrganization,
    RawSQLRefused,
    ScopeRequired,
    UnsupportedDatabase,
)
from tenancy.models import Organization, User

pytestmark = pytest.mark.django_db

TASK = Task._meta.db_table
PROJECT = Project._meta.db_table


@pytest.fixture
def tasks(acme: Organization, globex: Organization) -> dict[str, Task]:
    """One project with one task in each organization, by the organization's name."""
    made = {}
    for organization in (acme, globex):
        with tenancy.scope(organization):
            name = f"{organization.name} secret"
            project = Project.objects.create(name=name)
            made[organization.name] = Task.objects.create(project=project, title=name)
    return made


def execute(sql: str, params: Any = None) -> Any:
    """Execute by Django's cursor, and return the rows, or how many were changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else cursor.rowcount


def key(organization: Organization) -> Any:
    """Return an organization's key as the database takes it."""
    return Organization._meta.pk.get_db_prep_value(organization.pk, connection)


def insert(organization: Organization, project: Any) -> int:
    """Insert a row by SQL that says which organization, and which project."""
    quote = connection.ops.quote_name
    values = {"organization_id": key(organization), "project_id": project}
    values |= {"title": "made by SQL"}
    for field in Task._meta.local_concrete_fields:
        if field.column in values or field.primary_key and not field.has_default():
            continue
        value = field.pre_save(Task(), add=True)
        values[str(field.column)] = field.get_db_prep_save(value, connection)
    columns = ", ".join(map(quote, values))
    places = ", ".join(["%s"] * len(values))
    count: int = execute(
        f"INSERT INTO {quote(TASK)} ({columns}) VALUES ({places})",
        list(values.values()),
    )
    return count


@contextmanager
def savepoint() -> Iterator[None]:
    """Keep the surrounding transaction usable when a statement is refused."""
    with transaction.atomic():
        yield


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM {TASK}",
        f"SELECT count(*) FROM {TASK}",
        f"UPDATE {TASK} SET title = 'x'",
        f"DELETE FROM {TASK}",
        f"EXPLAIN SELECT * FROM {TASK}",
    ],
)
def test_raw_sql_without_scope_raises(tasks: dict[str, Task], sql: str) -> None:
    """A statement that names a tenant table needs a scope, on every database."""
    with pytest.raises(ScopeRequired, match=TASK):
        execute(sql)


def test_raw_select_in_scope_gives_no_foreign_row(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """A bare SELECT is refused, or gives the scope's rows only."""
    sql = f"SELECT title FROM {TASK}"

    with tenancy.scope(acme):
        if get_backend(connection).hides_rows:
            assert execute(sql) == [("Acme secret",)]
        else:
            with pytest.raises(RawSQLRefused, match=r"tenancy\.raw"):
                execute(sql)


def test_sql_that_says_the_organization_passes(
    acme: Organization, globex: Organization, tasks: dict[str, Task]
) -> None:
    """SQL of one's own needs no more than the organization's own predicate."""
    with tenancy.scope(acme):
        found = execute(
            f"SELECT title FROM {TASK} WHERE organization_id = %s", [key(acme)]
        )
        changed = execute(
            f"UPDATE {TASK} SET description = title WHERE organization_id = %s",
            [key(acme)],
        )

    assert list(found) == [("Acme secret",)]
    assert changed == 1


def test_sql_that_says_another_organization_gives_nothing(
    acme: Organization, globex: Organization, tasks: dict[str, Task]
) -> None:
    """Another organization's key is refused, or finds no row."""
    sql = f"SELECT title FROM {TASK} WHERE organization_id = %s"

    with tenancy.scope(acme):
        if get_backend(connection).hides_rows:
            assert execute(sql, [key(globex)]) == []
        else:
            with pytest.raises(RawSQLRefused, match=TASK):
                execute(sql, [key(globex)])


def test_joined_update_of_the_orm_passes(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """An update by a relation is written in two ways, and neither is refused."""
    with tenancy.scope(acme):
        found = Task.objects.filter(project__name="Acme secret")
        assert found.update(description="x") == 1
        assert found.order_by("project__name").delete()[0] == 1

    with tenancy.unscoped("a test"):
        assert Task.objects.count() == 1


def test_execute_sql_flush_empties_nothing_in_a_scope(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """What would empty a table for every organization goes through the guard."""
    statements = connection.ops.sql_flush(no_style(), [TASK])

    with pytest.raises(ScopeRequired), savepoint():
        connection.ops.execute_sql_flush(statements)
    with (
        tenancy.scope(acme),
        pytest.raises((RawSQLRefused, CrossOrganization, DatabaseError)),
        savepoint(),
    ):
        connection.ops.execute_sql_flush(statements)

    with tenancy.unscoped("a test"):
        assert Task.objects.count() == 2


def test_raw_select_unscoped_gives_all(tasks: dict[str, Task]) -> None:
    """In unscoped, nothing is hidden and nothing is refused."""
    with tenancy.unscoped("a test"):
        found = execute(f"SELECT title FROM {TASK} ORDER BY title")

    assert [title for (title,) in found] == ["Acme secret", "Globex secret"]


@pytest.mark.parametrize(
    "sql",
    [
        f"UPDATE {TASK} SET title = 'x' WHERE title = 'Globex secret'",
        f"DELETE FROM {TASK} WHERE title = 'Globex secret'",
    ],
)
def test_raw_write_to_foreign_row_changes_nothing(
    acme: Organization, tasks: dict[str, Task], sql: str
) -> None:
    """Another organization's row is hidden from a write, or the write is refused."""
    with tenancy.scope(acme):
        try:
            with savepoint():
                changed = execute(sql)
        except (CrossOrganization, RawSQLRefused):
            changed = 0

    assert changed == 0
    with tenancy.unscoped("a test"):
        assert Task.objects.filter(title="Globex secret").count() == 1


def test_insert_for_other_organization_is_refused(
    acme: Organization, globex: Organization, tasks: dict[str, Task]
) -> None:
    """A row of another organization cannot be made by SQL either."""
    with tenancy.scope(acme):
        assert insert(acme, tasks["Acme"].project_id) == 1
        with pytest.raises(CrossOrganization, match="active scope"), savepoint():
            insert(globex, tasks["Globex"].project_id)


def test_missing_and_foreign_key_give_one_error(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """Who guesses a key learns nothing from the refusal."""
    texts = []
    with tenancy.scope(acme):
        missing = Project._meta.pk.get_db_prep_value(987_654, connection)
        foreign = Project._meta.pk.get_db_prep_value(
            tasks["Globex"].project_id, connection
        )
        for project in (missing, foreign):
            with pytest.raises(CrossOrganization) as caught, savepoint():
                insert(acme, project)
            texts.append(str(caught.value))

    assert texts[0] == texts[1]


def test_refusal_leaves_the_transaction_usable(
    acme: Organization, globex: Organization, tasks: dict[str, Task]
) -> None:
    """A savepoint around a refused statement is enough."""
    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(CrossOrganization), savepoint():
            insert(globex, tasks["Globex"].project_id)

        assert not connection.needs_rollback
        assert Task.objects.count() == 1


def test_driver_errors_pass_untouched(acme: Organization) -> None:
    """An error that is none of ours stays what it was."""
    with (
        tenancy.scope(acme),
        pytest.raises(DatabaseError, match="(?i)nonsense"),
        savepoint(),
    ):
        execute("SELECT nonsense FROM django_content_type")


def test_executemany_checks_every_row(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """The second row of parameters is looked at as the first is."""
    sql = f"UPDATE django_content_type SET model = (SELECT max(title) FROM {TASK})"

    with tenancy.scope(acme), connection.cursor() as cursor:
        # Where the database hides rows, the sub-select sees acme's.
        is_hidden = get_backend(connection).hides_rows
        with nullcontext() if is_hidden else pytest.raises(RawSQLRefused, match=TASK):
            cursor.executemany(f"{sql} WHERE id = %s", [(0,), (0,)])


def test_executemany_sums_rowcount(acme: Organization, tasks: dict[str, Task]) -> None:
    """Rows of all executions are counted."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {TASK} SET title = %s WHERE title = %s AND organization_id = %s",
            [
                ("x", "Acme secret", key(acme)),
                ("y", "x", key(acme)),
                ("z", "nothing", key(acme)),
            ],
        )

        assert cursor.rowcount == 2


def test_users_execute_wrapper_sees_the_plain_statement(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """A wrapper of the project's is called once, with the ORM's own text."""
    seen: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with tenancy.scope(acme), connection.execute_wrapper(watch):
        assert Task.objects.count() == 1

    (sql,) = seen
    assert sql.startswith("SELECT COUNT(*)")


def test_query_log_is_clean(
    acme: Organization, tasks: dict[str, Task], caplog: pytest.LogCaptureFixture
) -> None:
    """What is logged is the statement, and nothing of how the scope is carried."""
    caplog.set_level(logging.DEBUG, "django.db.backends")
    connection.force_debug_cursor = True
    try:
        with tenancy.scope(acme):
            Task.objects.count()
    finally:
        connection.force_debug_cursor = False

    assert "COUNT(*)" in caplog.text
    assert "set_config" not in caplog.text
    assert "@tenancy" not in caplog.text


def test_attach_twice_guards_once(acme: Organization, tasks: dict[str, Task]) -> None:
    """A connection that a pool hands out again is not guarded twice over."""
    before = type(connection.cursor().cursor)

    attach(connection)
    install()

    assert type(connection.cursor().cursor) is before


def test_check_constraints_passes_everywhere(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """Django's own check of constraints looks at all rows, in or without a scope."""
    connection.check_constraints()

    with tenancy.scope(acme):
        connection.check_constraints()


def test_introspection_passes_everywhere(
    acme: Organization, tasks: dict[str, Task], caplog: pytest.LogCaptureFixture
) -> None:
    """Describing a tenant table reads none of its rows, and is logged as what it is."""
    caplog.set_level(logging.DEBUG, "tenancy")
    with connection.cursor() as cursor:
        outside = connection.introspection.get_table_description(cursor, TASK)
        with tenancy.scope(acme):
            inside = connection.introspection.get_table_description(cursor, TASK)

            assert _rest(cursor) == []

    assert [column.name for column in inside] == [column.name for column in outside]
    assert caplog.messages == ["unscoped: tenancy: description of a table"] * 2


def _rest(cursor: Any) -> list[Any]:
    """Return the rows that a cursor still holds."""
    return list(cursor.fetchall()) if cursor.description else []


def test_serialization_passes_without_scope(tasks: dict[str, Task]) -> None:
    """The test runner's copy of the database holds every organization's rows."""
    with tenancy.unscoped("a test"):
        text = connection.creation.serialize_db_to_string()

    assert "Acme secret" in text
    assert "Globex secret" in text


def test_serialization_in_a_scope_is_refused(
    acme: Organization, tasks: dict[str, Task]
) -> None:
    """An organization's scope is no place to copy every organization's rows."""
    with tenancy.scope(acme), pytest.raises(CrossOrganization, match="serialize"):
        connection.creation.serialize_db_to_string()


def test_other_vendor_refuses_tenant_tables_only(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    """A database that cannot be guarded serves its own tables, and no tenant's."""
    other = connection.copy()
    monkeypatch.setattr(other, "vendor", "oracle")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
            attach(other)
            with pytest.raises(UnsupportedDatabase, match="'oracle'"):
                cursor.execute(f"SELECT * FROM {TASK}")
    finally:
        other.close()


# tenancy.raw()


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        (f"SELECT title FROM {TASK}", None, [("Acme secret",)]),
        (f"SELECT title FROM {TASK};", None, [("Acme secret",)]),
        (f"-- a comment\nSELECT title FROM {TASK}", None, [("Acme secret",)]),
        (f"SELECT title FROM {TASK} WHERE title LIKE 'A%'", None, [("Acme secret",)]),
        (f"SELECT title FROM {TASK} WHERE title LIKE %s", ["G%"], []),
        (
            f"SELECT title FROM {TASK} WHERE title = %(title)s",
            {"title": "Acme secret"},
            [("Acme secret",)],
        ),
        (
            f"SELECT t.title, p.name FROM {TASK} t JOIN {PROJECT} p"
            " ON p.id = t.project_id",
            None,
            [("Acme secret", "Acme secret")],
        ),
        (
            f"SELECT title FROM {TASK} UNION SELECT name FROM {PROJECT}",
            None,
            [("Acme secret",)],
        ),
        (f"SELECT (SELECT count(*) FROM {TASK})", None, [(1,)]),
        (f"WITH x AS (SELECT title FROM {TASK}) SELECT count(*) FROM x", [], [(1,)]),
        (
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            f" WHERE i < 2) SELECT i, (SELECT count(*) FROM {TASK}) FROM n ORDER BY i",
            None,
            [(1, 1), (2, 1)],
        ),
        ("SELECT 'tracker_task'", None, [("tracker_task",)]),
        ("SELECT name FROM tenancy_organization", None, [("Acme",)]),
    ],
)
def test_raw_reads_the_scope_only(
    acme: Organization,
    tasks: dict[str, Task],
    sql: str,
    params: Any,
    expected: list[tuple[Any, ...]],
) -> None:
    """Tenant tables hold the active organization's rows, wherever they are named."""
    with tenancy.scope(acme):
        rows = raw(sql, params)

    assert [tuple(row) for row in rows] == expected


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1; SELECT 2",
        f"UPDATE {TASK} SET title = 'x'",
        f"DELETE FROM {TASK}",
        f"WITH x AS (SELECT 1) DELETE FROM {TASK}",
        f"SELECT * INTO copy FROM {TASK}",
        f"SELECT * FROM public.{TASK}",
        f'SELECT * FROM main."{TASK}"',
        f"SELECT * FROM a.b.{TASK}",
        f"WITH {TASK} AS (SELECT 1) SELECT * FROM {TASK}",
        f"WITH x AS (SELECT 1), {TASK} (a) AS (SELECT 1) SELECT * FROM {TASK}",
        f"EXPLAIN SELECT * FROM {TASK}",
        f"TABLE {TASK}",
        f"SELECT p.name FROM {PROJECT} p STRAIGHT_JOIN tenancy.{TASK} t",
        f"SELECT title FROM {{ OJ tenancy.{TASK} LEFT OUTER JOIN x ON 1 = 1 }}",
        f"SELECT title FROM .{TASK}",
        f"SELECT 1 FROM {PROJECT} tenancy CROSS JOIN tenancy.{TASK}",
        f"SELECT title FROM \ufeff{TASK}",
        f"SELECT title FROM {TASK} WHERE gr\u00f6\u00dfe = 1",
        "CALL leak()",
        "SET x = 1",
    ],
)
def test_raw_refuses_all_but_a_select(
    acme: Organization, tasks: dict[str, Task], sql: str
) -> None:
    """What is no single SELECT, or names a table past its shadow, is refused."""
    with tenancy.scope(acme), pytest.raises(RawSQLRefused, match=r"tenancy\.raw"):
        raw(sql)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT title FROM (WITH x AS (SELECT * FROM {TASK}) SELECT * FROM x) y",
        f"SELECT (WITH x AS (SELECT title FROM {TASK}) SELECT max(title) FROM x)",
        f"WITH a AS (SELECT 1) SELECT * FROM (WITH x AS (SELECT title FROM {TASK})"
        " SELECT * FROM x) y",
    ],
)
def test_raw_with_an_inner_with_gives_no_foreign_row(
    acme: Organization, tasks: dict[str, Task], sql: str
) -> None:
    """An inner WITH sees the scope's rows, or the text is refused."""
    with tenancy.scope(acme):
        if get_backend(connection).sees_outer_expressions:
            assert [tuple(row) for row in raw(sql)] == [("Acme secret",)]
        else:
            with pytest.raises(RawSQLRefused, match="a WITH is not its first word"):
                raw(sql)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(
            f"SELECT title FROM ((SELECT title FROM {TASK}) UNION (SELECT title FROM"
            f" {TASK})) x",
            marks=pytest.mark.needs("nested unions"),
        ),
        f"SELECT * FROM (SELECT * FROM (SELECT title FROM {TASK}) x) y",
        f"SELECT title FROM {TASK} UNION SELECT title FROM (SELECT title FROM"
        f" {TASK}) x",
        f"SELECT {TASK}.title FROM {TASK} WHERE {TASK}.title IN (SELECT title FROM"
        f" {TASK})",
    ],
)
def test_raw_shadows_nested_names(
    acme: Organization, tasks: dict[str, Task], sql: str
) -> None:
    """A table is shadowed at whatever depth it is named."""
    with tenancy.scope(acme):
        assert [tuple(row) for row in raw(sql)] == [("Acme secret",)]


def test_raw_without_scope_raises() -> None:
    """There is no organization whose rows could be meant."""
    with pytest.raises(ScopeRequired, match=r"tenancy\.raw\(\)"):
        raw("SELECT 1")


def test_raw_unscoped_reads_all(tasks: dict[str, Task]) -> None:
    """In unscoped, nothing is shadowed."""
    with tenancy.unscoped("a test"):
        (row,) = raw(f"SELECT count(*) AS tasks FROM {TASK}")

    assert row.tasks == 2


def test_raw_for_a_user_reads_own_memberships(
    alice: User, acme: Organization, globex: Organization
) -> None:
    """In a user's scope, their memberships and organizations are reached."""
    with tenancy.scope(user=alice):
        organizations = raw("SELECT name FROM tenancy_organization")
        (memberships,) = raw("SELECT count(*) AS n FROM tenancy_membership")

    assert [row.name for row in organizations] == ["Acme"]
    assert memberships.n == 1


def test_raw_for_a_user_refuses_other_tables(alice: User, acme: Organization) -> None:
    """In a user's scope, an organization's rows are not reached."""
    with (
        tenancy.scope(user=alice),
        pytest.raises(ScopeRequired, match=f"'{TASK}'"),
    ):
        raw(f"SELECT * FROM {TASK}")


def test_raw_names_odd_columns_by_position(acme: Organization) -> None:
    """A column that cannot be an attribute is called by its place."""
    with tenancy.scope(acme):
        (row,) = raw("SELECT 1 AS fine, 2 AS fine, 3 AS class")

    assert row._fields == ("fine", "_1", "_2")


def test_raw_takes_using(acme: Organization) -> None:
    """The alias of another database can be given."""
    with tenancy.scope(acme):
        assert tuple(raw("SELECT 1", using="default")[0]) == (1,)


def test_araw_reads_as_raw(acme: Organization, tasks: dict[str, Task]) -> None:
    """The async twin gives the same rows."""
    with tenancy.scope(acme):
        (row,) = async_to_sync(araw)(f"SELECT title FROM {TASK}")

    assert row.title == "Acme secret"
