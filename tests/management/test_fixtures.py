"""dumpdata and loaddata, which are about one organization's rows."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError

import tenancy
from tenancy import testing
from tenancy.exceptions import CrossOrganization
from tenancy.models import Organization
from tenancy.predicates import tenant_field
from tests.apps.notes.models import Note, Notebook

pytestmark = pytest.mark.django_db


def dump(**options: Any) -> list[dict[str, Any]]:
    output = io.StringIO()
    call_command("dumpdata", "notes", stdout=output, **options)
    rows: list[dict[str, Any]] = json.loads(output.getvalue())
    return rows


def find_models(*labels: str, **options: Any) -> set[str]:
    """Return the models of which a dump has rows."""
    output = io.StringIO()
    call_command("dumpdata", *labels, stdout=output, **options)
    return {row["model"] for row in json.loads(output.getvalue())}


def write(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return str(path)


def notebook_row(pk: int, organization: Organization) -> dict[str, Any]:
    fields = {"name": "n", "organization": str(organization.pk)}
    return {"model": "notes.notebook", "pk": pk, "fields": fields}


def note_row(pk: int, organization: Organization, notebook: int) -> dict[str, Any]:
    fields = {"title": "t", "organization": str(organization.pk), "notebook": notebook}
    return {"model": "notes.note", "pk": pk, "fields": fields}


@pytest.fixture
def theirs(globex: Organization) -> Notebook:
    """A notebook of globex."""
    with tenancy.scope(globex):
        notebook: Notebook = Notebook.objects.create(name="secret")
    return notebook


def test_dumpdata_of_acme_has_no_row_of_globex(
    acme: Organization, theirs: Notebook
) -> None:
    """One organization's dump holds its rows only."""
    with tenancy.scope(acme):
        Notebook.objects.create(name="ours")

    rows = dump(organization=str(acme.pk))

    assert [row["fields"]["name"] for row in rows] == ["ours"]


def test_dumpdata_of_all_organizations_has_every_row(theirs: Notebook) -> None:
    """Said aloud, the dump holds everything."""
    assert len(dump(all_organizations=True)) == 1


def test_dumpdata_inside_a_scope_dumps_that_scope(
    acme: Organization, theirs: Notebook
) -> None:
    """A scope that is active counts as named."""
    with tenancy.scope(acme):
        assert dump() == []


@pytest.mark.parametrize("traceback", [False, True])
def test_dumpdata_without_an_organization_says_both_ways(traceback: bool) -> None:
    """With no organization named, the error names the two options."""
    with pytest.raises(CommandError, match="--organization KEY, or say --all-org"):
        dump(traceback=traceback)


def test_dumpdata_that_is_refused_writes_nothing(tmp_path: Path) -> None:
    """The refusal comes before the first byte, to a file or to stdout."""
    path, output = tmp_path / "rows.json", io.StringIO()

    for options in ({"output": str(path)}, {"stdout": output}):
        with pytest.raises(CommandError, match="--organization KEY"):
            call_command("dumpdata", "contenttypes", "notes.Note", **options)

    assert not path.exists()
    assert output.getvalue() == ""


def test_dumpdata_of_global_models_needs_no_organization(acme: Organization) -> None:
    """Models that belong to no organization are written whole, as help says."""
    output = io.StringIO()

    call_command("dumpdata", "tenancy.User", stdout=output)

    assert "alice@acme.example" in output.getvalue()


def test_dumpdata_of_acme_has_nothing_of_everybody(
    acme: Organization, globex: Organization
) -> None:
    """Of the models that belong to none, an organization's dump holds those named."""
    testing.SessionFactory()
    testing.BillingEventFactory(payload={"of": "globex"})

    models = find_models(organization=str(acme.pk))
    named = find_models("tenancy", "tenancy.Session", organization=str(acme.pk))

    assert {"tenancy.organization", "tenancy.membership"} <= models
    assert not models & {"tenancy.user", "tenancy.session", "tenancy.billingevent"}
    assert all(tenant_field(apps.get_model(label)) is not None for label in models)
    assert "tenancy.session" in named
    assert not named & {"tenancy.user", "tenancy.billingevent"}


@pytest.mark.parametrize("key", ["nonsense", "00000000-0000-0000-0000-000000000001"])
def test_dumpdata_of_an_unknown_organization_is_refused(key: str) -> None:
    """A key of no organization is an error of the command."""
    with pytest.raises(CommandError, match="tenancy.scope"):
        dump(organization=key)


def test_dumpdata_of_an_unknown_app_keeps_its_own_error() -> None:
    """An error that is not about organizations is left as it is."""
    with pytest.raises(CommandError, match="No installed app"):
        call_command("dumpdata", "nothing", all_organizations=True)


def test_loaddata_with_forward_references_loads(
    acme: Organization, tmp_path: Path
) -> None:
    """A row may come before the row that it refers to."""
    path = write(tmp_path, note_row(1, acme, 7), notebook_row(7, acme))

    call_command("loaddata", path, organization=str(acme.pk), verbosity=0)

    with tenancy.scope(acme):
        assert Note.objects.get().notebook_id == 7


def test_loaddata_of_globex_rows_into_acme_is_refused(
    acme: Organization, globex: Organization, tmp_path: Path
) -> None:
    """A row that names globex does not load in the scope of acme."""
    path = write(tmp_path, notebook_row(7, globex))

    with pytest.raises(CrossOrganization):
        call_command("loaddata", path, organization=str(acme.pk), verbosity=0)


def test_loaddata_over_a_key_of_globex_is_refused(
    acme: Organization, theirs: Notebook, globex: Organization, tmp_path: Path
) -> None:
    """A row of acme with the primary key of a row of globex collides with it."""
    path = write(tmp_path, notebook_row(theirs.pk, acme))

    with pytest.raises((IntegrityError, CrossOrganization)):
        call_command("loaddata", path, organization=str(acme.pk), verbosity=0)


def test_loaddata_with_a_key_into_globex_is_refused(
    acme: Organization, theirs: Notebook, tmp_path: Path
) -> None:
    """A row of acme that refers to a row of globex does not load."""
    path = write(tmp_path, note_row(1, acme, theirs.pk))

    with pytest.raises((IntegrityError, CrossOrganization)):
        call_command("loaddata", path, organization=str(acme.pk), verbosity=0)


def test_loaddata_of_all_organizations_keeps_them_apart(
    acme: Organization, theirs: Notebook, tmp_path: Path
) -> None:
    """Unscoped, a key from acme into globex is refused as well."""
    path = write(tmp_path, note_row(1, acme, theirs.pk))

    with pytest.raises((IntegrityError, CrossOrganization)):
        call_command("loaddata", path, all_organizations=True, verbosity=0)


def test_loaddata_without_an_organization_says_both_ways(
    acme: Organization, tmp_path: Path
) -> None:
    """With no organization named, the error names the two options."""
    path = write(tmp_path, notebook_row(7, acme))

    with pytest.raises(CommandError, match="--organization KEY, or say --all-org"):
        call_command("loaddata", path, verbosity=0)
