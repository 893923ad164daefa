"""Lines 6 to 11: what a held row, a relation, a manager or a serializer leads to."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.test.utils import CaptureQueriesContext

import tenancy
from project.tracker.models import Bookmark, Comment, Label, Task
from tenancy.exceptions import CrossOrganization, RawSQLRefused
from tenancy.models import Membership, Organization, User
from tests.apps.notebook.models import (
    Category,
    Cover,
    Folder,
    LoudNote,
    Note,
    Pin,
    Placing,
    Remark,
)
from tests.isolation.conftest import Rows, content_type_of, models_of_tenants


def held(model: Any, **fields: Any) -> Any:
    """Return a row of acme's, in memory, whose key is another organization's."""
    row = model(**fields)
    row._state.adding = False
    row._state.db = "default"
    return row


# 6. Whatever loads rows


@pytest.mark.parametrize("model", models_of_tenants(), ids=lambda m: m._meta.label)
@pytest.mark.parametrize("source", ["_base_manager", "_default_manager"])
def test_manager_when_in_scope_holds_its_rows(
    model: Any, source: str, in_acme: Rows, theirs: Rows
) -> None:
    """Every protected model's managers hold the scope's rows, and no others."""
    own = theirs.organization.pk
    name = "pk" if model is Organization else "organization"

    rows = getattr(model, source).values_list(name, flat=True)

    assert set(rows) <= {in_acme.organization.pk}
    assert not getattr(model, source).filter(**{name: own}).exists()


@pytest.mark.parametrize("model", models_of_tenants(), ids=lambda m: m._meta.label)
def test_bare_queryset_when_in_scope_is_hidden_or_refused(
    model: Any, in_acme: Rows, rows_of: Callable[[Any], list[Any]]
) -> None:
    """``QuerySet(Model)``, which the ORM left open, is the database's to hold."""
    name = "pk" if model is Organization else "organization_id"

    rows = rows_of(QuerySet(model))

    assert {getattr(row, name) for row in rows} <= {in_acme.organization.pk}


@pytest.mark.parametrize("name", ["objects", "live", "_tenant_rows"])
def test_get_when_key_is_theirs_finds_none(
    name: str, in_acme: Rows, theirs: Rows
) -> None:
    """A key of another organization's finds nothing, through any manager."""
    for lookup in (
        {"pk": theirs.note.pk},
        {"code": theirs.note.code},
        {"folder": theirs.folder},
        {"folder_id": theirs.folder.pk},
        {"organization": theirs.organization},
        {"organization_id": theirs.organization.pk},
    ):
        with pytest.raises(Note.DoesNotExist):
            getattr(Note, name).get(**lookup)


def test_forward_relation_when_key_is_theirs_finds_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A key that was put on a row leads to nothing."""
    note = held(Note, pk=1, folder_id=theirs.folder.pk)
    comment = held(Comment, pk=1, task_id=theirs.task.pk, author_id=theirs.member.pk)

    with pytest.raises(Folder.DoesNotExist):
        note.folder  # noqa: B018 - the access is the act
    with pytest.raises(Task.DoesNotExist):
        comment.task  # noqa: B018 - as above
    with pytest.raises(Membership.DoesNotExist):
        comment.author  # noqa: B018 - as above


def test_forward_relation_from_global_row_finds_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A global row that refers to their row leads to nothing."""
    bookmark = Bookmark.objects.get(pk=theirs.bookmark.pk)
    pin = Pin.objects.get(pk=theirs.pin.pk)

    with pytest.raises(Task.DoesNotExist):
        bookmark.task  # noqa: B018 - the access is the act
    with pytest.raises(Note.DoesNotExist):
        pin.note  # noqa: B018 - as above


def test_reverse_relations_when_row_is_theirs_are_empty(
    in_acme: Rows, theirs: Rows
) -> None:
    """The relations of a row with their key are empty, one by one."""
    folder = held(Folder, pk=theirs.folder.pk)
    note = held(Note, pk=theirs.note.pk)
    task = held(Task, pk=theirs.task.pk)

    for manager in (
        folder.notes,
        folder.children,
        folder.placings,
        folder.placed,
        note.places,
        note.friends,
        note.readers,
        note.remarks,
        note.placings,
        task.labels,
        task.blocked_by,
        task.blocks,
        task.comments,
        task.attachments,
    ):
        assert list(manager.all()) == []
        assert manager.count() == 0
        assert not manager.exists()
    with pytest.raises(Cover.DoesNotExist):
        note.cover  # noqa: B018 - the access is the act


def test_reverse_relations_of_their_held_row_are_empty(
    in_acme: Rows, theirs: Rows
) -> None:
    """A row that was loaded in their scope shows nothing of theirs in ours."""
    for manager in (theirs.folder.notes, theirs.note.remarks, theirs.task.labels):
        assert list(manager.all()) == []


def test_reverse_relations_of_users_hold_scopes_rows(
    in_acme: Rows, theirs: Rows
) -> None:
    """A user of theirs has nothing here."""
    bob = User.objects.get(pk=theirs.user.pk)

    assert list(bob.notes.all()) == []
    assert list(bob.readable.all()) == []
    assert list(bob.memberships.all()) == []
    assert list(theirs.category.notes.all()) == [in_acme.note]


def test_deferred_field_when_row_is_theirs_raises(ours: Rows, theirs: Rows) -> None:
    """A deferred field of a row that was loaded elsewhere is not fetched."""
    with tenancy.scope(theirs.organization):
        note = Note.objects.only("code").get(pk=theirs.note.pk)

    with tenancy.scope(ours.organization), pytest.raises(Note.DoesNotExist):
        note.text  # noqa: B018 - the access is the act


def test_refresh_when_row_is_theirs_finds_none(in_acme: Rows, theirs: Rows) -> None:
    """refresh_from_db() of their row finds nothing, by any queryset."""
    with pytest.raises(Note.DoesNotExist):
        theirs.note.refresh_from_db()
    with pytest.raises(Note.DoesNotExist):
        theirs.note.refresh_from_db(fields=["text"])
    with pytest.raises(Note.DoesNotExist):
        theirs.note.refresh_from_db(from_queryset=Note.objects.defer("text"))


def test_refresh_when_queryset_is_bare_is_hidden_or_refused(
    in_acme: Rows, theirs: Rows
) -> None:
    """A bare queryset does not help refresh_from_db()."""
    with pytest.raises((Note.DoesNotExist, RawSQLRefused)):
        theirs.note.refresh_from_db(from_queryset=QuerySet(Note))


def test_get_next_when_row_is_theirs_finds_none(in_acme: Rows, theirs: Rows) -> None:
    """get_next_by_FIELD() looks among the scope's rows."""
    with pytest.raises(Task.DoesNotExist):
        in_acme.blocker.get_next_by_created_at()


def test_fetch_modes_hold_scopes_rows(in_acme: Rows, theirs: Rows) -> None:
    """Fetching the peers of a row fetches the scope's."""
    notes = Note.objects.all()
    if django.VERSION >= (6, 1):
        notes = notes.fetch_mode(models.FETCH_PEERS)

    assert [note.folder for note in notes] == [in_acme.folder]


def test_fetch_peers_when_a_peer_is_theirs_finds_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A peer with their key is not fetched together with the others."""
    comments = [
        held(Comment, pk=number, task_id=task.pk)
        for number, task in enumerate([in_acme.task, theirs.task])
    ]

    models.prefetch_related_objects(comments, "task")

    assert comments[0].task == in_acme.task
    with pytest.raises(Task.DoesNotExist):
        comments[1].task  # noqa: B018 - the access is the act


def test_select_related_when_key_is_theirs_joins_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A global row's join to their row is empty."""
    rows = Bookmark.objects.values("pk", "task__title", "task__project__name")

    titles = {row["pk"]: row["task__title"] for row in rows}

    assert titles.get(theirs.bookmark.pk) is None
    assert titles[in_acme.bookmark.pk] == in_acme.task.title


def test_prefetch_when_queryset_is_bare_is_hidden_or_refused(
    in_acme: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """A bare queryset in a Prefetch is the database's to hold."""
    categories = Category.objects.prefetch_related(
        Prefetch("notes", queryset=QuerySet(Note))
    )

    if hides_raw_reads:
        assert list(categories.get().notes.all()) == [in_acme.note]
        return
    with pytest.raises(RawSQLRefused, match="without the organization's predicate"):
        list(categories)


@pytest.mark.parametrize(
    "make", [lambda key: key, str, lambda key: key.hex], ids=["key", "text", "hex"]
)
def test_raw_sql_when_key_is_of_any_form_finds_our_rows(
    in_acme: Rows, theirs: Rows, make: Callable[[Any], Any]
) -> None:
    """A key is the same key in each of its forms, whichever the column holds."""
    where = f"{Note._meta.db_table} WHERE organization_id = %s AND weight >= %s"
    params = [make(in_acme.organization.pk), 0]
    named = {"key": params[0], "weight": 0}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {where}", params)
        found = cursor.fetchall()
        cursor.execute(
            f"SELECT COUNT(*) FROM {where % ('%(key)s', '%(weight)s')}", named
        )
        found += cursor.fetchall()
        cursor.execute(
            f"UPDATE {where.replace(' WHERE', ' SET weight = 7 WHERE')}", tuple(params)
        )
        changed = cursor.rowcount
        cursor.executemany(
            f"UPDATE {where.replace(' WHERE', ' SET weight = 8 WHERE')}", [params]
        )

    ours = Note.objects.filter(weight=8).count()
    assert [tuple(row) for row in found] == [(ours,), (ours,)]
    assert changed == ours > 0


def test_prefetch_when_made_elsewhere_raises(ours: Rows, theirs: Rows) -> None:
    """A Prefetch whose queryset was made in another scope does not run."""
    with tenancy.scope(theirs.organization):
        theirs_only = Prefetch("notes", queryset=Note.objects.filter(weight__gt=0))

    with tenancy.scope(ours.organization), pytest.raises(CrossOrganization):
        list(Category.objects.prefetch_related(theirs_only))


def test_in_bulk_when_keys_are_theirs_is_empty(in_acme: Rows, theirs: Rows) -> None:
    """in_bulk() of their keys is empty."""
    assert Note.objects.in_bulk([theirs.note.pk, in_acme.note.pk]) == {
        in_acme.note.pk: in_acme.note
    }


def test_contains_when_row_is_theirs_is_false(in_acme: Rows, theirs: Rows) -> None:
    """contains() does not know their row."""
    assert not Note.objects.contains(theirs.note)
    assert Note.objects.contains(in_acme.note)


# 7. Joins: a few with numbers; the many stand in test_shapes.py


def test_aggregate_from_global_row_counts_scopes_rows(
    in_acme: Rows, theirs: Rows
) -> None:
    """What is counted over a relation of a global row is the scope's."""
    category = Category.objects.annotate(
        n=models.Count("notes"), w=models.Sum("notes__weight")
    ).get()

    assert (category.n, category.w) == (1, 1)
    assert User.objects.filter(notes__weight__gte=100).count() == 0
    assert Category.objects.filter(notes__code=theirs.note.code).count() == 0


def test_join_out_and_back_stays_in_scope(in_acme: Rows, theirs: Rows) -> None:
    """A join through a global row does not come back in another organization."""
    notes = Note.objects.values_list("category__notes__author__notes__code", flat=True)

    assert list(notes) == [in_acme.note.code]


# 8. Operators, raw SQL


@pytest.mark.parametrize("operator", ["__or__", "__and__", "__xor__"])
@pytest.mark.parametrize("is_reversed", [False, True], ids=["left", "right"])
def test_operator_when_other_is_bare_is_scoped(
    operator: str, is_reversed: bool, in_acme: Rows, theirs: Rows
) -> None:
    """A scoped queryset combined with a bare one holds the scope's rows."""
    scoped = Note.objects.filter(text="ours")
    other: Any = QuerySet(Note).filter(weight__gte=0).order_by("code")
    left, right = (other, scoped) if is_reversed else (scoped, other)
    method = {"__or__": "|", "__and__": "&", "__xor__": "^"}[operator]
    combined = {
        "|": lambda: left | right,
        "&": lambda: left & right,
        "^": lambda: left ^ right,
    }[method]()

    try:
        rows = {note.organization_id for note in combined}
    except RawSQLRefused:
        rows = set()
    assert rows <= {in_acme.organization.pk}


def test_union_when_other_is_bare_is_hidden_or_refused(
    in_acme: Rows, rows_of: Callable[[Any], list[Any]]
) -> None:
    """A union with a bare queryset is the database's to hold."""
    scoped = Note.objects.order_by()

    rows = rows_of(scoped.union(QuerySet(Note).order_by()))
    rows += rows_of(QuerySet(Note).order_by().union(scoped))

    assert {note.organization_id for note in rows} <= {in_acme.organization.pk}


def test_combine_when_made_elsewhere_raises(ours: Rows, theirs: Rows) -> None:
    """Querysets of two scopes are not combined."""
    with tenancy.scope(theirs.organization):
        rows = Note.objects.filter(weight=100)

    with tenancy.scope(ours.organization):
        own = Note.objects.filter(weight=1)
        for combine in (
            lambda: own | rows,
            lambda: own & rows,
            lambda: own ^ rows,
            lambda: rows | own,
            lambda: list(own.order_by().union(rows.order_by())),
            lambda: list(own.filter(pk__in=rows)),
            lambda: list(own.filter(models.Exists(rows))),
            lambda: list(own.annotate(n=Subquery(rows.values("pk")[:1]))),
        ):
            with pytest.raises(CrossOrganization, match="made in|Build"):
                combine()


RAW: dict[str, str] = {
    "select": "SELECT * FROM notebook_note",
    "quoted": 'SELECT * FROM "notebook_note"',
    "case": "SELECT * FROM NoteBook_Note",
    "comment": "SELECT /* x */ * FROM/**/notebook_note -- x",
    "line": "SELECT *\nFROM\n\tnotebook_note",
    "parentheses": "SELECT * FROM (SELECT * FROM notebook_note) AS x",
    "join": "SELECT n.* FROM notebook_category c JOIN notebook_note n"
    " ON n.category_id = c.id",
    "comma": "SELECT n.* FROM notebook_category c, notebook_note n",
    "exists": "SELECT * FROM notebook_category WHERE EXISTS"
    " (SELECT 1 FROM notebook_note WHERE weight >= 100)",
    "union": "SELECT name FROM notebook_category WHERE 1 = 0"
    " UNION SELECT code FROM notebook_note",
    "with": "WITH x AS (SELECT * FROM notebook_note) SELECT * FROM x",
    "recursive": "WITH RECURSIVE x(c) AS (SELECT code FROM notebook_note)"
    " SELECT c FROM x",
    "column in text": "SELECT * FROM notebook_note WHERE organization_id IN"
    " (SELECT id FROM tenancy_organization)",
    "scalar": "SELECT (SELECT MAX(code) FROM notebook_note)",
    "case expression": "SELECT CASE WHEN EXISTS (SELECT 1 FROM notebook_note WHERE"
    " weight >= 100) THEN 'secret' ELSE 'no' END",
    "order": "SELECT name FROM notebook_category ORDER BY"
    " (SELECT MAX(code) FROM notebook_note)",
}


@pytest.mark.parametrize("sql", RAW.values(), ids=RAW)
def test_cursor_when_raw_is_hidden_or_refused(
    sql: str, in_acme: Rows, read_raw: Callable[..., list[Any]]
) -> None:
    """Raw SQL through Django's connection shows nothing of theirs."""
    if connection.ops.quote_name("x") == "`x`":
        sql = sql.replace('"', "`")

    assert "secret" not in repr(read_raw(sql))


def test_cursor_when_given_our_key_for_their_row_is_refused(
    in_acme: Rows, theirs: Rows, read_raw: Callable[..., list[Any]]
) -> None:
    """A parameter that equals the key of the scope opens nothing."""
    field = Note._meta.get_field("organization")
    key = field.get_db_prep_value(in_acme.organization.pk, connection)

    for sql in (
        "SELECT * FROM notebook_note WHERE organization_id = %s OR 1 = 1",
        "SELECT * FROM notebook_note WHERE NOT (organization_id = %s)",
        "SELECT * FROM notebook_note WHERE organization_id <> %s",
        "SELECT *, %s FROM notebook_note",
    ):
        assert "secret" not in repr(read_raw(sql, [key]))


def test_model_raw_when_bare_is_hidden_or_refused(
    in_acme: Rows, rows_of: Callable[[Any], list[Any]]
) -> None:
    """Model.objects.raw() is the database's to hold."""
    rows = rows_of(Note.objects.raw("SELECT * FROM notebook_note"))

    assert {note.organization_id for note in rows} <= {in_acme.organization.pk}


def test_raw_queryset_when_scope_moved_is_not_read(
    ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """The rows that raw() fetched in one scope are not seen in another."""
    with tenancy.unscoped("tests: everybody's rows"):
        rows = Note.objects.raw("SELECT * FROM notebook_note")
        assert len(rows) == 5

    with tenancy.scope(ours.organization):
        try:
            seen = {note.organization_id for note in rows}
        except RawSQLRefused:
            seen = set()
    assert seen <= {ours.organization.pk}


def test_tenancy_raw_when_in_scope_holds_its_rows(in_acme: Rows, theirs: Rows) -> None:
    """tenancy.raw() gives the scope's rows on every database."""
    rows = tenancy.raw(
        "SELECT n.code, f.name FROM notebook_note n"
        " JOIN notebook_folder f ON f.id = n.folder_id WHERE n.weight >= %s",
        [0],
    )

    assert [tuple(row) for row in rows] == [(in_acme.note.code, in_acme.folder.name)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT * FROM notebook_note",
        "DELETE FROM notebook_note",
        "UPDATE notebook_note SET text = 'x'",
        "WITH notebook_note AS (SELECT 1) SELECT * FROM notebook_note",
        "",
    ],
)
def test_tenancy_raw_when_not_one_select_raises(sql: str, in_acme: Rows) -> None:
    """tenancy.raw() takes one SELECT that names the tables plainly."""
    with pytest.raises(RawSQLRefused, match=r"tenancy\.raw\(\) refused"):
        tenancy.raw(sql)


EXTRAS: dict[str, Callable[[], Any]] = {
    "unbalanced": lambda: Note.objects.extra(where=["1 = 1) OR (1 = 1"]),
    "comment": lambda: Note.objects.extra(where=["1 = 1) OR 1 = 1 -- "]),
    "tables": lambda: Note.objects.extra(
        tables=["notebook_folder"], select={"x": "notebook_folder.name"}
    ),
    "table as select": lambda: Note.objects.extra(
        select={"x": "(SELECT MAX(code) FROM notebook_note)"}
    ).values("x"),
    "where subquery": lambda: Category.objects.extra(
        where=["EXISTS (SELECT 1 FROM notebook_note WHERE weight >= 100)"]
    ),
    "order": lambda: Category.objects.extra(
        select={"x": "(SELECT MAX(code) FROM notebook_note)"}, order_by=["x"]
    ).values("x"),
    "raw annotate": lambda: Note.objects.annotate(
        x=RawSQL("(SELECT MAX(code) FROM notebook_note)", ())
    ).values("x"),
    "raw filter": lambda: Note.objects.filter(
        RawSQL("1 = 1) OR (1 = 1", (), output_field=models.BooleanField())
    ),
    "raw in": lambda: Category.objects.filter(
        pk__in=RawSQL("SELECT category_id FROM notebook_note WHERE weight >= 100", ())
    ),
    "raw order": lambda: Category.objects.order_by(
        RawSQL("(SELECT MAX(code) FROM notebook_note)", ())
    ).values(x=RawSQL("(SELECT MAX(code) FROM notebook_note)", ())),
    "raw aggregate": lambda: [
        Category.objects.aggregate(
            x=models.Max(RawSQL("(SELECT MAX(code) FROM notebook_note)", ()))
        )
    ],
    "func template": lambda: Category.objects.annotate(
        x=models.Func(
            template="(SELECT MAX(code) FROM notebook_note)",
            output_field=models.CharField(),
        )
    ).values("x"),
    "subquery bare": lambda: Category.objects.annotate(
        x=Subquery(QuerySet(Note).order_by("-weight").values("code")[:1])
    ).values("x"),
    "subquery correlated": lambda: Category.objects.annotate(
        x=Subquery(QuerySet(Note).filter(category=OuterRef("pk")).values("code")[:1])
    ).values("x"),
    "exists bare": lambda: Category.objects.filter(
        models.Exists(QuerySet(Note).filter(weight__gte=100))
    ),
    "in bare": lambda: Category.objects.filter(
        pk__in=QuerySet(Note).filter(weight__gte=100).values("category")
    ),
    "in bare in scoped": lambda: Note.objects.filter(
        category__in=QuerySet(Note).filter(weight__gte=100).values("category")
    ),
    "case bare": lambda: Category.objects.annotate(
        x=models.Case(
            models.When(models.Exists(QuerySet(Note).filter(weight__gte=100)), then=1),
            default=0,
        )
    ).filter(x=1),
    "union bare": lambda: (
        Note.objects.order_by()
        .values("code")
        .union(QuerySet(Note).order_by().values("code"))
    ),
    "bare or scoped": lambda: QuerySet[Note, Note](Note) | Note.objects.all(),
    "sliced bare": lambda: QuerySet(Note).order_by("-weight")[:1],
    "where replaced": lambda: _without_where(Note.objects.all()),
    "where negated": lambda: _negated(Note.objects.all()),
    "where or": lambda: _or(Note.objects.all()),
}


def _without_where(rows: Any) -> Any:
    rows.query.where.children.clear()
    return rows


def _negated(rows: Any) -> Any:
    rows.query.where.negated = True
    return rows


def _or(rows: Any) -> Any:
    rows = rows.filter(weight__gte=0)
    rows.query.where.connector = "OR"
    return rows


@pytest.mark.parametrize("make", EXTRAS.values(), ids=EXTRAS)
def test_queryset_when_opened_is_hidden_or_refused(
    make: Callable[[], Any], ours: Rows, make_theirs: Callable[[], Rows]
) -> None:
    """A queryset into which SQL was put, or from which the predicate was taken."""
    outcomes = []
    for _ in range(2):
        with tenancy.scope(ours.organization):
            try:
                with transaction.atomic():
                    outcomes.append(sorted(map(repr, make())))
            except (RawSQLRefused, DatabaseError) as error:
                outcomes.append([str(type(error))])
        if len(outcomes) == 1:
            make_theirs()

    assert "secret" not in repr(outcomes)
    assert outcomes[0] == outcomes[1]


# 9. Aliases, proxies, managers of one's own


@pytest.mark.parametrize(
    "choose",
    [
        lambda: Note.objects.using("default"),
        lambda: Note.objects.db_manager("default").all(),
        lambda: Note._base_manager.db_manager("default").filter(weight__gte=0),
        lambda: LoudNote.objects.all(),
        lambda: LoudNote._base_manager.all(),
        lambda: LoudNote.objects.using("default"),
        lambda: Note.live.all(),
        lambda: Note.live.db_manager("default").all(),
    ],
    ids=range(8),
)
def test_alias_when_named_keeps_scope(
    choose: Callable[[], Any], in_acme: Rows, theirs: Rows
) -> None:
    """Naming a database, a proxy or a narrowing manager keeps the scope."""
    assert [row.pk for row in choose()] == [in_acme.note.pk]


def test_proxy_when_bare_is_hidden_or_refused(
    in_acme: Rows, rows_of: Callable[[Any], list[Any]]
) -> None:
    """A bare queryset of a proxy is the database's to hold."""
    rows = rows_of(QuerySet(LoudNote))

    assert {row.organization_id for row in rows} <= {in_acme.organization.pk}


def test_wrapper_when_installed_sees_scoped_statement(
    in_acme: Rows, theirs: Rows
) -> None:
    """An execute wrapper of the project's own sees no more than the ORM's text."""
    seen = []

    def watch(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        assert Note.objects.count() == 1

    assert len(seen) == 1
    assert seen[0].startswith("SELECT COUNT(*)")


def test_wrapper_when_it_strips_the_predicate_is_hidden_or_refused(
    in_acme: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """A wrapper that changes the statement cannot open it."""

    def strip(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        return execute(sql.split(" WHERE ")[0], (), many, context)

    with connection.execute_wrapper(strip):
        if hides_raw_reads:
            assert Note.objects.order_by().count() == 1
        else:
            with pytest.raises(RawSQLRefused, match="predicate"):
                Note.objects.order_by().count()


# 10. Generic relations, content types, through tables


def test_generic_key_when_key_is_theirs_reads_none(in_acme: Rows, theirs: Rows) -> None:
    """A generic key that holds their key reads as None."""
    remark = Remark.objects.create(
        content_type=content_type_of(Note), object_id=theirs.note.pk, text="x"
    )

    assert Remark.objects.get(pk=remark.pk).target is None
    assert Remark.objects.prefetch_related("target").get(pk=remark.pk).target is None


def test_generic_join_back_when_key_is_theirs_finds_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A remark that holds their key does not join their note."""
    Remark.objects.create(
        content_type=content_type_of(Note), object_id=theirs.note.pk, text="x"
    )

    assert Remark.objects.filter(note__weight__gte=100).count() == 0
    assert "secret note" not in Remark.objects.values_list("note__code", flat=True)
    assert Remark.objects.aggregate(w=models.Sum("note__weight")) == {"w": 1}


def test_content_type_when_key_is_theirs_finds_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """ContentType's own look-ups hold the scope's rows."""
    content_type = ContentType.objects.get_for_model(Note)

    with pytest.raises(Note.DoesNotExist):
        content_type.get_object_for_this_type(pk=theirs.note.pk)
    assert list(content_type.get_all_objects_for_this_type()) == [in_acme.note]


def test_through_when_in_scope_holds_its_rows(in_acme: Rows, theirs: Rows) -> None:
    """The table between two models holds the scope's rows."""
    assert Task.labels.through.objects.count() == 1
    assert Placing.objects.get() == in_acme.placing
    assert list(in_acme.note.places.all()) == [in_acme.folder]
    assert list(in_acme.label.tasks.all()) == [in_acme.task]
    assert not Task.labels.through.objects.filter(task=theirs.task).exists()


# 11. Serializers


def test_serializer_when_in_scope_holds_its_rows(in_acme: Rows, theirs: Rows) -> None:
    """What a serializer is given are the scope's rows, with their relations."""
    for format_name in ("json", "xml", "jsonl"):
        text = serializers.serialize(
            format_name,
            [*Note.objects.all(), *Task.objects.all(), *Label.objects.all()],
        )

        assert "secret" not in text
        assert "ours" in text


def test_serializer_when_row_is_theirs_shows_no_relations(
    in_acme: Rows, theirs: Rows
) -> None:
    """Their row, held from elsewhere, does not lead a serializer to more."""
    (data,) = json.loads(serializers.serialize("json", [theirs.task]))

    assert data["fields"]["labels"] == []


def test_natural_key_when_theirs_finds_none(in_acme: Rows, theirs: Rows) -> None:
    """A natural key finds the scope's rows only."""
    with pytest.raises(Folder.DoesNotExist):
        Folder.objects.get_by_natural_key(theirs.folder.name)
    assert Folder.objects.get_by_natural_key(in_acme.folder.name) == in_acme.folder


@pytest.mark.parametrize("arguments", [(), ("--all",)], ids=["default", "base"])
def test_dumpdata_when_in_scope_holds_its_rows(
    arguments: tuple[str, ...], in_acme: Rows, theirs: Rows
) -> None:
    """dumpdata writes the scope's rows only, by the base manager too."""
    out = io.StringIO()

    call_command("dumpdata", "notebook", "tracker", *arguments, stdout=out)

    text = out.getvalue()
    assert "ours note" in text
    assert "secret" not in text


def test_row_when_copied_is_copied_in_any_scope(ours: Rows, theirs: Rows) -> None:
    """Whoever holds a row may copy it, as Django's TestCase does."""
    for scope in (tenancy.scope(theirs.organization), tenancy.scope(ours.organization)):
        with scope:
            for made in (copy.copy(theirs.note), copy.deepcopy(theirs.note)):
                assert (made, made.code) == (theirs.note, theirs.note.code)


@pytest.mark.parametrize("fields", [[], ["code"]], ids=["whole", "deferred"])
def test_row_when_pickled_is_loaded_by_its_own_organization(
    ours: Rows, theirs: Rows, fields: list[str]
) -> None:
    """A cached row is nobody else's; in no scope and unscoped a task may load it."""
    with tenancy.scope(theirs.organization):
        note = Note.objects.only(*fields).get(pk=theirs.note.pk)
        text = pickle.dumps([note])
        assert pickle.loads(text)[0].code == note.code

    for scope in (tenancy.scope(ours.organization), tenancy.scope(user=ours.user)):
        with scope, pytest.raises(CrossOrganization, match="A pickled Note of another"):
            pickle.loads(text)
    assert pickle.loads(text) == [theirs.note]
    with tenancy.unscoped("tests: as a task"):
        assert pickle.loads(text)[0].code == theirs.note.code


def test_organization_when_pickled_is_its_own_and_its_users(
    ours: Rows, theirs: Rows
) -> None:
    """What a user's scope lists is loaded there, and in the organization's own."""
    texts = [pickle.dumps(row) for row in (ours.organization, ours.member)]

    for text in texts:
        for scope in (tenancy.scope(ours.organization), tenancy.scope(user=ours.user)):
            with scope:
                assert pickle.loads(text).pk in (ours.organization.pk, ours.member.pk)
        with tenancy.scope(theirs.organization), pytest.raises(CrossOrganization):
            pickle.loads(text)


def test_row_when_pickled_leads_to_no_more(ours: Rows, theirs: Rows) -> None:
    """A row that travels keeps what was loaded, and leads to nothing else."""
    with tenancy.scope(theirs.organization):
        text = pickle.dumps(Folder.objects.prefetch_related("notes").get())
    folder = pickle.loads(text)

    with tenancy.scope(ours.organization):
        assert folder.children.count() == 0
        try:
            seen = {note.pk for note in folder.notes.all()}
        except CrossOrganization:
            seen = set()
        assert theirs.note.pk not in seen


def test_query_log_when_in_scope_shows_no_more(in_acme: Rows, theirs: Rows) -> None:
    """The query log holds the ORM's statements and nothing of the scope's carrying."""
    with CaptureQueriesContext(connection) as queries:
        Note.objects.count()

    assert len(queries) == 1
    assert queries[0]["sql"].startswith("SELECT COUNT(*)")


def test_connections_when_listed_are_guarded(db: None) -> None:
    """Every alias of DATABASES is guarded."""
    for alias in connections:
        assert connections[alias].vendor in ("postgresql", "mysql", "sqlite")


def test_limit_choices_when_in_scope_hold_its_rows(in_acme: Rows, theirs: Rows) -> None:
    """A field's choices are the scope's rows."""
    field = Note._meta.get_field("folder")

    assert [label for _key, label in field.get_choices(include_blank=False)] == [
        in_acme.folder.name
    ]
    assert Note.objects.filter(Q(folder__in=[theirs.folder])).count() == 0
