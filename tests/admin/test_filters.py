"""Filters of lists offer whom the rows name, in whichever admin they stand."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import RelatedFieldListFilter
from django.contrib.admin.filters import AllValuesFieldListFilter
from django.test import RequestFactory

import tenancy
from tenancy.admin import TenantAdmin
from tenancy.models import Membership, Organization, User
from tests.admin.site_urls import site
from tests.apps.notebook.models import Note, Pin

KINDS = [admin.ModelAdmin, TenantAdmin]


@pytest.fixture
def carol(acme: Organization) -> User:
    """A former member of acme."""
    carol = User.objects.create_user("carol@acme.example", name="Carol")
    with tenancy.scope(acme):
        Membership.objects.add(user=carol).end()
    return carol


@pytest.fixture
def _notes(
    acme: Organization, globex: Organization, alice: User, bob: User, carol: User
) -> None:
    """A note of globex by bob, and two of acme, one by who has left."""
    for organization, author in ((acme, alice), (acme, carol), (globex, bob)):
        with tenancy.scope(organization):
            note = Note.objects.create(code=author.name, author=author)
            note.readers.add(author)


def offered(kind: Any, model: Any, list_filter: Any, user: User) -> set[str]:
    """Return what the filters of a list offer."""
    model_admin = type("Admin", (kind,), {"list_filter": list_filter})(model, site)
    request = RequestFactory().get("/")
    request.user = user
    changelist = model_admin.get_changelist_instance(request)
    return {
        str(choice["display"])
        for filter_ in changelist.filter_specs
        for choice in filter_.choices(changelist)
    }


@pytest.mark.usefixtures("_notes")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["author", "readers"])
def test_filter_of_users_offers_whom_rows_name(
    kind: Any, name: str, acme: Organization, alice: User, carol: User
) -> None:
    """A filter of users offers those of the list's rows, who may have left."""
    with tenancy.scope(acme):
        choices = offered(kind, Note, [name], alice)

    assert choices - {"All", "-"} == {alice.email, carol.email}


@pytest.mark.usefixtures("_notes")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("author__email", {"alice@acme.example", "carol@acme.example"}),
        ("readers__name", {"Alice", "Carol"}),
        ("author__is_staff", {"Yes", "No"}),
        ("author__notes__code", {"Alice", "Carol"}),
    ],
)
def test_filter_of_values_offers_those_of_named_users(
    kind: Any, path: str, values: set[str], acme: Organization, alice: User
) -> None:
    """A filter of users' values offers those of the users whom rows name."""
    with tenancy.scope(acme):
        assert offered(kind, Note, [path], alice) - {"All", "-"} == values


@pytest.mark.usefixtures("_notes")
@pytest.mark.parametrize(
    ("path", "given", "values"),
    [
        ("author", RelatedFieldListFilter, {"alice@acme.example"}),
        ("author__email", AllValuesFieldListFilter, {"alice@acme.example"}),
        ("category", RelatedFieldListFilter, set()),
        ("code", AllValuesFieldListFilter, {"Alice"}),
    ],
)
def test_filter_of_djangos_own_is_narrowed(
    path: str, given: Any, values: set[str], acme: Organization, alice: User
) -> None:
    """A tenant's admin narrows a filter that is named by its class, too."""
    with tenancy.scope(acme):
        Note.objects.get(code="Carol").delete()

        choices = offered(TenantAdmin, Note, [(path, given)], alice)

    assert choices - {"All", "-"} == values


@pytest.mark.usefixtures("_notes")
def test_plain_admin_with_djangos_own_filter_offers_fellow_members(
    acme: Organization, globex: Organization, alice: User
) -> None:
    """Django's own filter of users offers fellow members in Django's own admin."""
    list_filter = [("author", RelatedFieldListFilter)]

    with tenancy.scope(acme):
        choices = offered(admin.ModelAdmin, Note, list_filter, alice)

    assert choices - {"All", "-"} == {alice.email}


@pytest.mark.usefixtures("_notes")
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("user", {"alice@acme.example", "bob@globex.example", "carol@acme.example"}),
        ("user__name", {"Alice", "Bob", "Carol"}),
    ],
)
def test_list_of_global_rows_keeps_djangos_filters(
    path: str, values: set[str], acme: Organization, alice: User
) -> None:
    """Lists of global rows are filtered as if the package were not there."""
    with tenancy.scope(acme):
        assert values <= offered(admin.ModelAdmin, Pin, [path], alice)
