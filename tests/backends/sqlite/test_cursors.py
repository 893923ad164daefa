"""What SQLite's own SQL could get round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

import tenancy
from project.tracker.models import Project
from tenancy.backends import get_backend
from tenancy.backends.sqlite.cursors import SQLiteBackend
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import Organization, User

Execute = Callable[..., Any]

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "sqlite",
        reason="The database does not have what is SQLite's own",
    ),
    pytest.mark.django_db,
]


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

    for sql in ("SELECT * FROM hidden", "SELECT * FROM view_of_view"):
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
        connection.connection.execute(
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
