from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, QuerySet

import tenancy
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import Organization, User
from tenancy.predicates import InScope
from tests.apps.notebook.models import Note, Remark


@pytest.fixture
def note(acme: Organization) -> Note:
    """A note of acme, with a remark."""
    with tenancy.scope(acme):
        note = Note.objects.create(code="one")
        note.remarks.create(text="one")
        return note


@pytest.fixture
def theirs(globex: Organization) -> Note:
    """A note of globex, with a remark."""
    with tenancy.scope(globex):
        note = Note.objects.create(code="two")
        note.remarks.create(text="two")
        return note


def test_key_when_row_is_own_is_taken(note: Note, acme: Organization) -> None:
    """A generic key takes a row of the scope, and reads it again."""
    with tenancy.scope(acme):
        remark = Remark.objects.create(target=note, text="x")

        assert Remark.objects.get(pk=remark.pk).target == note


def test_key_when_row_is_global_is_taken(acme: Organization, note: Note) -> None:
    """It takes a global row as it is."""
    with tenancy.scope(acme):
        remark = Remark(text="x")
        remark.target = ContentType.objects.get_for_model(User)
        remark.target = None

        assert remark.object_id is None


@pytest.mark.parametrize(
    "act",
    [
        lambda note: Remark(target=note),
        lambda note: setattr(Remark(), "target", note),
    ],
    ids=["made", "set"],
)
def test_key_when_row_is_theirs_raises(
    act: Callable[[Note], Any], theirs: Note, acme: Organization
) -> None:
    """It takes no row of another organization, and none outside a scope."""
    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization, match="A Note of another organization"),
    ):
        act(theirs)
    with pytest.raises(ScopeRequired, match="no active scope"):
        act(theirs)


def test_key_when_number_is_theirs_reads_none(
    theirs: Note, note: Note, acme: Organization
) -> None:
    """A number leads to the scope's rows only."""
    with tenancy.scope(acme):
        content_type = ContentType.objects.get_for_model(Note)
        remark = Remark(content_type=content_type, object_id=theirs.pk)

        assert remark.target is None


def test_relation_when_joined_restricts_the_side_that_is_added(db: None) -> None:
    """The ON clause gets a predicate of the table that is joined."""
    field = Note._meta.get_field("remarks")

    restrictions: list[Any] = [
        field.remote_field.get_extra_restriction("r", "n"),
        field.get_extra_restriction("n", "r"),
        field.get_extra_restriction(None, "r"),
    ]
    aliases = [
        [c.column.alias for c in restriction.leaves() if isinstance(c, InScope)]
        for restriction in restrictions
    ]

    assert aliases == [["r"], ["n"], ["r"]]


def test_relation_when_filtered_is_scoped(
    note: Note, theirs: Note, acme: Organization
) -> None:
    """Filters, counts and excludes over it are the scope's."""
    with tenancy.scope(acme):
        assert list(Note.objects.filter(remarks__text="two")) == []
        assert list(Note.objects.exclude(remarks__text="two")) == [note]
        assert Note.objects.aggregate(n=Count("remarks")) == {"n": 1}
        assert Remark.objects.filter(note__code="two").count() == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda own, row: own.remarks.add(row),
        lambda own, row: own.remarks.add(row, bulk=False),
        lambda own, row: own.remarks.set([row]),
        lambda own, row: own.remarks.remove(row),
    ],
    ids=["add", "add saved", "set", "remove"],
)
def test_manager_when_row_is_theirs_raises(
    act: Callable[[Note, Remark], Any], note: Note, theirs: Note, acme: Organization
) -> None:
    """The manager takes no row of another organization."""
    with tenancy.unscoped("tests: their remark"):
        remark = Remark.objects.get(text="two")

    with tenancy.scope(acme), pytest.raises(CrossOrganization, match="A Remark of"):
        act(note, remark)


@pytest.mark.parametrize(
    "act",
    [
        lambda note: note.remarks.create(text="x"),
        lambda note: note.remarks.get_or_create(text="x"),
        lambda note: note.remarks.update_or_create(text="x"),
    ],
    ids=["create", "get_or_create", "update_or_create"],
)
def test_manager_when_instance_is_theirs_raises(
    act: Callable[[Note], Any], theirs: Note, acme: Organization
) -> None:
    """Nor does the manager of their row make any."""
    with tenancy.scope(acme), pytest.raises(CrossOrganization, match="A Note of"):
        act(theirs)


def test_manager_when_own_works_as_djangos(note: Note, acme: Organization) -> None:
    """Within the scope it is Django's."""
    with tenancy.scope(acme):
        remark = note.remarks.get_or_create(text="x")[0]
        note.remarks.update_or_create(text="y")
        note.remarks.remove(remark)
        assert note.remarks.count() == 2
        note.remarks.set([note.remarks.first()])
        note.remarks.add(note.remarks.get())
        note.remarks.clear()

        assert not note.remarks.exists()


def test_delete_when_it_cascades_is_scoped(
    note: Note, theirs: Note, acme: Organization, globex: Organization
) -> None:
    """Deleting a row deletes its remarks, and no other's of the same number."""
    with tenancy.scope(acme):
        note.delete()
        assert not Remark.objects.exists()

    with tenancy.scope(globex):
        assert Remark.objects.count() == 1


def test_relation_when_bare_queryset_joins_it_is_refused(
    note: Note, theirs: Note, acme: Organization
) -> None:
    """A bare queryset's own table gets no predicate from a LEFT JOIN's ON clause."""
    rows = QuerySet(Note).annotate(n=Count("remarks"))

    with tenancy.scope(acme):
        try:
            seen = set(rows)
        except RawSQLRefused:
            seen = set()

    assert seen <= {note}
