"""Two organizations whose rows are known twice: in a database, and in Python."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction
from django.db.models import Field, Model

import tenancy
from project.tracker.models import Attachment, Bookmark, Comment, Label, Project, Task
from tenancy.models import Membership, Organization, Role, User
from tenancy.predicates import tenant_field

SIDES = ("acme", "globex")

# The rows that are known, children before parents.
KINDS: dict[str, tuple[type[Model], tuple[str, ...]]] = {
    "link": (Task.labels.through, ("task_id", "label_id")),
    "block": (Task.blocked_by.through, ("from_task_id", "to_task_id")),
    "comment": (Comment, ("task_id", "author_id", "body")),
    "task": (Task, ("project_id", "title", "status", "priority", "assignee_id")),
    "label": (Label, ("name", "color")),
    "project": (Project, ("name", "description")),
    "membership": (Membership, ("user_id", "role_id")),
    "role": (Role, ("key", "name")),
}
PAIRS = {"link", "block"}

Values = dict[str, Any]
Known = dict[str, dict[str, dict[Any, Values]]]  # By side, by kind, by key.


class World:
    """acme with alice, globex with bob, and carol in both; their rows, known.

    What a side's ORM should find is read from ``known``, which is changed beside the
    database; ``read()`` says what the database really holds.
    """

    def __init__(self) -> None:
        self.users = {
            name: User.objects.create_user(f"{name}@example.com", name=name)
            for name in ("alice", "bob", "carol")
        }
        self.organizations: dict[str, Organization] = {
            side: Organization.objects.create_with_owner(
                name=side, owner=self.users[owner]
            )
            for side, owner in zip(SIDES, ("alice", "bob"), strict=True)
        }
        self.members: dict[str, list[Membership]] = {}
        for side, organization in self.organizations.items():
            with tenancy.scope(organization):
                Membership.objects.create(user=self.users["carol"])
                self.members[side] = list(Membership.objects.order_by("created_at"))
        self.known: Known = {}
        self.number = 0

    def reset(self) -> None:
        """Empty the known tables except memberships and roles, and fill them anew."""
        self.number = 0
        with tenancy.unscoped("a clean world"), transaction.atomic():
            models: list[type[Model]] = [
                Bookmark,
                Attachment,
                *(kind for kind, _ in KINDS.values()),
            ]
            for model in models:
                if model not in (Membership, Role):
                    self._delete_all(model)
        for side, organization in self.organizations.items():
            with tenancy.scope(organization), transaction.atomic():
                self._fill(side)
        self.known = self.read()

    def _delete_all(self, model: type[Model]) -> None:
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"DELETE FROM {table}")

    def _fill(self, side: str) -> None:
        projects = [Project.objects.create(name=self.name(side)) for _ in range(2)]
        labels = [Label.objects.create(name=self.name(side)) for _ in range(2)]
        for number in range(3):
            task = Task.objects.create(
                project=projects[number % 2],
                title=self.name(side),
                assignee=self.members[side][number % 2],
            )
            task.labels.add(labels[number % 2])
            Comment.objects.create(
                task=task, author=self.members[side][1], body=self.name(side)
            )
            Bookmark.objects.create(user=self.users["carol"], task=task)

    def name(self, side: str) -> str:
        """Return a new text, in which the side can be read."""
        self.number += 1
        return f"{side} {self.number}"

    def read(self) -> Known:
        """Return what the database holds, by raw SQL, whosoever's it is."""
        found: Known = {side: {kind: {} for kind in KINDS} for side in SIDES}
        sides = {
            organization.pk: side for side, organization in self.organizations.items()
        }
        with tenancy.unscoped("the rows of both"), connection.cursor() as cursor:
            for kind, (model, names) in KINDS.items():
                own = tenant_field(model)
                assert own is not None
                fields = [own, model._meta.pk, *_fields(model, names)]
                quoted = [
                    connection.ops.quote_name(str(field.column)) for field in fields
                ]
                table = connection.ops.quote_name(model._meta.db_table)
                cursor.execute(f"SELECT {', '.join(quoted)} FROM {table}")
                for row in cursor.fetchall():
                    values = [
                        _to_python(field, value)
                        for field, value in zip(fields, row, strict=True)
                    ]
                    side = sides.get(values[0])
                    if side is None:
                        continue
                    pair = dict(zip(names, values[2:], strict=True))
                    key = tuple(pair.values()) if kind in PAIRS else values[1]
                    found[side][kind][key] = pair
        return found

    def snapshot(self) -> Known:
        """Return a copy of what is known, for the end of a transaction."""
        return copy.deepcopy(self.known)

    def put(self, side: str, kind: str, row: Any) -> None:
        """Note that a side has a row with the instance's values."""
        names = KINDS[kind][1]
        self.known[side][kind][row.pk] = {name: getattr(row, name) for name in names}

    def pair(self, side: str, kind: str, one: Any, other: Any) -> None:
        """Note that two rows of a side are linked."""
        names = KINDS[kind][1]
        self.known[side][kind][one, other] = dict(zip(names, (one, other), strict=True))

    def drop(self, side: str, kind: str, key: Any) -> None:
        """Note that a side has lost a row, with all that its deletion takes along."""
        rows = self.known[side]
        rows[kind].pop(key, None)
        if kind == "project":
            for task, values in list(rows["task"].items()):
                if values["project_id"] == key:
                    self.drop(side, "task", task)
        if kind == "task":
            for comment, values in list(rows["comment"].items()):
                if values["task_id"] == key:
                    self.drop(side, "comment", comment)
        for pairs in PAIRS:
            for pair, values in list(rows[pairs].items()):
                names = {f"{kind}_id", f"from_{kind}_id", f"to_{kind}_id"}
                if any(values.get(name) == key for name in names):
                    del rows[pairs][pair]

    def pick(self, side: str, kind: str, number: int) -> Any:
        """Return a key of a side's row, or None where it has none."""
        keys = sorted(self.known[side][kind])
        return keys[number % len(keys)] if keys else None


def _fields(model: type[Model], names: Iterable[str]) -> list[Field[Any, Any]]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return [by_name[name] for name in names]


def _to_python(field: Any, value: Any) -> Any:
    while field.remote_field is not None:
        field = field.target_field
    return field.to_python(value)
