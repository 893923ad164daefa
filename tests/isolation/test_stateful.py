"""Random walks of two organizations side by side, against a model in plain Python.

Environment: TENANCY_TEST_EXAMPLES and TENANCY_TEST_STEPS set how many walks there are
and how long each is, TENANCY_TEST_SECONDS when no new one begins; TENANCY_TEST_RANDOM=1
takes other walks at each run, TENANCY_TEST_SHRINK=1 shortens one that fails.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, connection, models, transaction
from django.db.models import (
    Count,
    Exists,
    F,
    Max,
    Model,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    prefetch_related_objects,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tenancy
from project.tracker.models import Bookmark, Comment, Label, Project, Task
from tenancy.backends import get_backend
from tenancy.context import current_scope
from tenancy.exceptions import (
    CrossOrganization,
    ScopeRequired,
    TenancyError,
)
from tenancy.models import Membership, Organization, User
from tenancy.predicates import tenant_field
from tests.isolation.sweeps import Recorder, sweep_all
from tests.isolation.worlds import KINDS, PAIRS, SIDES, World

REFUSALS = (TenancyError, ObjectDoesNotExist, Error)
REFUSED = object()
EXAMPLES_AT_ONCE = 3

SIDE = st.sampled_from(SIDES)
# Where something is done: in a side's scope, in none, or deliberately in all.
PLACE = st.sampled_from([*SIDES, "none", "unscoped"])
NUMBER = st.integers(0, 5)


def other(side: str) -> str:
    """Return the other side."""
    return SIDES[1 - SIDES.index(side)]


# Querysets that are made in one scope and run in another. Each makes rows whose
# organization can be read: instances, with what hangs on them, or values.

SHAPES: dict[str, Callable[[], Any]] = {
    "all": lambda: Task.objects.all(),
    "filter": lambda: Task.objects.filter(status="todo"),
    "exclude": lambda: Task.objects.exclude(labels__name="nothing"),
    "slice": lambda: Task.objects.order_by("-pk")[:3],
    "values": lambda: Task.objects.values("organization_id", "title", "project__name"),
    "values_list": lambda: Project.objects.values_list("name", "tasks__title"),
    "related": lambda: Task.objects.select_related("project", "assignee__role"),
    "prefetch": lambda: Project.objects.prefetch_related(
        "tasks__labels", "tasks__comments"
    ),
    "annotated": lambda: Project.objects.annotate(last=Max("tasks__title")),
    "union": lambda: (
        Task.objects.filter(pk__gt=0)
        .order_by()
        .union(Task.objects.filter(priority=2).order_by())
    ),
    "subquery": lambda: Label.objects.filter(
        pk__in=Task.objects.filter(status="todo").values("labels")
    ),
    "only": lambda: Task.objects.only("organization_id"),
    "members": lambda: Membership.objects.select_related("user", "role"),
    "or": lambda: Task.objects.filter(status="todo") | Task.objects.filter(priority=2),
    "distinct": lambda: Task.objects.filter(labels__pk__gt=0).distinct(),
    "dates": lambda: Task.objects.annotate(p=F("project__name")).values("p").distinct(),
}

RUNS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "first": lambda rows: rows.first(),
    "aggregate": lambda rows: rows.aggregate(Count("pk")),
    "iterator": lambda rows: list(rows.iterator(chunk_size=10)),
    "clone": lambda rows: list(rows.all()),
    "subquery": lambda rows: list(
        rows.model._base_manager.filter(pk__in=rows.values("pk"))
    ),
    "pickle": lambda rows: list(pickle.loads(pickle.dumps(rows))),
    "query": lambda rows: _list_query(rows),
    "combine": lambda rows: list(rows | rows.model._base_manager.all()),
}


def _list_query(rows: Any) -> list[Any]:
    """Return the rows of a bare queryset with the pickled query of another."""
    copied: Any = QuerySet(rows.model)
    copied.query = pickle.loads(pickle.dumps(rows.query))
    return list(copied)


# What acme does with a row of globex that it holds, and the reverse. Each is given the
# row, and the machine; True says that it must be refused, False that it must not raise
# and return nothing, None that either is right.

Reach = tuple[str, bool | None, Callable[["Isolation", str, Any], Any]]


def _own(machine: Isolation, side: str, kind: str) -> Any:
    model = KINDS[kind][0]
    row = model._base_manager.order_by("pk").first()
    return row if row is not None else machine.fail_softly()


def _insert_bare(row: Any) -> Any:
    rows: QuerySet[Any] = QuerySet(Label)
    return rows.bulk_create([Label(name="stolen", organization_id=row.organization_id)])


def _upsert(row: Any, **options: Any) -> None:
    copied: Any = type(row)(pk=row.pk, name="stolen")
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["pk"]
    rows: Any = type(row).objects
    rows.bulk_create([copied], update_conflicts=True, update_fields=["name"], **options)


REACHES: dict[str, Reach] = {
    "save": ("task", True, lambda m, s, row: row.save()),
    "save fields": ("label", True, lambda m, s, row: row.save(update_fields=["name"])),
    "force insert": ("label", True, lambda m, s, row: row.save(force_insert=True)),
    "save as own": (
        "label",
        True,
        lambda m, s, row: Label(pk=row.pk, name=f"stolen {m.world.number}").save(),
    ),
    "delete": ("project", True, lambda m, s, row: row.delete()),
    "refresh": ("task", True, lambda m, s, row: row.refresh_from_db()),
    "get": ("task", True, lambda m, s, row: Task.objects.get(pk=row.pk)),
    "lock": (
        "task",
        True,
        lambda m, s, row: _locked(Task.objects.select_for_update(), row.pk),
    ),
    "filter": ("task", False, lambda m, s, row: Task.objects.filter(pk=row.pk).first()),
    "filter by it": (
        "project",
        False,
        lambda m, s, row: list(Task.objects.filter(project=row)),
    ),
    "filter by key": (
        "project",
        False,
        lambda m, s, row: list(Task.objects.filter(project_id=row.pk)),
    ),
    "in_bulk": (
        "task",
        False,
        lambda m, s, row: list(Task.objects.in_bulk([row.pk]).values()),
    ),
    "bare": ("task", None, lambda m, s, row: list(QuerySet(Task).filter(pk=row.pk))),
    "bare update": (
        "task",
        None,
        lambda m, s, row: QuerySet(Task).filter(pk=row.pk).update(title="stolen"),
    ),
    "bare delete": (
        "label",
        None,
        lambda m, s, row: (
            QuerySet(Label).filter(pk=row.pk)._raw_delete(connection.alias)
        ),
    ),
    "bare insert": (
        "label",
        True,
        lambda m, s, row: _insert_bare(row),
    ),
    "update": (
        "task",
        False,
        lambda m, s, row: Task.objects.filter(pk=row.pk).update(title="stolen") or None,
    ),
    "delete by key": (
        "task",
        False,
        lambda m, s, row: Task.objects.filter(pk=row.pk).delete()[0] or None,
    ),
    "bulk_update": (
        "task",
        True,
        lambda m, s, row: Task.objects.bulk_update([row], ["title"]),
    ),
    "assign": (
        "project",
        True,
        lambda m, s, row: Task.objects.create(project=row, title="stolen"),
    ),
    "assign key": (
        "project",
        True,
        lambda m, s, row: Task.objects.create(project_id=row.pk, title="stolen"),
    ),
    "assign in bulk": (
        "project",
        True,
        lambda m, s, row: Task.objects.bulk_create([Task(project=row, title="stolen")]),
    ),
    "assign key in bulk": (
        "project",
        True,
        lambda m, s, row: Task.objects.bulk_create(
            [Task(project_id=row.pk, title="stolen")], ignore_conflicts=True
        ),
    ),
    "change key": (
        "project",
        True,
        lambda m, s, row: Task.objects.filter(pk=_own(m, s, "task").pk).update(
            project_id=row.pk
        ),
    ),
    "change to it": (
        "membership",
        True,
        lambda m, s, row: Task.objects.filter(pk=_own(m, s, "task").pk).update(
            assignee=row
        ),
    ),
    "bulk_update key": (
        "membership",
        True,
        lambda m, s, row: _bulk_assign(_own(m, s, "task"), row.pk),
    ),
    "move to it": (
        "task",
        True,
        lambda m, s, row: Task.objects.update(organization_id=row.organization_id),
    ),
    "move own": (
        "task",
        True,
        lambda m, s, row: _move(_own(m, s, "label"), row.organization_id),
    ),
    "create in it": (
        "task",
        True,
        lambda m, s, row: Label.objects.create(
            name="stolen", organization_id=row.organization_id
        ),
    ),
    "add": ("label", True, lambda m, s, row: _own(m, s, "task").labels.add(row)),
    "add key": ("label", True, lambda m, s, row: _own(m, s, "task").labels.add(row.pk)),
    "set": ("label", True, lambda m, s, row: _own(m, s, "task").labels.set([row])),
    "set keys": (
        "label",
        True,
        lambda m, s, row: _own(m, s, "task").labels.set([row.pk]),
    ),
    "remove": ("label", True, lambda m, s, row: _own(m, s, "task").labels.remove(row)),
    "remove key": (
        "label",
        False,
        lambda m, s, row: _own(m, s, "task").labels.remove(row.pk),
    ),
    "block": (
        "task",
        True,
        lambda m, s, row: _own(m, s, "task").blocked_by.add(row.pk),
    ),
    "its labels": ("task", None, lambda m, s, row: list(row.labels.all())),
    "its clear": ("task", None, lambda m, s, row: row.labels.clear()),
    "its add": ("task", True, lambda m, s, row: row.labels.add(_own(m, s, "label"))),
    "its reverse add": (
        "label",
        True,
        lambda m, s, row: row.tasks.add(_own(m, s, "task").pk),
    ),
    "its create": (
        "project",
        True,
        lambda m, s, row: row.tasks.create(title="stolen"),
    ),
    "its tasks": ("project", None, lambda m, s, row: list(row.tasks.all())),
    "its update": ("project", None, lambda m, s, row: row.tasks.update(title="stolen")),
    "its prefetch": (
        "project",
        None,
        lambda m, s, row: _prefetch_tasks(row),
    ),
    "its project": ("task", True, lambda m, s, row: _fresh(row).project),
    "its user": ("membership", None, lambda m, s, row: None),
    "contains": ("task", None, lambda m, s, row: Task.objects.contains(row) or None),
    "get_or_create": (
        "label",
        True,
        lambda m, s, row: Label.objects.get_or_create(
            pk=row.pk, defaults={"name": "stolen"}
        ),
    ),
    "update_or_create": (
        "label",
        True,
        lambda m, s, row: Label.objects.update_or_create(
            pk=row.pk, defaults={"name": "stolen"}
        ),
    ),
    "upsert": ("label", True, lambda m, s, row: _upsert(row)),
    "ignore conflicts": (
        "label",
        None,
        lambda m, s, row: _discard(
            Label.objects.bulk_create(
                [Label(pk=row.pk, name="stolen")], ignore_conflicts=True
            )
        ),
    ),
    "bookmark": (
        "task",
        True,
        lambda m, s, row: Bookmark.objects.create(
            user=m.world.users["alice"], task=row
        ),
    ),
    "bookmark key": (
        "task",
        True,
        lambda m, s, row: Bookmark.objects.create(
            user=m.world.users["bob"], task_id=row.pk
        ),
    ),
    "its bookmark": (
        "task",
        None,
        lambda m, s, row: [
            bookmark.task for bookmark in Bookmark.objects.filter(task_id=row.pk)
        ],
    ),
    "raw by key": (
        "task",
        False,
        lambda m, s, row: tenancy.raw(
            "SELECT title FROM tracker_task WHERE id = %s", [row.pk]
        ),
    ),
    "raw model": (
        "task",
        None,
        lambda m, s, row: list(
            Task.objects.raw("SELECT * FROM tracker_task WHERE id = %s", [row.pk])
        ),
    ),
    "organization": (
        "task",
        True,
        lambda m, s, row: Organization.objects.get(pk=row.organization_id),
    ),
    "follow organization": ("task", True, lambda m, s, row: _fresh(row).organization),
}


def _list_shape(shape: Callable[[], Any]) -> list[Any]:
    return list(shape())


def _prefetch_tasks(row: Any) -> list[Any]:
    prefetch_related_objects([row], "tasks")
    return list(row.tasks.all())


def _discard(result: Any) -> None:
    """Return nothing: the row in memory is not one of the database."""


def _locked(rows: Any, key: Any) -> Any:
    with transaction.atomic():
        return rows.get(pk=key)


def _fresh(row: Any) -> Any:
    """Return the row as it came from the database, with nothing cached on it."""
    copied = pickle.loads(pickle.dumps(row))
    copied._state.fields_cache.clear()
    return copied


def _bulk_assign(task: Any, key: Any) -> None:
    task.assignee_id = key
    Task.objects.bulk_update([task], ["assignee"])


def _move(row: Any, key: Any) -> None:
    row.organization_id = key
    row.save()


class Isolation(RuleBasedStateMachine):
    """Two organizations do random things; neither sees or changes the other's rows."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.recorder = Recorder()
        self.open = contextlib.ExitStack()
        self.open.enter_context(connection.execute_wrapper(self.recorder))
        self.hides_rows = get_backend(connection).hides_rows
        # Each block of a transaction: what was known before, what runs after it.
        self.blocks: list[tuple[Any, Any, list[tuple[str, str]]]] = []
        self.querysets: list[tuple[str, str, Any]] = []
        self.iterators: list[tuple[str, Iterator[Any]]] = []
        self.cursors: list[tuple[str, Any]] = []
        self.functions: list[tuple[str, Callable[[], Any]]] = []
        self.instances: list[tuple[str, str, Any]] = []

    def teardown(self) -> None:
        """Take everything back that is still open."""
        self._close_iterators()
        while self.blocks:
            self._leave(commit=False)
        self.open.close()

    def fail_softly(self) -> Any:
        """Say that an action has no row to work with, which is as good as refused."""
        raise ObjectDoesNotExist

    # How each action is carried out

    def scope(self, place: str) -> Any:
        """Return the block of a place."""
        if place == "none":
            return contextlib.nullcontext()
        if place == "unscoped":
            return tenancy.unscoped("a step of the stateful test")
        return tenancy.scope(self.world.organizations[place])

    def attempt(
        self,
        place: str,
        action: Callable[[], Any],
        *,
        refused: bool | None = None,
        atomic: bool = False,
        raw: bool = False,
    ) -> Any:
        """Act in a place; return the result, which must be the place's own, or REFUSED.

        In an open transaction there is a savepoint, so that a refusal does not end it.
        """
        self.recorder.is_paused = raw
        try:
            with self.scope(place):
                if atomic or connection.in_atomic_block:
                    with transaction.atomic():
                        result = action()
                else:
                    result = action()
        except REFUSALS:
            if refused is False:
                raise
            return REFUSED
        finally:
            self.recorder.is_paused = False
        assert refused is not True, f"let through, with {result!r}"
        if place in SIDES:
            # A prefetched row is seen in its scope only.
            with self.scope(place):
                self.assert_own(result, place)
        return result

    def assert_own(self, found: Any, side: str) -> None:
        """Require that nothing in a result is the other side's."""
        if isinstance(found, str):
            assert not found.startswith(other(side)), f"{side} got {found!r}"
        elif isinstance(found, Model):
            self._assert_own_row(found, side)
        elif isinstance(found, dict):
            for value in found.values():
                self.assert_own(value, side)
        elif isinstance(found, (list, tuple, set)):
            for value in found:
                self.assert_own(value, side)
        else:
            foreign = self.world.organizations[other(side)].pk
            assert found != foreign, f"{side} got the key of {other(side)}"

    def _assert_own_row(self, row: Any, side: str) -> None:
        own = tenant_field(type(row))
        if own is not None and own.attname in row.__dict__:
            assert row.__dict__[own.attname] == self.world.organizations[side].pk, (
                f"{side} got {row!r}"
            )
        for name, value in row.__dict__.items():
            if not name.startswith("_"):
                self.assert_own(value, side)
        for related in row._state.fields_cache.values():
            if related is not None and related is not row:
                self._assert_own_shallow(related, side)
        for rows in getattr(row, "_prefetched_objects_cache", {}).values():
            self.assert_own(list(rows), side)

    def _assert_own_shallow(self, row: Any, side: str) -> None:
        own = tenant_field(type(row))
        if own is not None:
            assert row.__dict__[own.attname] == self.world.organizations[side].pk

    # Transactions

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        """Open a transaction, or a savepoint in the open one."""
        block = transaction.atomic()
        block.__enter__()
        self.blocks.append((block, self.world.snapshot(), []))

    @precondition(lambda self: self.blocks)
    @rule(place=PLACE, commit=st.booleans())
    def leave(self, place: str, commit: bool) -> None:
        """End the innermost block, in whatever scope."""
        with self.scope(place):
            self._leave(commit=commit)

    def _leave(self, *, commit: bool) -> None:
        self._close_iterators()
        block, known, planned = self.blocks.pop()
        if not commit:
            transaction.set_rollback(True)
            self.world.known = known
            planned = []
        block.__exit__(None, None, None)
        if self.blocks:
            self.blocks[-1][2].extend(planned)
            return
        for side, name in planned:
            self._note_label(side, name)

    @rule(side=SIDE)
    def plan(self, side: str) -> None:
        """A bound function runs after the commit, in the scope that planned it."""
        name = self.world.name(side)

        def act() -> None:
            transaction.on_commit(
                tenancy.bind(lambda: _discard(Label.objects.create(name=name)))
            )

        with self.scope(side):
            act()
        if self.blocks:
            self.blocks[-1][2].append((side, name))
        else:
            self._note_label(side, name)

    @rule(first=SIDE, roll_back=st.booleans(), outside=st.booleans())
    def switch_in_transaction(self, first: str, roll_back: bool, outside: bool) -> None:
        """One transaction in two scopes, one after the other, with a savepoint."""
        names = {side: self.world.name(side) for side in SIDES}
        with transaction.atomic():
            with self.scope(first):
                Label.objects.create(name=names[first])
            with transaction.atomic():
                with self.scope(other(first)):
                    Label.objects.create(name=names[other(first)])
                    seen = list(Label.objects.all())
                    if not outside:
                        transaction.set_rollback(roll_back)
                if outside:
                    transaction.set_rollback(roll_back)
            self.assert_own(seen, other(first))
            with self.scope(first):
                self.assert_own(list(Label.objects.all()), first)
        self._note_label(first, names[first])
        if not roll_back:
            self._note_label(other(first), names[other(first)])

    @rule(side=SIDE)
    def abort(self, side: str) -> None:
        """After a failed statement and its rollback, each statement has its scope."""
        self._close_iterators()
        key = self.world.pick(side, "label", 0)
        if key is None:
            return
        with self.scope(side), pytest.raises(Error), transaction.atomic():
            Label.objects.bulk_create([Label(pk=key, name="twice")])
        for place in SIDES:
            found = self.attempt(
                place, lambda: list(Label.objects.all()), refused=False
            )
            assert len(found) == len(self.world.known[place]["label"])

    @precondition(lambda self: not self.blocks)
    @rule()
    def reconnect(self) -> None:
        """A closed connection is opened anew, with everything that guards it."""
        self._close_iterators()
        connection.close()

    # Rows of one's own

    @rule(
        side=SIDE,
        number=NUMBER,
        how=st.sampled_from(
            ["create", "save", "related", "get_or_create", "update_or_create", "bulk"]
        ),
    )
    def create_task(self, side: str, number: int, how: str) -> None:
        """A task is made in one of the ways that Django has."""
        project = self.world.pick(side, "project", number)
        if project is None:
            return
        title = self.world.name(side)
        member = self.world.members[side][number % 2]
        fields = {"assignee": member, "priority": number + 1}

        def act() -> Any:
            values = {"project_id": project, "title": title, **fields}
            if how == "create":
                Task.objects.create(**values)
            elif how == "save":
                Task(**values).save()
            elif how == "related":
                Project.objects.get(pk=project).tasks.create(title=title, **fields)
            elif how == "get_or_create":
                Task.objects.get_or_create(
                    title=title, defaults={"project_id": project, **fields}
                )
            elif how == "update_or_create":
                Task.objects.update_or_create(
                    title=title, defaults={"project_id": project, **fields}
                )
            else:
                Task.objects.bulk_create([Task(**values)])
            return Task.objects.get(title=title)

        self.world.put(side, "task", self.attempt(side, act, refused=False))

    @rule(side=SIDE)
    def create_project(self, side: str) -> None:
        """A project is made."""
        name = self.world.name(side)
        project = self.attempt(
            side, lambda: Project.objects.create(name=name), refused=False
        )
        self.world.put(side, "project", project)

    @rule(side=SIDE, count=st.integers(1, 3), twice=st.booleans())
    def upsert_labels(self, side: str, count: int, twice: bool) -> None:
        """Labels are inserted, or changed where the name is there."""
        names = [self.world.name(side) for _ in range(count)]
        options: dict[str, Any] = {"update_conflicts": True, "update_fields": ["color"]}
        if connection.features.supports_update_conflicts_with_target:
            options["unique_fields"] = ["organization", "name"]

        def act() -> Any:
            for color in ("red", "blue") if twice else ("red",):
                Label.objects.bulk_create(
                    [Label(name=name, color=color) for name in names], **options
                )
            return list(Label.objects.filter(name__in=names))

        for label in self.attempt(side, act, refused=False, atomic=True):
            self.world.put(side, "label", label)

    @rule(side=SIDE, number=NUMBER)
    def same_name(self, side: str, number: int) -> None:
        """A name that the other side has is free; one of one's own is not."""
        key = self.world.pick(other(side), "label", number)
        mine = self.world.pick(side, "label", number)
        if key is None or mine is None:
            return
        name = self.world.known[other(side)]["label"][key]["name"]
        with self.scope(side):
            assert not Label.objects.filter(name=name).exists()
            Label(name=name).full_clean()
        known = self.world.known[side]["label"][mine]["name"]
        self.attempt(side, lambda: Label.objects.create(name=known), refused=True)

    @rule(side=SIDE, number=NUMBER, body=st.booleans())
    def comment(self, side: str, number: int, body: bool) -> None:
        """A comment is made, by the manager or from the task."""
        task = self.world.pick(side, "task", number)
        if task is None:
            return
        author = self.world.members[side][number % 2]
        text = self.world.name(side)

        def act() -> Any:
            if body:
                return Task.objects.get(pk=task).comments.create(
                    author=author, body=text
                )
            return Comment.objects.create(task_id=task, author=author, body=text)

        self.world.put(side, "comment", self.attempt(side, act, refused=False))

    @rule(
        side=SIDE,
        number=NUMBER,
        how=st.sampled_from(
            ["save", "fields", "update", "bulk_update", "lock", "case"]
        ),
    )
    def change_task(self, side: str, number: int, how: str) -> None:
        """A task is changed in one of the ways that Django has."""
        key = self.world.pick(side, "task", number)
        if key is None:
            return
        title = self.world.name(side)

        def act() -> Any:
            rows = Task.objects.filter(pk=key)
            if how == "update":
                assert rows.update(title=title, priority=F("priority") * 1) == 1
            elif how == "case":
                rows.update(
                    title=models.Case(models.When(pk=key, then=models.Value(title)))
                )
            else:
                task = (rows.select_for_update() if how == "lock" else rows).get()
                task.title = title
                if how == "fields":
                    task.save(update_fields=["title"])
                elif how == "bulk_update":
                    Task.objects.bulk_update([task], ["title"])
                else:
                    task.save()
            return rows.get()

        self.world.put(
            side, "task", self.attempt(side, act, refused=False, atomic=True)
        )

    @rule(side=SIDE, status=st.sampled_from(["todo", "doing", "done"]))
    def change_many(self, side: str, status: str) -> None:
        """A whole table is updated, which is the side's part of it."""
        tasks = self.world.known[side]["task"]
        count = self.attempt(
            side, lambda: Task.objects.update(status=status), refused=False
        )
        assert count == len(tasks)
        for values in tasks.values():
            values["status"] = status

    @rule(
        side=SIDE,
        number=NUMBER,
        kind=st.sampled_from(["task", "project", "label"]),
        how=st.sampled_from(["row", "rows", "related"]),
    )
    def delete(self, side: str, number: int, kind: str, how: str) -> None:
        """A row is deleted, with all that hangs on it."""
        key = self.world.pick(side, kind, number)
        if key is None:
            return
        model: Any = KINDS[kind][0]

        def act() -> Any:
            if how == "row":
                return model.objects.get(pk=key).delete()[0]
            if how == "related" and kind == "task":
                task = Task.objects.get(pk=key)
                return task.project.tasks.filter(pk=key).delete()[0]
            return model.objects.filter(pk=key).delete()[0]

        assert self.attempt(side, act, refused=False) >= 1
        self.world.drop(side, kind, key)

    @rule(side=SIDE, kind=st.sampled_from(["comment", "label", "task"]), number=NUMBER)
    def delete_many(self, side: str, kind: str, number: int) -> None:
        """A whole table is emptied, now and then, which is the side's part of it."""
        if number:
            return
        model: Any = KINDS[kind][0]
        self.attempt(side, lambda: model.objects.all().delete()[0], refused=False)
        for key in list(self.world.known[side][kind]):
            self.world.drop(side, kind, key)

    @rule(
        side=SIDE,
        number=NUMBER,
        second=NUMBER,
        how=st.sampled_from(
            ["add", "key", "set", "remove", "clear", "create", "toggle"]
        ),
        reverse=st.booleans(),
    )
    def link(
        self, side: str, number: int, second: int, how: str, reverse: bool
    ) -> None:
        """Labels are put on tasks and taken off, from either side."""
        task = self.world.pick(side, "task", number)
        label = self.world.pick(side, "label", second)
        if task is None or label is None:
            return
        links = self.world.known[side]["link"]
        name = self.world.name(side)

        def act() -> Any:
            one: Any = Task.objects.get(pk=task)
            two: Any = Label.objects.get(pk=label)
            manager, row = (two.tasks, one) if reverse else (one.labels, two)
            if how == "add":
                manager.add(row)
            elif how == "key":
                manager.add(row.pk)
            elif how == "set":
                manager.set([row])
            elif how == "toggle":
                manager.set([row.pk], clear=True)
            elif how == "remove":
                manager.remove(row)
            elif how == "clear":
                manager.clear()
            else:
                return one.labels.create(name=name)
            return list(manager.all())

        result = self.attempt(side, act, refused=False, atomic=True)
        if how in ("set", "toggle", "clear"):
            for pair in list(links):
                if pair[1 if reverse else 0] == (label if reverse else task):
                    del links[pair]
        if how == "remove":
            links.pop((task, label), None)
        elif how == "create":
            self.world.put(side, "label", result)
            self.world.pair(side, "link", task, result.pk)
        elif how != "clear":
            self.world.pair(side, "link", task, label)

    @rule(side=SIDE, number=NUMBER, second=NUMBER, add=st.booleans())
    def block(self, side: str, number: int, second: int, add: bool) -> None:
        """Tasks block one another, in a relation of the model to itself."""
        one = self.world.pick(side, "task", number)
        two = self.world.pick(side, "task", second)
        if one is None or two is None:
            return

        def act() -> Any:
            task: Any = Task.objects.get(pk=one)
            (task.blocked_by.add if add else task.blocked_by.remove)(two)
            return [*task.blocked_by.all(), *task.blocks.all()]

        self.attempt(side, act, refused=False)
        if add:
            self.world.pair(side, "block", one, two)
        else:
            self.world.known[side]["block"].pop((one, two), None)

    # Rows of the other's

    @rule(side=SIDE, number=NUMBER, how=st.sampled_from(sorted(REACHES)))
    def reach(self, side: str, number: int, how: str) -> None:
        """A held row of the other organization is of no use."""
        kind, refused, action = REACHES[how]
        row = self._load(other(side), kind, number)
        if row is not None:
            result = self.attempt(
                side,
                lambda: action(self, side, row),
                refused=refused,
                raw=how.startswith(("raw", "bare")),
            )
            assert result is REFUSED or not result, f"{side} got {result!r}"

    @rule(number=NUMBER, side=SIDE, how=st.sampled_from(sorted(REACHES)))
    def reach_without_scope(self, number: int, side: str, how: str) -> None:
        """A held row is of no use where no scope is active."""
        kind, _refused, action = REACHES[how]
        row = self._load(side, kind, number)
        if row is not None and how not in ("its user", "ignore conflicts"):
            # A bookmark is a global row, which needs no scope.
            is_free = how.startswith("bookmark") or None
            result = self.attempt(
                "none",
                lambda: action(self, side, row),
                refused=None if is_free else True,
                atomic=True,
            )
            if result is not REFUSED:
                Bookmark.objects.filter(user__name__in=("alice", "bob")).delete()

    def _load(self, side: str, kind: str, number: int) -> Any:
        key = self.world.pick(side, kind, number)
        if key is None:
            return None
        with self.scope(side):
            return KINDS[kind][0]._base_manager.get(pk=key)

    @rule(side=SIDE, number=NUMBER)
    def read_deferred(self, side: str, number: int) -> None:
        """A field that was left out is not fetched from the other organization."""
        key = self.world.pick(other(side), "task", number)
        if key is None:
            return
        with self.scope(other(side)):
            task = Task.objects.only("pk").get(pk=key)
        self.attempt(side, lambda: task.title, refused=True)

    # Querysets, their caches and pickles

    @rule(place=PLACE, shape=st.sampled_from(sorted(SHAPES)), fill=st.booleans())
    def hold_queryset(self, place: str, shape: str, fill: bool) -> None:
        """A queryset is made, and kept, with or without its rows."""

        def act() -> Any:
            rows = SHAPES[shape]()
            if fill and place != "none":
                list(rows)
            return rows

        with self.scope(place):
            rows = act()
        self.querysets = [*self.querysets[-5:], (place, shape, rows)]

    @precondition(lambda self: self.querysets)
    @rule(number=NUMBER, place=PLACE, run=st.sampled_from(sorted(RUNS)))
    def run_held(self, number: int, place: str, run: str) -> None:
        """A kept queryset runs where it was made, one made in no scope anywhere."""
        made, shape, rows = self.querysets[number % len(self.querysets)]
        impossible = shape in ("slice", "union", "values", "values_list", "dates") and (
            run in ("combine", "subquery", "query", "aggregate", "first")
        )
        if impossible or (run == "combine" and shape == "distinct"):
            return
        refused = None
        if place == "none" or (made != "none" and made != place):
            refused = True
        elif run in ("list", "count", "exists", "iterator", "clone", "first"):
            refused = False
        if run == "iterator" and shape == "prefetch":
            return
        self.attempt(place, lambda: RUNS[run](rows), refused=refused)

    @rule(side=SIDE, place=PLACE, shape=st.sampled_from(["all", "filter", "related"]))
    def move_pickle(self, side: str, place: str, shape: str) -> None:
        """Pickled rows are read where they were pickled, and nowhere else."""
        with self.scope(side):
            pickled = pickle.dumps(SHAPES[shape]())
        refused = place != side
        self.attempt(place, lambda: list(pickle.loads(pickled)), refused=refused)

    @rule(
        side=SIDE,
        operator=st.sampled_from(["or", "ror", "and", "xor", "union", "difference"]),
        bare=st.booleans(),
    )
    def combine(self, side: str, operator: str, bare: bool) -> None:
        """Combined querysets hold the side's rows, whatever one of them knows."""
        known = self.world.known[side]["task"].items()
        one = {key for key, values in known if values["status"] == "todo"}
        two = {key for key, values in known if values["priority"] <= 2}
        expected = {
            "or": one | two,
            "ror": one | two,
            "and": one & two,
            "xor": one ^ two,
            "union": one | two,
            "difference": one - two,
        }[operator]

        def act() -> Any:
            left = Task.objects.filter(status="todo")
            base: Any = QuerySet(Task) if bare else Task.objects
            right = base.filter(priority__lte=2)
            if operator == "or":
                return list(left | right)
            if operator == "ror":
                return list(right | left)
            if operator == "and":
                return list(left & right)
            if operator == "xor":
                return list(left ^ right)
            left, right = left.order_by(), right.order_by()
            combined = (
                left.union(right) if operator == "union" else left.difference(right)
            )
            return list(combined)

        result = self.attempt(side, act, refused=None if bare else False, raw=bare)
        if result is not REFUSED:
            assert {task.pk for task in result} == expected

    @rule(side=SIDE)
    def combine_across(self, side: str) -> None:
        """Querysets of two scopes are not combined."""
        with self.scope(other(side)):
            theirs = Task.objects.filter(priority__gt=0)
        for combine in (
            lambda: list(Task.objects.all() | theirs),
            lambda: list(theirs & Task.objects.all()),
            lambda: list(Task.objects.order_by().union(theirs.order_by())),
            lambda: list(Task.objects.filter(pk__in=theirs)),
            lambda: list(
                Project.objects.filter(Exists(theirs.filter(project=OuterRef("pk"))))
            ),
        ):
            self.attempt(side, combine, refused=True)

    @rule(side=SIDE)
    def start_iterator(self, side: str) -> None:
        """Rows are fetched one by one, some of them later."""
        with self.scope(side):
            rows = Task.objects.order_by("pk").iterator(chunk_size=1)
            first = next(rows, None)
        if first is not None:
            self.assert_own(first, side)
            self.iterators.append((side, rows))

    @precondition(lambda self: self.iterators)
    @rule(place=PLACE)
    def continue_iterator(self, place: str) -> None:
        """An iterator goes on in the scope that started it only."""
        made, rows = self.iterators.pop()
        result = self.attempt(place, lambda: next(rows, None))
        assert place == made or result is REFUSED or result is None
        rows.close()  # type: ignore[attr-defined]  # It is a generator.

    def _close_iterators(self) -> None:
        for _side, rows in self.iterators:
            rows.close()  # type: ignore[attr-defined]  # As above.
        self.iterators.clear()

    # Joins from global rows, aggregates, prefetches

    @rule(side=SIDE)
    def read_from_users(self, side: str) -> None:
        """A user of both organizations shows each what is its own."""
        known = self.world.known[side]["task"]
        carol = self.world.users["carol"]
        member = self.world.members[side][1].pk
        assigned = [v for v in known.values() if v["assignee_id"] == member]

        def act() -> Any:
            users = User.objects.filter(pk=carol.pk)
            counted = users.annotate(
                tasks=Count("memberships__tasks"),
                last=Max("memberships__tasks__title"),
            ).get()
            assert counted.tasks == len(assigned)
            assert users.filter(
                memberships__tasks__title__startswith=side
            ).exists() == (bool(assigned))
            theirs = {"memberships__tasks__title__startswith": other(side)}
            assert not users.filter(**theirs).exists()
            assert users.exclude(**theirs).exists()
            fetched = users.prefetch_related("memberships__tasks__labels").get()
            return [
                list(
                    users.values_list(
                        "memberships__organization_id", "memberships__tasks__title"
                    )
                ),
                counted.last,
                list(fetched.memberships.all()),
                [list(member.tasks.all()) for member in fetched.memberships.all()],
                list(
                    users.order_by("memberships__tasks__title").values_list(
                        "memberships__tasks__project__name"
                    )
                ),
            ]

        self.attempt(side, act, refused=False)

    @rule(side=SIDE)
    def read_from_bookmarks(self, side: str) -> None:
        """A global row that refers to both organizations' rows shows each its own."""
        known = self.world.known[side]["task"]

        def act() -> Any:
            rows = Bookmark.objects.filter(user=self.world.users["carol"])
            joined = list(rows.select_related("task__project"))
            assert {row.task_id for row in joined} <= set(known)
            assert not rows.filter(task__title__startswith=other(side)).exists()
            fetched = rows.prefetch_related("task")
            cached = [
                row._state.fields_cache["task"]
                for row in fetched
                if "task" in row._state.fields_cache
            ]
            mine = Task.objects.filter(bookmarks__user__name="carol")
            return [
                joined,
                [task for task in cached if task is not None],
                list(rows.values_list("task__title", flat=True)),
                rows.aggregate(Max("task__title")),
                list(mine),
                list(
                    rows.annotate(
                        title=Subquery(
                            Task.objects.filter(pk=OuterRef("task_id")).values("title")
                        )
                    ).values_list("title", flat=True)
                ),
            ]

        self.attempt(side, act, refused=False)

    @rule(side=SIDE)
    def aggregate(self, side: str) -> None:
        """Counts are those of the side's rows, through each relation."""
        known = self.world.known[side]

        def act() -> Any:
            projects = {
                project.pk: project.total
                for project in Project.objects.annotate(total=Count("tasks"))
            }
            labels = Label.objects.annotate(
                total=Count("tasks", filter=Q(tasks__priority__gt=0))
            )
            total = sum(label.total for label in labels)
            return [projects, total, Task.objects.aggregate(Count("comments"))]

        projects, total, comments = self.attempt(side, act, refused=False)
        tasks = [values["project_id"] for values in known["task"].values()]
        assert projects == {key: tasks.count(key) for key in known["project"]}
        assert total == len(known["link"])
        assert comments == {"comments__count": len(known["comment"])}

    @rule(side=SIDE, bare=st.booleans())
    def prefetch(self, side: str, bare: bool) -> None:
        """Prefetched rows are the side's, also by a queryset that knows no scope."""

        def act() -> Any:
            rows: Any = QuerySet(Task) if bare else Task.objects.filter(priority__gt=0)
            return list(Project.objects.prefetch_related(Prefetch("tasks", rows)))

        self.attempt(side, act, refused=None if bare else False, raw=bare)

    # Raw SQL and cursors

    @rule(side=SIDE, place=PLACE)
    def read_raw(self, side: str, place: str) -> None:
        """Raw SQL shows the side's rows, or is refused."""

        def act() -> Any:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT t.title, p.name FROM tracker_task t, tracker_project p"
                    " WHERE p.id = t.project_id"
                )
                return cursor.fetchall()

        result = self.attempt(side, act, refused=not self.hides_rows, raw=True)
        if self.hides_rows:
            assert len(result) == len(self.world.known[side]["task"])
        if place == "none":
            self.attempt(place, act, refused=True)

    @rule(side=SIDE)
    def read_shadowed(self, side: str) -> None:
        """tenancy.raw() counts the side's rows, through joins and subqueries."""
        known = self.world.known[side]

        def act() -> Any:
            return tenancy.raw(
                "SELECT p.name, t.title FROM tracker_project p"
                " JOIN tracker_task t ON t.project_id = p.id"
                " WHERE t.id IN (SELECT id FROM tracker_task WHERE title LIKE %s)",
                ["%"],
            )

        rows = self.attempt(side, act, refused=False, raw=True)
        assert len(rows) == len(known["task"])

    @rule(side=SIDE)
    def sweep(self, side: str) -> None:
        """Each check of each protected model holds."""
        self._close_iterators()
        self.recorder.is_paused = True
        sweep_all(self.world.organizations[side], self.world.organizations[other(side)])
        self.recorder.is_paused = False

    # Scopes in scopes

    @rule(side=SIDE)
    def nest(self, side: str) -> None:
        """Another organization's scope is entered through unscoped() only."""
        theirs = self.world.organizations[other(side)]
        with self.scope(side):
            with pytest.raises(CrossOrganization), tenancy.scope(theirs):
                pass
            with tenancy.unscoped("to the other"), tenancy.scope(theirs):
                assert Task.objects.count() == len(
                    self.world.known[other(side)]["task"]
                )
            assert Task.objects.count() == len(self.world.known[side]["task"])

    @rule(side=SIDE)
    def look_outside(self, side: str) -> None:
        """What was made in unscoped() does not run in the scope around it."""
        total = sum(len(self.world.known[each]["task"]) for each in SIDES)
        with self.scope(side), tenancy.unscoped("a look outside"):
            everything = Task.objects.all()
            assert everything.count() == total
            list(everything)
        self.attempt(side, lambda: list(everything), refused=True)
        self.attempt(side, lambda: everything.update(title="stolen"), refused=True)

    @rule(side=SIDE)
    def hold_function(self, side: str) -> None:
        """A function is bound to a scope, and kept."""
        with self.scope(side):
            self.functions.append((side, tenancy.bind(lambda: set(_list_keys("task")))))

    @precondition(lambda self: self.functions)
    @rule(number=NUMBER, place=PLACE)
    def call_function(self, number: int, place: str) -> None:
        """A bound function finds its own scope's rows, wherever it is called."""
        side, function = self.functions[number % len(self.functions)]
        with self.scope(place):
            assert function() == set(self.world.known[side]["task"])

    @rule()
    def read_without_scope(self) -> None:
        """With no scope every read raises."""
        for shape in SHAPES.values():
            self.attempt("none", partial(_list_shape, shape), refused=True)
        with pytest.raises(ScopeRequired):
            User.objects.filter(memberships=None).exists()

    @rule(user=st.sampled_from(["alice", "bob", "carol"]))
    def list_own(self, user: str) -> None:
        """A user alone sees their memberships and organizations, and no more."""
        person = self.world.users[user]
        expected = 2 if user == "carol" else 1
        with tenancy.scope(user=person):
            assert {m.user_id for m in Membership.objects.all()} == {person.pk}
            assert Organization.objects.count() == expected
            with pytest.raises(ScopeRequired):
                list(Task.objects.all())

    # What is always true

    @invariant()
    def database_holds_what_is_known(self) -> None:
        """Neither side's rows are changed by anybody but itself."""
        actual = self.world.read()
        for side in SIDES:
            for kind in KINDS:
                assert actual[side][kind] == self.world.known[side][kind], (
                    f"{side}'s {kind} rows are not what it made of them"
                )

    @invariant()
    def scopes_show_what_is_known(self) -> None:
        """Each side finds and counts all of its rows, and no others."""
        for side in SIDES:
            with self.scope(side):
                for kind in KINDS:
                    known = self.world.known[side][kind]
                    if kind in PAIRS:
                        assert KINDS[kind][0]._base_manager.count() == len(known)
                    else:
                        assert set(_list_keys(kind)) == set(known)

    @invariant()
    def statements_have_predicates(self) -> None:
        """No statement of the ORM names a tenant table without its organization."""
        assert not self.recorder.faults, self.recorder.faults[0]
        assert current_scope() is None

    def _note_label(self, side: str, name: str) -> None:
        with self.scope(side):
            self.world.put(side, "label", Label.objects.get(name=name))


def _list_keys(kind: str) -> list[Any]:
    return list(KINDS[kind][0]._base_manager.values_list("pk", flat=True))


def walk() -> None:
    """Run the machine on the open database; it commits and cleans up after itself.

    The walks come in parts, between which the time is looked at: inside one, Hypothesis
    requires that nothing depends on it.
    """
    examples = int(os.environ.get("TENANCY_TEST_EXAMPLES", "12"))
    ends_at = time.monotonic() + float(os.environ.get("TENANCY_TEST_SECONDS", "40"))
    shrink = [Phase.shrink] if os.environ.get("TENANCY_TEST_SHRINK") else []
    Isolation.world = World()
    for number in range(0, examples, EXAMPLES_AT_ONCE):
        if number and time.monotonic() > ends_at:
            break
        # The name is a part of what Hypothesis derives its choices from.
        machine = type(f"Isolation{number}", (Isolation,), {})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=min(EXAMPLES_AT_ONCE, examples - number),
                stateful_step_count=int(os.environ.get("TENANCY_TEST_STEPS", "40")),
                deadline=None,
                derandomize=not os.environ.get("TENANCY_TEST_RANDOM"),
                database=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate, *shrink],
            ),
        )


@pytest.mark.django_db(transaction=True)
def test_organizations_when_walking_randomly_stay_apart() -> None:
    """Whatever the two do, each finds its own rows and leaves the other's alone."""
    walk()


def test_machine_when_counted_has_many_rules() -> None:
    """The machine knows many ways out."""
    rules = [
        name
        for name, value in vars(Isolation).items()
        if hasattr(value, "hypothesis_stateful_rule")
    ]

    assert len(rules) >= 25
    assert len(REACHES) >= 40
