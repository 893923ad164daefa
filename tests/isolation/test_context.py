"""Lines 1 to 5: which scope a query runs in."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.db import close_old_connections, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import post_save
from django.http import StreamingHttpResponse
from django.template import Context, Template

import tenancy
from tenancy.exceptions import CrossOrganization, ScopeInterleaved, ScopeRequired
from tenancy.models import Organization
from tests.apps.notebook.models import Category, Folder, Note, Pin
from tests.isolation.conftest import Rows, models_of_tenants

# Made at import, as a class attribute of a view or a form is.
AT_IMPORT = Note.objects.order_by("code")

READS: dict[str, Callable[[Any], Any]] = {
    "iterate": lambda rows: list(rows),
    "len": lambda rows: len(rows),
    "bool": lambda rows: bool(rows),
    "repr": lambda rows: repr(rows),
    "index": lambda rows: rows[0],
    "slice": lambda rows: list(rows[:1]),
    "step": lambda rows: rows[:4:2],
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "get": lambda rows: rows.get(pk=1),
    "first": lambda rows: rows.first(),
    "last": lambda rows: rows.last(),
    "latest": lambda rows: rows.latest("pk"),
    "earliest": lambda rows: rows.earliest("pk"),
    "aggregate": lambda rows: rows.aggregate(n=django.db.models.Count("pk")),
    "in_bulk": lambda rows: rows.in_bulk([1]),
    "contains": lambda rows: rows.contains(rows.model(pk=1)),
    "explain": lambda rows: rows.explain(),
    "iterator": lambda rows: list(rows.iterator()),
    "iterator of chunks": lambda rows: list(rows.iterator(chunk_size=1)),
    "values": lambda rows: list(rows.values()),
    "values_list": lambda rows: list(rows.values_list("pk", flat=True)),
    "dates": lambda rows: list(rows.dates("written_at", "year")),
    "union": lambda rows: list(rows.order_by().union(rows.order_by())),
    "distinct": lambda rows: list(rows.distinct()),
    "reverse": lambda rows: list(rows.reverse()),
    "using": lambda rows: list(rows.using("default")),
    "select_for_update": lambda rows: list(rows.select_for_update()),
    "prefetch": lambda rows: list(rows.prefetch_related("remarks")),
    "raw": lambda rows: list(rows.raw("SELECT * FROM notebook_note")),
    "text": lambda rows: str(rows.query),
    "pickle": lambda rows: pickle.dumps(rows),
    "subquery of a global model": lambda rows: list(
        Category.objects.filter(notes__in=rows)
    ),
    "template": lambda rows: Template(
        "{% for row in rows %}{{ row }}{% endfor %}"
    ).render(Context({"rows": rows})),
}

ASYNC_READS: dict[str, Callable[[Any], Any]] = {
    "aget": lambda rows: rows.aget(pk=1),
    "acount": lambda rows: rows.acount(),
    "aexists": lambda rows: rows.aexists(),
    "afirst": lambda rows: rows.afirst(),
    "alast": lambda rows: rows.alast(),
    "aaggregate": lambda rows: rows.aaggregate(n=django.db.models.Count("pk")),
    "ain_bulk": lambda rows: rows.ain_bulk([1]),
    "acontains": lambda rows: rows.acontains(rows.model(pk=1)),
    "aexplain": lambda rows: rows.aexplain(),
}

WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "save": lambda rows, note: note.save(),
    "save fields": lambda rows, note: note.save(update_fields=["text"]),
    "save new": lambda rows, note: rows.model(code="new").save(),
    "force insert": lambda rows, note: note.save(force_insert=True),
    "save raw": lambda rows, note: note.save_base(raw=True),
    "delete": lambda rows, note: note.delete(),
    "create": lambda rows, note: rows.create(code="new"),
    "get_or_create": lambda rows, note: rows.get_or_create(code="new"),
    "update_or_create": lambda rows, note: rows.update_or_create(code="new"),
    "bulk_create": lambda rows, note: rows.bulk_create([rows.model(code="new")]),
    "update": lambda rows, note: rows.update(text="new"),
    "bulk_update": lambda rows, note: rows.bulk_update([note], ["text"]),
    "delete all": lambda rows, note: rows.all().delete(),
    "raw delete": lambda rows, note: rows.all()._raw_delete("default"),
    "add": lambda rows, note: note.friends.add(note),
    "set": lambda rows, note: note.friends.set([note]),
    "clear": lambda rows, note: note.friends.clear(),
    "remove": lambda rows, note: note.friends.remove(note),
    "reverse add": lambda rows, note: note.folder.notes.add(note),
    "reverse create": lambda rows, note: note.folder.notes.create(code="new"),
    "reverse clear": lambda rows, note: note.folder.notes.clear(),
}

ASYNC_WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "asave": lambda rows, note: note.asave(),
    "adelete": lambda rows, note: note.adelete(),
    "acreate": lambda rows, note: rows.acreate(code="new"),
    "aget_or_create": lambda rows, note: rows.aget_or_create(code="new"),
    "aupdate_or_create": lambda rows, note: rows.aupdate_or_create(code="new"),
    "abulk_create": lambda rows, note: rows.abulk_create([rows.model(code="new")]),
    "aupdate": lambda rows, note: rows.aupdate(text="new"),
    "abulk_update": lambda rows, note: rows.abulk_update([note], ["text"]),
    "adelete all": lambda rows, note: rows.all().adelete(),
    "aadd": lambda rows, note: note.friends.aadd(note),
    "aset": lambda rows, note: note.friends.aset([note]),
    "aclear": lambda rows, note: note.friends.aclear(),
}

SOURCES: dict[str, Callable[[], Any]] = {
    "manager": lambda: Note.objects.all(),
    "base manager": lambda: Note._base_manager.all(),
    "narrowing manager": lambda: Note.live.all(),
    "bare": lambda: QuerySet(Note).order_by("pk"),
}
EACH_SOURCE = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


# 1. No scope: reads


@EACH_SOURCE
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_read_when_no_scope_raises(
    read: Callable[[Any], Any], source: Callable[[], Any], ours: Rows, request: Any
) -> None:
    """Whatever reads tenant rows raises, from any manager and from none."""
    if request.node.callspec.id in ("text-bare", "bare-text"):
        assert read(source())  # Nothing of a bare queryset asks for the scope yet.
        return
    with pytest.raises(ScopeRequired, match=r"(Note|_note)\S* was used with no active"):
        read(source())


@EACH_SOURCE
@pytest.mark.parametrize("read", ASYNC_READS.values(), ids=ASYNC_READS)
def test_read_when_async_and_no_scope_raises(
    read: Callable[[Any], Any], source: Callable[[], Any], ours: Rows
) -> None:
    """The async twin raises as well."""

    async def run() -> None:
        await read(source())

    with pytest.raises(ScopeRequired, match="no active scope"):
        async_to_sync(run)()


@EACH_SOURCE
def test_async_for_when_no_scope_raises(source: Callable[[], Any], ours: Rows) -> None:
    """``async for`` raises, over a queryset and over its iterator."""

    async def run(rows: Any) -> None:
        async for _ in rows:
            raise AssertionError

    with pytest.raises(ScopeRequired, match="no active scope"):
        async_to_sync(run)(source())
    with pytest.raises(ScopeRequired, match="no active scope"):
        async_to_sync(run)(source().aiterator())


@pytest.mark.parametrize(
    "model", models_of_tenants(), ids=lambda model: model._meta.label
)
def test_count_when_no_scope_raises(model: Any, ours: Rows) -> None:
    """No protected model is left out."""
    with pytest.raises(ScopeRequired, match="no active scope"):
        model._base_manager.count()
    with pytest.raises(ScopeRequired, match="no active scope"):
        model._default_manager.count()


def test_cursor_when_no_scope_raises(ours: Rows) -> None:
    """Raw SQL that names a tenant table raises on every database."""
    with (
        pytest.raises(ScopeRequired, match=r"tenancy\.unscoped\(reason\)"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT COUNT(*) FROM notebook_note")


def test_tenancy_raw_when_no_scope_raises(ours: Rows) -> None:
    """The honest raw SQL needs a scope too."""
    with pytest.raises(ScopeRequired, match=r"tenancy\.raw\(\)"):
        tenancy.raw("SELECT COUNT(*) FROM notebook_note")


def test_deferred_field_when_no_scope_raises(ours: Rows) -> None:
    """A deferred field is a query, in the scope of its access."""
    with tenancy.scope(ours.organization):
        note = Note.objects.only("code").get()

    with pytest.raises(ScopeRequired, match="no active scope"):
        note.text  # noqa: B018 - the access is the act
    with pytest.raises(ScopeRequired, match="no active scope"):
        note.refresh_from_db()


def test_relation_when_no_scope_raises(ours: Rows) -> None:
    """So is a related object, forwards and backwards, one and many."""
    with tenancy.scope(ours.organization):
        note = Note.objects.get()

    for read in (
        lambda: note.folder,
        lambda: note.cover,
        lambda: note.remarks.count(),
        lambda: note.places.count(),
        lambda: note.friends.count(),
        lambda: ours.user.notes.count(),
        lambda: ours.category.notes.count(),
        lambda: Pin.objects.get().note,
    ):
        with pytest.raises(ScopeRequired, match="no active scope"):
            read()


# 2. No scope: writes; a scope of nothing


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_when_no_scope_raises(
    write: Callable[[Any, Any], Any], ours: Rows
) -> None:
    """Whatever writes tenant rows raises."""
    with pytest.raises(ScopeRequired, match="no active scope"):
        write(Note.objects, ours.note)


@pytest.mark.parametrize("write", ASYNC_WRITES.values(), ids=ASYNC_WRITES)
def test_write_when_async_and_no_scope_raises(
    write: Callable[[Any, Any], Any], ours: Rows
) -> None:
    """The async twin raises as well."""

    async def run() -> None:
        await write(Note.objects, ours.note)

    with pytest.raises(ScopeRequired, match="no active scope"):
        async_to_sync(run)()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO notebook_folder (name, organization_id) VALUES ('x', %s)",
        "UPDATE notebook_folder SET name = 'x' WHERE organization_id = %s",
        "DELETE FROM notebook_folder WHERE organization_id = %s",
    ],
)
def test_cursor_when_no_scope_refuses_writes(sql: str, ours: Rows) -> None:
    """A statement that writes tenant rows raises."""
    key = Note._meta.get_field("organization").get_db_prep_value(
        ours.organization.pk, connection
    )

    with (
        pytest.raises(ScopeRequired, match="no active scope"),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, [key])


def test_scope_when_none_is_no_filter_raises(ours: Rows) -> None:
    """A scope of None, of nobody's or an archived organization is an error."""
    archived = Organization(pk=ours.organization.pk, name="x", status="archived")
    archived._state.adding = False

    with pytest.raises(TypeError, match="was given None"):
        tenancy.scope(None)
    with pytest.raises(ValueError, match="is not saved"):
        tenancy.scope(Organization(name="x"))
    with pytest.raises(ValueError, match="archived"):
        tenancy.scope(archived)


# 3. Whose scope it is


def test_next_request_when_first_fails_has_no_scope(ours: Rows) -> None:
    """A block that an exception leaves ends its scope."""
    with pytest.raises(ZeroDivisionError), tenancy.scope(ours.organization):
        raise ZeroDivisionError

    with pytest.raises(ScopeRequired, match="no active scope"):
        Note.objects.count()


def test_thread_when_new_has_no_scope(in_acme: Rows) -> None:
    """A new thread begins with none."""
    seen: list[str] = []

    def read() -> None:
        try:
            contextvars.Context().run(Note.objects.count)
        except ScopeRequired as error:
            seen.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()

    assert "no active scope" in seen[0]


def test_thread_when_context_is_copied_and_scope_ended_raises(ours: Rows) -> None:
    """A context that was copied into a thread does not keep a scope alive."""
    with tenancy.scope(ours.organization):
        copied = contextvars.copy_context()

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(copied.run, Note.objects.count)
        with pytest.raises(ScopeRequired, match="an ended scope"):
            future.result()


def test_tasks_when_gathered_read_their_own(ours: Rows, theirs: Rows) -> None:
    """Two tasks on one connection each read their own organization's rows."""

    async def read(rows: Rows) -> set[Any]:
        async with tenancy.scope(rows.organization):
            found = set()
            for _ in range(3):
                async for note in Note.objects.all():
                    await asyncio.sleep(0)
                    found.add(note.organization_id)
        return found

    async def run() -> list[set[Any]]:
        return await asyncio.gather(*[read(rows) for rows in (ours, theirs) * 3])

    expected = [{ours.organization.pk}, {theirs.organization.pk}] * 3
    assert async_to_sync(run)() == expected


def test_async_reads_when_in_scope_hold_its_rows(in_acme: Rows) -> None:
    """Async reads hold the scope's rows."""

    async def run() -> tuple[Any, ...]:
        return (
            [note.pk async for note in Note.objects.all()],
            [note.pk async for note in Note.objects.aiterator()],
            await Note.objects.acount(),
            (await Note.objects.aget()).pk,
            [note.pk async for note in in_acme.category.notes.all()],
            [row async for row in Note.objects.values_list("pk", flat=True)],
        )

    pk = in_acme.note.pk
    assert async_to_sync(run)() == ([pk], [pk], 1, pk, [pk], [pk])


def test_task_when_cancelled_leaves_no_scope(ours: Rows) -> None:
    """A cancelled task leaves none behind."""

    async def act() -> None:
        async with tenancy.scope(ours.organization):
            await asyncio.sleep(10)

    async def run() -> Any:
        task = asyncio.create_task(act())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await Note.objects.acount()

    with pytest.raises(ScopeRequired, match="no active scope"):
        async_to_sync(run)()


def test_streaming_body_when_scope_ended_raises(ours: Rows) -> None:
    """A body that is sent after the view's scope has ended finds none."""
    with tenancy.scope(ours.organization):
        response = StreamingHttpResponse(str(note) for note in Note.objects.iterator())

    with pytest.raises(ScopeRequired, match="ended scope|no active scope"):
        response.getvalue()


def test_streaming_body_when_begun_in_scope_raises(ours: Rows, theirs: Rows) -> None:
    """A body that was begun in one scope is not continued in another."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.iterator(chunk_size=1)
        next(rows)

    with (
        tenancy.scope(ours.organization),
        pytest.raises(
            CrossOrganization, match="continued outside it|Read it in the scope"
        ),
    ):
        next(rows)


def test_iterator_when_scope_ended_raises(theirs: Rows) -> None:
    """Nor is it continued in none."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.iterator()
        next(rows)

    with pytest.raises(
        CrossOrganization, match="continued outside it|Read it in the scope"
    ):
        next(rows)


def test_async_iterator_when_in_another_scope_raises(ours: Rows, theirs: Rows) -> None:
    """An async iterator is not continued in another scope."""

    async def run() -> None:
        async with tenancy.scope(theirs.organization):
            rows: Any = Note.objects.aiterator(chunk_size=1)
            await anext(rows)
        async with tenancy.scope(ours.organization):
            with pytest.raises(
                CrossOrganization, match="continued outside it|Read it in the scope"
            ):
                await anext(rows)
            await rows.aclose()

    async_to_sync(run)()


def test_generator_when_it_enters_scope_raises(ours: Rows) -> None:
    """A generator whose caller would stay in its scope is refused."""

    def names() -> Iterator[str]:
        with tenancy.scope(ours.organization):
            yield from (note.code for note in Note.objects.all())

    with pytest.raises(TypeError, match="in_generator=True"):
        next(names())
    with pytest.raises(ScopeRequired, match="no active scope"):
        Note.objects.count()


def test_scopes_when_interleaved_raise(ours: Rows, theirs: Rows) -> None:
    """Two blocks that are left in the wrong order end in no scope."""
    first, second = tenancy.scope(ours.organization), tenancy.unscoped("interleaved")
    first.__enter__()
    second.__enter__()

    with pytest.raises(ScopeInterleaved, match="reverse order"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)

    with pytest.raises(ScopeRequired, match="scope"):
        Note.objects.count()


def test_scope_when_inside_another_raises(ours: Rows, theirs: Rows) -> None:
    """From one organization's scope there is no way into another's but unscoped."""
    with tenancy.scope(ours.organization):
        with pytest.raises(CrossOrganization, match=r"tenancy\.unscoped\(reason\)"):
            tenancy.scope(theirs.organization).__enter__()
        with (
            tenancy.unscoped("tests: between the two"),
            tenancy.scope(theirs.organization),
        ):
            assert Note.objects.count() == 4
        assert Note.objects.count() == 1


# 4. Querysets that travel


def test_queryset_when_made_at_import_takes_each_scope(
    ours: Rows, theirs: Rows
) -> None:
    """One queryset of no scope gives each scope its rows, and shares no cache."""
    seen = []
    for rows in (ours, theirs, ours):
        with tenancy.scope(rows.organization):
            seen.append({note.organization_id for note in AT_IMPORT})
            assert len(AT_IMPORT) == (1 if rows is ours else 4)

    keys = [{ours.organization.pk}, {theirs.organization.pk}]
    assert seen == [*keys, keys[0]]
    with pytest.raises(ScopeRequired, match="scope"):
        list(AT_IMPORT)


def test_queryset_when_derived_from_import_takes_each_scope(
    ours: Rows, theirs: Rows
) -> None:
    """What is derived in a scope from a queryset of none holds that scope's rows."""
    for rows, expected in ((theirs, 4), (ours, 1)):
        with tenancy.scope(rows.organization):
            assert AT_IMPORT.filter(weight__gte=0).count() == expected
            assert len(AT_IMPORT.all()) == expected
            assert AT_IMPORT.exclude(Q(code="x")).exists()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_queryset_when_made_elsewhere_raises(
    read: Callable[[Any], Any], ours: Rows, theirs: Rows, request: Any
) -> None:
    """A queryset of one scope does not run in another."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.all()

    with tenancy.scope(ours.organization):
        if request.node.callspec.id == "raw":
            return  # It makes a query of its own, in the scope that runs it.
        with pytest.raises(CrossOrganization, match="Build the query in the scope"):
            read(rows)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_queryset_when_made_in_scope_and_run_unscoped_raises(
    read: Callable[[Any], Any], ours: Rows, theirs: Rows, request: Any
) -> None:
    """Nor does it run unscoped, where it would hold everybody's rows."""
    with tenancy.scope(ours.organization):
        rows = Note.objects.all()

    with tenancy.unscoped("tests: everybody's rows"):
        if request.node.callspec.id == "raw":
            return
        with pytest.raises(CrossOrganization, match="Build the query in the scope"):
            read(rows)


def test_queryset_when_made_unscoped_and_run_in_scope_raises(
    ours: Rows, theirs: Rows
) -> None:
    """A queryset that was made unscoped does not run in a scope."""
    with tenancy.unscoped("tests: everybody's rows"):
        rows = Note.objects.all()
        assert rows.count() == 5

    with (
        tenancy.scope(ours.organization),
        pytest.raises(CrossOrganization, match="was made in unscoped"),
    ):
        rows.count()


def test_dictionary_when_filled_by_scope_and_read_unscoped_raises(
    ours: Rows, theirs: Rows
) -> None:
    """Querysets that were collected in a loop do not hand everything to everybody."""
    collected = {}
    for rows in (ours, theirs):
        with tenancy.scope(rows.organization):
            collected[rows.organization.pk] = Note.objects.all()

    with tenancy.unscoped("tests: mails to everybody"):
        for queryset in collected.values():
            with pytest.raises(CrossOrganization, match="Build the query"):
                list(queryset)


def test_writes_when_made_elsewhere_raise(
    ours: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """An update and a delete of a queryset of another scope raise."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.all()

    with tenancy.scope(ours.organization):
        for write in (
            lambda: rows.update(text="x"),
            lambda: rows.delete(),
            lambda: rows._raw_delete("default"),
            lambda: rows.filter(pk=theirs.note.pk).update(text="x"),
        ):
            with (
                pytest.raises(CrossOrganization, match="Build the query"),
                transaction.atomic(),
            ):
                write()


def test_cache_when_scope_moved_is_not_read(ours: Rows, theirs: Rows) -> None:
    """Rows that one scope fetched are not seen in another, or in none."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.all()
        assert len(rows) == 4

    with pytest.raises(ScopeRequired, match="scope"):
        len(rows)
    with tenancy.scope(ours.organization), pytest.raises(CrossOrganization):
        len(rows)
    with tenancy.unscoped("tests: everybody's rows"), pytest.raises(CrossOrganization):
        list(rows)
    with tenancy.scope(theirs.organization):
        assert len(rows) == 4


def test_pickled_queryset_when_in_another_scope_raises(
    ours: Rows, theirs: Rows
) -> None:
    """A pickled queryset neither runs in another scope nor shows its rows there."""
    with tenancy.scope(theirs.organization):
        filled = pickle.dumps(Note.objects.all())
        query = pickle.dumps(Note.objects.all().query)
        values = pickle.dumps(Note.objects.values("code"))

    with tenancy.scope(ours.organization):
        for text, words in ((filled, "A pickled Note"), (values, "Build the query")):
            with pytest.raises(CrossOrganization, match=words):
                list(pickle.loads(text))
        rows = Note.objects.all()
        rows.query = pickle.loads(query)
        with pytest.raises(CrossOrganization, match="Build the query"):
            list(rows)
    with tenancy.scope(theirs.organization):
        assert len(pickle.loads(filled)) == 4


def test_pickled_queryset_when_made_at_import_takes_each_scope(
    ours: Rows, theirs: Rows
) -> None:
    """A query that was pickled in no scope takes the scope in which it runs."""
    query = pickle.loads(pickle.dumps(Note.objects.all().query))
    for rows, expected in ((ours, 1), (theirs, 4)):
        queryset: Any = QuerySet(Note)
        queryset.query = query.chain()

        with tenancy.scope(rows.organization):
            assert len(queryset) == expected


def test_cached_queryset_when_in_another_scope_raises(ours: Rows, theirs: Rows) -> None:
    """Django's cache hands a queryset on with its scope."""
    with tenancy.scope(theirs.organization):
        cache.set("notes", Note.objects.all())

    with tenancy.scope(ours.organization), pytest.raises(CrossOrganization):
        list(cache.get("notes"))
    cache.clear()


def test_related_manager_when_scope_moved_raises(ours: Rows, theirs: Rows) -> None:
    """A related queryset that was fetched in one scope is not read in another."""
    with tenancy.scope(theirs.organization):
        folder = Folder.objects.prefetch_related("notes").get()
        assert len(folder.notes.all()) == 4

    with pytest.raises((ScopeRequired, CrossOrganization)):
        list(folder.notes.all())
    with (
        tenancy.scope(ours.organization),
        pytest.raises(CrossOrganization),
    ):
        list(folder.notes.all())


def test_prefetched_when_row_is_global_is_of_each_scope(
    ours: Rows, theirs: Rows
) -> None:
    """What was prefetched onto a global row in one scope does not show in another."""
    with tenancy.scope(theirs.organization):
        category = Category.objects.prefetch_related("notes").get()
        assert len(category.notes.all()) == 4

    with tenancy.scope(ours.organization):
        try:
            seen = {note.organization_id for note in category.notes.all()}
        except CrossOrganization:
            seen = set()
    assert theirs.organization.pk not in seen


# 5. Later


@pytest.mark.django_db(transaction=True)
def test_on_commit_when_bound_runs_in_its_scope(ours: Rows, theirs: Rows) -> None:
    """A bound function runs in its scope when the transaction ends elsewhere."""
    seen: list[Any] = []

    with transaction.atomic():
        for rows in (ours, theirs):
            with tenancy.scope(rows.organization):
                transaction.on_commit(
                    tenancy.bind(lambda: seen.append(Note.objects.count()))
                )

    assert seen == [1, 4]


@pytest.mark.django_db(transaction=True)
def test_on_commit_when_not_bound_raises(ours: Rows) -> None:
    """An unbound function finds the scope that is active then, here none."""
    with (
        pytest.raises(ScopeRequired, match=r"tenancy\.bind\(\)"),
        transaction.atomic(),
        tenancy.scope(ours.organization),
    ):
        transaction.on_commit(Note.objects.count)


def test_signal_when_sent_runs_in_scope(in_acme: Rows) -> None:
    """A receiver's queries are the sender's scope's."""
    seen = []

    def receive(sender: Any, instance: Any, **kwargs: Any) -> None:
        seen.append({note.organization_id for note in sender.objects.all()})

    post_save.connect(receive, sender=Note)
    try:
        in_acme.note.save()
    finally:
        post_save.disconnect(receive, sender=Note)

    assert seen == [{in_acme.organization.pk}]


@pytest.mark.django_db(transaction=True)
def test_executor_when_bound_runs_in_its_scope(ours: Rows, theirs: Rows) -> None:
    """A thread of a pool runs each bound function in that function's scope."""

    def count() -> int:
        try:
            return Note.objects.count()
        finally:
            connection.close()

    bound = []
    for rows in (ours, theirs):
        with tenancy.scope(rows.organization):
            bound.append(tenancy.bind(count))

    with ThreadPoolExecutor(1) as executor:
        assert [executor.submit(run).result() for run in bound] == [1, 4]
        with pytest.raises(ScopeRequired, match="no active scope"):
            executor.submit(count).result()
        executor.submit(close_old_connections).result()


def test_sync_to_async_when_in_scope_keeps_it(in_acme: Rows) -> None:
    """A sync function that is called from async code stays in the scope."""
    count = async_to_sync(sync_to_async(Note.objects.count))

    assert count() == 1
