"""The rows of acme and of globex, and proofs that globex's stay as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model, QuerySet

import tenancy
from project.tracker.models import Bookmark, Comment, Label, Project, Task
from tenancy.backends import get_backend
from tenancy.exceptions import RawSQLRefused
from tenancy.models import Membership, Organization, User
from tenancy.predicates import protected_tables
from tests.apps.notebook.models import (
    Category,
    Cover,
    Folder,
    Note,
    Pin,
    Placing,
    Remark,
)
from tests.sharing import share

# Policies in the planner, and settings that a pool could leave behind, are one
# database's own: no test of the others, and no skipped one either.
collect_ignore = (
    [] if connection.vendor == "postgresql" else ["test_plans.py", "test_pooling.py"]
)

MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@dataclass(frozen=True)
class Rows:
    """What one organization has; the names of two organizations are the same."""

    organization: Organization
    user: User
    member: Membership
    project: Project
    task: Task
    blocker: Task
    label: Label
    comment: Comment
    bookmark: Bookmark
    folder: Folder
    note: Note
    cover: Cover
    placing: Placing
    remark: Remark
    pin: Pin
    category: Category


@share
def category(db: None) -> Category:
    """A global row that both organizations refer to."""
    return Category.objects.create(name="general")


@share
def ours(acme: Organization, alice: User, category: Category) -> Rows:
    """The rows of acme: one of each."""
    return _make_rows(acme, alice, category, "ours", weight=1)


@pytest.fixture
def make_theirs(
    globex: Organization, bob: User, category: Category
) -> Callable[[], Rows]:
    """Make the rows of globex when the test wants them to appear."""

    return partial(_make_theirs, globex, bob, category)


@share
def theirs(globex: Organization, bob: User, category: Category) -> Rows:
    """The rows of globex: more of them, so that a count tells."""
    return _make_theirs(globex, bob, category)


@share
def their_digest(theirs: Rows) -> str:
    """A digest of globex's rows as they were made."""
    return digest(theirs.organization)


@pytest.fixture
def untouched(theirs: Rows, their_digest: str) -> Iterator[Callable[[], None]]:
    """Compare globex's rows before and after the test, and on demand."""

    def check() -> None:
        assert digest(theirs.organization) == their_digest

    yield check
    check()


@pytest.fixture
def in_acme(ours: Rows, theirs: Rows) -> Iterator[Rows]:
    """The scope of acme, entered; both organizations have their rows."""
    with tenancy.scope(ours.organization, in_generator=True):
        yield ours


@pytest.fixture
def open_database(hides_raw_reads: bool) -> None:
    """Take the database's lock off its tables, so that the ORM's alone holds reads.

    The end of the test's transaction puts it back. Where the database hides nothing,
    the lock is the guard, which lets through what has the ORM's predicate.
    """
    if not hides_raw_reads:
        return
    with tenancy.unscoped("tests: open the database's lock"):
        connection.check_constraints()
        with connection.cursor() as cursor:
            for table in protected_tables():
                name = connection.ops.quote_name(table)
                cursor.execute(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")


@pytest.fixture
def hides_raw_reads(db: None) -> bool:
    """Whether the database hides rows of others, instead of a refusal."""
    return get_backend(connection).hides_rows


@pytest.fixture
def read_raw(hides_raw_reads: bool) -> Callable[..., list[Any]]:
    """Run SQL as it is, and return what of other organizations came.

    A database that hides rows returns the scope's; on another the guard refuses, and
    the list is empty.
    """

    def read(sql: str, params: Any = None) -> list[Any]:
        with connection.cursor() as cursor:
            if not hides_raw_reads:
                with pytest.raises(RawSQLRefused, match=r"tenancy\.raw\(\)"):
                    cursor.execute(sql, params)
                return []
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    return read


@pytest.fixture
def rows_of(hides_raw_reads: bool) -> Callable[[Any], list[Any]]:
    """Evaluate a queryset of which the ORM has no predicate.

    Where the database hides rows, those of the scope are returned; elsewhere the
    guard's refusal is asserted, and the list is empty.
    """

    def evaluate(queryset: Any) -> list[Any]:
        if hides_raw_reads:
            return list(queryset)
        with pytest.raises(RawSQLRefused, match="without the organization's predicate"):
            list(queryset)
        return []

    return evaluate


def bare(model: type[Model]) -> QuerySet[Any, Any]:
    """Return a queryset that knows nothing of organizations."""
    return QuerySet(model)


def digest(organization: Organization) -> str:
    """Return a digest of every row that an organization has."""
    found = hashlib.sha256()
    with tenancy.unscoped("digest of an organization's rows"):
        for table, model in sorted(protected_tables().items()):
            name = getattr(model, "tenant_key", "")
            rows = model._base_manager.filter(**{name: organization.pk})
            for row in rows.order_by("pk").values_list():
                found.update(repr((table, row)).encode())
    return found.hexdigest()


def _make_theirs(globex: Organization, bob: User, category: Category) -> Rows:
    rows = _make_rows(globex, bob, category, "secret", weight=100)
    with tenancy.scope(globex):
        for number in range(3):
            Note.objects.create(
                code=f"secret {number}",
                weight=1000,
                written_at=MOMENT,
                folder=rows.folder,
                category=category,
                author=bob,
            )
    return rows


def _make_rows(
    organization: Organization,
    user: User,
    category: Category,
    word: str,
    *,
    weight: int,
) -> Rows:
    with tenancy.scope(organization):
        member = Membership.objects.get(user=user)
        project = Project.objects.create(name=f"{word} project", description=word)
        task = Task.objects.create(
            project=project, title=f"{word} task", assignee=member
        )
        blocker = Task.objects.create(project=project, title=f"{word} blocker")
        task.blocked_by.add(blocker)
        label = Label.objects.create(name=f"{word} label")
        task.labels.add(label)
        comment = Comment.objects.create(task=task, author=member, body=f"{word} body")
        bookmark = Bookmark.objects.create(user=user, task=task)
        folder = Folder.objects.create(name=f"{word} folder")
        note = Note.objects.create(
            code=f"{word} note",
            text=word,
            data={"word": word},
            weight=weight,
            folder=folder,
            category=category,
            author=user,
            written_at=MOMENT,
        )
        note.readers.add(user)
        cover = Cover.objects.create(note=note, color=word)
        placing = Placing.objects.create(note=note, folder=folder, shelf=word)
        remark = Remark.objects.create(target=note, text=f"{word} remark")
        pin = Pin.objects.create(user=user, note=note)
    return Rows(
        organization=organization,
        user=user,
        member=member,
        project=project,
        task=task,
        blocker=blocker,
        label=label,
        comment=comment,
        bookmark=bookmark,
        folder=folder,
        note=note,
        cover=cover,
        placing=placing,
        remark=remark,
        pin=pin,
        category=category,
    )


def models_of_tenants() -> list[type[Model]]:
    """Return every protected model, tables between two others included."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model in set(protected_tables().values())
    ]


def content_type_of(model: type[Model]) -> ContentType:
    """Return the content type of a model."""
    return ContentType.objects.get_for_model(model)
