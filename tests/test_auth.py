from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.contenttypes.models import ContentType
from pytest_django import DjangoAssertNumQueries, Settings

import tenancy
from project.tracker.models import Project
from tenancy.auth import OrganizationBackend
from tenancy.models import Membership, Organization, Role, User

CHANGE = "tracker.change_task"
VIEW = "tracker.view_task"
BACKEND = "tenancy.auth.OrganizationBackend"


class CountingHasher(MD5PasswordHasher):
    """A hasher that counts what it is asked for."""

    hashed = 0

    def encode(self, password: str, salt: str) -> str:
        """Count, and hash."""
        CountingHasher.hashed += 1
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def _backend(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = [BACKEND]


@pytest.fixture
def editor(acme: Organization, globex: Organization) -> User:
    """Carol: an editor of acme, and a plain member of globex."""
    carol = User.objects.create_user("carol@example.com", "demo", name="Carol")
    with tenancy.scope(acme):
        role = Role.objects.create_role(name="Editors", permissions=[CHANGE])
        Membership.objects.add(user=carol, role=role)
    with tenancy.scope(globex):
        Membership.objects.add(user=carol)
    return carol


# Signing in


@pytest.mark.parametrize("word", ["username", "email"])
def test_authenticate_when_password_is_right_returns_user(
    alice: User, word: str
) -> None:
    """The address is taken in any case."""
    right: dict[str, Any] = {word: "Alice@ACME.example", "password": "demo"}
    wrong: dict[str, Any] = {word: alice.email, "password": "wrong"}

    assert authenticate(**right) == alice
    assert authenticate(**wrong) is None
    assert authenticate(email="nobody@example.com", password="demo") is None


def test_authenticate_when_inactive_or_banned_is_refused(alice: User) -> None:
    """Who is inactive, or banned, neither signs in nor stays signed in."""
    backend = OrganizationBackend()
    alice.is_active = False
    assert not backend.user_can_authenticate(alice)

    class Banned:
        is_active = True
        is_banned = True

    assert not backend.user_can_authenticate(Banned())
    Banned.is_banned = False
    assert backend.user_can_authenticate(Banned())
    alice.save()
    assert authenticate(email=alice.email, password="demo") is None
    assert backend.get_user(alice.pk) is None


def test_authenticate_when_nobody_hashes_all_the_same(
    alice: User, settings: Settings
) -> None:
    """An unknown address costs a hash, as a known one does."""
    settings.PASSWORD_HASHERS = ["tests.test_auth.CountingHasher"]
    CountingHasher.hashed = 0

    assert authenticate(email="nobody@example.com", password="demo") is None

    assert CountingHasher.hashed == 1


def test_aauthenticate_does_the_same(alice: User) -> None:
    """The async twin takes the address in any case too."""
    backend = OrganizationBackend()

    found = async_to_sync(backend.aauthenticate)(
        None, username="ALICE@acme.example", password="demo"
    )

    assert found == alice


# Permissions


def test_has_perm_when_scope_moves_answers_for_it(
    editor: User, acme: Organization, globex: Organization
) -> None:
    """The role in the active organization answers, on the same user object."""
    with tenancy.scope(acme):
        assert editor.has_perm(CHANGE) and not editor.has_perm(VIEW)
        assert editor.has_module_perms("tracker")
        assert not editor.has_module_perms("notebook")
        assert editor.get_all_permissions() == {CHANGE}
        assert editor.get_group_permissions() == {CHANGE}
        assert editor.get_user_permissions() == set()
    with tenancy.scope(globex):
        assert editor.has_perm(VIEW) and not editor.has_perm(CHANGE)


def test_has_perm_when_no_organization_is_active_is_false(
    editor: User, acme: Organization
) -> None:
    """In no scope, in a user's own, and unscoped, nobody but superusers may."""
    assert not editor.has_perm(CHANGE)
    with tenancy.scope(user=editor):
        assert not editor.has_perm(CHANGE)
    with tenancy.unscoped("no organization"):
        assert not editor.has_perm(CHANGE)
        assert editor.get_all_permissions() == set()


def test_has_perm_when_not_a_member_is_false(
    editor: User, globex: Organization, alice: User
) -> None:
    """Acme's owner may do nothing in globex; nor may who is not signed in."""
    with tenancy.scope(globex):
        assert not alice.has_perm(VIEW)
        assert not AnonymousUser().has_perm(VIEW)
        assert not AnonymousUser().has_module_perms("tracker")


def test_has_perm_when_granted_globally_is_false(
    editor: User, acme: Organization
) -> None:
    """Neither a user's own permissions nor a group's count, in any organization."""
    everything = Permission.objects.all()
    group = Group.objects.create(name="all")
    group.permissions.set(everything)
    editor.groups.add(group)
    editor.user_permissions.set(everything)

    with tenancy.scope(acme):
        assert not editor.has_perm("tracker.delete_task")
        assert not editor.has_perm("tenancy.change_user")


def test_has_perm_when_model_is_global_is_for_superusers(acme: Organization) -> None:
    """An owner holds each permission of tenant models, and none of global ones."""
    root = User.objects.create_superuser("root@example.com")
    alice = User.objects.get(email="alice@acme.example")

    with tenancy.scope(acme):
        assert alice.has_perm("tracker.delete_task")
        assert alice.has_perm("tenancy.change_membership")
        assert not alice.has_perm("tenancy.change_user")
        assert not alice.has_perm("tenancy.change_plan")
        assert root.has_perm("tenancy.change_user")
    assert root.has_perm("tracker.delete_task") and root.has_module_perms("x")
    assert "tenancy.change_user" in root.get_all_permissions()
    backend = OrganizationBackend()
    assert backend.has_perm(root, "anything") and backend.has_module_perms(root, "x")
    root.is_active = False
    assert not backend.has_perm(root, "tracker.delete_task")
    assert not backend.has_module_perms(root, "tracker")


def test_has_perm_when_asked_often_queries_once(
    editor: User, acme: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """One query in a scope, whatever is asked, for who is no member too."""
    stranger = User.objects.create_user("stranger@example.com")

    for user in (editor, stranger):
        with tenancy.scope(acme), django_assert_num_queries(1):
            for _ in range(3):
                user.has_perm(CHANGE)
                user.has_perms([VIEW, CHANGE])
                user.has_module_perms("tracker")
                user.get_all_permissions()


def test_has_perm_when_role_changes_is_asked_anew(
    editor: User, acme: Organization
) -> None:
    """What was remembered dies with the role, its permissions and the membership."""
    with tenancy.scope(acme):
        membership = Membership.objects.get(user=editor)
        role = membership.role
        assert editor.has_perm(CHANGE)
        role.revoke(CHANGE)
        assert not editor.has_perm(CHANGE)
        Role.objects.filter(pk=role.pk).update(permissions=[CHANGE])
        assert editor.has_perm(CHANGE)
        membership.change_role("member")
        assert not editor.has_perm(CHANGE)
        membership.change_role(role)
        assert editor.has_perm(CHANGE)
        membership.end()
        assert not editor.has_perm(CHANGE)
        Membership.objects.add(user=editor, role=role)
        assert editor.has_perm(CHANGE)
        Membership.objects.filter(user=editor).delete()
        assert not editor.has_perm(CHANGE)


def test_has_perm_when_object_is_anothers_is_false(
    editor: User, acme: Organization, globex: Organization
) -> None:
    """Of an object, the organization is asked too; a global one gives nothing."""
    with tenancy.scope(globex):
        theirs = Project.objects.create(name="Turbines")
    with tenancy.scope(acme):
        ours = Project.objects.create(name="Rockets")

        assert editor.has_perm(CHANGE, ours)
        assert not editor.has_perm(CHANGE, theirs)
        assert not editor.has_perm(CHANGE, editor)
        assert not OrganizationBackend().has_perm(editor, CHANGE, "no row")
        assert editor.has_perm(CHANGE, acme) and not editor.has_perm(CHANGE, globex)
        assert editor.get_all_permissions(theirs) == set()
    assert not editor.has_perm(CHANGE, ours)


def test_membership_has_perm_answers_for_itself(
    editor: User, acme: Organization
) -> None:
    """A membership knows what its role grants, while it is live."""
    with tenancy.scope(acme):
        membership = Membership.objects.get(user=editor)
        assert membership.has_perm(CHANGE) and not membership.has_perm(VIEW)
        assert not membership.end().has_perm(CHANGE)


def test_with_perm_returns_members_and_superusers(
    editor: User, acme: Organization, alice: User, bob: User
) -> None:
    """Users are found by their role in the active organization."""
    with_perm = OrganizationBackend().with_perm
    root = User.objects.create_superuser("root@example.com")
    idle = User.objects.create_user("idle@example.com", is_active=False)
    permission = Permission.objects.get(
        codename="change_task",
        content_type=ContentType.objects.get(app_label="tracker", model="task"),
    )
    with tenancy.scope(acme):
        Membership.objects.add(user=idle, role="admin")
        found = set(with_perm(CHANGE))
        members = set(with_perm(permission, include_superusers=False))
        everybody = set(with_perm(CHANGE, is_active=None))
        with pytest.raises(TypeError, match="Pass a Permission"):
            with_perm(3)  # type: ignore[arg-type]  # what the test is about
        with pytest.raises(ValueError, match="Write it as"):
            with_perm("change_task")

    assert found == {alice, editor, root}
    assert members == {alice, editor}
    assert everybody == {alice, editor, root, idle}
    assert set(with_perm(CHANGE)) == {root}


def test_manager_asks_the_backend_with_perm(
    editor: User, acme: Organization, alice: User, settings: Settings
) -> None:
    """User.objects.with_perm() is Django's, and answers in the active organization."""
    own = "tenancy.auth.OrganizationBackend"
    plain = "django.contrib.auth.backends.BaseBackend"
    idle = User.objects.create_user("idle@example.com", is_active=False)
    with tenancy.scope(acme):
        Membership.objects.add(user=idle, role="admin")
        found = set(User.objects.with_perm(CHANGE))
        named = set(User.objects.with_perm(CHANGE, None, False, own, acme))
        other = set(User.objects.with_perm(CHANGE, backend=plain))
        settings.AUTHENTICATION_BACKENDS = [own, plain]
        with pytest.raises(ValueError, match="has 2 backends to ask"):
            User.objects.with_perm(CHANGE)
        with pytest.raises(TypeError, match="Pass its dotted path"):
            User.objects.with_perm(CHANGE, backend=3)  # type: ignore[arg-type]  # what the test is about

    assert found == {alice, editor} and other == set()
    assert named == {alice, editor, idle}
    assert set(User.objects.with_perm(CHANGE, backend=own)) == set()


def test_async_twins_answer_the_same(editor: User, acme: Organization) -> None:
    """Each question can be asked in a task."""

    async def run() -> list[Any]:
        async with tenancy.scope(acme):
            return [
                await editor.ahas_perm(CHANGE),
                await editor.ahas_perm(VIEW),
                await editor.ahas_module_perms("tracker"),
                await editor.aget_all_permissions(),
                await editor.aget_group_permissions(),
                await editor.aget_user_permissions(),
            ]

    assert async_to_sync(run)() == [True, False, True, {CHANGE}, {CHANGE}, set()]
