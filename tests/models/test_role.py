from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import transaction
from pytest_django import Settings

import tenancy
from tenancy.exceptions import (
    BuiltInRole,
    CrossOrganization,
    PermissionNotHeld,
    RoleInUse,
    ScopeRequired,
)
from tenancy.models import AuditEvent, Membership, Organization, Role, User
from tenancy.permissions import find_permissions
from tenancy.transactions import take_locks
from tests.concurrency import run_at_once

VIEW = "tracker.view_task"
CHANGE = "tracker.change_task"


@pytest.fixture
def editors(acme: Organization) -> Role:
    """A custom role of acme."""
    with tenancy.scope(acme):
        role: Role = Role.objects.create_role(
            name="Editors", permissions=[VIEW, CHANGE]
        )
        return role


# Creating


def test_create_role_when_named_makes_key(acme: Organization) -> None:
    """The key is made from the name, or given; the role is recorded."""
    with tenancy.scope(acme):
        made = Role.objects.create_role(name="Head of_Sales", permissions=[VIEW])
        given = Role.objects.create_role(name="Sales", key="sellers")

        assert (made.key, given.key) == ("head-of-sales", "sellers")
        assert made.find_granted() == {VIEW}
        assert set(Role.objects.custom()) == {made, given}
        assert AuditEvent.objects.filter(action="role.created").count() == 2


def test_create_role_when_key_is_taken_makes_another(
    acme: Organization, editors: Role
) -> None:
    """A name that reads like another's key, or a built-in one's, gets a longer key."""
    with tenancy.scope(acme):
        again = Role.objects.create_role(name="Editors!")
        boss = Role.objects.create_role(name="Owner?")

    assert again.key.startswith("editors-") and boss.key.startswith("owner-")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": "EDITORS"}),
        ("name", {"name": ""}),
        ("key", {"name": "Others", "key": "No Slug"}),
        ("permissions", {"name": "Others", "permissions": ["tracker.fly_task"]}),
        ("permissions", {"name": "Others", "permissions": ["tenancy.change_user"]}),
        ("permissions", {"name": "Others", "permissions": ["tenancy.add_plan"]}),
        ("permissions", {"name": "Others", "permissions": ["auth.add_permission"]}),
        ("permissions", {"name": "Others", "permissions": ["*"]}),
        ("permissions", {"name": "Others", "permissions": [3]}),
    ],
)
def test_create_role_when_not_valid_is_refused(
    acme: Organization, editors: Role, field: str, values: dict[str, Any]
) -> None:
    """A taken name, a bad key, and permissions that no role grants are refused."""
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        Role.objects.create_role(**values)

    assert list(caught.value.error_dict) == [field]


def test_create_role_when_name_is_anothers_is_fine(
    globex: Organization, editors: Role
) -> None:
    """Names are unique in the organization only."""
    with tenancy.scope(globex):
        assert Role.objects.create_role(name="Editors").key == "editors"


def test_create_role_when_exceeding_own_is_refused(
    acme: Organization, editors: Role, bob: User
) -> None:
    """Nobody grants what they do not hold."""
    with tenancy.scope(acme):
        Membership.objects.add(user=bob, role=editors)

    with tenancy.scope(acme, user=bob):
        assert Role.objects.create_role(name="Readers", permissions=[VIEW]).pk
        with pytest.raises(PermissionNotHeld, match="does not hold"):
            Role.objects.create_role(
                name="Deleters", permissions=["tracker.delete_task"]
            )
        with pytest.raises(PermissionNotHeld):
            editors.set_permissions([VIEW, "tracker.delete_task"])
        with pytest.raises(PermissionNotHeld):
            Membership.objects.get(user=bob).change_role("admin")
        editors.permissions = [VIEW, "tracker.delete_task"]
        with pytest.raises(ValidationError, match="does not hold") as caught:
            editors.full_clean()
    assert list(caught.value.error_dict) == ["permissions"]


def test_create_role_when_no_member_acts_is_refused(
    acme: Organization, bob: User
) -> None:
    """Who is no member grants nothing."""
    with tenancy.scope(acme, user=bob), pytest.raises(PermissionNotHeld):
        Role.objects.create_role(name="Readers", permissions=[VIEW])


def test_create_role_when_unscoped_needs_an_organization(acme: Organization) -> None:
    """A role is made in an organization's scope only."""
    with tenancy.unscoped("no organization"), pytest.raises(ScopeRequired):
        Role.objects.create_role(name="Readers")


@pytest.mark.django_db(transaction=True)
def test_create_role_when_same_name_at_once_makes_one(acme: Organization) -> None:
    """Of eight of a name at once, one is made; the others are not valid."""

    def create() -> Role:
        with tenancy.scope(acme):
            role: Role = Role.objects.create_role(name="Editors")
            return role

    results = run_at_once([create] * 8)

    assert sum(isinstance(one, Role) for one in results) == 1
    assert sum(isinstance(one, ValidationError) for one in results) == 7


# Changing


def test_permissions_when_changed_are_granted(
    acme: Organization, editors: Role
) -> None:
    """They are granted, revoked and set, each recorded."""
    with tenancy.scope(acme):
        editors.grant("tracker.add_task", VIEW)
        assert editors.permissions == [VIEW, CHANGE, "tracker.add_task"]
        editors.revoke(CHANGE, "tracker.add_task")
        assert Role.objects.get(pk=editors.pk).permissions == [VIEW]
        editors.set_permissions([])
        assert editors.find_granted() == frozenset()
        events = AuditEvent.objects.filter(action="role.permissions_changed")
        assert events.count() == 3


def test_permissions_when_unknown_are_refused(
    acme: Organization, editors: Role
) -> None:
    """What no role grants is refused, on the field."""
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        editors.grant("tenancy.delete_user")

    assert list(caught.value.error_dict) == ["permissions"]
    assert "“tenancy.delete_user” is no permission" in str(caught.value)


@pytest.mark.parametrize("stored", [["removed.view_it", VIEW], [VIEW, 3, ["x"]]])
def test_permissions_when_stored_raw_can_be_mended(
    acme: Organization, editors: Role, stored: Any
) -> None:
    """What no role can grant any more is left out by the next change."""
    with tenancy.scope(acme):
        for change in (editors.grant, editors.revoke):
            Role.objects.filter(pk=editors.pk).update(permissions=stored)
            change("tracker.add_task")
            added = {"tracker.add_task"} if change == editors.grant else set()
            assert set(Role.objects.get(pk=editors.pk).permissions) == {VIEW} | added


def test_permissions_when_stored_raw_grant_nothing_global(
    acme: Organization, editors: Role
) -> None:
    """What was stored without validation gives no permission of a global model."""
    with tenancy.scope(acme):
        for stored in (["tenancy.change_user", VIEW, 3], ["*"]):
            Role.objects.filter(pk=editors.pk).update(permissions=stored)
            editors.refresh_from_db()
            assert editors.find_granted() <= {VIEW}
            with pytest.raises(ValidationError, match="permission"):
                editors.full_clean()


def test_rename_when_allowed_keeps_key(acme: Organization, editors: Role) -> None:
    """The name changes, the key stays; a taken name is refused."""
    with tenancy.scope(acme):
        editors.rename("Writers")
        assert Role.objects.get(key="editors").name == "Writers"
        with pytest.raises(ValidationError, match="has a role of that name"):
            editors.rename("Admin")


def test_verbs_when_of_another_organization_are_refused(
    globex: Organization, editors: Role
) -> None:
    """Acme's role is changed in acme's scope."""
    with tenancy.scope(globex):
        for change in (
            lambda: editors.rename("Stolen"),
            lambda: editors.grant(VIEW),
            lambda: editors.delete(),
        ):
            with pytest.raises(CrossOrganization):
                change()


# Built-in roles


def test_built_in_roles_grant_by_key(acme: Organization, settings: Settings) -> None:
    """Owners and admins may do everything, members view the project's rows."""
    with tenancy.scope(acme):
        roles = {role.key: role for role in Role.objects.all()}

    assert roles["owner"].find_granted() == find_permissions()
    assert roles["admin"].find_granted() == find_permissions()
    assert roles["admin"].permissions == ["*"]
    member = roles["member"].find_granted()
    assert VIEW in member and CHANGE not in member
    assert "tenancy.view_membership" not in member
    settings.TENANCY_MEMBER_PERMISSIONS = [CHANGE, "tenancy.change_user"]
    assert roles["member"].find_granted() == {CHANGE}


def test_built_in_role_when_changed_is_refused(acme: Organization) -> None:
    """It keeps its key and its permissions, and is not deleted; its name may change."""
    with transaction.atomic(), tenancy.scope(acme):
        admin = Role.objects.get(key="admin")
        with pytest.raises(BuiltInRole, match="other permissions"):
            admin.grant(VIEW)
        with pytest.raises(BuiltInRole, match="was to be deleted"):
            admin.delete()
        with pytest.raises(BuiltInRole, match="was to be deleted"):
            Role.objects.filter(key="admin").delete()
        with pytest.raises(BuiltInRole, match="another key"):
            Role.objects.filter(key="admin").update(key="chief")
        assert admin.rename("Chiefs").name == "Chiefs"
        admin.full_clean()
        admin.key = "chief"
        with pytest.raises(ValidationError) as caught:
            admin.full_clean()
        with pytest.raises(BuiltInRole, match="another key"):
            admin.save()

    assert list(caught.value.error_dict) == ["key"]


def test_custom_role_when_key_becomes_built_in_is_refused(
    globex: Organization, editors: Role
) -> None:
    """No role becomes the owners' by its key."""
    with tenancy.scope(editors.organization_id):
        with pytest.raises(BuiltInRole):
            Role.objects.filter(pk=editors.pk).update(key="owner")
        editors.key = "owner"
        with pytest.raises(BuiltInRole):
            editors.save()


# Deleting


@pytest.mark.parametrize("has_ended", [False, True])
def test_delete_when_assigned_is_refused(
    acme: Organization, editors: Role, bob: User, has_ended: bool
) -> None:
    """A role that a member has, or had, stays; the connection stays usable."""
    with tenancy.scope(acme), transaction.atomic():
        membership = Membership.objects.add(user=bob, role=editors)
        if has_ended:
            membership.end()

        with pytest.raises(RoleInUse, match="Give them another role"):
            editors.delete()
        with pytest.raises(RoleInUse):
            Role.objects.filter(pk=editors.pk).delete()

        assert Role.objects.filter(pk=editors.pk).exists()


def test_delete_when_unassigned_is_done(acme: Organization, editors: Role) -> None:
    """A custom role that nobody has is deleted."""
    with tenancy.scope(acme):
        assert editors.delete()[0] == 1


@pytest.mark.django_db(transaction=True)
def test_delete_when_assigned_at_once_loses_or_wins(
    acme: Organization, editors: Role, bob: User
) -> None:
    """Either the role goes, or the member gets it; never both."""

    def delete() -> Any:
        with tenancy.scope(acme):
            return editors.delete()

    def assign() -> Any:
        with tenancy.scope(acme):
            return Membership.objects.add(user=bob, role=editors)

    results = run_at_once([delete, assign])

    refused = [one for one in results if isinstance(one, Exception)]
    assert len(refused) == 1
    assert isinstance(refused[0], RoleInUse | CrossOrganization)


@pytest.mark.django_db(transaction=True)
def test_delete_by_queryset_waits_for_who_assigns(
    acme: Organization, editors: Role, bob: User
) -> None:
    """A role that somebody is about to get is not deleted from under them."""
    is_held = threading.Event()

    def assign() -> None:
        with transaction.atomic(), tenancy.scope(acme):
            take_locks("default", organizations=[acme.pk])
            is_held.set()
            time.sleep(0.3)
            Membership.objects.add(user=bob, role=editors)

    def delete() -> None:
        is_held.wait()
        with tenancy.scope(acme):
            Role.objects.custom().delete()

    results = run_at_once([assign, delete])

    assert results[0] is None
    assert isinstance(results[1], RoleInUse)


# Async twins


def test_async_verbs_do_the_same(acme: Organization) -> None:
    """Each verb has a twin that runs in the task's scope."""

    async def run() -> Role:
        async with tenancy.scope(acme):
            role = await Role.objects.acreate_role(name="Editors")
            await role.agrant(VIEW, CHANGE)
            await role.arevoke(VIEW)
            await role.aset_permissions([*role.permissions, VIEW])
            renamed: Role = await role.arename("Writers")
            return renamed

    role = async_to_sync(run)()

    assert (role.name, role.permissions) == ("Writers", [CHANGE, VIEW])
