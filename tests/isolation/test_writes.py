"""Lines 12 to 16: B's rows stay as they are, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, router, transaction
from django.db.models import (
    Case,
    F,
    IntegerField,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.deletion import Collector, ProtectedError
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.db.models.signals import pre_delete, pre_save
from django.test.utils import CaptureQueriesContext

import tenancy
from project.tracker.models import Bookmark, Comment, Label, Project, Task
from tenancy.exceptions import (
    CrossOrganization,
    HasMemberships,
    RawSQLRefused,
    ScopeRequired,
)
from tenancy.models import Membership, Organization, Role
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
from tests.deferral import check_deferred
from tests.isolation.conftest import Rows, bare, content_type_of

Act = Callable[[Rows, Rows], Any]
REFUSED = (CrossOrganization, IntegrityError)
pytestmark = pytest.mark.usefixtures("untouched")


def attempt(act: Callable[[], Any]) -> None:
    """Run a write that must be refused, and look at deferred keys at once."""
    with pytest.raises(REFUSED), transaction.atomic():
        act()
        check_deferred()


# 12. Another organization, its keys, its rows


def any_value(value: Any) -> Any:
    """Return an expression, which the types know nothing of."""
    return value if hasattr(value, "resolve_expression") else Value(value)


WITH_THEIR_ORGANIZATION: dict[str, Act] = {
    "create": lambda our, their: Note.objects.create(
        code="x", organization=their.organization
    ),
    "create by key": lambda our, their: Note.objects.create(
        code="x", organization_id=their.organization.pk
    ),
    "create by text": lambda our, their: Note.objects.create(
        code="x", organization_id=str(their.organization.pk)
    ),
    "create by value": lambda our, their: Note.objects.create(
        code="x", organization_id=any_value(their.organization.pk)
    ),
    "create by expression": lambda our, their: Note.objects.create(
        code="x", organization_id=any_value(F("id"))
    ),
    "bulk by value": lambda our, their: Note.objects.bulk_create(
        [Note(code="x", organization_id=any_value(their.organization.pk))]
    ),
    "save": lambda our, their: Note(code="x", organization=their.organization).save(),
    "save base": lambda our, their: Note(
        code="x", organization=their.organization
    ).save_base(),
    "save raw": lambda our, their: Note(
        code="x", organization=their.organization
    ).save_base(raw=True),
    "proxy": lambda our, their: LoudNote.objects.create(
        code="x", organization=their.organization
    ),
    "bulk": lambda our, their: Note.objects.bulk_create(
        [Note(code="x"), Note(code="y", organization=their.organization)]
    ),
    "bulk ignore": lambda our, their: Note.objects.bulk_create(
        [Note(code="y", organization=their.organization)], ignore_conflicts=True
    ),
    "get_or_create": lambda our, their: Note.objects.get_or_create(
        code="x", organization=their.organization
    ),
    "get_or_create defaults": lambda our, their: Note.objects.get_or_create(
        code="x", defaults={"organization": their.organization}
    ),
    "update_or_create": lambda our, their: Note.objects.update_or_create(
        code=our.note.code, defaults={"organization": their.organization}
    ),
    "update_or_create create": lambda our, their: Note.objects.update_or_create(
        code="x", create_defaults={"organization": their.organization}, defaults={}
    ),
    "update": lambda our, their: Note.objects.update(organization=their.organization),
    "update by key": lambda our, their: Note.objects.update(
        organization_id=their.organization.pk
    ),
    "update by value": lambda our, their: Note.objects.update(
        organization=Value(their.organization.pk)
    ),
    "bulk_update": lambda our, their: Note.objects.bulk_update(
        [our.note], ["organization"]
    ),
    "related create": lambda our, their: our.folder.notes.create(
        code="x", organization=their.organization
    ),
    "related of a global row": lambda our, their: our.category.notes.create(
        code="x", organization=their.organization
    ),
    "base manager": lambda our, their: Note._base_manager.create(
        code="x", organization=their.organization
    ),
    "role": lambda our, their: Role.objects.create(
        key="x", name="x", organization=their.organization
    ),
    "membership": lambda our, their: Membership.objects.create(
        user=our.user, organization=their.organization
    ),
    "through": lambda our, their: Task.labels.through.objects.create(
        task=our.blocker, label=our.label, organization=their.organization
    ),
    "bare create": lambda our, their: QuerySet(Note).create(
        code="x", organization=their.organization
    ),
    "bare bulk": lambda our, their: QuerySet[Note, Note](Note).bulk_create(
        [Note(code="x", organization=their.organization)]
    ),
    "deserialized": lambda our, their: next(
        serializers.deserialize(
            "python",
            [
                {
                    "model": "notebook.folder",
                    "fields": {"name": "x", "organization": their.organization.pk},
                }
            ],
        )
    ).save(),
}


@pytest.mark.parametrize("make", [str, lambda key: key.hex], ids=["text", "hex"])
def test_write_when_organization_is_ours_as_text_passes(
    in_acme: Rows, make: Callable[[Any], str]
) -> None:
    """A key's text is the key, beside a row that is held as well."""
    key, folder = make(in_acme.organization.pk), in_acme.folder
    rows = [
        Note.objects.create(code="x", organization_id=key, folder=folder),
        *Note.objects.bulk_create([Note(code="y", organization_id=key, folder=folder)]),
    ]
    with tenancy.unscoped("an import"):
        rows.append(Note.objects.create(code="z", organization_id=key, folder=folder))

    assert Note.objects.filter(code__in=[row.code for row in rows]).count() == 3


@pytest.mark.parametrize(
    "act", WITH_THEIR_ORGANIZATION.values(), ids=WITH_THEIR_ORGANIZATION
)
def test_write_when_organization_is_theirs_raises(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """A row is never written into another organization, by the ORM's word alone."""
    with (
        pytest.raises(CrossOrganization, match=r"organization"),
        transaction.atomic(),
    ):
        act(in_acme, theirs)


WITH_THEIR_ROW: dict[str, Act] = {
    "create": lambda our, their: Note.objects.create(code="x", folder=their.folder),
    "create by key": lambda our, their: Note.objects.create(
        code="x", folder_id=their.folder.pk
    ),
    "task": lambda our, their: Task.objects.create(title="x", project=their.project),
    "task by key": lambda our, their: Task.objects.create(
        title="x", project_id=their.project.pk
    ),
    "assignee": lambda our, their: Task.objects.create(
        title="x", project=our.project, assignee_id=their.member.pk
    ),
    "comment": lambda our, their: Comment.objects.create(
        task_id=our.task.pk, author_id=their.member.pk, body="x"
    ),
    "one to one": lambda our, their: Cover.objects.create(note_id=their.note.pk),
    "self": lambda our, their: Folder.objects.create(
        name="x", parent_id=their.folder.pk
    ),
    "self row": lambda our, their: Folder.objects.create(name="x", parent=their.folder),
    "role": lambda our, their: Membership.objects.filter(pk=our.member.pk).update(
        role=their.member.role_id
    ),
    "save": lambda our, their: _set(our.note, folder_id=their.folder.pk).save(),
    "save fields": lambda our, their: _set(our.note, folder_id=their.folder.pk).save(
        update_fields=["folder"]
    ),
    "save row": lambda our, their: _set(our.note, folder=their.folder).save(),
    "save raw": lambda our, their: _set(our.note, folder_id=their.folder.pk).save_base(
        raw=True
    ),
    "update": lambda our, their: Note.objects.update(folder=their.folder),
    "update by key": lambda our, their: Note.objects.update(folder_id=their.folder.pk),
    "update by value": lambda our, their: Note.objects.update(
        folder=Value(their.folder.pk)
    ),
    "bulk_create": lambda our, their: Note.objects.bulk_create(
        [Note(code="x", folder=their.folder)]
    ),
    "bulk_create by key": lambda our, their: Note.objects.bulk_create(
        [Note(code="x", folder_id=their.folder.pk)]
    ),
    "bulk_create ignore": lambda our, their: Note.objects.bulk_create(
        [Note(code="x", folder_id=their.folder.pk)], ignore_conflicts=True
    ),
    "bulk_update": lambda our, their: Note.objects.bulk_update(
        [_set(our.note, folder_id=their.folder.pk)], ["folder"]
    ),
    "get_or_create": lambda our, their: Note.objects.get_or_create(
        code="x", defaults={"folder_id": their.folder.pk}
    ),
    "update_or_create": lambda our, their: Note.objects.update_or_create(
        code=our.note.code, defaults={"folder_id": their.folder.pk}
    ),
    "through": lambda our, their: Placing.objects.create(
        note_id=our.note.pk, folder_id=their.folder.pk
    ),
    "through bulk": lambda our, their: Placing.objects.bulk_create(
        [Placing(note_id=their.note.pk, folder_id=our.folder.pk)]
    ),
    "made table": lambda our, their: Task.labels.through.objects.create(
        task_id=our.task.pk, label_id=their.label.pk
    ),
    "made table bulk": lambda our, their: Task.labels.through.objects.bulk_create(
        [Task.labels.through(task_id=their.task.pk, label_id=our.label.pk)]
    ),
    "made table ignore": lambda our, their: Task.labels.through.objects.bulk_create(
        [Task.labels.through(task_id=their.task.pk, label_id=our.label.pk)],
        ignore_conflicts=True,
    ),
    "made table update": lambda our, their: Task.labels.through.objects.update(
        task_id=their.task.pk
    ),
    "bare": lambda our, their: QuerySet[Note, Note](Note).bulk_create(
        [Note(code="x", folder_id=their.folder.pk)]
    ),
}


def _set(row: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize("act", WITH_THEIR_ROW.values(), ids=WITH_THEIR_ROW)
def test_write_when_relation_is_theirs_raises(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """No row refers to one of another organization, by instance or by key."""
    attempt(lambda: act(in_acme, theirs))


GLOBAL: dict[str, Callable[[Rows, Any], Any]] = {
    "create": lambda our, key: Bookmark.objects.create(user=our.user, task_id=key),
    "bulk": lambda our, key: Bookmark.objects.bulk_create(
        [Bookmark(user=our.user, task_id=key)]
    ),
    "bulk ignore": lambda our, key: Bookmark.objects.bulk_create(
        [Bookmark(user=our.user, task_id=key)], ignore_conflicts=True
    ),
    "save": lambda our, key: _set(our.bookmark, task_id=key).save(),
    "update": lambda our, key: Bookmark.objects.filter(pk=our.bookmark.pk).update(
        task_id=key
    ),
    "bulk_update": lambda our, key: Bookmark.objects.bulk_update(
        [_set(our.bookmark, task_id=key)], ["task"]
    ),
    "related": lambda our, key: our.user.bookmarks.create(task_id=key),
    "get_or_create": lambda our, key: Bookmark.objects.get_or_create(
        user=our.user, task_id=key
    ),
    "one to one": lambda our, key: Pin.objects.create(user=our.user, note_id=key),
}


@pytest.mark.parametrize("act", GLOBAL.values(), ids=GLOBAL)
def test_global_row_when_relation_is_theirs_is_refused_as_unknown(
    act: Callable[[Rows, Any], Any], in_acme: Rows, theirs: Rows
) -> None:
    """A global row takes no key of theirs, and says of it what it says of no key."""
    is_pin = act is GLOBAL["one to one"]
    texts = []
    for key in (theirs.note.pk if is_pin else theirs.blocker.pk, 10**9):
        with pytest.raises(REFUSED) as caught, transaction.atomic():
            act(in_acme, key)
        texts.append((type(caught.value), str(caught.value)))

    assert texts[0] == texts[1]


def test_global_row_when_relation_is_their_row_is_refused(
    in_acme: Rows, theirs: Rows
) -> None:
    """A global row does not take a held row of another organization."""
    with (
        pytest.raises(CrossOrganization, match="does not have"),
        transaction.atomic(),
    ):
        Bookmark.objects.create(user=in_acme.user, task=theirs.blocker)


EXPRESSIONS: dict[str, Callable[[Any], Any]] = {
    "value": Value,
    "value of a field": lambda key: Value(key, output_field=IntegerField()),
    "sum": lambda key: Value(key) + Value(0),
    "column": lambda key: F("user_id"),
    "case": lambda key: Case(When(user__isnull=False, then=Value(key)), default=None),
    "coalesce": lambda key: Coalesce(F("task_id"), Value(key)),
    "subquery": lambda key: Subquery(bare(Task).filter(pk=key).values("pk")[:1]),
    "raw": lambda key: RawSQL("%s", [key]),
}


@pytest.mark.parametrize("make", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_global_row_when_relation_is_expression_is_refused(
    make: Callable[[Any], Any], in_acme: Rows, theirs: Rows
) -> None:
    """What only the database will know is not looked up, and not taken."""
    rows = Bookmark.objects.filter(pk=in_acme.bookmark.pk)

    for field in ("task", "task_id"):
        with (
            pytest.raises(CrossOrganization, match=r"'Bookmark\.task' was given"),
            transaction.atomic(),
        ):
            rows.update(**{field: make(theirs.blocker.pk)})
    with (
        pytest.raises(CrossOrganization, match=r"'Bookmark\.task' was given"),
        transaction.atomic(),
    ):
        Bookmark.objects.bulk_update(
            [_set(in_acme.bookmark, task_id=make(theirs.blocker.pk))], ["task"]
        )


def test_global_row_when_expression_is_unscoped_is_written(
    ours: Rows, theirs: Rows
) -> None:
    """Unscoped, and where no relation is written, any expression is taken."""
    rows = Bookmark.objects.filter(pk=ours.bookmark.pk)

    with tenancy.unscoped("tests: any key"):
        assert rows.update(task=F("task")) == 1
    with tenancy.scope(ours.organization):
        assert rows.update(user=F("user")) == 1


def test_global_row_when_it_holds_their_key_leads_to_none(
    ours: Rows, theirs: Rows
) -> None:
    """A global row that was written elsewhere shows nothing of theirs here."""
    mark = Bookmark.objects.get(pk=theirs.bookmark.pk)

    with tenancy.scope(ours.organization), pytest.raises(Task.DoesNotExist):
        mark.task  # noqa: B018 - the access is the act


# Keys that are theirs already


@pytest.mark.parametrize(
    "act",
    [
        lambda our, their: Note(pk=their.note.pk, code="x").save(),
        lambda our, their: Note(pk=their.note.pk, code="x").save(force_insert=True),
        lambda our, their: Note(pk=their.note.pk, code="x").save(force_update=True),
        lambda our, their: Note.objects.create(pk=their.note.pk, code="x"),
        lambda our, their: Note.objects.bulk_create([Note(pk=their.note.pk, code="x")]),
        lambda our, their: Note(pk=their.note.pk, code="x").save_base(raw=True),
        lambda our, their: Note.objects.update_or_create(
            pk=their.note.pk, defaults={"code": "x"}
        ),
        lambda our, their: Note.objects.get_or_create(
            pk=their.note.pk, defaults={"code": "x"}
        ),
        lambda our, their: next(
            serializers.deserialize(
                "python",
                [
                    {
                        "model": "notebook.folder",
                        "pk": their.folder.pk,
                        "fields": {"name": "x"},
                    }
                ],
            )
        ).save(),
    ],
    ids=range(9),
)
def test_save_when_key_is_theirs_is_refused(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """A row of ours with their primary key collides, and changes nothing."""
    with pytest.raises((CrossOrganization, DatabaseError)), transaction.atomic():
        act(in_acme, theirs)


def test_bulk_create_when_key_is_theirs_and_ignored_changes_nothing(
    in_acme: Rows, theirs: Rows
) -> None:
    """An insert that ignores conflicts leaves their row as it is."""
    try:
        with transaction.atomic():
            Note.objects.bulk_create(
                [Note(pk=theirs.note.pk, code="x")], ignore_conflicts=True
            )
    except (CrossOrganization, DatabaseError):
        pass

    assert not Note.objects.filter(code="x").exists()


@pytest.mark.parametrize("unique_fields", [["id"], ["organization", "code"]])
def test_upsert_when_key_is_theirs_changes_nothing(
    unique_fields: list[str], in_acme: Rows, theirs: Rows
) -> None:
    """An upsert that collides with their row does not update it."""
    if not connection.features.supports_update_conflicts_with_target:
        unique_fields = []
    row = Note(pk=theirs.note.pk, code=theirs.note.code, text="taken over")

    try:
        with transaction.atomic():
            Note.objects.bulk_create(
                [row],
                update_conflicts=True,
                update_fields=["text"],
                unique_fields=unique_fields or None,
            )
    except (CrossOrganization, DatabaseError):
        pass

    assert not Note.objects.filter(text="taken over").exists()


def test_upsert_when_it_moves_organization_raises(in_acme: Rows, theirs: Rows) -> None:
    """An upsert does not set the organization either."""
    features = connection.features
    fields = ["id"] if features.supports_update_conflicts_with_target else None
    row = Note(pk=in_acme.note.pk, code="x", organization=theirs.organization)

    with pytest.raises(REFUSED), transaction.atomic():
        Note.objects.bulk_create(
            [row],
            update_conflicts=True,
            update_fields=["organization"],
            unique_fields=fields,
        )


@pytest.mark.parametrize("code", ["secret note", "secret 1"])
def test_create_when_unique_value_is_theirs_passes(
    code: str, in_acme: Rows, theirs: Rows
) -> None:
    """What is unique is so within the organization: their value is free here."""
    note, created = Note.objects.get_or_create(code=code)

    assert created
    assert note.organization_id == in_acme.organization.pk
    note.validate_unique()
    note.validate_constraints()


# Updates and deletes that reach for their rows

EFFECTLESS: dict[str, Act] = {
    "update": lambda our, their: Note.objects.filter(pk=their.note.pk).update(text="x"),
    "update through join": lambda our, their: Note.objects.filter(
        folder__name=their.folder.name
    ).update(text="x"),
    "update through global": lambda our, their: (
        Note.objects.filter(category__notes__code=their.note.code)
        .exclude(pk=our.note.pk)
        .update(text="x")
    ),
    "update by subquery": lambda our, their: Note.objects.filter(
        pk__in=Note.objects.exclude(pk=our.note.pk)
    ).update(text="x"),
    "update of value from subquery": lambda our, their: Note.objects.exclude(
        pk=our.note.pk
    ).update(
        text=Subquery(Folder.objects.values("name")[:1]),
    ),
    "update base": lambda our, their: Note._base_manager.filter(
        pk=their.note.pk
    ).update(text="x"),
    "update related": lambda our, their: their.folder.notes.update(text="x"),
    "update in_bulk": lambda our, their: Note.objects.filter(
        pk__in=Note.objects.in_bulk([their.note.pk])
    ).update(weight=F("weight") + 1),
    "delete": lambda our, their: Note.objects.filter(pk=their.note.pk).delete(),
    "delete through join": lambda our, their: Note.objects.filter(
        folder__name=their.folder.name
    ).delete(),
    "delete base": lambda our, their: Note._base_manager.filter(
        pk=their.note.pk
    ).delete(),
    "delete fast": lambda our, their: Placing.objects.filter(
        pk=their.placing.pk
    ).delete(),
    "raw delete": lambda our, their: Placing.objects.filter(
        pk=their.placing.pk
    )._raw_delete("default"),
    "delete related": lambda our, their: their.folder.placings.all().delete(),
    "delete through a user": lambda our, their: their.user.notes.all().delete(),
    "clear related": lambda our, their: their.folder.notes.clear(),
    "clear generic": lambda our, their: their.note.remarks.clear(),
    "delete organization": lambda our, their: Organization.objects.filter(
        pk=their.organization.pk
    ).delete(),
    "bare update": lambda our, their: (
        QuerySet(Note).filter(pk=their.note.pk).update(text="x")
    ),
    "bare delete": lambda our, their: (
        QuerySet(Placing).filter(pk=their.placing.pk).delete()
    ),
    "bare raw delete": lambda our, their: (
        QuerySet(Placing).filter(pk=their.placing.pk)._raw_delete("default")
    ),
    "bulk_update of a made row": lambda our, their: Note.objects.bulk_update(
        [Note(pk=their.note.pk, code="x", text="x")], ["text"]
    ),
}


@pytest.mark.parametrize("act", EFFECTLESS.values(), ids=EFFECTLESS)
def test_write_when_rows_are_theirs_changes_nothing(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """What would change their rows changes none, or is refused."""
    try:
        with transaction.atomic():
            outcome = act(in_acme, theirs)
    except (CrossOrganization, RawSQLRefused, DatabaseError):
        return

    assert outcome in (0, None, (0, {})) or set(outcome[1].values()) <= {0}


def test_update_when_all_are_meant_changes_ours(in_acme: Rows, theirs: Rows) -> None:
    """update() and delete() of everything are of everything here."""
    assert Note.objects.update(text="x") == 1
    assert Placing.objects.all().delete() == (1, {"notebook.Placing": 1})


RAW_WRITES = {
    "update": "UPDATE notebook_note SET text = 'x'",
    "update one": "UPDATE notebook_note SET text = 'x' WHERE code = 'secret note'",
    "delete": "DELETE FROM notebook_placing",
    "insert": "INSERT INTO notebook_folder (name, organization_id) VALUES ('x', %s)",
    "insert select": "INSERT INTO notebook_folder (name, organization_id)"
    " SELECT 'x', id FROM tenancy_organization",
    "move": "UPDATE notebook_folder SET organization_id = %s",
    "take": "UPDATE notebook_folder SET organization_id = %s WHERE name LIKE 's%%'",
    "organization": "UPDATE tenancy_organization SET name = 'x'",
    "membership": "UPDATE tenancy_membership SET ended_at = NULL",
}


@pytest.mark.parametrize("name", RAW_WRITES)
def test_cursor_when_it_writes_theirs_is_refused(
    name: str, in_acme: Rows, theirs: Rows
) -> None:
    """Raw SQL through Django's connection changes nothing of theirs."""
    sql = RAW_WRITES[name]
    rows = in_acme if name == "take" else theirs
    field = Note._meta.get_field("organization")
    key = field.get_db_prep_value(rows.organization.pk, connection)

    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, [key] if "%s" in sql else None)
    except (CrossOrganization, RawSQLRefused, DatabaseError):
        pass

    with tenancy.unscoped("tests: what came of it"):
        their_folders = Folder.objects.filter(organization=theirs.organization)
        assert [folder.name for folder in their_folders] == [theirs.folder.name]


def test_cursor_when_values_are_theirs_names_no_data(
    in_acme: Rows, theirs: Rows
) -> None:
    """The refusal is CrossOrganization, and tells nothing of their rows."""
    field = Note._meta.get_field("organization")
    key = field.get_db_prep_value(theirs.organization.pk, connection)

    with (
        pytest.raises(CrossOrganization, match="Use rows and keys of the active") as e,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO notebook_folder (name, organization_id) VALUES ('x', %s)",
            [key],
        )

    assert "secret" not in str(e.value)


def test_executemany_when_one_is_theirs_is_refused(in_acme: Rows, theirs: Rows) -> None:
    """executemany() is refused for one row of theirs among ours."""
    field = Note._meta.get_field("organization")
    keys = [
        field.get_db_prep_value(rows.organization.pk, connection)
        for rows in (in_acme, theirs)
    ]

    with (
        pytest.raises(CrossOrganization),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.executemany(
            "INSERT INTO notebook_folder (name, organization_id) VALUES (%s, %s)",
            [(f"x{number}", key) for number, key in enumerate(keys)],
        )

    assert Folder.objects.count() == 1


# 13. A held row

HELD: dict[str, Act] = {
    "save": lambda our, their: their.note.save(),
    "save fields": lambda our, their: their.note.save(update_fields=["text"]),
    "force insert": lambda our, their: their.note.save(force_insert=True),
    "force update": lambda our, their: their.note.save(force_update=True),
    "save base": lambda our, their: their.note.save_base(),
    "save raw": lambda our, their: their.note.save_base(raw=True),
    "delete": lambda our, their: their.note.delete(),
    "delete folder": lambda our, their: their.folder.delete(),
    "delete through row": lambda our, their: their.placing.delete(),
    "save organization": lambda our, their: their.organization.save(),
    "delete organization": lambda our, their: their.organization.delete(),
    "save member": lambda our, their: their.member.save(),
    "move to them": lambda our, their: _set(
        our.note, organization=their.organization
    ).save(),
    "move to them by key": lambda our, their: _set(
        our.note, organization_id=their.organization.pk
    ).save(update_fields=["organization"]),
    "bulk_update": lambda our, their: Note.objects.bulk_update([their.note], ["text"]),
    "bulk_create": lambda our, their: Note.objects.bulk_create([their.note]),
    "proxy": lambda our, their: LoudNote(
        pk=their.note.pk, organization=their.organization
    ).save(),
    "asave": lambda our, their: async_to_sync(their.note.asave)(),
    "adelete": lambda our, their: async_to_sync(their.note.adelete)(),
}


@pytest.mark.parametrize("act", HELD.values(), ids=HELD)
def test_held_row_when_theirs_is_refused(act: Act, in_acme: Rows, theirs: Rows) -> None:
    """A row that was loaded in their scope is neither saved, deleted nor moved."""
    with (
        pytest.raises(CrossOrganization, match="another organization"),
        transaction.atomic(),
    ):
        act(in_acme, theirs)


TAKEN: dict[str, Act] = {
    "save": lambda our, their: _set(their.note, organization=our.organization).save(),
    "save by key": lambda our, their: _set(
        their.note, organization_id=our.organization.pk
    ).save(update_fields=["organization"]),
    "raw": lambda our, their: _set(
        their.note, organization_id=our.organization.pk
    ).save_base(raw=True, force_update=True),
    "delete": lambda our, their: _set(
        their.placing, organization=our.organization
    ).delete(),
    "bulk_update": lambda our, their: Note.objects.bulk_update(
        [_set(their.note, organization=our.organization, text="x")], ["text"]
    ),
}


@pytest.mark.parametrize("act", TAKEN.values(), ids=TAKEN)
def test_held_row_when_relabelled_changes_nothing(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """Their row that was given our organization in memory stays theirs."""
    try:
        with transaction.atomic():
            act(in_acme, theirs)
    except (CrossOrganization, DatabaseError):
        pass


# 14. Many to many, and generic relations

MANY: dict[str, Act] = {
    "add": lambda our, their: our.task.labels.add(their.label),
    "add key": lambda our, their: our.task.labels.add(their.label.pk),
    "add several": lambda our, their: our.task.labels.add(our.label, their.label),
    "set": lambda our, their: our.task.labels.set([their.label]),
    "set key": lambda our, their: our.task.labels.set([their.label.pk]),
    "set clear": lambda our, their: our.task.labels.set([their.label.pk], clear=True),
    "reverse add": lambda our, their: our.label.tasks.add(their.task),
    "reverse add key": lambda our, their: our.label.tasks.add(their.task.pk),
    "reverse set": lambda our, their: our.label.tasks.set([their.task]),
    "self add": lambda our, their: our.task.blocked_by.add(their.task),
    "self add key": lambda our, their: our.task.blocked_by.add(their.task.pk),
    "symmetrical": lambda our, their: our.note.friends.add(their.note),
    "symmetrical key": lambda our, their: our.note.friends.add(their.note.pk),
    "own through": lambda our, their: our.note.places.add(their.folder),
    "own through key": lambda our, their: our.note.places.add(their.folder.pk),
    "held add": lambda our, their: their.task.labels.add(our.label),
    "held add key": lambda our, their: their.task.labels.add(our.label.pk),
    "held add theirs": lambda our, their: their.blocker.labels.add(their.label),
    "held remove": lambda our, their: their.task.labels.remove(their.label),
    "held remove key": lambda our, their: their.task.labels.remove(their.label.pk),
    "held set": lambda our, their: their.task.labels.set([our.label]),
    "held create": lambda our, their: their.task.labels.create(name="x"),
    "held create through": lambda our, their: their.note.places.create(name="x"),
    "remove": lambda our, their: our.task.labels.remove(their.label),
    "foreign add": lambda our, their: our.folder.notes.add(their.note),
    "foreign add saved": lambda our, their: our.folder.notes.add(
        their.note, bulk=False
    ),
    "foreign set": lambda our, their: our.folder.notes.set([their.note]),
    "foreign remove": lambda our, their: our.folder.notes.remove(their.note),
    "global add": lambda our, their: our.category.notes.add(their.note),
    "global user add": lambda our, their: our.user.notes.add(their.note),
    "global many add": lambda our, their: our.user.readable.add(their.note),
    "global many add key": lambda our, their: our.user.readable.add(their.note.pk),
    "held foreign create": lambda our, their: their.folder.notes.create(code="x"),
    "held global add": lambda our, their: their.note.readers.add(our.user),
    "generic add": lambda our, their: our.note.remarks.add(their.remark),
    "generic add saved": lambda our, their: our.note.remarks.add(
        their.remark, bulk=False
    ),
    "generic set": lambda our, their: our.note.remarks.set([their.remark]),
    "generic remove": lambda our, their: our.note.remarks.remove(their.remark),
    "generic held create": lambda our, their: their.note.remarks.create(text="x"),
    "generic held add": lambda our, their: their.note.remarks.add(our.remark),
    "generic key": lambda our, their: Remark.objects.create(
        target=their.note, text="x"
    ),
    "generic key set": lambda our, their: _set(our.remark, target=their.note).save(),
    "aadd": lambda our, their: async_to_sync(our.task.labels.aadd)(their.label),
    "aset": lambda our, their: async_to_sync(our.task.labels.aset)([their.label]),
    "aremove": lambda our, their: async_to_sync(our.task.labels.aremove)(their.label),
    "acreate": lambda our, their: async_to_sync(their.task.labels.acreate)(name="x"),
    "foreign aadd": lambda our, their: async_to_sync(our.folder.notes.aadd)(their.note),
    "foreign aset": lambda our, their: async_to_sync(our.folder.notes.aset)(
        [their.note]
    ),
    "generic aadd": lambda our, their: async_to_sync(our.note.remarks.aadd)(
        their.remark
    ),
}


@pytest.mark.parametrize("act", MANY.values(), ids=MANY)
def test_relation_when_row_is_theirs_is_refused(
    act: Act, in_acme: Rows, theirs: Rows
) -> None:
    """A relation's manager takes no row and no key of another organization."""
    attempt(lambda: act(in_acme, theirs))

    for name in ("labels", "blocked_by"):
        assert theirs.label.pk not in getattr(in_acme.task, name).values_list(
            "pk", flat=True
        )


def test_through_defaults_when_organization_is_theirs_makes_ours(
    in_acme: Rows, theirs: Rows
) -> None:
    """through_defaults do not choose the organization."""
    places: Any = in_acme.note.places  # Any: the plugin takes the defaults for a field.
    places.create(name="x", through_defaults={"organization": theirs.organization})
    assert Placing.objects.filter(note=in_acme.note).count() == 2


@pytest.mark.parametrize("name", ["labels", "blocked_by"])
def test_relation_when_key_is_unknown_is_refused_alike(
    name: str, in_acme: Rows, theirs: Rows
) -> None:
    """A key of no row is refused like a key of theirs."""
    attempt(lambda: getattr(in_acme.task, name).add(10**9))


# 15. Cascades


def test_delete_when_it_cascades_stays_in_scope(in_acme: Rows, theirs: Rows) -> None:
    """Django's collector gathers the scope's rows only."""
    _total, deleted = in_acme.project.delete()

    assert deleted == {
        "tracker.Project": 1,
        "tracker.Task": 2,
        "tracker.Task_labels": 1,
        "tracker.Task_blocked_by": 1,
        "tracker.Comment": 1,
        "tracker.Bookmark": 1,
    }


def test_delete_of_global_row_when_theirs_refer_to_it_is_refused(
    in_acme: Rows, theirs: Rows
) -> None:
    """A global row to which theirs refer is not deleted in our scope.

    Neither as PROTECT says it nor by a cascade does anything of theirs change.
    """
    Note.objects.update(category=None)

    with pytest.raises((ProtectedError, *REFUSED)), transaction.atomic():
        theirs.category.delete()
        check_deferred()


def test_delete_of_user_when_theirs_refer_to_it_is_refused(
    in_acme: Rows, theirs: Rows
) -> None:
    """A user whose memberships are elsewhere is not deleted in our scope."""
    with pytest.raises(HasMemberships, match=r"erase_user\(\)"), transaction.atomic():
        theirs.user.delete()


def test_delete_of_chain_when_long_stays_in_scope(in_acme: Rows, theirs: Rows) -> None:
    """A chain of more rows than a batch holds is deleted, and theirs is not."""
    parent = in_acme.folder
    for number in range(105):
        parent = Folder.objects.create(name=f"ours {number}", parent=parent)

    total, deleted = in_acme.folder.delete()

    assert deleted["notebook.Folder"] == 106
    assert total >= 106


def test_collector_when_given_their_rows_deletes_none(
    in_acme: Rows, theirs: Rows
) -> None:
    """A Collector that is handed their rows deletes none of them."""
    collector = Collector(using="default", origin=theirs.note)

    try:
        with transaction.atomic():
            collector.collect([theirs.note])
            collector.delete()
            check_deferred()
    except (*REFUSED, RawSQLRefused):
        pass


def test_signals_when_cascading_are_of_scope(in_acme: Rows, theirs: Rows) -> None:
    """The receivers of a cascade see the scope's rows only."""
    seen: list[Any] = []

    def receive(sender: Any, instance: Any, origin: Any, **kwargs: Any) -> None:
        if hasattr(instance, "organization_id"):
            seen.append(instance.organization_id)

    pre_delete.connect(receive)
    try:
        in_acme.folder.delete()
        Note.objects.all().delete()
    finally:
        pre_delete.disconnect(receive)

    assert set(seen) == {in_acme.organization.pk}


def test_truncate_when_in_scope_is_refused(in_acme: Rows, theirs: Rows) -> None:
    """TRUNCATE, and the DROP of a table, are refused in a scope."""
    for sql in ("TRUNCATE TABLE notebook_remark", "DELETE FROM notebook_remark"):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(sql)
        except (CrossOrganization, RawSQLRefused, DatabaseError):
            pass


def test_flush_statements_when_in_scope_are_refused(
    in_acme: Rows, theirs: Rows
) -> None:
    """What `flush` would run is refused in a scope."""
    from django.core.management.color import no_style

    tables = ["notebook_remark"]
    for sql in connection.ops.sql_flush(no_style(), tables):
        if "notebook_remark" not in sql:
            continue
        with (
            pytest.raises((CrossOrganization, RawSQLRefused, DatabaseError)),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)


# 16. Fixtures and locks


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x", "organization": "THEIRS"},
        {"name": "x", "parent": "FOLDER"},
    ],
    ids=["organization", "relation"],
)
def test_loaddata_when_keys_are_theirs_is_refused(
    fields: dict[str, Any], in_acme: Rows, theirs: Rows, tmp_path: Path
) -> None:
    """loaddata in our scope loads no row that is theirs or refers to theirs."""
    values = {"THEIRS": str(theirs.organization.pk), "FOLDER": theirs.folder.pk}
    data = {
        "model": "notebook.folder",
        "fields": {
            "organization": str(in_acme.organization.pk),
            **{name: values.get(value, value) for name, value in fields.items()},
        },
    }
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([data]))

    attempt(lambda: call_command("loaddata", str(path), verbosity=0))


def test_loaddata_when_primary_key_is_theirs_is_refused(
    in_acme: Rows, theirs: Rows, tmp_path: Path
) -> None:
    """loaddata does not overwrite their row under its key."""
    data = {
        "model": "notebook.folder",
        "pk": theirs.folder.pk,
        "fields": {"name": "x", "organization": str(in_acme.organization.pk)},
    }
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([data]))

    with pytest.raises((CrossOrganization, DatabaseError)), transaction.atomic():
        call_command("loaddata", str(path), verbosity=0)


def test_loaddata_when_ours_passes(in_acme: Rows, theirs: Rows, tmp_path: Path) -> None:
    """What dumpdata wrote in our scope is loaded in our scope again."""
    path = tmp_path / "rows.json"
    call_command("dumpdata", "notebook.folder", "--output", str(path), verbosity=0)
    Folder.objects.filter(pk=in_acme.folder.pk).update(name="changed")

    call_command("loaddata", str(path), verbosity=0)

    assert Folder.objects.get().name == in_acme.folder.name


@pytest.mark.parametrize("of", [(), ("self",), ("self", "folder")], ids=str)
def test_select_for_update_when_joined_restricts_each_table(
    of: tuple[str, ...], in_acme: Rows, theirs: Rows
) -> None:
    """A lock is taken on the scope's rows only."""
    from tests.isolation.test_shapes import find_unrestricted

    rows = Note.objects.filter(folder__isnull=False).select_related("folder")
    if of and connection.features.has_select_for_update_of:
        rows = rows.select_for_update(of=of)
    else:
        rows = rows.select_for_update()

    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        assert [note.pk for note in rows] == [in_acme.note.pk]

    for query in queries:
        assert find_unrestricted(query["sql"]) == []


def test_select_for_update_when_bare_is_hidden_or_refused(
    in_acme: Rows, rows_of: Callable[[Any], list[Any]]
) -> None:
    """A bare lock is the database's to hold."""
    with transaction.atomic():
        rows = rows_of(QuerySet(Note).select_for_update())

    assert {note.organization_id for note in rows} <= {in_acme.organization.pk}


def test_receiver_when_it_moves_the_row_is_refused(in_acme: Rows, theirs: Rows) -> None:
    """A receiver of pre_save that sets their organization is refused."""

    def receive(sender: Any, instance: Any, **kwargs: Any) -> None:
        instance.organization = theirs.organization

    pre_save.connect(receive, sender=Note)
    try:
        with pytest.raises(REFUSED), transaction.atomic():
            in_acme.note.save()
    finally:
        pre_save.disconnect(receive, sender=Note)


def test_user_scope_when_writing_is_refused(ours: Rows, theirs: Rows) -> None:
    """A user's own scope lists, and changes nothing."""
    with tenancy.scope(user=theirs.user):
        assert [member.pk for member in Membership.objects.all()] == [theirs.member.pk]
        assert [o.pk for o in Organization.objects.all()] == [theirs.organization.pk]
        for act in (
            lambda: Membership.objects.update(ended_at=None),
            lambda: theirs.member.save(),
            lambda: theirs.member.delete(),
            lambda: Organization.objects.update(name="x"),
            lambda: theirs.organization.save(),
            lambda: Note.objects.count(),
            lambda: Note.objects.create(code="x"),
        ):
            try:
                with transaction.atomic():
                    assert act() == 0
            except (CrossOrganization, ScopeRequired, RawSQLRefused):
                pass


def test_router_when_asked_gives_one_database(in_acme: Rows) -> None:
    """The tests' rows are where the routers send the writes."""
    assert router.db_for_write(Note) == in_acme.note._state.db


def test_global_rows_when_shared_stay_writable(in_acme: Rows, theirs: Rows) -> None:
    """Global rows are nobody's: a scope writes them."""
    Category.objects.create(name="x")
    Pin.objects.filter(user=in_acme.user).delete()
    Label.objects.create(name="y")
    Project.objects.create(name="z")

    assert Category.objects.count() == 2
    assert content_type_of(Note).model == "note"
