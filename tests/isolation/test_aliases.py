"""Line 9: a second alias of the database, which routers may read from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, router
from django.db.models import Prefetch, QuerySet

import tenancy
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tests.apps.notebook.models import Category, Folder, Note
from tests.isolation.conftest import Rows

ALIAS = "replica"
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", ALIAS])


@pytest.fixture(scope="module", autouse=True)
def second_alias(django_db_setup: None) -> Iterator[None]:
    """The alias, made before Django asks which databases a test may open."""
    default = connections["default"].settings_dict
    test = {**default["TEST"], "MIRROR": "default"}
    connections.settings[ALIAS] = {**default, "TEST": test}
    yield
    del connections.settings[ALIAS]


@pytest.fixture
def replica(transactional_db: None) -> Iterator[str]:
    """A second alias, with a connection of its own to the same database."""
    yield ALIAS
    connections[ALIAS].close()
    del connections[ALIAS]


@pytest.fixture
def reads_from_replica(replica: str, settings: Any) -> None:
    """A router that sends every read to the second alias."""

    class Router:
        def db_for_read(self, model: Any, **hints: Any) -> str:
            return ALIAS

        def db_for_write(self, model: Any, **hints: Any) -> str:
            return "default"

        def allow_relation(self, *objs: Any, **hints: Any) -> bool:
            return True

    settings.DATABASE_ROUTERS = [Router()]
    settings.TENANCY_DATABASES = ["default", ALIAS]


def bare(model: Any) -> Any:
    """Return a queryset of the second alias that has no predicate."""
    return QuerySet(model).using(ALIAS)


READS: dict[str, Callable[[], Any]] = {
    "using": lambda: Note.objects.using(ALIAS),
    "db_manager": lambda: Note.objects.db_manager(ALIAS).filter(weight__gte=0),
    "base manager": lambda: Note._base_manager.using(ALIAS),
    "narrowing manager": lambda: Note.live.using(ALIAS),
    "related": lambda: Category.objects.using(ALIAS).get().notes.all(),
    "prefetched": lambda: (
        Category.objects.using(ALIAS).prefetch_related("notes").get().notes.all()
    ),
    "prefetch queryset": lambda: (
        Category.objects.using(ALIAS)
        .prefetch_related(Prefetch("notes", Note.objects.using(ALIAS)))
        .get()
        .notes.all()
    ),
    "or": lambda: Note.objects.using(ALIAS) | Note.objects.using(ALIAS),
    "raw": lambda: Note.objects.using(ALIAS).filter(
        pk__in=[row.id for row in tenancy.raw("SELECT id FROM notebook_note")]
    ),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_read_when_alias_is_named_is_scoped(
    read: Callable[[], Any], replica: str, ours: Rows, theirs: Rows
) -> None:
    """Naming the alias keeps the scope, on a connection of its own."""
    with tenancy.scope(ours.organization):
        assert [note.pk for note in read()] == [ours.note.pk]
    with pytest.raises(ScopeRequired, match="scope"):
        list(read())


def test_read_when_routed_is_scoped(
    reads_from_replica: None, ours: Rows, theirs: Rows
) -> None:
    """What a router sends to a replica keeps the scope."""
    with tenancy.scope(ours.organization):
        assert router.db_for_read(Note) == ALIAS
        assert [note.pk for note in Note.objects.all()] == [ours.note.pk]
        note: Any = Note.objects.select_related("folder").get()
        assert note._state.db == ALIAS
        assert list(note.folder.notes.all()) == [note]
        note.text = "x"
        note.save()
        assert Category.objects.filter(notes__weight__gte=100).count() == 0


def test_bare_read_when_alias_is_named_is_hidden_or_refused(
    replica: str, ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """The second connection is guarded as the first is."""
    with tenancy.scope(ours.organization):
        try:
            rows = {note.organization_id for note in bare(Note)}
        except RawSQLRefused:
            assert not hides_raw_reads
            rows = set()
        assert rows <= {ours.organization.pk}
    with pytest.raises(ScopeRequired, match="scope"):
        list(bare(Note))


@pytest.mark.parametrize(
    "write",
    [
        lambda their: Note.objects.using(ALIAS).create(
            code="x", organization_id=their.organization.pk
        ),
        lambda their: their.note.save(using=ALIAS),
        lambda their: their.note.delete(using=ALIAS),
        lambda their: QuerySet(Folder, using=ALIAS).create(
            name="x", organization_id=their.organization.pk
        ),
    ],
    ids=["create", "save", "delete", "bare"],
)
def test_write_when_alias_is_named_is_refused(
    write: Callable[[Rows], Any],
    replica: str,
    ours: Rows,
    theirs: Rows,
    untouched: Callable[[], None],
) -> None:
    """A write of theirs through the second alias is refused."""
    with (
        tenancy.scope(ours.organization),
        pytest.raises(CrossOrganization, match="organization"),
    ):
        write(theirs)


def test_raw_write_when_alias_is_named_is_refused(
    replica: str, ours: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """So is raw SQL on it."""
    with (
        tenancy.scope(ours.organization),
        connections[ALIAS].cursor() as cursor,
        contextlib.suppress(CrossOrganization, RawSQLRefused),
    ):
        cursor.execute("UPDATE notebook_note SET text = 'x'")


def test_scope_when_organization_is_of_replica_passes(
    reads_from_replica: None, ours: Rows, theirs: Rows
) -> None:
    """An organization that was read from a named alias may be entered."""
    with tenancy.scope(user=ours.user):
        organization = type(ours.organization).objects.get()

    assert organization._state.db == ALIAS
    with tenancy.scope(organization):
        assert Note.objects.count() == 1
