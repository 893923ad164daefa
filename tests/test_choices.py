"""A relation to users offers fellow members, and code may name anybody."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import CASCADE, Q
from django.forms import modelform_factory
from django.test.utils import isolate_apps

import tenancy
from tenancy.choices import fellow_members, is_user_model, offer_anybody
from tenancy.exceptions import ScopeRequired
from tenancy.fields import TenantOneToOneField
from tenancy.models import Membership, Organization, User
from tests.apps.notebook.models import Category, Folder, Note, Pin

AUTHOR: Any = Note._meta.get_field("author")
READERS: Any = Note._meta.get_field("readers")


def offered(field: Any) -> set[User]:
    """Return the users whom a relation offers."""
    return set(User.objects.complex_filter(field.get_limit_choices_to()))


@pytest.mark.parametrize("field", [AUTHOR, READERS], ids=["key", "many-to-many"])
def test_relation_offers_fellow_members(
    field: Any, acme: Organization, globex: Organization, alice: User, bob: User
) -> None:
    """Members of the organization are offered, and unscoped everybody."""
    stranger = User.objects.create_user("stranger@example.com")

    with tenancy.scope(acme):
        assert offered(field) == {alice}
        assert offered(offer_anybody(field)) == {alice, bob, stranger}
    with tenancy.unscoped("everybody may be picked"):
        assert offered(field) == {alice, bob, stranger}
    with pytest.raises(ScopeRequired, match="no active scope"):
        offered(field)


def test_limit_binds_late(
    acme: Organization, globex: Organization, alice: User, bob: User
) -> None:
    """A class that keeps the limit offers members of the scope in which it runs."""
    with tenancy.unscoped("a module is imported"):
        limit = AUTHOR.get_limit_choices_to()

    for organization, member in ((acme, alice), (globex, bob)):
        with tenancy.scope(organization):
            assert User.objects.filter(limit).get() == member
            assert User.objects.filter(fellow_members()).get() == member


def test_who_has_left_is_not_offered(acme: Organization, bob: User) -> None:
    """A member who has left is offered no more."""
    with tenancy.scope(acme):
        membership = Membership.objects.add(user=bob)
        assert bob in offered(AUTHOR)

        membership.end()

        assert bob not in offered(AUTHOR)


@pytest.mark.parametrize(
    "own", [{"name": "Alice"}, Q(name="Alice"), lambda: {"name": "Alice"}]
)
def test_limit_of_the_project_holds_too(
    own: Any,
    acme: Organization,
    alice: User,
    bob: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit of the project's own narrows the fellow members."""
    monkeypatch.setattr(AUTHOR.remote_field, "limit_choices_to", own)
    namesake = User.objects.create_user("other@example.com", name="Alice")

    with tenancy.scope(acme):
        Membership.objects.add(user=bob)

        assert offered(AUTHOR) == {alice}
        assert offered(offer_anybody(AUTHOR)) == {alice, namesake}


@pytest.mark.parametrize("field", [AUTHOR, READERS], ids=["key", "many-to-many"])
def test_limit_is_no_part_of_migrations(field: Any) -> None:
    """What a migration writes of the relation has no limit."""
    assert "limit_choices_to" not in field.deconstruct()[3]


@pytest.mark.parametrize(
    ("model", "name"), [(Note, "category"), (Note, "folder"), (Pin, "user")]
)
def test_other_relations_have_no_limit(model: Any, name: str) -> None:
    """Rows of a global model are everybody's, and a global row names any user."""
    assert not model._meta.get_field(name).get_limit_choices_to()
    assert not is_user_model(Category) and not is_user_model(Folder)


@isolate_apps("tests.apps.notebook")
def test_proxy_of_users_is_users() -> None:
    """A relation to a proxy of the user model is one to users."""

    class Person(User):
        class Meta:
            app_label = "notebook"
            proxy = True

    assert is_user_model(Person) and is_user_model(User)


@pytest.mark.parametrize("name", ["author", "readers"])
def test_form_offers_and_takes_fellow_members(
    name: str, acme: Organization, globex: Organization, alice: User, bob: User
) -> None:
    """A form of a tenant model lists, and takes, members of the organization only."""
    form_class = modelform_factory(Note, fields=[name])

    with tenancy.scope(acme):
        form = form_class({name: [bob.pk] if name == "readers" else bob.pk})

        # A form field of a relation has a queryset.
        assert list(form.fields[name].queryset) == [alice]  # type: ignore[attr-defined]
        assert name in form.errors
    with tenancy.scope(globex):
        form = form_class({name: [bob.pk] if name == "readers" else bob.pk})

        assert name not in form.errors


def test_form_of_membership_offers_fellow_members(
    acme: Organization, globex: Organization, alice: User, bob: User
) -> None:
    """A form of memberships lists no stranger either, who is invited instead."""
    form_class = modelform_factory(Membership, fields=["user", "role"])

    with tenancy.scope(acme):
        page = str(form_class())

    assert alice.email in page and bob.email not in page


def test_code_names_anybody(acme: Organization, bob: User) -> None:
    """A row that names a stranger is valid, and is saved."""
    with tenancy.scope(acme):
        note = Note(code="x", data={"a": 1}, author=bob)
        note.full_clean(exclude=["written_at"])
        note.save()

        assert Note.objects.get().author == bob


def test_parent_link_has_no_form_field() -> None:
    """A link to a parent is left out of forms, as Django leaves it out."""
    link: Any = TenantOneToOneField(Note, on_delete=CASCADE, parent_link=True)

    assert link.formfield() is None
