"""Line 16: no lock of another organization's row is taken, or waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.models.deletion import Collector

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import Organization

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 8.0
Act = Callable[[Any, Any], object]


def update_by_cursor(own: Any, other: Any) -> int:
    """Update by SQL that names both the key and the organization."""
    organization = tenancy.require_organization()
    key = Organization._meta.pk.get_db_prep_value(organization, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tracker_project SET name = 'x'"
            " WHERE id = %s AND organization_id = %s",
            [Project._meta.pk.get_db_prep_value(other, connection), key],
        )
        return int(cursor.rowcount)


def save_by_force(own: Any, other: Any) -> None:
    """Save an instance that was given the other's key."""
    with pytest.raises(DatabaseError), transaction.atomic():
        Project(pk=other, name="x").save(force_update=True)


def delete_by_collector(rows: list[Project]) -> None:
    """Delete rows as a cascade does: by their keys."""
    collector = Collector(using="default")
    collector.collect(rows)
    _total, deleted = collector.delete()
    assert deleted["tracker.Project"] == 1


ACTS: dict[str, Act] = {
    "lock": lambda own, other: (
        Project.objects.select_for_update().filter(pk=other).first()
    ),
    "lock both": lambda own, other: list(
        Project.objects.select_for_update().filter(pk__in=[own, other])
    ),
    "lock joined": lambda own, other: list(
        Project.objects.select_for_update()
        .filter(pk=other)
        .select_related("organization")
    ),
    "update": lambda own, other: Project.objects.filter(pk=other).update(name="x"),
    "update both": lambda own, other: Project.objects.filter(
        pk__in=[own, other]
    ).update(name="x"),
    "delete": lambda own, other: Project.objects.filter(pk=other).delete(),
    "raw delete": lambda own, other: Project.objects.filter(pk=other)._raw_delete(
        "default"
    ),
    "delete by keys": lambda own, other: Project.objects.filter(
        pk__in=list(Project.objects.values_list("pk", flat=True))
    ).delete(),
    "delete with their key": lambda own, other: delete_by_collector(
        [Project(pk=own), Project(pk=other)]
    ),
    # What stops early reads an index in its order.
    "lock first": lambda own, other: list(
        Project.objects.select_for_update().order_by("pk")[:5]
    ),
    "lock last": lambda own, other: list(
        Project.objects.select_for_update().order_by("-pk")[:60]
    ),
    "lock first by relation": lambda own, other: list(
        Task.objects.select_for_update().order_by("project_id")[:5]
    ),
    "lock last in order": lambda own, other: list(
        Task.objects.select_for_update().reverse()[:5]
    ),
    "lock first or fail": lambda own, other: list(
        Project.objects.select_for_update(
            nowait=connection.features.has_select_for_update_nowait
        ).order_by("pk")[:5]
    ),
    # What ends beyond the organization's own rows.
    "lock beyond": lambda own, other: list(
        Project.objects.select_for_update().filter(name__gt="Acme")
    ),
    "lock beyond all": lambda own, other: list(
        Project.objects.select_for_update().filter(pk__gt=other)
    ),
    "lock before": lambda own, other: list(
        Project.objects.select_for_update().filter(pk__lt=own)
    ),
    "lock others than one": lambda own, other: list(
        Project.objects.select_for_update().exclude(name="Acme")
    ),
    "lock to the end": lambda own, other: list(
        Task.objects.select_for_update().order_by("-pk")
    ),
    "lock the last of none": lambda own, other: (
        Project.objects.select_for_update().filter(description="x").last()
    ),
    "update beyond": lambda own, other: Project.objects.filter(pk__gt=own).update(
        description="y"
    ),
    "delete beyond": lambda own, other: Project.objects.filter(
        name__gt="Acme"
    )._raw_delete("default"),
    # What no index answers but one of the organization.
    "lock all": lambda own, other: list(Project.objects.select_for_update()),
    "lock by text": lambda own, other: list(
        Project.objects.select_for_update().filter(description="")
    ),
    "lock referred": lambda own, other: list(
        Task.objects.select_for_update().filter(
            project__in=Project.objects.filter(description="")
        )
    ),
    "update by text": lambda own, other: Project.objects.filter(
        description__contains="x"
    ).update(description="y"),
    "update referred": lambda own, other: Task.objects.filter(
        project__description=""
    ).update(description="y"),
    "delete by text": lambda own, other: Project.objects.filter(
        description="x"
    )._raw_delete("default"),
    "save": save_by_force,
    "cursor": update_by_cursor,
}


@pytest.fixture
def keys(acme: Organization, globex: Organization) -> tuple[Any, Any]:
    """The keys of a project of acme's and of one of globex's."""
    made = []
    for organization in (acme, globex):
        with tenancy.scope(organization):
            project = Project.objects.create(name=organization.name)
            Task.objects.create(project=project, title="one")
            made.append(project.pk)
    with tenancy.scope(acme):
        # So many that a server would rather read the whole table than an index.
        Project.objects.bulk_create(Project(name=str(n)) for n in range(50))
    return made[0], made[1]


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    """Start a function in a thread, with a connection of its own."""
    threads: list[threading.Thread] = []

    def run(function: Callable[[], None]) -> threading.Thread:
        def target() -> None:
            try:
                function()
            finally:
                connections.close_all()

        thread = threading.Thread(target=target)
        threads.append(thread)
        thread.start()
        return thread

    yield run
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_statement_when_they_hold_the_row_does_not_wait(
    act: Act,
    keys: tuple[Any, Any],
    acme: Organization,
    globex: Organization,
    start: Any,
) -> None:
    """A statement that names a row of globex ends while globex holds it locked."""
    is_held, is_done = threading.Event(), threading.Event()
    in_time = []

    def hold() -> None:
        with tenancy.scope(globex), transaction.atomic():
            assert Project.objects.select_for_update().get(pk=keys[1])
            assert Task.objects.select_for_update().get(project=keys[1])
            is_held.set()
            # What has no locks of rows has none to hold.
            if connection.features.has_select_for_update:
                in_time.append(is_done.wait(PATIENCE))

    holder = start(hold)
    assert is_held.wait(PATIENCE)
    if not connection.features.has_select_for_update:
        holder.join()
    with tenancy.scope(acme), transaction.atomic():
        act(*keys)
    is_done.set()
    holder.join()

    assert in_time == [True] * connection.features.has_select_for_update


@pytest.mark.parametrize("name", ["lock", "lock beyond", "update", "save"])
def test_statement_when_its_transaction_is_open_lets_them_lock(
    name: str,
    keys: tuple[Any, Any],
    acme: Organization,
    globex: Organization,
    start: Any,
) -> None:
    """Globex locks and changes its row while acme's transaction is still open."""
    changed = []

    def change() -> None:
        with tenancy.scope(globex), transaction.atomic():
            row = Project.objects.select_for_update().get(pk=keys[1])
            changed.append(Project.objects.filter(pk=row.pk).update(name="theirs"))

    with tenancy.scope(acme), transaction.atomic():
        ACTS[name](*keys)
        if connection.features.has_select_for_update:
            start(change).join(PATIENCE)
            assert changed == [1]
    if not connection.features.has_select_for_update:
        # Whoever writes waits for whoever wrote, whatever the row.
        start(change).join()

    assert changed == [1]


@pytest.mark.parametrize("order", [["pk"], ["-priority", "-pk"]], ids=str)
def test_workers_of_an_organization_take_a_row_each(
    order: list[str], acme: Organization, start: Any
) -> None:
    """What stops early locks what it returns, so that another finds the next."""
    if not connection.features.has_select_for_update_skip_locked:
        # Whoever works waits for whoever works, and takes what is left.
        return
    taken: list[Any] = []
    rows = Task.objects.order_by(*order)

    def take() -> None:
        with tenancy.scope(acme), transaction.atomic():
            taken.extend(rows.select_for_update(skip_locked=True)[:1])

    with tenancy.scope(acme):
        project = Project.objects.create(name="Acme")
        Task.objects.bulk_create(
            Task(project=project, title=str(n), priority=n % 4 + 1) for n in range(20)
        )
        expected = [task.pk for task in rows[:2]]
        with transaction.atomic():
            taken.extend(rows.select_for_update(skip_locked=True)[:1])
            start(take).join(PATIENCE)

    assert [task.pk for task in taken] == expected
