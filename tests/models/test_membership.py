from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import isolate_apps
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

import tenancy
from tenancy.exceptions import (
    AlreadyMember,
    CrossOrganization,
    HasMemberships,
    ImpersonationRefused,
    LastOwner,
    NotAMember,
    OrganizationLimitReached,
    OrganizationNotActive,
    PermissionNotHeld,
    ScopeRequired,
    SeatLimitReached,
)
from tenancy.models import (
    AuditEvent,
    Membership,
    Organization,
    Role,
    Session,
    Team,
    TeamMembership,
    User,
)
from tenancy.origin import Origin, acting_from
from tenancy.signals import (
    member_added,
    member_ended,
    ownership_transferred,
    role_changed,
)
from tenancy.tokens import digest_token
from tests.concurrency import run_at_once

MANY = 16


@pytest.fixture
def carol(db: None) -> User:
    """A user who is a member of nothing yet."""
    return User.objects.create_user("carol@example.com", "demo", name="Carol")


@pytest.fixture
def owner(acme: Organization, alice: User) -> Membership:
    """The membership of acme's only owner."""
    with tenancy.scope(acme):
        return Membership.objects.get(user=alice)


def add(organization: Organization, user: User, role: Any = None) -> Membership:
    """Add a member, on nobody's behalf."""
    with tenancy.scope(organization):
        membership: Membership = Membership.objects.add(user=user, role=role)
        return membership


def listen(signal: Any) -> list[dict[str, Any]]:
    """Return a list that each sending is put into, while the list lives."""
    sent: list[dict[str, Any]] = []

    def receive(**values: Any) -> None:
        sent.append(values)

    signal.connect(receive, weak=False)
    return sent


# Adding


def test_add_when_new_makes_member(
    acme: Organization,
    carol: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """A user is added with the role "member", recorded, and told of on commit."""
    sent = listen(member_added)

    with django_capture_on_commit_callbacks(execute=True):
        membership = add(acme, carol)

    assert membership.is_live and membership.role.key == "member"
    assert sent[0]["membership"] == membership
    with tenancy.scope(acme):
        event = AuditEvent.objects.get(action="membership.added")
    assert event.target_key == str(membership.pk)
    assert event.details["role"] == "member"


def test_add_when_member_is_refused(acme: Organization, alice: User) -> None:
    """A live member is refused, and the caller's transaction stays usable."""
    with transaction.atomic():
        with pytest.raises(AlreadyMember, match="Change the role with"):
            add(acme, alice)
        assert User.objects.filter(pk=alice.pk).exists()


def test_add_when_ended_takes_membership_up(acme: Organization, carol: User) -> None:
    """An ended membership is taken up again: the same row, with the new role."""
    first = add(acme, carol, "admin")
    with tenancy.scope(acme):
        first.end()

    again = add(acme, carol)

    assert again.pk == first.pk and again.is_live and again.role.key == "member"
    assert again.created_at == first.created_at


def test_add_when_unscoped_needs_an_organization(
    acme: Organization, carol: User
) -> None:
    """Somebody is added in an organization's scope only."""
    with tenancy.unscoped("no organization"), pytest.raises(ScopeRequired):
        Membership.objects.add(user=carol)


def test_add_when_role_is_of_another_organization_is_refused(
    acme: Organization, globex: Organization, carol: User
) -> None:
    """Globex's role is refused in acme."""
    with tenancy.scope(globex):
        theirs = Role.objects.get(key="admin")

    with pytest.raises(CrossOrganization, match="'Membership.role'"):
        add(acme, carol, theirs)


@pytest.mark.django_db(transaction=True)
def test_add_when_organization_is_gone_is_refused(
    acme: Organization, bob: User
) -> None:
    """Who waited for the lock while the organization was deleted is told so."""
    with tenancy.scope(acme):
        Organization.objects.all().delete()
        with transaction.atomic():
            with pytest.raises(OrganizationNotActive, match="was deleted meanwhile"):
                Membership.objects.add(user=bob)
            assert not Membership.objects.exists()


@pytest.mark.parametrize("user", [None, "carol", User(email="new@example.com")])
def test_add_when_user_is_not_saved_is_refused(acme: Organization, user: Any) -> None:
    """Only a saved user is added."""
    with pytest.raises(TypeError, match="Pass a saved instance of 'tenancy.User'"):
        add(acme, user)


def test_add_when_role_is_unknown_is_refused(acme: Organization, carol: User) -> None:
    """A key of no built-in role is refused."""
    with pytest.raises(ValueError, match="'boss' is not a valid"):
        add(acme, carol, "boss")


def test_add_when_seats_are_taken_is_refused(
    acme: Organization, carol: User, settings: Settings
) -> None:
    """One more than TENANCY_LIMITS allows is refused; the form says it too."""
    settings.TENANCY_LIMITS = {"members": 1}

    with pytest.raises(SeatLimitReached, match="1 of 1 are taken"):
        add(acme, carol)
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        Membership(user=carol).full_clean()
    assert list(caught.value.error_dict) == ["user"]


def test_add_when_user_has_enough_organizations_is_refused(
    acme: Organization, globex: Organization, carol: User, settings: Settings
) -> None:
    """The limit of a user's organizations counts those outside the scope."""
    settings.TENANCY_LIMITS = {"organizations": 1}
    add(globex, carol)

    with pytest.raises(OrganizationLimitReached, match="1 of 1") as caught:
        add(acme, carol)

    assert caught.value.limit == 1


def test_add_when_role_exceeds_own_is_refused(
    acme: Organization, bob: User, carol: User
) -> None:
    """An admin makes admins, and no owners; a member makes no admins."""
    add(acme, bob, "admin")

    with tenancy.scope(acme, user=bob):
        with pytest.raises(PermissionNotHeld, match="does not hold"):
            Membership.objects.add(user=carol, role="owner")
        made = Membership.objects.add(user=carol, role="admin")
    with tenancy.scope(acme):
        made.change_role("member")
    dave = User.objects.create_user("dave@example.com")
    with tenancy.scope(acme, user=carol), pytest.raises(PermissionNotHeld):
        Membership.objects.add(user=dave, role="admin")


def test_add_when_superuser_acts_is_unlimited(acme: Organization, carol: User) -> None:
    """A superuser, who is no member, makes owners."""
    root = User.objects.create_superuser("root@example.com")

    with tenancy.scope(acme, user=root):
        assert Membership.objects.add(user=carol, role="owner").is_owner


def test_add_when_user_adds_themselves_is_admitted(
    acme: Organization, carol: User
) -> None:
    """Who lets the acting user in, as an invitation does, has judged the role."""
    with tenancy.scope(acme, user=carol):
        assert Membership.objects.add(user=carol, role="admin").role.key == "admin"


@pytest.mark.django_db(transaction=True)
def test_add_when_at_limit_under_threads_is_exact(
    acme: Organization, settings: Settings
) -> None:
    """Of sixteen at once, as many are let in as there are seats."""
    settings.TENANCY_LIMITS = {"members": 5}
    users = [User.objects.create_user(f"user{n}@example.com") for n in range(MANY)]

    results = run_at_once([_adding(acme, user) for user in users])

    assert sum(isinstance(one, Membership) for one in results) == 4
    assert sum(isinstance(one, SeatLimitReached) for one in results) == 12
    with tenancy.scope(acme):
        assert Membership.objects.live().count() == 5


@pytest.mark.django_db(transaction=True)
def test_add_when_same_user_under_threads_adds_once(
    acme: Organization, carol: User
) -> None:
    """Of sixteen additions of one user at once, one succeeds."""
    results = run_at_once([_adding(acme, carol)] * MANY)

    assert sum(isinstance(one, Membership) for one in results) == 1
    assert sum(isinstance(one, AlreadyMember) for one in results) == MANY - 1


@pytest.mark.django_db(transaction=True)
def test_add_when_organizations_are_limited_under_threads_is_exact(
    carol: User, settings: Settings
) -> None:
    """A user whom eight organizations add at once gets into as many as allowed."""
    made = []
    for number in range(8):
        boss = User.objects.create_user(f"boss{number}@example.com")
        made.append(
            Organization.objects.create_with_owner(name=f"org {number}", owner=boss)
        )
    settings.TENANCY_LIMITS = {"organizations": 3}

    results = run_at_once([_adding(one, carol) for one in made])

    assert sum(isinstance(one, Membership) for one in results) == 3
    assert sum(isinstance(one, OrganizationLimitReached) for one in results) == 5


def _adding(organization: Organization, user: User) -> Callable[[], Membership]:
    return lambda: add(organization, user)


# Ending


def test_end_when_member_keeps_history(
    acme: Organization,
    carol: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """The row stays, is recorded, and leaves teams and sessions."""
    membership = add(acme, carol)
    session = Session.objects.create(
        key_digest=digest_token("a"), user=carol, expires_at=timezone.now()
    )
    sent = listen(member_ended)
    with tenancy.scope(acme):
        Session.objects.filter(pk=session.pk).update(membership=membership)
        team = Team.objects.create_team(name="Rockets").add(membership)

        with django_capture_on_commit_callbacks(execute=True):
            membership.end()

        assert not TeamMembership.objects.filter(team=team).exists()
        assert list(Membership.objects.ended()) == [membership]
        assert AuditEvent.objects.filter(action="membership.ended").count() == 1
    session.refresh_from_db()
    assert session.membership_id is None
    assert sent[0]["membership"] == membership


def test_end_when_done_before_is_refused(acme: Organization, carol: User) -> None:
    """A membership ends once."""
    membership = add(acme, carol)
    with tenancy.scope(acme):
        Membership.objects.get(pk=membership.pk).end()

        with pytest.raises(NotAMember, match="has ended, or was deleted"):
            membership.end()


def test_end_when_outranked_is_refused(
    acme: Organization, owner: Membership, carol: User, bob: User
) -> None:
    """An admin removes members and not owners; each may leave."""
    add(acme, bob, "owner")
    add(acme, carol, "admin")

    with tenancy.scope(acme, user=carol):
        with pytest.raises(PermissionNotHeld):
            owner.end()
        with pytest.raises(PermissionNotHeld):
            owner.change_role("member")
        assert not Membership.objects.get(user=carol).end().is_live


def test_end_when_of_another_organization_is_refused(
    globex: Organization, owner: Membership
) -> None:
    """A membership is ended in its organization's scope."""
    with tenancy.scope(globex), pytest.raises(CrossOrganization):
        owner.end()


def end_by_upsert(one: Membership, other: Membership) -> None:
    """Write both rows over themselves, one of them with an end."""
    one.ended_at = timezone.now()
    takes_names = connection.features.supports_update_conflicts_with_target
    Membership.objects.bulk_create(
        [one, other],
        update_conflicts=True,
        update_fields=["ended_at"],
        unique_fields=["id"] if takes_names else None,
    )


def end_by_bulk_update(one: Membership, other: Membership) -> None:
    """Write the end of both rows, which one of them has not."""
    one.ended_at = timezone.now()
    Membership.objects.bulk_update([one, other], ["ended_at"])


def end_by_save(one: Membership, other: Membership) -> None:
    """Save both rows, one of them with an end."""
    one.ended_at = timezone.now()
    for row in (one, other):
        row.save()


ENDING: dict[str, Callable[[Membership, Membership], Any]] = {
    "update": lambda one, other: Membership.objects.filter(pk=one.pk).update(
        ended_at=timezone.now()
    ),
    "bulk_update": end_by_bulk_update,
    "upsert": end_by_upsert,
    "save": end_by_save,
}


@pytest.mark.parametrize("end", ENDING.values(), ids=ENDING)
def test_ending_when_done_otherwise_leaves_teams(
    acme: Organization,
    carol: User,
    bob: User,
    end: Callable[[Membership, Membership], Any],
) -> None:
    """The plain ways of ending do what end() does for teams, of who ends only."""
    one, other = add(acme, carol), add(acme, bob)
    with tenancy.scope(acme):
        team = Team.objects.create_team(name="Rockets")
        team.add(one)
        team.add(other)

        end(one, other)

        (left,) = TeamMembership.objects.filter(team=team)
        assert left.membership_id == other.pk
        assert not Membership.objects.get(pk=one.pk).is_live
        Membership.objects.filter(pk=other.pk).update(ended_at=None)
        assert TeamMembership.objects.count() == 1


# Changing roles


def test_change_role_when_allowed_records_both(
    acme: Organization,
    carol: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """The trail and the signal say which role it was, and is."""
    membership = add(acme, carol)
    sent = listen(role_changed)

    with tenancy.scope(acme), django_capture_on_commit_callbacks(execute=True):
        membership.change_role("admin")

        event = AuditEvent.objects.get(action="membership.role_changed")
    assert (event.details["before"], event.details["after"]) == ("member", "admin")
    assert sent[0]["before"].key == "member"


def test_change_role_when_same_changes_nothing(owner: Membership) -> None:
    """The member's own role is no change, and no event."""
    with tenancy.scope(owner.organization_id):
        owner.change_role("owner")

        assert not AuditEvent.objects.filter(action="membership.role_changed").exists()


def test_change_role_when_ended_is_refused(acme: Organization, carol: User) -> None:
    """Who has left has no role to change."""
    membership = add(acme, carol)
    with tenancy.scope(acme):
        membership.end()

        with pytest.raises(NotAMember):
            membership.change_role("admin")


def test_change_role_when_raising_oneself_is_refused(
    acme: Organization, carol: User
) -> None:
    """An admin does not become an owner by themselves."""
    membership = add(acme, carol, "admin")

    with tenancy.scope(acme, user=carol):
        with pytest.raises(PermissionNotHeld):
            membership.change_role("owner")
        membership.role = Role.objects.get(key="owner")
        with pytest.raises(ValidationError) as caught:
            membership.full_clean()
    assert list(caught.value.error_dict) == ["role"]


def test_ownership_when_impersonating_stays(
    acme: Organization, owner: Membership, bob: User, carol: User
) -> None:
    """An impersonator makes, unmakes and moves no owner."""
    other = add(acme, bob, "owner")
    with tenancy.scope(acme), acting_from(Origin(impersonator_id=carol.pk)):
        changes: list[Callable[[], Any]] = [
            other.end,
            lambda: other.change_role("admin"),
            lambda: owner.transfer_ownership(to=other),
            lambda: Membership.objects.add(user=carol, role="owner"),
        ]
        for change in changes:
            with pytest.raises(ImpersonationRefused, match="The ownership"):
                change()


# Ownership


def test_transfer_when_owner_swaps_at_once(
    acme: Organization,
    owner: Membership,
    carol: User,
    alice: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """The other becomes an owner, and the owner an admin."""
    other = add(acme, carol)
    sent = listen(ownership_transferred)

    with (
        tenancy.scope(acme, user=alice),
        django_capture_on_commit_callbacks(execute=True),
    ):
        owner.transfer_ownership(to=other)

        assert [one.user for one in Membership.objects.owners()] == [carol]
        assert Membership.objects.get(user=alice).role.key == "admin"
    assert (sent[0]["membership"], sent[0]["to"]) == (owner, other)


def test_transfer_when_not_fit_is_refused(
    acme: Organization, globex: Organization, owner: Membership, carol: User, bob: User
) -> None:
    """To oneself, to who has left, from who is no owner, to globex: all refused."""
    other = add(acme, carol)
    with tenancy.scope(globex):
        theirs = Membership.objects.get(user=bob)
    with tenancy.scope(acme):
        with pytest.raises(ValueError, match="the owner's own"):
            owner.transfer_ownership(to=owner)
        with pytest.raises(PermissionNotHeld, match="who is no owner"):
            other.transfer_ownership(to=owner)
        with pytest.raises(CrossOrganization):
            owner.transfer_ownership(to=theirs)
        other.end()
        with pytest.raises(NotAMember):
            owner.transfer_ownership(to=other)
    with tenancy.scope(acme):
        assert Membership.objects.get(pk=owner.pk).is_owner


def _demote_by_save(owner: Membership) -> None:
    owner.role = Role.objects.get(organization=owner.organization_id, key="member")
    owner.save()


def _end_by_save(owner: Membership) -> None:
    owner.ended_at = timezone.now()
    owner.save(update_fields=["ended_at"])


def _bulk_update(owner: Membership) -> None:
    owner.ended_at = timezone.now()
    Membership.objects.bulk_update([owner], ["ended_at"])


def _upsert(owner: Membership) -> None:
    takes = connection.features.supports_update_conflicts_with_target
    roles = Role.objects.filter(organization=owner.organization_id)
    owner.role = roles.get(key="admin")
    Membership.objects.bulk_create(
        [owner],
        update_conflicts=True,
        update_fields=["role"],
        unique_fields=["id"] if takes else None,
    )


WAYS: dict[str, Callable[[Membership], Any]] = {
    "end": lambda owner: owner.end(),
    "change_role": lambda owner: owner.change_role("admin"),
    "delete": lambda owner: owner.delete(),
    "delete-all": lambda owner: Membership.objects.all().delete(),
    "delete-queryset": lambda owner: Membership.objects.filter(pk=owner.pk).delete(),
    "update-all": lambda owner: Membership.objects.update(ended_at=timezone.now()),
    "update-role": lambda owner: Membership.objects.filter(pk=owner.pk).update(
        role=Role.objects.get(organization=owner.organization_id, key="member")
    ),
    "save-role": _demote_by_save,
    "save-ended": _end_by_save,
    "bulk-update": _bulk_update,
    "bulk-create": _upsert,
}
PLAIN_WAYS = [name for name in WAYS if name not in ("end", "change_role")]


@pytest.mark.parametrize("name", WAYS)
def test_last_owner_when_taken_away_is_kept(
    owner: Membership, carol: User, name: str
) -> None:
    """No way of the ORM leaves acme ownerless, and the connection stays usable."""
    with tenancy.scope(owner.organization_id), transaction.atomic():
        Membership.objects.add(user=carol)

        with pytest.raises(LastOwner, match="left without an owner"):
            WAYS[name](owner)

        assert Membership.objects.owners().count() == 1
        assert Membership.objects.live().count() == 2


@pytest.mark.parametrize("verb", ["end", "change_role"])
def test_last_owner_when_refused_is_owner_in_hand(owner: Membership, verb: str) -> None:
    """A refused verb leaves the instance as the row is."""
    with tenancy.scope(owner.organization_id), pytest.raises(LastOwner):
        WAYS[verb](owner)

    assert owner.is_owner


@isolate_apps("tests.apps.notebook")
def test_last_owner_when_proxy_is_deleted_is_kept(owner: Membership) -> None:
    """A proxy of the membership, or of the user, is held to the same rules."""

    class Colleague(Membership):
        class Meta:
            app_label = "notebook"
            proxy = True

    class Person(User):
        class Meta:
            app_label = "notebook"
            proxy = True

    with tenancy.scope(owner.organization_id):
        with pytest.raises(LastOwner):
            Colleague.objects.all().delete()
        with pytest.raises(HasMemberships), transaction.atomic():
            Person.objects.filter(pk=owner.user_id).delete()


@pytest.mark.parametrize("name", PLAIN_WAYS)
def test_last_owner_when_unscoped_is_kept(
    owner: Membership, globex: Organization, name: str
) -> None:
    """Unscoped code, as a superuser's bulk action, keeps each organization's owner."""
    with transaction.atomic(), tenancy.unscoped("every organization"):
        with pytest.raises(LastOwner):
            WAYS[name](owner)
        assert Membership.objects.owners().count() == 2


def test_owner_when_another_is_left_may_go(
    acme: Organization, owner: Membership, bob: User
) -> None:
    """Of two owners one is deleted, and the other is not."""
    other = add(acme, bob, "owner")

    with tenancy.scope(acme):
        owner.delete()
        with pytest.raises(LastOwner):
            Membership.objects.filter(pk=other.pk).delete()


def test_owner_when_inactive_counts(
    acme: Organization, owner: Membership, bob: User
) -> None:
    """Owners are counted, not active users: a fraudulent one can be banned."""
    User.objects.filter(pk=bob.pk).update(is_active=False)
    add(acme, bob, "owner")

    with tenancy.scope(acme):
        assert not owner.end().is_live


def test_organization_when_ownerless_writes_members(carol: User) -> None:
    """Where there never was an owner, members come and go."""
    organization = Organization(name="Bare")
    with tenancy.unscoped("an organization of no owner"):
        organization.save()
    membership = add(organization, carol)

    with tenancy.scope(organization):
        membership.change_role("admin")
        membership.end()
        assert membership.delete()[0] == 1


@pytest.mark.parametrize("by_queryset", [False, True])
def test_organization_when_deleted_takes_owners_along(
    acme: Organization, globex: Organization, by_queryset: bool
) -> None:
    """Deleting the whole organization is no matter of its last owner."""
    with tenancy.unscoped("deletion of an organization"):
        if by_queryset:
            Organization.objects.filter(pk=acme.pk).delete()
        else:
            acme.delete()

        assert {one.organization_id for one in Membership.objects.all()} == {globex.pk}


@pytest.mark.django_db(transaction=True)
def test_owners_when_leaving_at_once_leave_one(
    acme: Organization, owner: Membership
) -> None:
    """Sixteen owners leave at once, by every way: one stays."""
    memberships = [owner]
    for number in range(MANY - 1):
        user = User.objects.create_user(f"owner{number}@example.com")
        memberships.append(add(acme, user, "owner"))
    names = ["end", "change_role", "delete", "update-role", "save-role", "save-ended"]
    ways = [WAYS[name] for name in names]

    def leave(number: int) -> Callable[[], Any]:
        def run() -> Any:
            with tenancy.scope(acme):
                return ways[number % len(ways)](memberships[number])

        return run

    results = run_at_once([leave(number) for number in range(MANY)])

    assert [type(one) for one in results if isinstance(one, Exception)] == [LastOwner]
    with tenancy.scope(acme):
        assert Membership.objects.owners().count() == 1


def test_last_owner_when_in_form_is_validation_error(
    acme: Organization, owner: Membership
) -> None:
    """full_clean() names the field: the role, or the date of the end."""
    with tenancy.scope(acme):
        owner.role = Role.objects.get(key="member")
        with pytest.raises(ValidationError) as role:
            owner.full_clean()
        owner.ended_at = timezone.now()
        with pytest.raises(ValidationError) as ended:
            owner.full_clean()

    assert list(role.value.error_dict) == ["role"]
    assert list(ended.value.error_dict) == ["ended_at"]
    assert "without an owner" in str(role.value)


# Users


def test_user_when_deleted_tells_nothing(
    acme: Organization, globex: Organization, alice: User, bob: User, carol: User
) -> None:
    """The refusal is the same whether the memberships are the scope's or others'."""
    texts = []
    for user in (alice, bob):
        for block in (tenancy.scope(acme), tenancy.unscoped("deletion")):
            for way in (user.delete, User.objects.filter(pk=user.pk).delete):
                with (
                    block,
                    pytest.raises(HasMemberships) as caught,
                    transaction.atomic(),
                ):
                    way()
                texts.append(str(caught.value))

    assert len(set(texts)) == 1 and "erase_user()" in texts[0]
    with tenancy.scope(acme):
        assert carol.delete()[0] == 1


# Async twins


def test_async_verbs_do_the_same(
    acme: Organization, owner: Membership, carol: User
) -> None:
    """Each verb has a twin that runs in the task's scope."""

    async def run() -> list[Any]:
        async with tenancy.scope(acme):
            made = await Membership.objects.aadd(user=carol)
            await made.achange_role("admin")
            await owner.atransfer_ownership(to=made)
            await owner.aend()
            return [one async for one in Membership.objects.owners()]

    assert [one.user_id for one in async_to_sync(run)()] == [carol.pk]
