"""How each of psycopg's ways to send a statement carries the scope."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction

import tenancy
from project.tracker.models import Project
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import Organization

psycopg = pytest.importorskip("psycopg")

Execute = Callable[..., Any]

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "postgresql",
        reason="The database does not have what is PostgreSQL's own",
    ),
    pytest.mark.django_db(transaction=True),
]

COUNT = "SELECT count(*) FROM tracker_project"


@pytest.fixture
def view(transactional_db: None, execute: Execute) -> Iterator[str]:
    """A view of the projects, whose name the guard does not know."""
    with tenancy.unscoped("a test", in_generator=True):
        execute("CREATE VIEW project_view AS SELECT * FROM tracker_project")
    yield "project_view"
    execute("DROP VIEW project_view")


def copy_out(statement: str) -> int:
    """Return how many rows a COPY gives."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(bytes(block) for block in copy).count(b"\n")


def test_setting_ends_with_the_statement(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Outside a transaction nothing is left for the next user of the connection."""
    with tenancy.scope(acme):
        assert Project.objects.count() == 3

    with psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute("SELECT current_setting('tenancy.organization', true)")
        assert cursor.fetchone()[0] in (None, "")
        cursor.execute(COUNT)
        assert cursor.fetchone()[0] == 0


def test_driver_cursors_carry_the_scope(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """A cursor that psycopg opens by itself is guarded as well."""
    driver = connection.connection

    with tenancy.scope(acme):
        assert driver.execute(COUNT).fetchone() == (3,)
        assert driver.execute(COUNT.encode(), prepare=True).fetchone() == (3,)
        query = psycopg.sql.SQL("SELECT count(*) FROM {}").format(
            psycopg.sql.Identifier("tracker_project")
        )
        assert driver.execute(query).fetchone() == (3,)
    with pytest.raises(ScopeRequired, match="tracker_project"):
        driver.execute(query)


def test_left_scope_is_forgotten_inside_a_transaction(
    projects: dict[str, Project], view: str, execute: Execute
) -> None:
    """After unscoped(), the transaction's setting is of no use to anybody."""
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            assert Project.objects.count() == 5

        assert copy_out(f"COPY (SELECT * FROM {view}) TO STDOUT") == 0
        assert execute(f"SELECT * FROM {view}") == []


def test_rollback_to_savepoint_brings_no_setting_back(
    projects: dict[str, Project], view: str, execute: Execute
) -> None:
    """A savepoint that was made in unscoped() has nothing to give back."""
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            Project.objects.count()
            execute("SAVEPOINT made")
        execute(f"SELECT * FROM {view}")
        execute("ROLLBACK TO SAVEPOINT made")

        assert execute(f"SELECT * FROM {view}") == []


def test_aborted_transaction_is_recovered_from(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """After an error and a savepoint, the scope is right again."""
    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(ProgrammingError), transaction.atomic():
            execute("SELECT nonsense")

        assert Project.objects.count() == 3


@pytest.mark.parametrize(
    "send",
    [
        lambda cursor, sql: cursor.execute(sql),
        lambda cursor, sql: list(cursor.stream(sql)),
        lambda cursor, sql: cursor.executemany(f"{sql} WHERE id = %s", [("x",)]),
    ],
    ids=["execute", "stream", "executemany"],
)
def test_error_position_is_the_callers(
    acme: Organization, send: Callable[[Any, str], Any]
) -> None:
    """An error points into the text as it was written."""
    sql = "SELECT id, nonsense\nFROM tracker_project"

    with (
        tenancy.scope(acme),
        connection.cursor() as cursor,
        pytest.raises(psycopg.Error, match="LINE 1: SELECT id") as caught,
    ):
        send(cursor.cursor, sql)

    assert caught.value.diag.statement_position == "12"
    assert pickle.loads(pickle.dumps(caught.value)).sqlstate == "42703"


def test_stream_carries_the_scope(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Rows that arrive one by one are the scope's."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        sql = "SELECT name FROM tracker_project WHERE name <> %s ORDER BY name"

        assert list(cursor.cursor.stream(sql, ["a"])) == [("b",), ("c",)]


def test_stream_read_in_another_scope_raises(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Rows of a scope that was left are not handed out."""
    with tenancy.scope(acme):
        rows = connection.connection.cursor().stream("SELECT name FROM tracker_project")
        next(rows)

    with pytest.raises(CrossOrganization, match="was opened in"):
        next(rows)


def test_copy_carries_the_scope(
    acme: Organization, projects: dict[str, Project], view: str
) -> None:
    """COPY gives the scope's rows, in a transaction and without one."""
    with tenancy.scope(acme):
        assert copy_out("COPY tracker_project TO STDOUT") == 3
        assert copy_out(f"COPY (SELECT * FROM {view}) TO STDOUT") == 3
        with transaction.atomic():
            assert copy_out("COPY tracker_project TO STDOUT") == 3
    with pytest.raises(ScopeRequired, match="tracker_project"):
        copy_out("COPY tracker_project TO STDOUT")


def test_pipeline_is_refused_in_a_scope_only(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """A pipeline has no room for the setting, and says so."""
    driver = connection.connection

    with driver.pipeline():
        assert driver.execute("SELECT 1").fetchone() == (1,)
    with (
        tenancy.scope(acme),
        pytest.raises(psycopg.NotSupportedError, match="pipeline"),
        driver.pipeline(),
    ):
        driver.execute(COUNT)
    with tenancy.scope(acme):
        assert Project.objects.count() == 3


def test_binary_results_are_refused_in_a_scope(acme: Organization) -> None:
    """A message of the simple protocol has text only, and says so."""
    with (
        tenancy.scope(acme),
        pytest.raises(psycopg.NotSupportedError, match="binary"),
    ):
        connection.connection.execute(COUNT, binary=True)


def test_named_cursor_carries_the_scope(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Rows fetched in pieces are the scope's, whatever ran between."""
    with tenancy.scope(acme), transaction.atomic():
        rows = Project.objects.order_by("name").iterator(chunk_size=1)
        names = [next(rows).name]
        with tenancy.unscoped("in between"):
            Project.objects.count()
        names.extend(project.name for project in rows)

    assert names == ["a", "b", "c"]


@pytest.mark.parametrize("hold", [True, False])
def test_named_cursor_read_in_another_scope_raises(
    acme: Organization, globex: Organization, projects: dict[str, Project], hold: bool
) -> None:
    """A cursor gives its rows in the scope that opened it only."""
    with transaction.atomic():
        cursor = connection.connection.cursor(name="rows", withhold=hold)
        with tenancy.scope(acme):
            cursor.execute("SELECT name FROM tracker_project")
            assert cursor.fetchone() is not None
            cursor.scroll(0)
        for scope in (tenancy.scope(globex), tenancy.unscoped("a test")):
            with scope, pytest.raises(CrossOrganization, match="was opened in"):
                cursor.fetchone()
            with scope, pytest.raises(CrossOrganization, match="was opened in"):
                cursor.scroll(1)
        with pytest.raises(CrossOrganization, match="no scope"):
            cursor.fetchall()
        cursor.close()


def test_sql_cursor_read_in_another_scope_raises(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """DECLARE and FETCH by SQL are watched as well."""
    with transaction.atomic():
        with tenancy.scope(acme):
            execute("DECLARE rows CURSOR FOR SELECT name FROM tracker_project")
            assert len(execute("FETCH 2 FROM rows")) == 2
        with (
            tenancy.unscoped("a test"),
            pytest.raises(CrossOrganization, match="was opened in"),
        ):
            execute("FETCH ALL FROM rows")
        with tenancy.scope(acme):
            assert len(execute("FETCH ALL FROM rows")) == 1


@pytest.fixture
def opening(execute: Execute) -> Iterator[None]:
    """A function that opens the cursor whose name it is given."""
    with tenancy.unscoped("a function", in_generator=True):
        execute(
            "CREATE FUNCTION open_projects(refcursor) RETURNS refcursor"
            " LANGUAGE plpgsql AS $$ BEGIN"
            " OPEN $1 FOR SELECT name FROM tracker_project; RETURN $1; END $$"
        )
    yield
    with tenancy.unscoped("its end", in_generator=True):
        execute("DROP FUNCTION open_projects(refcursor)")


@pytest.mark.parametrize("sql", ["FETCH ALL FROM opened", "MOVE 1 FROM opened"])
def test_cursor_of_a_function_read_in_another_scope_raises(
    acme: Organization,
    globex: Organization,
    projects: dict[str, Project],
    opening: None,
    execute: Execute,
    sql: str,
) -> None:
    """Who fetched from it first goes on, and nobody else, until it is closed."""
    with transaction.atomic():
        with tenancy.scope(acme):
            execute("SELECT open_projects('opened')")
            assert len(execute("FETCH 1 FROM opened")) == 1
        with suppress(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError  # A savepoint's end is not the cursor's.
        for scope in (tenancy.scope(globex), tenancy.unscoped("a test")):
            with scope, pytest.raises(CrossOrganization, match="was opened in"):
                execute(sql)
        with tenancy.scope(acme):
            assert len(execute("FETCH ALL FROM opened")) > 0
            execute("CLOSE opened")
    with transaction.atomic(), tenancy.scope(globex):
        execute("SELECT open_projects('opened')")
        execute("FETCH ALL FROM opened")


def test_cursor_when_first_read_elsewhere_is_refused(
    acme: Organization,
    globex: Organization,
    projects: dict[str, Project],
    opening: None,
    execute: Execute,
) -> None:
    """What a function has opened may hold rows already that it sorted elsewhere."""
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            execute("SELECT open_projects('unread')")
        with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="was not seen"):
            execute("FETCH ALL FROM unread")


HELD = "DECLARE held CURSOR WITH HOLD FOR SELECT name FROM tracker_project"
BY_ANOTHER = f"DO $$ BEGIN EXECUTE '{HELD}'; END $$"


def name_cursor(execute: Execute) -> Any:
    """Open a named cursor of the driver's, and keep it."""
    cursor: Any = connection.connection.cursor(name="held", withhold=True)
    cursor.execute("SELECT name FROM tracker_project")
    return cursor


READINGS: dict[str, tuple[Callable[[Execute], Any], Callable[[Execute], Any]]] = {
    "declared again": (
        lambda execute: execute(HELD),
        lambda execute: fetch_after(execute, HELD),
    ),
    "closed in vain": (
        lambda execute: execute(HELD),
        lambda execute: fetch_after(execute, "SELECT 1/0; CLOSE held"),
    ),
    "many times": (
        lambda execute: execute(HELD),
        lambda execute: connection.connection.cursor().executemany(
            "FETCH ALL FROM held", [()], returning=True
        ),
    ),
    "as a document": (
        lambda execute: execute(HELD),
        lambda execute: execute("SELECT cursor_to_xml('held', 9, false, false, '')"),
    ),
    "of a block": (
        lambda execute: execute(BY_ANOTHER),
        lambda execute: execute("FETCH ALL FROM held"),
    ),
    "of the driver": (name_cursor, lambda execute: execute("FETCH ALL FROM held")),
}


def fetch_after(execute: Execute, sql: str) -> Any:
    """Fetch after a statement that the database refuses."""
    with pytest.raises(DatabaseError):
        execute(sql)
    return execute("FETCH ALL FROM held")


@pytest.mark.parametrize(("open_it", "read"), READINGS.values(), ids=READINGS)
def test_cursor_that_outlives_its_transaction_is_read_in_its_scope(
    open_it: Callable[[Execute], Any],
    read: Callable[[Execute], Any],
    acme: Organization,
    globex: Organization,
    projects: dict[str, Project],
    execute: Execute,
) -> None:
    """However it was opened, and however it is asked for."""
    with tenancy.scope(acme):
        opened = open_it(execute)

    try:
        with (
            tenancy.scope(globex),
            pytest.raises((CrossOrganization, RawSQLRefused)),
        ):
            read(execute)
    finally:
        if isinstance(opened, psycopg.ServerCursor):
            opened.close()
        connection.close()


def test_names_of_iterators_are_of_one_client(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Behind a pool, two clients' cursors stand in one session of the server."""
    names = set()
    with tenancy.scope(acme), connection.cursor() as cursor:
        for _ in range(2):
            rows = Project.objects.iterator(chunk_size=1)
            next(rows)
            cursor.execute("SELECT name FROM pg_cursors")
            names |= {name for (name,) in cursor.fetchall()}
            rows.close()  # type: ignore[attr-defined]  # It is a generator.

    assert len(names) == 2
    assert all(name.startswith("_django_curs_") for name in names)


READ = "SELECT name FROM project_view"
COPIED = "SELECT * FROM copied"
SEVERAL = [
    f"{READ}; SAVEPOINT later",
    f"SAVEPOINT sooner; {READ}",
    f"LOCK TABLE tenancy_user IN SHARE MODE; {READ}",
    f"ANALYZE tenancy_user; {READ}",
    f"SHOW timezone; {READ}",
    f"NOTIFY x; {READ}",
    f"CREATE TEMP TABLE copied AS {READ} AS view; {COPIED}",
    f"CREATE TEMP TABLE copied AS {READ} AS database; {COPIED}",
    f"CREATE TEMP TABLE copied (a text); INSERT INTO copied {READ}; {COPIED}",
    f"PREPARE again AS {READ}; EXECUTE again",
    f"ROLLBACK TO SAVEPOINT begun; {READ}",
    f"COMMIT; BEGIN; {READ}",
]


@pytest.mark.parametrize("sql", SEVERAL)
@pytest.mark.parametrize("before", ["unscoped", "theirs"])
def test_text_of_several_statements_reads_in_its_scope(
    sql: str,
    before: str,
    acme: Organization,
    globex: Organization,
    projects: dict[str, Project],
    view: str,
) -> None:
    """What an earlier scope has set in the transaction does not hold for it."""
    scope = (
        tenancy.unscoped("a test") if before == "unscoped" else tenancy.scope(globex)
    )
    try:
        for own, names in ((tenancy.scope(acme), set("abc")), (nullcontext(), set())):
            with suppress(DatabaseError), transaction.atomic():
                with connection.cursor() as cursor:
                    with scope:
                        Project.objects.count()
                        cursor.execute("SAVEPOINT begun")
                    with own:
                        assert read_all(cursor, sql) <= names
                # Some of them have ended the transaction.
                raise DatabaseError
            connection.close()
    finally:
        connection.close()


def test_no_scope_after_a_fetch_reads_nothing(
    acme: Organization, projects: dict[str, Project], view: str, execute: Execute
) -> None:
    """Rows that were fetched in a transaction leave their setting in it."""
    with tenancy.unscoped("a test"):
        rows = Project.objects.iterator(chunk_size=1)
        next(rows)
    with transaction.atomic():
        execute("SELECT 1")
        with tenancy.unscoped("a test"):
            next(rows)
        assert execute("SELECT name FROM project_view") == []
        assert execute("UPDATE project_view SET description = 'x'") == 0
    rows.close()  # type: ignore[attr-defined]  # It is a generator.


def read_all(cursor: Any, sql: str) -> set[str]:
    """Return what the last of several statements reads, or nothing if it is refused."""
    try:
        cursor.execute(sql)
    except RawSQLRefused:
        return set()
    found: set[str] = set()
    while True:
        if cursor.description:
            found |= {row[0] for row in cursor.fetchall() if row[0] in "abcyz"}
        if not cursor.nextset():
            return found


def test_cursor_when_its_name_is_escaped_is_refused(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """Who writes a name in another way is not taken for another cursor."""
    with transaction.atomic(), tenancy.scope(acme):
        execute("DECLARE rows CURSOR FOR SELECT name FROM tracker_project")
        with pytest.raises(RawSQLRefused, match="U&"):
            execute('FETCH ALL FROM U&"r\\006fws"')


def test_executemany_returns_and_counts(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Many rows go in few messages, and their results come back in order."""
    sql = "UPDATE tracker_project SET description = %s WHERE name = %s"

    with tenancy.scope(acme), connection.cursor() as wrapper:
        cursor = wrapper.cursor
        cursor.executemany(f"{sql} -- a comment", [("x" * 1000, "a")] * 600)
        assert cursor.rowcount == 600
        cursor.executemany(
            f"{sql} RETURNING name",
            [("x", "a"), ("x", "b"), ("x", "z")],
            returning=True,
        )
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())

    assert found == [[("a",)], [("b",)], []]


def test_executemany_is_atomic(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Outside a transaction, what fails late takes all that went before with it."""
    sql = "UPDATE tracker_project SET name = %s WHERE name = %s"
    rows = [("d", "a"), *[("b" * 90, "nothing")] * 3000, ("b", "c")]

    with tenancy.scope(acme):
        with connection.cursor() as cursor, pytest.raises(Exception, match="name_once"):
            cursor.executemany(sql, rows)

        assert Project.objects.filter(name="a").count() == 1


def test_stacked_statements_keep_their_results(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """Only the first result, which is the setting's, is skipped."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        cursor.execute(f"SELECT 1; {COUNT}")
        assert cursor.fetchone() == (1,)
        assert cursor.nextset()
        assert cursor.fetchone() == (3,)


@pytest.mark.parametrize(
    "sql",
    [
        "/* a comment */ SELECT name FROM tracker_project",
        "-- a comment\nSELECT name FROM tracker_project",
        "(SELECT name FROM tracker_project)",
        "((SELECT name FROM tracker_project) UNION (SELECT name FROM tracker_project))",
        "WITH x AS (SELECT name FROM tracker_project) SELECT name FROM x",
        "TABLE tracker_project",
        "VALUES ((SELECT min(name) FROM tracker_project)), ('b'), ('c')",
        "SELECT name FROM tracker_project -- a comment",
    ],
)
def test_verb_is_found_wherever_it_stands(
    acme: Organization, projects: dict[str, Project], execute: Execute, sql: str
) -> None:
    """Comments and parentheses do not hide that rows are read."""
    with tenancy.scope(acme):
        assert len(execute(sql)) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "VACUUM tracker_project",
        "REINDEX INDEX CONCURRENTLY tracker_project_name_once",
        "DROP INDEX CONCURRENTLY IF EXISTS made",
    ],
)
def test_statement_that_stands_alone_is_sent_alone(
    projects: dict[str, Project], execute: Execute, sql: str
) -> None:
    """What may not stand in a transaction is sent as it is."""
    with tenancy.unscoped("a test"):
        execute(sql)


def test_foreign_key_is_validated_over_all_rows(
    projects: dict[str, Project], execute: Execute
) -> None:
    """ALTER TABLE carries the scope, or hidden rows would not be looked at."""
    with tenancy.unscoped("a test"):
        execute("CREATE TABLE made_names (name varchar PRIMARY KEY)")
        try:
            with pytest.raises(Exception, match="violates foreign key"):
                execute(
                    "ALTER TABLE tracker_project ADD CONSTRAINT made_key"
                    " FOREIGN KEY (name) REFERENCES made_names (name)"
                )
        finally:
            execute("DROP TABLE made_names")


def test_role_that_bypasses_policies_is_guarded(
    monkeypatch: pytest.MonkeyPatch,
    acme: Organization,
    projects: dict[str, Project],
    execute: Execute,
) -> None:
    """Where row-level security does not bind the role, the guard does."""
    from tenancy.backends.postgresql import cursors

    with tenancy.scope(acme):
        execute(COUNT)
        known = dict.fromkeys(cursors._bypassed, True)
        monkeypatch.setattr(cursors, "_bypassed", known)

        with pytest.raises(RawSQLRefused, match="tracker_project"):
            execute(COUNT)
        assert Project.objects.count() == 3


def test_statements_when_one_controls_the_transaction_are_refused(
    acme: Organization, execute: Execute
) -> None:
    """A text that ends a savepoint and reads after it would run in what was left."""
    with tenancy.scope(acme), transaction.atomic():
        execute("SAVEPOINT here")
        with pytest.raises(RawSQLRefused, match="one by one"):
            execute("ROLLBACK TO SAVEPOINT here; SELECT name FROM tracker_project")
