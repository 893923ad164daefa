"""Lines 17 and 18: nothing tells that another organization's row exists."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import IntegerField, Value
from django.db.models.functions import Coalesce
from django.forms import inlineformset_factory, modelform_factory, modelformset_factory
from django.shortcuts import aget_object_or_404, get_list_or_404, get_object_or_404
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.views.generic import DeleteView, DetailView, UpdateView

import tenancy
from project.tracker.models import Comment, Project, Task
from tenancy.exceptions import TenancyError
from tenancy.models import Membership, Organization, Role
from tests.apps.notebook.models import Cover, Folder, Note, Placing, Remark
from tests.deferral import check_deferred
from tests.isolation.conftest import Rows, content_type_of

Probe = Callable[[Any], Any]
MISSING = 987_654_321

NoteForm = modelform_factory(Note, fields=["code", "text", "folder"])
TaskForm = modelform_factory(Task, fields=["project", "title", "assignee", "labels"])


# 17. The same error, text and number of queries

PROBES: dict[str, Probe] = {
    "get": lambda key: Note.objects.get(pk=key),
    "base get": lambda key: Note._base_manager.get(pk=key),
    "get_object_or_404": lambda key: get_object_or_404(Note, pk=key),
    "get_list_or_404": lambda key: get_list_or_404(Note, pk=key),
    "aget_object_or_404": lambda key: async_to_sync(aget_object_or_404)(Note, pk=key),
    "aget": lambda key: async_to_sync(Note.objects.aget)(pk=key),
    "first": lambda key: Note.objects.filter(pk=key).first(),
    "exists": lambda key: Note.objects.filter(pk=key).exists(),
    "in_bulk": lambda key: Note.objects.in_bulk([key]),
    "contains": lambda key: Note.objects.contains(Note(pk=key)),
    "update": lambda key: Note.objects.filter(pk=key).update(text="x"),
    "delete": lambda key: Note.objects.filter(pk=key).delete(),
    "refresh": lambda key: _held(key).refresh_from_db(),
    "save": lambda key: _held(key).save(force_update=True),
    "save fields": lambda key: _held(key).save(update_fields=["text"]),
    "held delete": lambda key: _held(key).delete(),
    "forward": lambda key: Cover(note_id=key).note,
    "relation": lambda key: _held(key).remarks.count(),
    "relation filter": lambda key: Cover.objects.filter(note_id=key).count(),
    "relation exclude": lambda key: Cover.objects.exclude(note_id=key).count(),
    "join": lambda key: Folder.objects.filter(notes=key).count(),
    "exclude": lambda key: Folder.objects.exclude(notes=key).count(),
    "generic": lambda key: (
        Remark(content_type=content_type_of(Note), object_id=key).target
    ),
    "foreign key": lambda key: Cover.objects.create(note_id=key, color="x"),
    "foreign key bulk": lambda key: Placing.objects.bulk_create(
        [Placing(note_id=key, folder=Folder.objects.get())]
    ),
    "foreign key update": lambda key: Placing.objects.update(note_id=key),
    "one-to-one": lambda key: Cover.objects.create(note_id=Value(key), color="x"),
    "one-to-one typed": lambda key: Cover.objects.create(
        note_id=Value(key, output_field=Cover._meta.get_field("note")), color="x"
    ),
    "one-to-one bulk": lambda key: Cover.objects.bulk_create(
        [Cover(note_id=Value(key), color="x")]
    ),
    "one-to-one update": lambda key: Cover.objects.update(note=Value(key)),
    "one-to-one coalesced": lambda key: Cover.objects.update(
        note_id=Coalesce(Value(None, output_field=IntegerField()), Value(key))
    ),
    "foreign key clean": lambda key: Cover(note_id=key, color="x").full_clean(),
    "add": lambda key: Note.objects.get().friends.add(key),
    "set": lambda key: Note.objects.get().friends.set([key]),
    "remove": lambda key: Note.objects.get().friends.remove(key),
    "form": lambda key: _errors(
        modelform_factory(Cover, fields=["note", "color"])({"note": key, "color": "x"})
    ),
    "select": lambda key: _errors(forms.ModelChoiceField(Note.objects.all()), key),
    "select many": lambda key: _errors(
        forms.ModelMultipleChoiceField(Note.objects.all()), [key]
    ),
    "detail view": lambda key: DetailView.as_view(model=Note)(
        RequestFactory().get("/"), pk=key
    ),
    "update view": lambda key: UpdateView.as_view(model=Note, fields=["text"])(
        RequestFactory().post("/", {"text": "x"}), pk=key
    ),
    "delete view": lambda key: DeleteView.as_view(model=Note, success_url="/")(
        RequestFactory().post("/"), pk=key
    ),
    "raw": lambda key: tenancy.raw(
        "SELECT code FROM notebook_note WHERE id = %s", [key]
    ),
}


def _held(key: Any) -> Note:
    note = Note(pk=key, code="x")
    note._state.adding = False
    return note


def _errors(form: Any, value: Any = None) -> str:
    if isinstance(form, forms.Field):
        try:
            form.clean(value)
        except ValidationError as error:
            return str(error.messages)
        return ""
    return str(form.errors.as_json())


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_probe_when_key_is_theirs_is_as_when_missing(
    probe: Probe, in_acme: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """A key of theirs and a key of nobody's end alike, after as many queries."""
    missing = run_probe(probe, MISSING)
    existing = run_probe(probe, theirs.note.pk)

    assert existing == missing
    assert "secret" not in repr(existing)


@pytest.mark.parametrize("model", [Organization, Membership, Role])
def test_probe_when_key_is_of_our_own_models_is_as_when_missing(
    model: Any, in_acme: Rows, theirs: Rows
) -> None:
    """So do the keys of organizations, memberships and roles."""
    key = {
        Organization: theirs.organization.pk,
        Membership: theirs.member.pk,
        Role: theirs.member.role_id,
    }[model]

    for probe in (
        lambda value: model.objects.get(pk=value),
        lambda value: get_object_or_404(model, pk=value),
        lambda value: model.objects.filter(pk=value).exists(),
    ):
        assert run_probe(probe, key) == run_probe(probe, _other(key))


def _other(key: Any) -> Any:
    return type(key)(int=key.int ^ 1)


def run_probe(probe: Probe, key: Any) -> tuple[Any, ...]:
    """Return what came of a probe: a value or an error's class and text, and how
    many queries it took; the key itself is left out of the text.
    """
    with CaptureQueriesContext(connection) as queries:
        try:
            with transaction.atomic():
                value = probe(key)
                check_deferred()
            outcome: tuple[Any, ...] = ("value", repr(value))
        except Exception as error:
            outcome = (type(error), str(error))
    text = re.sub(rf"\b{re.escape(str(key))}\b", "KEY", str(outcome[1]))
    return outcome[0], text, [query["sql"].split(None, 1)[0] for query in queries]


SELF_PROBES: dict[str, Probe] = {
    "create": lambda key: Folder.objects.create(name="x", parent_id=key),
    "save": lambda key: _with_parent(key).save(),
    "update": lambda key: Folder.objects.update(parent_id=key),
    "bulk_create": lambda key: Folder.objects.bulk_create(
        [Folder(name="x", parent_id=key)]
    ),
    "bulk_update": lambda key: Folder.objects.bulk_update(
        [_with_parent(key)], ["parent"]
    ),
    "base bulk_update": lambda key: Folder._base_manager.bulk_update(
        [_with_parent(key)], ["parent"]
    ),
}


def _with_parent(key: Any) -> Folder:
    folder = Folder.objects.get()
    folder.parent_id = key
    return folder


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("enter", [nullcontext, transaction.atomic])
@pytest.mark.parametrize("probe", SELF_PROBES.values(), ids=SELF_PROBES)
def test_key_into_its_own_table_when_theirs_is_as_when_missing(
    probe: Probe, enter: Callable[[], Any], in_acme: Rows, theirs: Rows
) -> None:
    """A key that is looked at when the transaction ends does not tell more then."""
    outcomes = set()
    for key in (MISSING, theirs.folder.pk):
        with pytest.raises(Exception) as caught, enter():  # noqa: PT011 - any one
            probe(key)
        text = re.sub(rf"\b{key}\b", "KEY", str(caught.value))
        outcomes.add((type(caught.value), text))

    assert len(outcomes) == 1


def test_scope_when_key_is_theirs_is_as_when_missing(
    in_acme: Rows, theirs: Rows
) -> None:
    """Entering their scope from ours says the same as entering nobody's."""
    texts = []
    for key in (theirs.organization.pk, _other(theirs.organization.pk)):
        with pytest.raises(TenancyError) as caught:
            tenancy.scope(key).__enter__()
        texts.append(str(caught.value).replace(str(key), "KEY"))

    assert texts[0] == texts[1]


def test_unique_value_when_theirs_is_free(in_acme: Rows, theirs: Rows) -> None:
    """A value that is unique in their organization tells nothing in ours."""
    form = NoteForm({"code": theirs.note.code, "text": "x"})

    assert form.is_valid(), form.errors
    assert form.save().organization_id == in_acme.organization.pk


def test_log_when_rows_are_refused_names_no_data(
    in_acme: Rows, theirs: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """No message at INFO holds their data."""
    caplog.set_level(logging.INFO)

    for probe in PROBES.values():
        run_probe(probe, theirs.note.pk)

    assert "secret" not in caplog.text


def test_messages_when_theirs_are_named_hold_no_data(
    in_acme: Rows, theirs: Rows
) -> None:
    """No exception of ours holds their data."""
    for act in (
        lambda: theirs.note.save(),
        lambda: theirs.note.delete(),
        lambda: Cover.objects.create(note=theirs.note),
        lambda: in_acme.task.labels.add(theirs.label),
        lambda: in_acme.task.labels.add(theirs.label.pk),
        lambda: in_acme.note.remarks.add(theirs.remark),
        lambda: Note.objects.create(code="x", organization=theirs.organization),
    ):
        with pytest.raises(TenancyError) as caught, transaction.atomic():
            act()
        assert "secret" not in str(caught.value)
        assert "Globex" not in str(caught.value)
        assert str(theirs.organization.pk) not in str(caught.value)


# 18. Forms


def test_form_choices_when_in_scope_are_ours(in_acme: Rows, theirs: Rows) -> None:
    """A ModelForm offers the scope's rows only, to one and to many."""
    html = NoteForm().as_p() + TaskForm().as_p()

    assert "secret" not in html
    assert "ours folder" in html
    assert "bob@globex.example" not in html
    assert "alice@acme.example" in html


def test_form_class_when_made_at_import_offers_each_scopes_rows(
    ours: Rows, theirs: Rows
) -> None:
    """A form class is one for all scopes; what it offers is of each."""
    for rows, word in ((ours, "ours"), (theirs, "secret"), (ours, "ours")):
        with tenancy.scope(rows.organization):
            field: Any = NoteForm().fields["folder"]
            choices = {str(label) for key, label in field.choices if key}

        assert choices == {f"{word} folder"}


@pytest.mark.parametrize("field", ["project", "assignee", "labels"])
def test_form_when_posted_their_key_is_invalid(
    field: str, in_acme: Rows, theirs: Rows
) -> None:
    """A crafted POST with a key of theirs is invalid, like one with no row's key."""
    data = {"project": in_acme.project.pk, "title": "x", "labels": [in_acme.label.pk]}
    key = {
        "project": theirs.project.pk,
        "assignee": theirs.member.pk,
        "labels": [theirs.label.pk],
    }[field]

    form = TaskForm({**data, field: key})

    assert not form.is_valid()
    assert set(form.errors) == {field}
    assert "secret" not in str(form.errors)


def test_form_when_posted_their_organization_ignores_it(
    in_acme: Rows, theirs: Rows
) -> None:
    """The organization is no field of a form, and a crafted one is not read."""
    form_class = modelform_factory(Project, fields="__all__")
    form = form_class({"name": "x", "organization": str(theirs.organization.pk)})

    assert "organization" not in form.fields
    assert form.is_valid(), form.errors
    assert form.save().organization_id == in_acme.organization.pk


def test_form_when_unique_in_organization_is_still_validated(in_acme: Rows) -> None:
    """A constraint is validated though no form shows the organization in it."""
    form = NoteForm({"code": in_acme.note.code})

    assert not form.is_valid()
    assert "already exists" in str(form.errors)


def test_form_when_instance_is_theirs_is_not_saved(
    in_acme: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """A form around a row of theirs saves nothing."""
    form = NoteForm({"code": "x", "text": "x"}, instance=theirs.note)

    with pytest.raises((TenancyError, ValueError)), transaction.atomic():
        form.save()


def test_formset_when_posted_their_key_is_invalid(
    in_acme: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """A formset edits the scope's rows; a crafted key in it is refused."""
    formset_class = modelformset_factory(Note, fields=["text"], extra=0)
    data = {
        "form-TOTAL_FORMS": "1",
        "form-INITIAL_FORMS": "1",
        "form-0-id": str(theirs.note.pk),
        "form-0-text": "taken over",
    }

    formset = formset_class(data)

    assert not formset.is_valid()
    assert "secret" not in str(formset.errors)
    assert [form.instance for form in formset_class().forms] == [in_acme.note]


def test_inline_formset_when_parent_is_theirs_is_empty(
    in_acme: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """An inline formset around their row shows nothing and saves nothing."""
    formset_class = inlineformset_factory(Task, Comment, fields=["body"], extra=0)
    data = {
        "comments-TOTAL_FORMS": "1",
        "comments-INITIAL_FORMS": "1",
        "comments-0-id": str(theirs.comment.pk),
        "comments-0-body": "taken over",
    }

    assert formset_class(instance=theirs.task).forms == []
    assert not formset_class(data, instance=theirs.task).is_valid()
    assert not formset_class(data, instance=in_acme.task).is_valid()


@pytest.mark.parametrize(
    "make",
    [
        lambda our, their: Task(title="x", project_id=their.project.pk),
        lambda our, their: Task(title="x", project=their.project),
        lambda our, their: Task(
            title="x", project=our.project, assignee_id=their.member.pk
        ),
        lambda our, their: Project(name="x", organization=their.organization),
        lambda our, their: Folder(name="x", parent_id=their.folder.pk),
    ],
    ids=range(5),
)
def test_full_clean_when_theirs_is_named_raises(
    make: Callable[[Rows, Rows], Any], in_acme: Rows, theirs: Rows
) -> None:
    """full_clean() refuses a relation to theirs, and names no data."""
    row = make(in_acme, theirs)

    with pytest.raises((ValidationError, TenancyError)) as caught:
        row.full_clean()

    assert "secret" not in str(caught.value)


def test_validate_constraints_when_organization_is_excluded_runs(
    in_acme: Rows,
) -> None:
    """Excluding the organization does not switch off what names it."""
    row = Note(code=in_acme.note.code)

    with pytest.raises(ValidationError, match="already exists"):
        row.validate_constraints(exclude={"organization"})
    with pytest.raises(ValidationError, match="already exists"):
        row.full_clean(exclude={"organization", "data", "written_at", "category"})


def test_choice_field_when_made_elsewhere_raises(ours: Rows, theirs: Rows) -> None:
    """A field whose queryset was made in their scope does not work in ours."""
    with tenancy.scope(theirs.organization):
        field: Any = forms.ModelChoiceField(Note.objects.filter(weight__gte=0))

    with tenancy.scope(ours.organization), pytest.raises(TenancyError):
        list(field.choices)
