"""What policies read, and the plans that functions and prepared statements keep."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

import tenancy
from project.tracker.models import Project
from tenancy.models import Membership, Organization

if connection.vendor != "postgresql":
    pytest.skip("The database does not read settings.", allow_module_level=True)

from tenancy.backends.postgresql.settings import (
    INTEGER_MARKS,
    MARK_BEGINNINGS,
    UUID_MARKS,
    write_every,
    write_organization,
    write_own,
)

pytestmark = pytest.mark.django_db

Execute = Callable[..., Any]
KINDS = ("plpgsql", "sql", "prepared")


@pytest.fixture
def execute() -> Execute:
    """Send SQL, and return its rows."""

    def run(sql: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    return run


@pytest.fixture
def projects(acme: Organization, globex: Organization) -> None:
    """Three projects of acme, two of globex."""
    for organization, count in ((acme, 3), (globex, 2)):
        with tenancy.scope(organization):
            Project.objects.bulk_create(
                [Project(name=f"Project {number}") for number in range(count)]
            )


@pytest.fixture(params=KINDS)
def count(
    request: pytest.FixtureRequest, projects: None, execute: Execute
) -> Iterator[Callable[[], int]]:
    """Count projects by what keeps its plan for the rest of the connection."""
    text = "SELECT count(*) FROM tracker_project"
    with tenancy.unscoped("a test", in_generator=True):
        if request.param == "prepared":
            execute(f"PREPARE made_count AS {text}")
        elif request.param == "sql":
            execute(
                f"CREATE FUNCTION made_count() RETURNS bigint STABLE LANGUAGE sql"
                f" AS '{text}'"
            )
        else:
            execute(
                "CREATE FUNCTION made_count() RETURNS bigint STABLE LANGUAGE plpgsql"
                f" AS 'BEGIN RETURN ({text}); END'"
            )
    is_prepared = request.param == "prepared"
    call = "EXECUTE made_count" if is_prepared else "SELECT made_count()"

    def run() -> int:
        # A prepared statement's plan becomes a general one after five.
        results = {execute(call)[0][0] for _ in range(7)}
        (result,) = results
        return int(result)

    yield run
    with tenancy.unscoped("a test", in_generator=True):
        execute(
            "DEALLOCATE made_count" if is_prepared else "DROP FUNCTION made_count()"
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_atomic", [False, True])
def test_kept_plan_serves_each_scope_with_its_own_rows(
    acme: Organization,
    globex: Organization,
    count: Callable[[], int],
    is_atomic: bool,
) -> None:
    """Whichever scope made the plan, the next one sees all of its own rows."""
    scopes: list[tuple[Callable[[], AbstractContextManager[Any]], int]] = [
        (lambda: tenancy.scope(acme), 3),
        (lambda: tenancy.unscoped("a test"), 5),
        (lambda: tenancy.scope(globex), 2),
    ]
    with transaction.atomic() if is_atomic else nullcontext():
        for first, expected in scopes:
            for second, other in scopes:
                with first():
                    assert count() == expected
                with second():
                    assert count() == other


def test_plan_kept_for_one_organization_shows_own_memberships(
    acme: Organization, globex: Organization, execute: Execute
) -> None:
    """A user's own memberships are found by a function that was planned elsewhere."""
    with tenancy.unscoped("a test"):
        execute(
            "CREATE FUNCTION made_count() RETURNS bigint STABLE LANGUAGE plpgsql AS"
            " 'BEGIN RETURN (SELECT count(*) FROM tenancy_membership); END'"
        )
        user = Membership.objects.get(organization=acme).user
    with tenancy.scope(globex):
        Membership.objects.add(user=user)

    expected: list[tuple[AbstractContextManager[Any], int]] = [
        (tenancy.scope(globex), 2),
        (tenancy.scope(acme), 1),
        (tenancy.scope(user=user), 2),
        (tenancy.scope(acme), 1),
    ]
    for scope, count in expected:
        with scope:
            assert execute("SELECT made_count()") == [(count,)]


@pytest.mark.parametrize("answer", ["true", "false", "NULL"])
def test_policy_when_function_lies_shows_no_others(
    acme: Organization,
    globex: Organization,
    projects: None,
    execute: Execute,
    answer: str,
) -> None:
    """The function that tells the planner what to leave out opens nothing."""
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            execute(
                "CREATE OR REPLACE FUNCTION tenancy_spans_organizations()"
                " RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE"
                f" AS 'BEGIN RETURN {answer}; END'"
            )

        with tenancy.scope(acme):
            assert execute("SELECT count(*) FROM tracker_project") == [(3,)]
            assert execute("SELECT count(*) FROM tenancy_organization") == [(1,)]
            assert execute("SELECT count(*) FROM tenancy_membership") == [(1,)]
            execute("UPDATE tracker_project SET description = 'x'")
        with tenancy.scope(globex):
            assert Project.objects.filter(description="x").count() == 0
        transaction.set_rollback(True)


def test_copy_when_unscoped_holds_all_rows(projects: None, execute: Execute) -> None:
    """A table and a view that are filled in unscoped() hold everybody's rows."""
    with tenancy.unscoped("a test"):
        execute("CREATE TABLE made_table AS SELECT * FROM tracker_project")
        execute("CREATE MATERIALIZED VIEW made_view AS SELECT * FROM tracker_project")
        assert execute("SELECT count(*) FROM made_table") == [(5,)]
        assert execute("SELECT count(*) FROM made_view") == [(5,)]

        Project.objects.filter(name="Project 0").delete()
        execute("REFRESH MATERIALIZED VIEW made_view")

        assert execute("SELECT count(*) FROM made_view") == [(3,)]


def test_key_when_validated_later_is_validated_over_all_rows(
    projects: None, execute: Execute
) -> None:
    """VALIDATE CONSTRAINT names one of two tables, and looks at all rows of both."""
    with tenancy.unscoped("a test"), transaction.atomic():
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute("CREATE TABLE made_names (name varchar PRIMARY KEY)")
        execute(
            "ALTER TABLE tracker_project ADD CONSTRAINT made_key FOREIGN KEY (name)"
            " REFERENCES made_names (name) NOT VALID"
        )
        with (
            pytest.raises(IntegrityError, match="violates foreign key"),
            transaction.atomic(),
        ):
            execute("ALTER TABLE tracker_project VALIDATE CONSTRAINT made_key")
        execute("INSERT INTO made_names SELECT DISTINCT name FROM tracker_project")
        execute("ALTER TABLE tracker_project VALIDATE CONSTRAINT made_key")
        transaction.set_rollback(True)


def test_savepoint_when_rolled_back_brings_no_mark_back(
    acme: Organization, projects: None, execute: Execute
) -> None:
    """A savepoint that was made unscoped gives the rows of others back to nobody."""
    text = "SELECT count(*) FROM tracker_project"
    with transaction.atomic():
        with tenancy.unscoped("a test"):
            assert execute(text) == [(5,)]
            execute("SAVEPOINT made")
        with tenancy.scope(acme):
            assert execute(text) == [(3,)]
            execute("ROLLBACK TO SAVEPOINT made")
            assert execute(text) == [(3,)]
        execute("ROLLBACK TO SAVEPOINT made")
        setting = "SELECT current_setting('tenancy.organization', true)"
        assert execute(setting) == [("",)]


def test_plan_in_organization_holds_the_key_alone(
    acme: Organization, execute: Execute
) -> None:
    """Nothing is left there of how other scopes reach memberships."""
    with tenancy.scope(acme):
        plans = [
            "\n".join(line for (line,) in execute(f"EXPLAIN SELECT * FROM {table}"))
            for table in ("tenancy_membership", "tenancy_organization")
        ]

    for plan in plans:
        assert "tenancy.organization" in plan
        assert "tenancy.user" not in plan
        assert "SubPlan" not in plan and "InitPlan" not in plan


def test_scope_is_one_statement_that_sets_one_setting() -> None:
    """An organization's key goes in one statement; marks make plans anew."""
    key = str(uuid.UUID(int=7))

    organization = write_organization(key)

    assert organization.text == f"SET LOCAL tenancy.organization = '{key}';\n".encode()
    assert (organization.results, organization.replans) == (1, False)
    for prefix in (write_every(UUID_MARKS), write_own(UUID_MARKS, "7")):
        assert prefix.replans and prefix.text.startswith(b"DISCARD PLANS; ")
        assert prefix.text.endswith(b";\n")
        lean = prefix.without_replanning()
        assert not lean.replans and lean.text.startswith(b"SET LOCAL tenancy.")
        for one in (prefix, lean):
            assert one.text.count(b";") == one.results


@pytest.mark.parametrize("mark", [*UUID_MARKS, *INTEGER_MARKS])
def test_mark_is_no_text_of_a_key(mark: str, execute: Execute) -> None:
    """A mark can be cast to the key's type, and a key is never written like it."""
    kind = "uuid" if mark in UUID_MARKS else "bigint"

    ((written,),) = execute(f"SELECT '{mark}'::{kind}::text")

    assert mark.startswith(MARK_BEGINNINGS)
    assert not written.startswith(MARK_BEGINNINGS)
