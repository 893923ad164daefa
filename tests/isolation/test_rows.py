"""Fetched rows, carried by a queryset or an iterator into another scope."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.db.models import Count, Prefetch, QuerySet

import tenancy
from tenancy import rows as rows_module
from tenancy.backends.base import get_backend
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import User
from tests.apps.notebook.models import Category, Note
from tests.isolation.conftest import Rows

pytestmark = pytest.mark.django_db

# Built as a module's attribute would be: in no scope, of a global model.
GLOBAL: dict[str, Callable[[], Any]] = {
    "annotated": lambda: Category.objects.annotate(n=Count("notes")).values_list(
        "name", "n"
    ),
    "joined": lambda: Category.objects.values_list("notes__code"),
    "found": lambda: User.objects.filter(notes__text="secret").values_list("email"),
    "excluded": lambda: Category.objects.exclude(notes__text="secret").values("name"),
    "pickled": lambda: Category.objects.values_list("notes__code"),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_global_queryset_when_filled_elsewhere_is_read_anew(
    name: str, ours: Rows, theirs: Rows
) -> None:
    """Global rows that tenant rows have counted or found are of one scope."""
    shared = GLOBAL[name]()
    with tenancy.scope(theirs.organization):
        seen = list(shared)
    if name == "pickled":
        with tenancy.scope(theirs.organization):
            shared = pickle.loads(pickle.dumps(shared))

    with tenancy.scope(ours.organization):
        assert list(shared) == list(GLOBAL[name]()) != seen
        assert shared.count() == GLOBAL[name]().count()
        assert shared.exists() == GLOBAL[name]().exists()
    with pytest.raises(ScopeRequired):
        list(shared)


def test_global_queryset_when_tenant_rows_are_prefetched_is_read_anew(
    ours: Rows, theirs: Rows
) -> None:
    """What is prefetched into the rows is of the scope, and so are they."""
    shared = Category.objects.prefetch_related(Prefetch("notes", to_attr="mine"))
    with tenancy.scope(theirs.organization):
        assert len(list(shared)[0].mine) > 1

    with tenancy.scope(ours.organization):
        assert [note.code for note in list(shared)[0].mine] == [ours.note.code]


def test_global_queryset_without_tenant_rows_keeps_its_own(
    category: Category, ours: Rows, django_assert_num_queries: Any
) -> None:
    """Rows that no organization has are fetched once, in whatever scope."""
    shared = Category.objects.order_by("name")
    with tenancy.scope(ours.organization):
        (first,) = shared

    with django_assert_num_queries(0):
        assert [*shared] == [first]
        assert shared[0] is first


def test_global_raw_queryset_when_filled_elsewhere_is_read_anew(
    ours: Rows, theirs: Rows
) -> None:
    """Rows of a global model's raw() that hold what was joined are of one scope."""
    if not get_backend(connection).hides_rows:
        return  # Such a statement is refused there.
    shared: Any = Category.objects.raw(
        "SELECT c.*, n.code AS code FROM notebook_category c"
        " JOIN notebook_note n ON n.category_id = c.id"
    )
    with tenancy.scope(theirs.organization):
        assert len(shared) > 1

    with tenancy.scope(ours.organization):
        assert [row.code for row in shared] == [ours.note.code]


def find_codes() -> QuerySet[User, str]:
    """Return texts of tenant rows, in a queryset of a global model."""
    return User.objects.filter(notes__weight__gt=0).values_list(
        "notes__code", flat=True
    )


@pytest.mark.parametrize(
    "make", [lambda rows: rows, lambda rows: rows.all()], ids=["itself", "a clone"]
)
def test_iterator_of_a_filled_queryset_when_continued_elsewhere_raises(
    ours: Rows, theirs: Rows, make: Callable[[Any], Any]
) -> None:
    """That rows were fetched before does not let an iterator out of its scope."""
    shared = find_codes()
    with tenancy.scope(theirs.organization):
        assert len(shared) > 1
        iterator = make(shared).iterator(chunk_size=1)
        next(iterator)

    with tenancy.scope(ours.organization), pytest.raises(CrossOrganization):
        next(iterator)


@pytest.mark.parametrize("is_pooled", [False, True])
def test_global_iterator_when_continued_elsewhere_raises(
    ours: Rows, theirs: Rows, is_pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An iterator that has begun in one scope gives no row in another, or in none."""
    monkeypatch.setitem(
        connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", is_pooled
    )
    for enter in (lambda: tenancy.scope(ours.organization), lambda: None):
        with tenancy.scope(theirs.organization):
            iterator = find_codes().iterator(chunk_size=1)
            next(iterator)

        with pytest.raises((CrossOrganization, ScopeRequired)):
            if scope := enter():
                with scope:
                    next(iterator)
            next(iterator)


def test_global_async_iterator_when_continued_elsewhere_raises(
    ours: Rows, theirs: Rows
) -> None:
    """As above, for async code."""

    async def read() -> None:
        async with tenancy.scope(theirs.organization):
            iterator = find_codes().aiterator(chunk_size=1)
            await anext(iterator)
        async with tenancy.scope(ours.organization):
            await anext(iterator)

    with pytest.raises(CrossOrganization):
        async_to_sync(read)()


def test_global_iterators_when_in_one_scope_give_all_rows(theirs: Rows) -> None:
    """What stays in its scope is as ever; an empty one ends."""

    async def read(queryset: Any) -> list[str]:
        async with tenancy.scope(theirs.organization):
            return [code async for code in queryset.aiterator(chunk_size=1)]

    with tenancy.scope(theirs.organization):
        codes = sorted(find_codes())
        assert sorted(find_codes().iterator(chunk_size=1)) == codes
        assert list(find_codes().none().iterator()) == []
    assert sorted(async_to_sync(read)(find_codes())) == codes
    assert async_to_sync(read)(find_codes().none()) == []


def make_raw(rows: Rows) -> Any:
    """Return the notes of an organization by raw SQL that every database takes."""
    key = Note._meta.get_field("organization").get_db_prep_value(
        rows.organization.pk, connection
    )
    return Note.objects.raw(
        "SELECT * FROM notebook_note WHERE organization_id = %s", [key]
    )


def test_raw_iterator_when_continued_elsewhere_raises(ours: Rows, theirs: Rows) -> None:
    """A tenant model's raw rows end with the scope in which they were begun."""
    for scope in (tenancy.scope(ours.organization), None):
        with tenancy.scope(theirs.organization):
            iterator = make_raw(theirs).iterator()
            next(iterator)

        with pytest.raises((CrossOrganization, ScopeRequired)):
            if scope is not None:
                with scope:
                    next(iterator)
            next(iterator)


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows.using("default"), copy.copy, copy.deepcopy],
    ids=["using", "copy", "deepcopy"],
)
def test_raw_queryset_when_made_of_another_stays_in_scope(
    ours: Rows, theirs: Rows, change: Callable[[Any], Any]
) -> None:
    """Each is a queryset whose rows are of one scope, as the first is."""
    with tenancy.scope(theirs.organization):
        made = change(make_raw(theirs))
        assert len(made) > 1

    with tenancy.scope(ours.organization):
        try:
            found = [row.code for row in made]
        except (CrossOrganization, RawSQLRefused):
            found = []
    assert found == []


def test_shared_queryset_when_two_threads_fill_it_shows_each_its_own(
    ours: Rows, theirs: Rows
) -> None:
    """Between any two lines of one thread, another finds its own rows or none."""
    shared: Any = Note.objects.order_by("pk")
    with tenancy.scope(ours.organization):
        own = [note.code for note in shared]
    found: list[list[str] | None] = []

    def look() -> None:
        with tenancy.scope(ours.organization):
            rows = shared._result_cache
            found.append(rows and [note.code for note in rows])

    def step(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename != rows_module.__file__:
            return None
        sys.settrace(None)
        # As another thread would, whose context is its own.
        Context().run(look)
        sys.settrace(step)
        return step

    before = sys.gettrace()
    with tenancy.scope(theirs.organization):
        sys.settrace(step)
        try:
            count = len(shared)
        finally:
            sys.settrace(before)

    assert count > len(own)
    assert len(found) > 5
    assert {None if one is None else tuple(one) for one in found} <= {None, tuple(own)}
