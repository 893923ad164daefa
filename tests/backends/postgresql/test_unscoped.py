"""What runs as the role of unscoped(), and that nothing is left of it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

import tenancy
from project.tracker.models import Project
from tenancy.exceptions import RawSQLRefused
from tenancy.models import Organization

# ruff: noqa: F401, F403, F405, F811 - fixtures and tests are found by their names
from tests.backends.postgresql.test_cursors import *
from tests.isolation.forms import unscoped_role

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL only"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("unscoped_role"),
]

WHO = "SELECT current_user"


def test_role_is_entered_when_unscoped_only(
    unscoped_role: str, acme: Organization, execute: Execute
) -> None:
    """A statement is the role's in unscoped(), and the connection's elsewhere."""
    (own,) = execute(WHO)[0]

    with transaction.atomic():
        with tenancy.unscoped("a test"):
            assert execute(WHO) == [(unscoped_role,)]
        assert execute(WHO) == [(own,)]
        with tenancy.unscoped("a test"):
            execute("SAVEPOINT made")
            execute(WHO)
        with tenancy.scope(acme):
            assert execute(WHO) == [(own,)]
            execute("ROLLBACK TO SAVEPOINT made")
            assert execute(WHO) == [(own,)]
    with tenancy.unscoped("a test"):
        execute(WHO)
    assert execute(WHO) == [(own,)]


def test_savepoint_of_role_brings_it_not_back(
    unscoped_role: str, projects: dict[str, Project], execute: Execute
) -> None:
    """A savepoint that the role made gives the role back to nobody."""
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            execute(WHO)
            execute("SAVEPOINT made")
        assert execute(WHO) != [(unscoped_role,)]
        execute("ROLLBACK TO SAVEPOINT made")

        execute("CREATE TABLE made_table (id int)")
        assert execute(
            "SELECT tableowner FROM pg_tables WHERE tablename = 'made_table'"
        ) == execute(WHO)
        transaction.set_rollback(True)


def test_schema_when_unscoped_is_changed_by_owner(
    projects: dict[str, Project], execute: Execute
) -> None:
    """What changes the schema is the connection's own, and what it makes is shared."""
    with tenancy.unscoped("a test"), transaction.atomic():
        assert Project.objects.count() == 5
        execute("CREATE TABLE made_table AS SELECT * FROM tracker_project")
        execute("CREATE TEMPORARY TABLE made_other (id int)")
        execute("ALTER TABLE made_table ADD COLUMN made int")

        assert execute("SELECT count(*) FROM made_table") == [(5,)]
        assert execute("SELECT count(*) FROM made_other") == [(0,)]
        assert execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN"
            " ('made_table', 'tracker_project')"
        ) == [(connection.settings_dict["USER"],)]
        assert execute(
            "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'tracker_project'"
        ) == [(True,)]
        transaction.set_rollback(True)


def test_key_when_validated_later_is_validated_over_all_rows(
    projects: dict[str, Project], execute: Execute
) -> None:
    """VALIDATE CONSTRAINT names one of two tables, and looks at all rows of both."""
    with tenancy.unscoped("a test"), transaction.atomic():
        execute("CREATE TABLE made_names (name varchar PRIMARY KEY)")
        execute(
            "ALTER TABLE tracker_project ADD CONSTRAINT made_key FOREIGN KEY (name)"
            " REFERENCES made_names (name) NOT VALID"
        )
        with (
            pytest.raises(Exception, match="violates foreign key"),
            transaction.atomic(),
        ):
            execute("ALTER TABLE tracker_project VALIDATE CONSTRAINT made_key")
        execute("INSERT INTO made_names SELECT DISTINCT name FROM tracker_project")
        execute("ALTER TABLE tracker_project VALIDATE CONSTRAINT made_key")
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    "text",
    [
        "REFRESH MATERIALIZED VIEW made_view",
        "TRUNCATE tracker_project; SELECT name FROM tracker_project",
    ],
)
def test_text_of_role_and_owner_is_refused(
    text: str, projects: dict[str, Project], execute: Execute
) -> None:
    """What would silently see no rows is refused."""
    with tenancy.unscoped("a test"):
        with pytest.raises(RawSQLRefused, match="TENANCY_UNSCOPED_ROLE"):
            execute(text)

        assert Project.objects.count() == 5


def test_block_when_unscoped_reaches_all_rows(
    projects: dict[str, Project], execute: Execute
) -> None:
    """An anonymous block concerns rows, and runs as the role."""
    with tenancy.unscoped("a test"):
        execute("DO 'BEGIN UPDATE tracker_project SET description = ''x''; END'")

        assert Project.objects.filter(description="x").count() == 5
