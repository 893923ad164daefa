"""What a statement locks: rows of its organization, whatever it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Window
from django.db.models.functions import Lower, RowNumber
from django.db.models.lookups import GreaterThan

import tenancy
from project.tracker.models import Comment, Project, Task
from tenancy.backends.mysql.conditions import ConditionReader
from tenancy.backends.tokens import MySQLDialect, Passing
from tenancy.models import Membership, Organization, User

pytestmark = pytest.mark.skipif(
    connection.vendor != "mysql",
    reason="The database does not have what is MySQL's own",
)

Act = Callable[[], object]

# What an index answers by a range, or by values one by one. Rows of an organization
# may end the range, and they may not.
CONDITIONS: dict[str, Any] = {
    "all": Q(),
    "key beyond": Q(pk__gt=0),
    "key beyond all": Q(pk__gt=999_999),
    "key before all": Q(pk__lt=1),
    "keys that are not": Q(pk__in=[999_999]),
    "not a key": ~Q(pk=999_999),
    "value": Q(status="todo"),
    "value of none": Q(status="zzz"),
    "not a value": ~Q(status="todo"),
    "neither value": ~Q(status__in=["todo", "doing"]),
    "values": Q(status__in=["done", "todo"]),
    "value beyond": Q(status__gt="doing"),
    "value before": Q(status__lte="doing"),
    "value beyond all": Q(status__gt="zzz"),
    "beginning": Q(status__startswith="t"),
    "beginning in any case": Q(status__istartswith="T"),
    "in any case": Q(status__iexact="TODO"),
    "between": Q(priority__range=(3, 9)),
    "date": Q(due_on__gte="2026-01-20"),
    "year": Q(due_on__year=2026),
    "month": Q(due_on__month=1),
    "none": Q(due_on=None),
    "some": Q(due_on__isnull=False),
    "relation": Q(assignee__isnull=False),
    "no relation": Q(assignee=None),
    "value and range": Q(status="todo", priority__gt=1),
    "value and range beyond": Q(status="todo", priority__gt=9),
    "either": Q(status="todo") | Q(priority=9),
    "either range": Q(status="todo") | Q(priority__gt=2),
    "not both": ~Q(status="todo", priority=2),
    "not either": ~(Q(status="todo") | Q(priority__lt=2)),
    "another column": Q(priority__gt=F("id")),
    "joined": Q(project__name="a"),
    "joined range": Q(project__name__gt="a"),
    "joined in a subquery": Q(project__in=Project.objects.filter(name__gt="a")),
    "exists": Exists(Comment.objects.filter(task__gt=OuterRef("pk"))),
    "not exists": ~Exists(Comment.objects.filter(task__gt=OuterRef("pk"))),
    "function": GreaterThan(Lower("title"), "t58"),
}


def lock(condition: Any) -> Act:
    """Return what locks rows."""
    return lambda: list(Task.objects.filter(condition).select_for_update())


def lock_last(condition: Any) -> Act:
    """Return what locks rows from the end of an index."""
    return lambda: list(
        Task.objects.filter(condition).order_by("-pk").select_for_update()[:900]
    )


def update(condition: Any) -> Act:
    """Return what updates rows."""
    return lambda: Task.objects.filter(condition).order_by().update(description="x")


def update_last(condition: Any) -> Act:
    """Return what updates rows from the end of an index."""
    return lambda: Task.objects.filter(condition).order_by("-pk").update(description="")


def delete(condition: Any) -> Act:
    """Return what deletes rows, as a cascade does."""

    def act() -> None:
        Comment.objects.filter(task__in=Task.objects.all())._raw_delete("default")
        assert not Comment.objects.exists()
        Task.objects.filter(condition).order_by()._raw_delete("default")

    return act


def delete_by_own(comments: Any) -> Act:
    """Return what deletes rows that a subquery on their own table finds."""
    return lambda: comments().delete()


def rows() -> QuerySet[Task]:
    """Return rows to lock."""
    return Task.objects.select_for_update()


def run(sql: str) -> Act:
    """Return what executes SQL, whose last placeholders are the organization's key."""

    def act() -> None:
        key = tenancy.require_organization()
        value = Organization._meta.pk.get_db_prep_value(key, connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, [value] * sql.count("%s"))

    return act


COMPARED: dict[str, tuple[str, set[str], set[str]]] = {
    "equal": ("a = 1 AND 2 = b", {"a", "b"}, set()),
    "equal to less than none": ("a =-1 AND b= +2", {"a", "b"}, set()),
    "with its table": ("t.a = 1 AND `t`.`b` = 2", {"a", "b"}, set()),
    "in parentheses": ("((a = 1) AND (b = (2)))", {"a", "b"}, set()),
    "listed": ("a IN (1, 2) AND b IN (SELECT c FROM u)", {"a", "b"}, set()),
    "null": ("a IS NULL AND b <=> NULL", {"a", "b"}, set()),
    "rows of values": ("(a, t.b) IN ((1, 2), (3, 4))", {"a", "b"}, set()),
    "equal expression": ("a = 1 + LEFT(b, 2)", {"a"}, set()),
    "joined": ("EXISTS (SELECT 1 FROM u WHERE u.c = (t.a))", {"c"}, set()),
    "one of two equal": ("(a = 1 OR b = 2)", set(), set()),
    "greater": ("a > 1 AND 2 <= b", set(), {"a > 1", "2 <= b"}),
    "greater with a sign": ("a>-1 AND + b > 2", set(), {"a>-1", "+ b > 2"}),
    "not equal": ("a <> 1 OR b != 2", set(), {"a <> 1", "b != 2"}),
    "not null": ("a IS NOT NULL", set(), {"a IS NOT NULL"}),
    "between": (
        "a BETWEEN 1 AND 2 AND 5 BETWEEN b AND 9",
        set(),
        {"a BETWEEN 1 AND 2", "5 BETWEEN b AND 9"},
    ),
    "like": ("a LIKE 'x%%' AND b NOT IN (1)", set(), {"a LIKE 'x%%'", "b NOT IN (1)"}),
    "for itself": ("a AND NOT b", set(), {"a", "NOT b"}),
    "negated": ("NOT (a = 1 AND b = 2)", set(), {"a = 1", "b = 2"}),
    "negated alone": ("NOT a = 1 AND ! (b = 2)", set(), {"NOT a = 1", "b = 2"}),
    "untrue": ("(a = 1) IS NOT TRUE", set(), {"(a = 1) IS NOT TRUE"}),
    "truth": ("a = 1 IS FALSE", set(), {"a = 1 IS FALSE"}),
    "compared truth": ("(a = 1) <> 1", set(), {"(a = 1) <> 1"}),
    "one of two": ("(a = 1 XOR b = 2)", set(), {"a = 1", "b = 2"}),
    "of a function": ("DATE(a) > 1", set(), {"DATE(a) > 1"}),
    "of a part": ("EXTRACT(DAY FROM a) > 2", set(), {"EXTRACT(DAY FROM a) > 2"}),
    "of cases": (
        "CASE WHEN a > 1 AND b < 2 THEN 1 ELSE 0 END = 1 AND b > 1",
        set(),
        {"CASE WHEN a > 1 AND b < 2 THEN 1 ELSE 0 END = 1", "b > 1"},
    ),
    "had": ("a = 1 GROUP BY b HAVING b > 2", {"a"}, {"b > 2"}),
    "written": ("a = 1 ORDER BY b DESC", {"a"}, set()),
}


@pytest.mark.parametrize(
    ("condition", "equated", "ranged"), COMPARED.values(), ids=COMPARED
)
def test_conditions_are_equal_values_or_ranges(
    condition: str, equated: set[str], ranged: set[str]
) -> None:
    """A condition asks for values of a column, or may be answered by a range."""
    sql = f"SELECT t.a FROM t WHERE {condition}"
    reader = ConditionReader(MySQLDialect().read(sql, Passing.SEQUENCE).tokens)
    reader.read()

    assert {column for _table, column in reader.equated} == equated
    assert {
        sql[found.start : found.end]
        for found in reader.conditions
        if found.mentions and not found.is_point
    } == ranged


OWN = "SELECT id FROM tracker_task t WHERE t.organization_id = %s"

ACTS: dict[str, Act] = {
    f"{make.__name__} {name}": make(condition)
    for make in (lock, lock_last, update, update_last, delete)
    for name, condition in CONDITIONS.items()
} | {
    "delete by keys found": delete_by_own(
        lambda: Comment.objects.filter(
            pk__in=Comment.objects.filter(body="x").values("pk")
        )
    ),
    "delete by keys that exist": delete_by_own(
        lambda: Comment.objects.filter(
            Exists(Comment.objects.filter(pk__gte=OuterRef("pk")))
        )
    ),
    "delete by count": delete_by_own(
        lambda: Comment.objects.annotate(count=Count("task__labels")).filter(count=0)
    ),
    "last": lambda: rows().last(),
    "first": lambda: rows().first(),
    "latest": lambda: list(rows().order_by("-created_at", "-status")[:900]),
    "in order": lambda: list(rows()),
    "in reverse": lambda: list(rows().reverse()),
    "by value": lambda: list(rows().order_by("status", "priority")[:900]),
    "by relation": lambda: list(rows().order_by("project_id", "-status")[:900]),
    "from the first relation": lambda: list(rows().order_by("-project_id")[:900]),
    "by expression": lambda: list(rows().order_by(Lower("status").desc())[:900]),
    "distinct": lambda: list(rows().order_by().values("status").distinct()),
    "distinct last": lambda: list(
        rows().order_by("-status").values("status").distinct()
    ),
    "named last": lambda: list(
        rows().values(key=F("pk")).order_by("-key").filter(title="x")[:2]
    ),
    "counted": lambda: list(
        rows().order_by("-status").values("status").annotate(count=Count("pk"))
    ),
    "greatest": lambda: list(
        rows()
        .order_by("status")
        .values("status")
        .annotate(most=Max("priority"))
        .filter(most__gt=9)
    ),
    "arms": lambda: list(
        Task.objects.filter(status__gt="x")
        .order_by("-pk")
        .select_for_update()
        .union(Task.objects.filter(priority__gt=3).order_by().select_for_update())
    ),
    "locked by name": lambda: list(
        rows().select_related("project").select_for_update(of=("self",))
        if connection.features.has_select_for_update_of
        else rows().select_related("project")
    ),
    "joined in order": lambda: list(
        rows().select_related("assignee").order_by("assignee_id", "pk")[:1]
    ),
    "joined in order of what it needs": lambda: list(
        rows().select_related("project").order_by("project_id", "pk")[:1]
    ),
    "either in order": lambda: list(
        rows().filter(Q(project=1) | Q(priority=3)).order_by("project_id", "pk")[:1]
    ),
    "update either relation": lambda: (
        Task.objects.order_by()
        .filter(Q(project__in=[1, 2]) | Q(assignee=1))
        .update(title="z")
    ),
    "by a window": lambda: list(
        Task.objects.annotate(
            number=Window(RowNumber(), partition_by=F("project")),
        )
        .filter(pk__in=[1, 31])
        .order_by()
        .select_for_update()
    ),
    "in a subquery": lambda: list(
        Project.objects.filter(
            pk__in=Task.objects.filter(pk__in=[1, 31])
            .order_by()
            .select_for_update()
            .values("project_id")
        )
    ),
    "in an exists": lambda: list(
        Project.objects.filter(
            Exists(Task.objects.filter(pk__in=[1, 31]).order_by().select_for_update())
        )
    ),
    "raw with a sign": run(f"{OWN} AND t.id>-1 FOR UPDATE"),
    "raw order in parentheses": run(f"{OWN} ORDER BY (priority), (id) FOR UPDATE"),
    "raw between": run(f"{OWN} AND priority BETWEEN 3 AND 9 FOR UPDATE"),
    "raw value first": run(f"{OWN} AND 2 < priority FOR UPDATE"),
    "raw not": run(f"{OWN} AND NOT priority = 2 FOR UPDATE"),
    "raw not either": run(f"{OWN} AND NOT (2 = t.priority) FOR UPDATE"),
    "raw only one": run(f"{OWN} AND (priority > 2 XOR status > 'm') FOR UPDATE"),
    "raw untrue": run(f"{OWN} AND (priority = 2) IS NOT TRUE FOR UPDATE"),
    "raw if": run(f"{OWN} AND IF(priority > 2, 1, 0) FOR UPDATE"),
    "raw pair": run(f"{OWN} AND (priority, status) > (2, 'm') FOR UPDATE"),
    "raw pairs": run(
        f"{OWN} AND (priority, status) IN ((2, 'todo'), (9, 'a')) FOR UPDATE"
    ),
    "raw greater than one": run(
        f"{OWN} AND status > (SELECT MIN(model) FROM django_content_type) FOR UPDATE"
    ),
    "raw greater than any": run(
        f"{OWN} AND status > ANY (SELECT model FROM django_content_type) FOR UPDATE"
    ),
    "raw shared": run(f"{OWN} AND priority > 2 LOCK IN SHARE MODE"),
    "raw having": run(
        "SELECT status FROM tracker_task WHERE organization_id = %s"
        " GROUP BY status HAVING status > 'm' FOR UPDATE"
    ),
    "raw expression": run(
        "WITH c AS (SELECT model FROM django_content_type)"
        f" {OWN} AND t.status > (SELECT MIN(model) FROM c) FOR UPDATE"
    ),
    "raw copy": run(
        "INSERT INTO django_content_type (app_label, model)"
        " SELECT id, status FROM tracker_task WHERE organization_id = %s"
        " AND priority > 3"
    ),
    "raw join": run(
        "SELECT t.id FROM django_content_type c JOIN tracker_task t"
        " ON t.status > c.model WHERE t.organization_id = %s FOR UPDATE"
    ),
    "raw update of two": run(
        "UPDATE tracker_task t JOIN tracker_project p ON p.id = t.project_id"
        " AND p.organization_id = %s AND p.name > 'a' SET t.description = 'x'"
        " WHERE t.organization_id = %s AND t.priority > 2"
    ),
    "raw ordered by number": run(
        f"{OWN} AND title = 'x' ORDER BY 1 DESC LIMIT 2 FOR UPDATE"
    ),
}
LEVELS = ("READ COMMITTED", "REPEATABLE READ")


@pytest.fixture
def second() -> Iterator[Any]:
    """A connection of somebody else's."""
    copy: Any = connection.copy()
    yield copy
    copy.close()


@pytest.fixture
def indexes(second: Any) -> Iterator[list[str]]:
    """The names of a table's indexes, of which two are the test's own."""
    own = {"test_due_on": "organization_id, due_on"}
    if not getattr(connection, "mysql_is_mariadb", False):
        own["test_lower"] = "organization_id, (LOWER(title))"
    # By another connection: what changes a schema ends the transaction.
    with tenancy.unscoped("a test", in_generator=True), second.cursor() as cursor:
        for name, columns in own.items():
            cursor.execute(f"CREATE INDEX {name} ON tracker_task ({columns})")
    connection.ensure_connection()
    backend: Any = connection.connection
    backend.tenancy_backend.forget()
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "tracker_task")
    yield [name for name, detail in found.items() if detail["index"]] + ["PRIMARY"]
    with tenancy.unscoped("a test", in_generator=True), second.cursor() as cursor:
        for name in own:
            cursor.execute(f"DROP INDEX {name} ON tracker_task")
    backend.tenancy_backend.forget()


@pytest.fixture
def neighbors(
    alice: User, acme: Organization, globex: Organization
) -> tuple[Organization, list[Organization]]:
    """An organization, and those whose rows lie before and behind its own."""
    third = Organization.objects.create_with_owner(name="Initech", owner=alice)
    ordered = sorted([acme, globex, third], key=lambda one: str(one.pk))
    return ordered[1], [ordered[0], ordered[2]]


def fill(organization: Organization, count: int) -> None:
    """Create tasks of all kinds."""
    with tenancy.scope(organization):
        member = Membership.objects.get()
        projects = [Project.objects.create(name=name) for name in "ab"]
        Task.objects.bulk_create(
            Task(
                project=projects[number % 2],
                title=f"t{number}",
                status=("todo", "doing", "done")[number % 3],
                priority=number % 4 + 1,
                assignee=member if number % 2 else None,
                due_on=f"2026-01-{number % 28 + 1:02}" if number % 5 else None,
            )
            for number in range(count)
        )
        Comment.objects.create(task=Task.objects.all()[0], author=member, body="x")


def count_locked(
    cursor: Any, organizations: list[Organization], indexes: list[str]
) -> int:
    """Return how many of their rows, and entries of indexes, are locked."""
    keys = [
        Organization._meta.pk.get_db_prep_value(one.pk, connection)
        for one in organizations
    ]
    locked = 0
    cursor.execute(
        "SELECT id FROM tracker_task WHERE organization_id IN (%s, %s)", keys
    )
    ids = [key for (key,) in cursor.fetchall()]
    for index in indexes:
        # Each row by its key, each entry by its organization.
        asked, values = ("organization_id", keys)
        if index == "PRIMARY":
            asked, values = "id", ids
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(
            f"SELECT id FROM tracker_task FORCE INDEX ({index})"
            f" WHERE {asked} IN ({marks}) FOR UPDATE SKIP LOCKED",
            values,
        )
        locked += len(ids) - len(cursor.fetchall())
    # Each has one comment.
    cursor.execute(
        "SELECT id FROM tracker_comment WHERE organization_id IN (%s, %s)"
        " FOR UPDATE SKIP LOCKED",
        keys,
    )
    return locked + len(keys) - len(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [60, 0])
@pytest.mark.parametrize("level", LEVELS)
def test_statement_locks_no_row_of_its_neighbors(
    level: str,
    count: int,
    neighbors: tuple[Organization, list[Organization]],
    indexes: list[str],
    second: Any,
) -> None:
    """No row before or behind the organization's own is locked, however it is read."""
    organization, others = neighbors
    for other in others:
        fill(other, 30)
    if count:
        fill(organization, count)
    with tenancy.unscoped("a test"), connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE tracker_task, tracker_project, tracker_comment")
        cursor.fetchall()
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")

    locked: dict[str, int] = {}
    for name, act in ACTS.items():
        with tenancy.scope(organization), transaction.atomic():
            act()
            with tenancy.unscoped("somebody else"), second.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute("BEGIN")
                locked[name] = count_locked(cursor, others, indexes)
                cursor.execute("ROLLBACK")
            transaction.set_rollback(True)

    assert {name: rows for name, rows in locked.items() if rows} == {}
