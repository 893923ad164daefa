"""What the database does for a scoped query, by its own EXPLAIN.

TENANCY_TEST_ROWS sets how many tasks there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet

import tenancy
from project.tracker.models import Project, Task
from tenancy.backends import get_backend
from tenancy.models import Organization
from tests.isolation import skew

pytestmark = pytest.mark.django_db

ROWS = int(os.environ.get("TENANCY_TEST_ROWS", "50000"))
STATISTICS = 10_000
TABLES = (Task._meta.db_table, Project._meta.db_table)


@dataclass(frozen=True)
class Skewed:
    """The greatest organization, a small one, and a key of a task of each."""

    great: Organization
    small: Organization
    task: Any
    project: Any


@pytest.fixture(scope="module")
def skewed(django_db_setup: None, django_db_blocker: Any) -> Iterator[Skewed]:
    """Tasks of a hundred organizations, the greatest of which has a fifth of all."""
    with django_db_blocker.unblock(), transaction.atomic():
        great, small, *_ = skew.make_organizations()
        skew.fill(ROWS)
        if get_backend(connection).hides_rows:
            make_twins()
        with tenancy.scope(great, in_generator=True):
            task = Task.objects.order_by("pk")[10]
        yield Skewed(great, small, task.pk, task.project_id)
        transaction.set_rollback(True)
    connection.close()


@pytest.fixture
def policies(skewed: Skewed) -> Skewed:
    """The same, where plans are made under policies."""
    if not get_backend(connection).hides_rows:
        pytest.skip("The database has no policies for its planner to look at.")
    return skewed


def make_twins() -> None:
    """Copy the tables, with their indexes and keys and without their policies."""
    with tenancy.unscoped("tables without a policy"), connection.cursor() as cursor:
        # Every row is counted, so that no chance makes the plans of twins differ.
        cursor.execute(f"SET LOCAL default_statistics_target = {STATISTICS}")
        for table in TABLES:
            cursor.execute(f"CREATE TABLE twin_{table} (LIKE {table} INCLUDING ALL)")
            cursor.execute(f"INSERT INTO twin_{table} SELECT * FROM {table}")
        # The planner looks at foreign keys to count the rows of a join.
        cursor.execute(
            "SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid::regclass::text = ANY (%s)"
            " AND confrelid::regclass::text = ANY (%s)",
            [list(TABLES), list(TABLES)],
        )
        for name, table, text in cursor.fetchall():
            twin = text.replace("REFERENCES ", "REFERENCES twin_")
            cursor.execute(f'ALTER TABLE twin_{table} ADD CONSTRAINT "{name}" {twin}')
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in (*TABLES, *(f"twin_{table}" for table in TABLES)):
            # Written anew: rows that earlier tests rolled back still fill pages.
            cursor.execute(f"CLUSTER {table} USING {table}_pkey")
            cursor.execute(f"ANALYZE {table}")


QUERIES: dict[str, Callable[[Skewed], Any]] = {
    "get": lambda data: Task.objects.filter(pk=data.task),
    "list": lambda data: Task.objects.order_by("-priority", "-id")[:50],
    "status": lambda data: Task.objects.filter(status="doing")[:50],
    "join": lambda data: Task.objects.select_related("project").filter(
        project__name="Project", status="doing"
    )[:50],
    "reverse": lambda data: Project.objects.filter(tasks__status="doing").distinct(),
    "count": lambda data: Task.objects.filter(status="todo").values("pk"),
    "filter": lambda data: Task.objects.filter(priority=1),
    "project": lambda data: Task.objects.filter(project_id=data.project, status="todo"),
}


def explain(sql: str, params: Any = None) -> dict[str, Any]:
    """Return the plan of a statement, in the active scope."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        (plan,) = cursor.fetchone()
    loaded = json.loads(plan) if isinstance(plan, str) else plan
    return dict(loaded[0]["Plan"])


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from walk(child)


def shape(plan: dict[str, Any], indexes: dict[str, tuple[str, ...]]) -> Any:
    """Return what a plan does, whatever its tables and indexes are called.

    Two constants that a column equals are compared with each other once, before the
    plan is begun.
    """
    if plan["Node Type"] == "Result" and "One-Time Filter" in plan:
        (plan,) = plan["Plans"]
    index = plan.get("Index Name")
    return (
        plan["Node Type"],
        plan.get("Join Type"),
        plan.get("Relation Name", "").removeprefix("twin_"),
        indexes.get(index or ""),
        [shape(child, indexes) for child in plan.get("Plans", ())],
    )


def read_indexes(tables: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the columns of each index."""
    found: dict[str, tuple[str, ...]] = {}
    with tenancy.unscoped("the indexes"), connection.cursor() as cursor:
        for table in tables:
            constraints = connection.introspection.get_constraints(cursor, table)
            for name, details in constraints.items():
                if details["index"] or details["unique"] or details["primary_key"]:
                    found[name] = tuple(details["columns"])
    return found


@pytest.mark.parametrize("which", ["great", "small"])
def test_raw_select_when_under_policy_reaches_index(
    policies: Skewed, which: str
) -> None:
    """The policy is a condition of the index, not a filter after it."""
    with tenancy.scope(getattr(policies, which)):
        plan = explain("SELECT * FROM tracker_task WHERE status = 'doing'")

    conditions = [node.get("Index Cond", "") for node in walk(plan)]
    assert any("organization_id" in condition for condition in conditions), plan


@pytest.mark.parametrize("which", ["great", "small"])
def test_raw_list_when_under_policy_estimates_well(
    policies: Skewed, which: str
) -> None:
    """The planner knows from the settings how many rows an organization has."""
    organization = getattr(policies, which)
    with tenancy.scope(organization):
        estimate = explain("SELECT * FROM tracker_task")["Plan Rows"]
        count = Task.objects.count()

    assert count / 3 < estimate < count * 3


@pytest.mark.parametrize("which", ["great", "small"])
@pytest.mark.parametrize("query", sorted(QUERIES))
def test_orm_plan_when_under_policy_equals_plain(
    policies: Skewed, query: str, which: str
) -> None:
    """A scoped query is planned as it is on a table that has no policy."""
    indexes = read_indexes((*TABLES, *(f"twin_{table}" for table in TABLES)))
    with tenancy.scope(getattr(policies, which)):
        sql, params = QUERIES[query](policies).query.sql_with_params()
        scoped = explain(sql, params)
    plain_params = [
        str(value) if hasattr(value, "tables") else value for value in params
    ]
    for table in TABLES:
        sql = sql.replace(f'"{table}"', f'"twin_{table}"')
    with tenancy.unscoped("tables without a policy"):
        plain = explain(sql, plain_params)

    assert shape(scoped, indexes) == shape(plain, indexes)
    assert scoped["Plan Rows"] == plain["Plan Rows"]


@pytest.mark.parametrize("which", ["great", "small"])
def test_raw_plan_when_under_policy_equals_plain(policies: Skewed, which: str) -> None:
    """Raw SQL without a predicate is planned as one with it where no policy is."""
    indexes = read_indexes((*TABLES, *(f"twin_{table}" for table in TABLES)))
    organization = getattr(policies, which)
    text = "SELECT * FROM tracker_task WHERE status = 'doing'"
    with tenancy.scope(organization):
        scoped = explain(text)
    with tenancy.unscoped("tables without a policy"):
        plain = explain(
            f"{text.replace('tracker', 'twin_tracker')} AND organization_id = %s",
            [organization.pk],
        )

    assert shape(scoped, indexes) == shape(plain, indexes)


@pytest.mark.parametrize("which", ["great", "small"])
@pytest.mark.parametrize("query", ["list", "status", "project"])
def test_scoped_list_when_explained_uses_organization_index(
    skewed: Skewed, query: str, which: str
) -> None:
    """The list that a page shows is read from an index of the organization."""
    indexes = read_indexes(TABLES)
    with tenancy.scope(getattr(skewed, which)):
        rows: QuerySet[Any] = QUERIES[query](skewed)
        text = rows.explain()

    used = {name: columns for name, columns in indexes.items() if name in text}
    assert any(columns[0] == "organization_id" for columns in used.values()), text
