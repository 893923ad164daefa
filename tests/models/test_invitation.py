from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

import tenancy
from tenancy.exceptions import (
    AlreadyMember,
    CrossOrganization,
    EmailNotVerified,
    InvitationExpired,
    InvitationLimitReached,
    InvitationNotFound,
    InvitationUsed,
    OrganizationNotActive,
    PermissionNotHeld,
    ScopeRequired,
    SeatLimitReached,
    UserNotActive,
    WrongRecipient,
)
from tenancy.models import (
    AuditEvent,
    Invitation,
    Membership,
    Organization,
    Role,
    User,
)
from tenancy.signals import (
    invitation_accepted,
    invitation_declined,
    invitation_renewed,
    invitation_revoked,
    invitation_sent,
)
from tenancy.tokens import digest_token
from tests.concurrency import run_at_once

MANY = 16
CAROL = "carol@acme.example"


@pytest.fixture
def carol(db: None) -> User:
    """Somebody whom acme invites."""
    return User.objects.create_user(CAROL, "demo", name="Carol")


def _invite(organization: Organization, **fields: Any) -> tuple[Invitation, str]:
    with tenancy.scope(organization):
        return Invitation.objects.invite(**{"email": CAROL, **fields})


def _reload(invitation: Invitation) -> Invitation:
    with tenancy.unscoped("the row as it is"):
        return Invitation.objects.select_related("role").get(pk=invitation.pk)


def _let_time_pass(invitation: Invitation) -> None:
    """Move the whole life of an invitation into the past."""
    past = timezone.now() - timedelta(days=30)
    with tenancy.unscoped("time passes"):
        Invitation.objects.filter(pk=invitation.pk).update(
            created_at=past, expires_at=past + timedelta(days=7)
        )


def _add_member(organization: Organization, user: User, role: str) -> Membership:
    with tenancy.scope(organization):
        built_in = Role.objects.built_in(organization.pk, role)
        return Membership.objects.add(user=user, role=built_in)


def _set_status(organization: Organization, status: str) -> None:
    with tenancy.unscoped("another status"):
        Organization.objects.filter(pk=organization.pk).update(status=status)


# Inviting


def test_invite_when_given_address_makes_pending_row(acme: Organization) -> None:
    """An invitation is pending for a week, with its address in lower case."""
    before = timezone.now()

    invitation, token = _invite(acme, email="  Carol@ACME.example ", role="admin")

    stored = _reload(invitation)
    assert (stored.email, stored.status, stored.role.key) == (CAROL, "pending", "admin")
    assert timedelta(0) <= stored.expires_at - before - timedelta(days=7)
    assert stored.expires_at - timezone.now() <= timedelta(days=7)
    assert stored.token_digest == digest_token(token)
    assert str(stored) == CAROL


def test_invite_when_age_is_set_uses_it(acme: Organization, settings: Any) -> None:
    """TENANCY_INVITATION_AGE says for how long; the argument says otherwise."""
    settings.TENANCY_INVITATION_AGE = timedelta(hours=1)

    by_setting, _ = _invite(acme)
    by_argument, _ = _invite(acme, email="dan@x.example", lifetime=timedelta(days=2))

    now = timezone.now()
    assert by_setting.expires_at - now <= timedelta(hours=1)
    assert timedelta(days=1) < by_argument.expires_at - now <= timedelta(days=2)


def test_invite_when_lifetime_is_past_raises(acme: Organization) -> None:
    """An invitation is never born expired."""
    with pytest.raises(ValueError, match=r"lifetime datetime.timedelta\(0\)"):
        _invite(acme, lifetime=timedelta(0))


def test_invite_when_given_other_argument_raises(acme: Organization) -> None:
    """What the verb decides cannot be passed."""
    with pytest.raises(TypeError, match="status"):
        _invite(acme, status="accepted")


def test_invite_without_organization_raises(alice: User) -> None:
    """Somebody invites into an organization, or nowhere."""
    with pytest.raises(ScopeRequired):
        Invitation.objects.invite(email=CAROL)
    with tenancy.scope(user=alice), pytest.raises(ScopeRequired, match="names no"):
        Invitation.objects.invite(email=CAROL)


@pytest.mark.parametrize("address", ["", "  ", "carol", "a b@c.example", "a@b@c"])
def test_invite_when_address_is_bad_names_field(
    acme: Organization, address: str
) -> None:
    """A malformed or empty address is an error of the e-mail field."""
    with pytest.raises(ValidationError) as caught:
        _invite(acme, email=address)

    assert list(caught.value.message_dict) == ["email"]


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_invite_by_link_to_ruling_role_names_field(
    acme: Organization, role: str
) -> None:
    """Whoever finds a link never becomes owner or admin."""
    with pytest.raises(ValidationError) as caught:
        _invite(acme, email=None, role=role)

    assert list(caught.value.message_dict) == ["role"]


def test_invite_to_unknown_role_raises(acme: Organization) -> None:
    """A text names a built-in role."""
    with pytest.raises(ValueError, match="'boss'"):
        _invite(acme, role="boss")


def test_invite_to_role_of_other_organization_raises(
    acme: Organization, globex: Organization
) -> None:
    """A role of globex is none of acme."""
    with tenancy.scope(globex):
        foreign = Role.objects.built_in(globex.pk, "member")

    with pytest.raises(CrossOrganization, match=r"Invitation\.role"):
        _invite(acme, role=foreign)


def test_invite_when_address_is_members_raises(
    acme: Organization, globex: Organization, alice: User
) -> None:
    """A live member is not invited; a member of another organization is."""
    with pytest.raises(AlreadyMember, match=r"alice@acme\.example"):
        _invite(acme, email="Alice@acme.example")

    assert _invite(globex, email="alice@acme.example")[0].is_live


def test_invite_again_renews_row(acme: Organization) -> None:
    """The same row gets a fresh token and the new role; the old token is void."""
    first, old = _invite(acme)

    second, new = _invite(acme, email=CAROL.upper(), role="admin")

    assert second.pk == first.pk
    assert _reload(first).role.key == "admin"
    assert Invitation.objects.find_pending(new).role_name == "admin"
    with pytest.raises(InvitationNotFound):
        Invitation.objects.find_pending(old)


def test_invite_again_when_expired_renews_row(acme: Organization) -> None:
    """A pending row whose time is past does not stand in the way."""
    first, _ = _invite(acme)
    _let_time_pass(first)

    second, _ = _invite(acme)

    assert second.pk == first.pk
    assert second.is_live


@pytest.mark.parametrize("ending", ["revoke", "decline", "accept", "expire"])
def test_invite_again_when_answered_makes_other_row(
    acme: Organization, carol: User, ending: str
) -> None:
    """An answered invitation is history."""
    first, token = _invite(acme)
    with tenancy.scope(acme):
        if ending == "revoke":
            first.revoke()
        elif ending == "decline":
            Invitation.objects.decline(token)
        elif ending == "accept":
            member = Invitation.objects.accept(token, user=carol)
            Membership.objects.filter(pk=member.pk).update(ended_at=timezone.now())
        else:
            _let_time_pass(first)
            assert Invitation.objects.expire() == 1

    second, _ = _invite(acme)

    assert second.pk != first.pk
    with tenancy.scope(acme):
        assert [row.pk for row in Invitation.objects.pending()] == [second.pk]
        assert Invitation.objects.for_email(CAROL.title()).count() == 2


def test_invite_by_link_twice_makes_two(acme: Organization) -> None:
    """Links have no address that could be invited already."""
    first, _ = _invite(acme, email=None)
    second, _ = _invite(acme, email=None)

    assert first.pk != second.pk
    assert str(first) == "invitation by link"


def test_invite_in_two_organizations_keeps_apart(
    acme: Organization, globex: Organization
) -> None:
    """An address has an invitation of acme beside one of globex."""
    own, _ = _invite(acme)
    theirs, _ = _invite(globex)

    with tenancy.scope(acme):
        assert [row.pk for row in Invitation.objects.live()] == [own.pk]
        with pytest.raises(CrossOrganization):
            theirs.renew()
        with pytest.raises(CrossOrganization):
            theirs.revoke()
    assert _reload(theirs).status == "pending"


# Who may invite


@pytest.mark.parametrize(
    ("holder", "granted", "may"),
    [
        ("owner", "owner", True),
        ("admin", "owner", False),
        ("admin", "admin", True),
        ("admin", "member", True),
        ("member", "owner", False),
        ("member", "admin", False),
        ("member", "member", True),
    ],
)
def test_invite_grants_what_actor_holds(
    acme: Organization, bob: User, holder: str, granted: str, may: bool
) -> None:
    """Nobody invites to a role that grants more than their own."""
    _add_member(acme, bob, holder)

    with tenancy.scope(acme, user=bob):
        if may:
            invitation, _ = Invitation.objects.invite(email=CAROL, role=granted)
            assert (invitation.invited_by, invitation.invited_by_name) == (bob, "Bob")
        else:
            with pytest.raises(PermissionNotHeld, match=f"The role '{granted}'"):
                Invitation.objects.invite(email=CAROL, role=granted)


def test_invite_to_custom_role_needs_its_permissions(
    acme: Organization, bob: User
) -> None:
    """A member invites to a custom role whose permissions theirs has."""
    with tenancy.scope(acme):
        small, great = (
            Role.objects.create(key=key, name=key, permissions=permissions)
            for key, permissions in [
                ("reader", ["tracker.view_task"]),
                ("writer", ["tracker.view_task", "tracker.change_task"]),
            ]
        )
        Membership.objects.add(user=bob, role=small)

    with tenancy.scope(acme, user=bob):
        assert Invitation.objects.invite(email=CAROL, role=small)[0].role == small
        with pytest.raises(PermissionNotHeld, match="'writer'"):
            Invitation.objects.invite(email=CAROL, role=great)


def test_invite_by_stranger_raises(acme: Organization, bob: User) -> None:
    """Who is no member invites nobody; a superuser does."""
    with tenancy.scope(acme, user=bob):
        with pytest.raises(PermissionNotHeld, match="The role 'member'"):
            Invitation.objects.invite(email=CAROL)
        User.objects.filter(pk=bob.pk).update(is_superuser=True)

        assert Invitation.objects.invite(email=CAROL)[0].is_live


def test_renew_when_role_is_not_held_raises(acme: Organization, bob: User) -> None:
    """A member does not get the token of an owner's invitation."""
    invitation, token = _invite(acme, role="owner")
    _add_member(acme, bob, "admin")

    with tenancy.scope(acme, user=bob):
        with pytest.raises(PermissionNotHeld):
            invitation.renew()
        with pytest.raises(PermissionNotHeld):
            invitation.revoke()
        with pytest.raises(PermissionNotHeld):
            Invitation.objects.invite(email=CAROL, role="owner")

    assert Invitation.objects.find_pending(token).role_name == "owner"


# Limits


def test_invite_when_seats_are_filled_raises(acme: Organization, settings: Any) -> None:
    """Pending invitations count as seats; a renewal takes none."""
    settings.TENANCY_LIMITS = {"members": 2}
    first, _ = _invite(acme)

    with transaction.atomic():
        with pytest.raises(SeatLimitReached):
            _invite(acme, email="dan@acme.example")
        assert Organization._meta.label == "tenancy.Organization"
        with tenancy.scope(acme):
            assert Invitation.objects.count() == 1
    again, _ = _invite(acme)
    with tenancy.scope(acme):
        again.renew()
        again.revoke()

    assert again.pk == first.pk
    assert _invite(acme, email="dan@acme.example")[0].is_live


def test_renew_when_expired_takes_seat(acme: Organization, settings: Any) -> None:
    """An expired invitation holds no seat, so that its renewal needs one."""
    settings.TENANCY_LIMITS = {"members": 2}
    first, _ = _invite(acme)
    _let_time_pass(first)
    _invite(acme, email="dan@acme.example")

    with tenancy.scope(acme), pytest.raises(SeatLimitReached):
        first.renew()
    assert not first.is_live
    with pytest.raises(SeatLimitReached):
        _invite(acme)


def test_invite_when_many_are_pending_raises(acme: Organization, settings: Any) -> None:
    """TENANCY_LIMITS["invitations"] holds for links and addresses alike."""
    settings.TENANCY_LIMITS = {"invitations": 1}
    _invite(acme)

    with pytest.raises(InvitationLimitReached):
        _invite(acme, email=None)


def test_accept_when_last_seat_is_own_succeeds(
    acme: Organization, carol: User, settings: Any
) -> None:
    """The seat of the invitation becomes the member's."""
    settings.TENANCY_LIMITS = {"members": 2, "invitations": 1}
    _, token = _invite(acme)

    assert Invitation.objects.accept(token, user=carol).is_live


def test_accept_when_seats_were_taken_away_raises(
    acme: Organization, carol: User, settings: Any
) -> None:
    """A plan with fewer seats keeps the invitation pending, and nobody gets in."""
    invitation, token = _invite(acme)
    settings.TENANCY_LIMITS = {"members": 1}

    with transaction.atomic():
        with pytest.raises(SeatLimitReached):
            Invitation.objects.accept(token, user=carol)
        assert _reload(invitation).status == "pending"
    with tenancy.scope(acme):
        assert Membership.objects.live().count() == 1


# What is shown before answering


def test_find_pending_when_live_shows_little(acme: Organization, alice: User) -> None:
    """The holder of the token sees who invites to what, and a part of the address."""
    with tenancy.scope(acme, user=alice):
        invitation, token = Invitation.objects.invite(email=CAROL)

    found = Invitation.objects.find_pending(token)

    assert (found.organization_name, found.role_name) == ("Acme", "member")
    assert found.invited_by_name == "Alice"
    assert found.masked_email == "c***@acme.example"
    assert found.expires_at == _reload(invitation).expires_at
    assert _reload(invitation).status == "pending"


def test_find_pending_of_link_shows_no_address(
    acme: Organization, globex: Organization
) -> None:
    """A link has no address, and is found from another organization's scope."""
    _, token = _invite(acme, email=None)

    with tenancy.scope(globex):
        assert Invitation.objects.find_pending(token).masked_email is None


@pytest.mark.parametrize("token", ["", "no such token", "tökén", "\ud800", None, 7])
def test_token_when_unknown_is_not_found(
    acme: Organization, carol: User, token: Any
) -> None:
    """Whatever an address holds is a token, or is none."""
    _invite(acme)

    with pytest.raises(InvitationNotFound):
        Invitation.objects.find_pending(token)
    with pytest.raises(InvitationNotFound):
        Invitation.objects.accept(token, user=carol)
    with pytest.raises(InvitationNotFound):
        Invitation.objects.decline(token)


def test_token_when_time_is_past_is_expired(acme: Organization, carol: User) -> None:
    """A late answer is told that it is late, before and after the row is marked."""
    invitation, token = _invite(acme)
    _let_time_pass(invitation)

    for _ in range(2):
        with pytest.raises(InvitationExpired):
            Invitation.objects.find_pending(token)
        with pytest.raises(InvitationExpired):
            Invitation.objects.accept(token, user=carol)
        with pytest.raises(InvitationExpired):
            Invitation.objects.decline(token)
        with tenancy.scope(acme):
            Invitation.objects.expire()

    stored = _reload(invitation)
    assert stored.status == "expired"
    assert stored.answered_at is not None
    with tenancy.scope(acme):
        for answer in (invitation.revoke, invitation.renew):
            with pytest.raises(InvitationExpired):
                answer()


def test_token_when_organization_is_suspended_is_refused(
    acme: Organization, carol: User
) -> None:
    """Nobody joins a suspended organization; they may decline."""
    invitation, token = _invite(acme)
    _set_status(acme, "suspended")

    with pytest.raises(OrganizationNotActive, match="'suspended'"):
        Invitation.objects.find_pending(token)
    with pytest.raises(OrganizationNotActive, match="'suspended'"):
        Invitation.objects.accept(token, user=carol)
    Invitation.objects.decline(token)

    assert _reload(invitation).status == "declined"


def test_token_when_organization_is_archived_is_refused(
    acme: Organization, carol: User
) -> None:
    """An archived organization takes no answers."""
    _, token = _invite(acme)
    _set_status(acme, "archived")

    with pytest.raises(OrganizationNotActive, match="'archived'"):
        Invitation.objects.find_pending(token)
    with pytest.raises(OrganizationNotActive, match="'archived'"):
        Invitation.objects.accept(token, user=carol)
    with pytest.raises(OrganizationNotActive, match="'archived'"):
        Invitation.objects.decline(token)


# Accepting


def test_accept_when_address_is_same_makes_member(
    acme: Organization, carol: User
) -> None:
    """The user becomes a member with the role; who and when are written down."""
    invitation, token = _invite(acme, email=CAROL.upper(), role="admin")

    membership = Invitation.objects.accept(token, user=carol)

    assert membership.organization_id == acme.pk
    assert membership.user == carol
    stored = _reload(invitation)
    assert (stored.status, stored.answered_by_name) == ("accepted", "Carol")
    assert stored.answered_by_id == carol.pk
    assert stored.answered_at is not None
    assert stored.pending_email is None
    with tenancy.scope(acme):
        assert Membership.objects.get(user=carol).role.key == "admin"


def test_accept_by_link_makes_one_member(
    acme: Organization, carol: User, bob: User
) -> None:
    """A link works for one use, whoever has it."""
    _, token = _invite(acme, email=None)

    Invitation.objects.accept(token, user=carol)

    with pytest.raises(InvitationUsed, match="'accepted'"):
        Invitation.objects.accept(token, user=bob)
    with pytest.raises(InvitationUsed):
        Invitation.objects.find_pending(token)


def test_accept_when_repeated_returns_same_membership(
    acme: Organization, carol: User
) -> None:
    """A second click finds what the first one made, while the user is a member."""
    _, token = _invite(acme)
    first = Invitation.objects.accept(token, user=carol)

    assert Invitation.objects.accept(token, user=carol) == first

    with tenancy.scope(acme):
        Membership.objects.filter(pk=first.pk).update(ended_at=timezone.now())
    with pytest.raises(InvitationUsed):
        Invitation.objects.accept(token, user=carol)


def test_accept_when_address_is_other_raises(
    acme: Organization, bob: User, carol: User
) -> None:
    """A forwarded invitation is of no use, and stays open for its recipient."""
    _, token = _invite(acme)

    with pytest.raises(WrongRecipient):
        Invitation.objects.accept(token, user=bob)
    with pytest.raises(WrongRecipient):
        Invitation.objects.decline(token, user=bob)

    assert Invitation.objects.accept(token, user=carol).user == carol


def test_accept_in_any_scope_enters_organization(
    acme: Organization, globex: Organization, carol: User, bob: User
) -> None:
    """Whatever the accepting user does now, they get in; and are where they were."""
    tokens = [_invite(acme, email=None)[1] for _ in range(3)]
    users = [carol, bob, User.objects.create_user("dan@acme.example")]

    with tenancy.scope(user=users[0]):
        Invitation.objects.accept(tokens[0], user=users[0])
    with tenancy.scope(globex, user=bob) as before:
        Invitation.objects.accept(tokens[1], user=bob)
        assert tenancy.current_scope() == before
    with tenancy.unscoped("a script"):
        Invitation.objects.accept(tokens[2], user=users[2])

    with tenancy.scope(acme):
        assert Membership.objects.live().filter(user__in=users).count() == 3


@pytest.mark.parametrize(
    "fault",
    [
        {"is_active": False},
        {"banned_at": timezone.now()},
        {
            "banned_at": timezone.now(),
            "banned_until": timezone.now() + timedelta(days=1),
        },
    ],
    ids=["inactive", "banned", "banned for a time"],
)
def test_accept_when_user_is_blocked_raises(
    acme: Organization, carol: User, fault: dict[str, Any]
) -> None:
    """The database is asked about the user, not the instance in hand."""
    invitation, token = _invite(acme)
    User.objects.filter(pk=carol.pk).update(**fault)

    with pytest.raises(UserNotActive, match=str(carol.pk)):
        Invitation.objects.accept(token, user=carol)

    assert _reload(invitation).status == "pending"


def test_accept_when_ban_has_lapsed_succeeds(acme: Organization, carol: User) -> None:
    """A ban whose time is past no longer blocks."""
    _, token = _invite(acme)
    then = timezone.now() - timedelta(days=2)
    User.objects.filter(pk=carol.pk).update(
        banned_at=then, banned_until=then + timedelta(days=1)
    )

    assert Invitation.objects.accept(token, user=carol).is_live


def test_accept_when_verification_is_required_asks_for_it(
    acme: Organization, carol: User, settings: Any
) -> None:
    """TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL keeps unverified users out."""
    settings.TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL = True
    _, token = _invite(acme)

    with pytest.raises(EmailNotVerified, match=str(carol.pk)):
        Invitation.objects.accept(token, user=carol)
    User.objects.filter(pk=carol.pk).update(email_verified_at=timezone.now())

    assert Invitation.objects.accept(token, user=carol).is_live


@pytest.mark.parametrize("user", [None, "carol", User()], ids=["none", "text", "new"])
def test_accept_when_user_is_none_raises(acme: Organization, user: Any) -> None:
    """Somebody accepts, who has an account."""
    _, token = _invite(acme, email=None)
    if isinstance(user, User):
        user.pk = None

    with pytest.raises(TypeError, match="saved instance of 'tenancy.User'"):
        Invitation.objects.accept(token, user=user)


def test_accept_when_member_already_raises(acme: Organization, alice: User) -> None:
    """A member does not use up a link."""
    invitation, token = _invite(acme, email=None)

    with pytest.raises(AlreadyMember):
        Invitation.objects.accept(token, user=alice)

    assert _reload(invitation).status == "pending"


def test_accept_when_link_came_to_rule_raises(acme: Organization, carol: User) -> None:
    """A link that was made an owner's behind the verbs' back makes none."""
    invitation, token = _invite(acme, email=None)
    with tenancy.scope(acme):
        owner = Role.objects.built_in(acme.pk, "owner")
        Invitation.objects.filter(pk=invitation.pk).update(role=owner)

    with pytest.raises(PermissionNotHeld, match="'owner'"):
        Invitation.objects.accept(token, user=carol)


def test_accept_when_deleted_meanwhile_is_not_found(
    acme: Organization, carol: User
) -> None:
    """A deleted invitation is unknown, to its token and to who holds the instance."""
    invitation, token = _invite(acme)
    with tenancy.scope(acme):
        Invitation.objects.get(pk=invitation.pk).delete()

        with pytest.raises(InvitationNotFound):
            invitation.revoke()
    with pytest.raises(InvitationNotFound):
        Invitation.objects.accept(token, user=carol)


# Declining, revoking, renewing


def test_decline_by_user_is_recorded(acme: Organization, carol: User) -> None:
    """A declined invitation knows who declined, and takes no second answer."""
    invitation, token = _invite(acme)

    declined = Invitation.objects.decline(token, user=carol)

    assert declined == invitation
    stored = _reload(invitation)
    assert (stored.status, stored.answered_by_name) == ("declined", "Carol")
    with pytest.raises(InvitationUsed, match="'declined'"):
        Invitation.objects.decline(token, user=carol)
    with pytest.raises(InvitationUsed):
        Invitation.objects.accept(token, user=carol)


def test_decline_when_user_was_deleted_names_nobody(
    acme: Organization, carol: User
) -> None:
    """The database is asked about the user, not the instance in hand."""
    invitation, token = _invite(acme)
    with tenancy.unscoped("an account is closed"):
        User.objects.filter(pk=carol.pk).delete()

    Invitation.objects.decline(token, user=carol)

    assert _reload(invitation).answered_by_name == ""


def test_decline_by_anybody_is_recorded(acme: Organization) -> None:
    """Who has no account declines with the token alone."""
    invitation, token = _invite(acme)

    Invitation.objects.decline(token)

    stored = _reload(invitation)
    assert (stored.status, stored.answered_by_name) == ("declined", "")
    assert stored.answered_by_id is None
    assert stored.answered_at is not None


def test_revoke_when_pending_voids_token(
    acme: Organization, alice: User, carol: User
) -> None:
    """A revoked invitation lets nobody in, and says who revoked it."""
    invitation, token = _invite(acme)

    with tenancy.scope(acme, user=alice):
        invitation.revoke()

    assert (invitation.status, invitation.answered_by_name) == ("revoked", "Alice")
    with pytest.raises(InvitationUsed, match="'revoked'"):
        Invitation.objects.accept(token, user=carol)
    with tenancy.scope(acme):
        for answer in (invitation.revoke, invitation.renew):
            with pytest.raises(InvitationUsed):
                answer()


def test_revoke_when_answered_elsewhere_asks_database(
    acme: Organization, carol: User
) -> None:
    """An instance that is still pending in memory does not undo an answer."""
    invitation, token = _invite(acme)
    Invitation.objects.accept(token, user=carol)
    assert invitation.status == "pending"

    with tenancy.scope(acme), pytest.raises(InvitationUsed, match="'accepted'"):
        invitation.revoke()

    assert _reload(invitation).status == "accepted"


def test_answer_when_row_has_other_state_is_refused(acme: Organization) -> None:
    """The statement that answers finds pending rows alone, whatever was read."""
    invitation, _ = _invite(acme)
    with tenancy.scope(acme):
        Invitation.objects.get(pk=invitation.pk).revoke()
        assert invitation.status == "pending"

        with pytest.raises(InvitationUsed, match="'revoked'"):
            invitation._answer("declined", None, "default")

    assert _reload(invitation).status == "revoked"


def test_renew_rotates_token(acme: Organization, carol: User) -> None:
    """A renewed invitation has another token and a new time."""
    invitation, old = _invite(acme, lifetime=timedelta(hours=1))

    with tenancy.scope(acme):
        new = invitation.renew(lifetime=timedelta(days=3))

    assert new != old
    assert invitation.expires_at - timezone.now() > timedelta(days=2)
    with pytest.raises(InvitationNotFound):
        Invitation.objects.accept(old, user=carol)
    assert Invitation.objects.accept(new, user=carol).is_live


def test_renew_when_recipient_joined_raises(acme: Organization, carol: User) -> None:
    """Who became a member by another way needs no token."""
    invitation, _ = _invite(acme)
    _add_member(acme, carol, "member")

    with tenancy.scope(acme), pytest.raises(AlreadyMember):
        invitation.renew()


def test_expire_marks_past_ones_of_scope(
    acme: Organization, globex: Organization
) -> None:
    """Only pending ones whose time is past are marked, and only the scope's."""
    past, _ = _invite(acme)
    live, _ = _invite(acme, email=None)
    foreign, _ = _invite(globex)
    for each in (past, foreign):
        _let_time_pass(each)

    with tenancy.scope(acme):
        assert (Invitation.objects.pending().count(), past.is_live) == (2, True)
        assert [row.pk for row in Invitation.objects.live()] == [live.pk]
        assert (Invitation.objects.expire(), Invitation.objects.expire()) == (1, 0)

    found = [_reload(each).status for each in (past, live, foreign)]
    assert found == ["expired", "pending", "pending"]


# What is kept


def test_names_survive_deletion_of_users(
    acme: Organization, alice: User, carol: User
) -> None:
    """Who invited and who answered can be read when their accounts are gone."""
    with tenancy.scope(acme, user=alice):
        invitation, token = Invitation.objects.invite(email=CAROL, role="owner")
    Invitation.objects.accept(token, user=carol)

    with tenancy.unscoped("two users leave for good"):
        dan = User.objects.create_user("dan@acme.example")
        Membership.objects.filter(user=alice).update(user=dan)
        alice.delete()
        Membership.objects.filter(user=carol).delete()
        carol.delete()

    stored = _reload(invitation)
    assert (stored.invited_by_id, stored.answered_by_id) == (None, None)
    assert (stored.invited_by_name, stored.answered_by_name) == ("Alice", "Carol")
    assert stored.status == "accepted"


def test_token_is_stored_nowhere(
    acme: Organization, carol: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a row, nor the audit trail, a repr or a log holds the token."""
    caplog.set_level(logging.DEBUG)
    invitation, first = _invite(acme)
    with tenancy.scope(acme):
        second = invitation.renew()
    Invitation.objects.accept(second, user=carol)

    with tenancy.unscoped("everything that was written"):
        rows = [*Invitation.objects.values(), *AuditEvent.objects.values()]
    written = f"{rows} {invitation!r} {vars(invitation)} {caplog.text}"
    for token in (first, second):
        for form in (token, token.encode().hex()):
            assert form not in written


def test_verbs_are_recorded_in_audit_trail(
    acme: Organization, alice: User, carol: User
) -> None:
    """Each change says who made it, and on which invitation."""
    with tenancy.scope(acme, user=alice):
        invitation, _ = Invitation.objects.invite(email=CAROL)
        token = invitation.renew()
        other, other_token = Invitation.objects.invite(email="dan@acme.example")
        third, _ = Invitation.objects.invite()
        third.revoke()
    Invitation.objects.decline(other_token)
    Invitation.objects.accept(token, user=carol)

    with tenancy.scope(acme):
        events = AuditEvent.objects.filter(action__startswith="invitation.")
        found = [
            (event.action, event.actor_key, event.target_key, event.details)
            for event in events.order_by("occurred_at", "pk")
        ]
    role = {"role": "member"}
    assert found == [
        ("invitation.sent", str(alice.pk), str(invitation.pk), role),
        ("invitation.renewed", str(alice.pk), str(invitation.pk), role),
        ("invitation.sent", str(alice.pk), str(other.pk), role),
        ("invitation.sent", str(alice.pk), str(third.pk), role),
        ("invitation.revoked", str(alice.pk), str(third.pk), role),
        ("invitation.declined", "", str(other.pk), role),
        ("invitation.accepted", str(carol.pk), str(invitation.pk), role),
    ]


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_on_commit(acme: Organization, carol: User) -> None:
    """Each verb tells its receivers once it is committed, in its organization."""
    heard: list[tuple[Any, ...]] = []
    names = {
        invitation_sent: "sent",
        invitation_renewed: "renewed",
        invitation_revoked: "revoked",
        invitation_accepted: "accepted",
        invitation_declined: "declined",
    }

    def hear(signal: Any, invitation: Invitation, **values: Any) -> None:
        values.pop("sender")
        own = tenancy.require_organization() == acme.pk
        heard.append((names[signal], invitation.status, own, sorted(values)))

    for signal in names:
        signal.connect(hear)
    try:
        with transaction.atomic():
            invitation, _ = _invite(acme)
            assert heard == []
        with tenancy.scope(acme):
            token = invitation.renew()
            Invitation.objects.invite()[0].revoke()
            declined = Invitation.objects.invite()[1]
        Invitation.objects.decline(declined)
        Invitation.objects.accept(token, user=carol)
    finally:
        for signal in names:
            signal.disconnect(hear)

    assert heard == [
        ("sent", "pending", True, []),
        ("renewed", "pending", True, []),
        ("sent", "pending", True, []),
        ("revoked", "revoked", True, []),
        ("sent", "pending", True, []),
        ("declined", "declined", True, []),
        ("accepted", "accepted", True, ["membership"]),
    ]


# Forms and other clients


def test_full_clean_when_pending_already_names_address(acme: Organization) -> None:
    """A second pending invitation of an address is an error of that field."""
    first, _ = _invite(acme)
    with tenancy.scope(acme):
        second = _make(first, email=f" {CAROL.upper()}")

        with pytest.raises(ValidationError) as caught:
            second.full_clean()
        with pytest.raises(ValidationError) as caught_in_form:
            second.validate_constraints(exclude={"role"})

        assert caught.value.message_dict == {
            "email": ["The address has a pending invitation."]
        }
        assert list(caught_in_form.value.message_dict) == ["email"]
        first.full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            second.save()


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"email": "carol"}, "email"),
        ({"email": ""}, "email"),
        ({"email": None, "role": "owner"}, "role"),
        ({"email": None, "role": "admin"}, "role"),
        ({"role": None}, "role"),
        ({"role": "foreign"}, "role"),
        ({"email": None, "role": "foreign owner"}, "role"),
    ],
)
def test_full_clean_when_faulty_names_field(
    acme: Organization, globex: Organization, fault: dict[str, Any], field: str
) -> None:
    """Each fault is said of the field that has it."""
    first, _ = _invite(acme)
    roles: dict[Any, Any] = {None: None}
    with tenancy.unscoped("roles of both"):
        for key in ("owner", "admin", "member"):
            roles[key] = Role.objects.built_in(acme.pk, key)
        roles["foreign"] = Role.objects.built_in(globex.pk, "member")
        roles["foreign owner"] = Role.objects.built_in(globex.pk, "owner")
    given = {"email": "dan@acme.example", "role": "member", **fault}

    with tenancy.scope(acme):
        invitation = _make(first, email=given["email"])
        invitation.role = roles[given["role"]]
        with pytest.raises(ValidationError) as caught:
            invitation.full_clean()

    assert list(caught.value.message_dict) == [field]


def _make(like: Invitation, email: str | None) -> Invitation:
    return Invitation(
        email=email,
        role=like.role,
        token_digest=digest_token(str(email)),
        expires_at=like.expires_at,
    )


@pytest.mark.parametrize(
    "values",
    [
        {"status": "maybe"},
        {"status": "accepted"},
        {"answered_at": timezone.now()},
        {"email": "Carol@acme.example"},
        {"email": "carol"},
        {"token_digest": "clear text"},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
    ids=lambda values: " ".join(f"{key} {str(values[key])[:5]}" for key in values),
)
def test_row_when_faulty_is_refused_by_database(
    acme: Organization, values: dict[str, Any]
) -> None:
    """The table's own checks hold, whoever writes."""
    invitation, _ = _invite(acme)

    with tenancy.scope(acme):
        rows = Invitation.objects.filter(pk=invitation.pk)
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**values)


def test_async_twins_do_the_same(acme: Organization, carol: User) -> None:
    """Each verb has a twin that is awaited."""

    async def answer() -> list[Any]:
        async with tenancy.scope(acme):
            invitation, _ = await Invitation.objects.ainvite(email=CAROL, role="admin")
            token = await invitation.arenew(lifetime=timedelta(days=1))
            found = await Invitation.objects.afind_pending(token)
            membership = await Invitation.objects.aaccept(token, user=carol)
            _, other = await Invitation.objects.ainvite()
            declined = await Invitation.objects.adecline(other)
            third, _ = await Invitation.objects.ainvite()
            await third.arevoke()
            expired = await Invitation.objects.aexpire()
        return [
            found.role_name,
            membership.user,
            declined.status,
            third.status,
            expired,
        ]

    assert async_to_sync(answer)() == ["admin", carol, "declined", "revoked", 0]


# Sixteen at once


@pytest.mark.django_db(transaction=True)
def test_invite_when_sixteen_at_once_leaves_one(acme: Organization) -> None:
    """One row is pending, and one of the sixteen tokens works."""
    results = run_at_once([lambda: _invite(acme)] * MANY)

    assert {type(result) for result in results} == {tuple}
    with tenancy.scope(acme):
        (row,) = Invitation.objects.all()
    digests = [digest_token(token) for _, token in results]
    assert len(set(digests)) == MANY
    assert digests.count(row.token_digest) == 1


@pytest.mark.django_db(transaction=True)
def test_invite_when_sixteen_at_once_keeps_seats(
    acme: Organization, settings: Any
) -> None:
    """Of sixteen addresses and links exactly as many are invited as have seats."""
    settings.TENANCY_LIMITS = {"members": 5}
    functions = [
        partial(_invite, acme, email=f"user{number}@x.example" if number % 2 else None)
        for number in range(MANY)
    ]

    results = run_at_once(functions)

    kinds = [type(result) for result in results]
    assert (kinds.count(tuple), kinds.count(SeatLimitReached)) == (4, 12)
    with tenancy.scope(acme):
        assert Invitation.objects.live().count() == 4


@pytest.mark.django_db(transaction=True)
def test_accept_when_sixteen_users_have_link_lets_one_in(acme: Organization) -> None:
    """A link that is passed around is for one use; the others are told."""
    users = [User.objects.create_user(f"user{n}@x.example") for n in range(MANY)]
    _, token = _invite(acme, email=None)

    results = run_at_once(
        [partial(Invitation.objects.accept, token, user=user) for user in users]
    )

    kinds = [type(result) for result in results]
    assert (kinds.count(Membership), kinds.count(InvitationUsed)) == (1, 15)
    with tenancy.scope(acme):
        assert Membership.objects.live().count() == 2


@pytest.mark.django_db(transaction=True)
def test_accept_when_same_user_at_once_is_idempotent(
    acme: Organization, carol: User
) -> None:
    """Sixteen clicks of one user make one membership, which each is given."""
    _, token = _invite(acme)

    results = run_at_once([lambda: Invitation.objects.accept(token, user=carol)] * MANY)

    assert {type(result) for result in results} == {Membership}
    assert len({result.pk for result in results}) == 1


@pytest.mark.django_db(transaction=True)
def test_seats_when_inviting_and_accepting_at_once_hold(
    acme: Organization, settings: Any
) -> None:
    """Members and pending invitations together fill the five seats, and no more."""
    users = [User.objects.create_user(f"user{n}@x.example") for n in range(MANY // 2)]
    tokens = [_invite(acme, email=user.email)[1] for user in users]
    settings.TENANCY_LIMITS = {"members": 5}
    with tenancy.scope(acme):
        for invitation in Invitation.objects.order_by("email")[3:]:
            invitation.revoke()
    accepting = [
        partial(Invitation.objects.accept, token, user=user)
        for user, token in zip(users, tokens, strict=True)
    ]
    inviting = [
        partial(_invite, acme, email=f"new{number}@x.example")
        for number in range(MANY // 2)
    ]

    results = run_at_once([*accepting, *inviting])

    kinds = [type(result) for result in results]
    assert (kinds.count(Membership), kinds.count(InvitationUsed)) == (3, 5)
    assert (kinds.count(tuple), kinds.count(SeatLimitReached)) == (1, 7)
    with tenancy.scope(acme):
        members = Membership.objects.live().count()
        assert (members, Invitation.objects.live().count()) == (4, 1)


@pytest.mark.django_db(transaction=True)
def test_answers_when_different_at_once_leave_one(
    acme: Organization, carol: User
) -> None:
    """Of accepting, declining and revoking at once, one happens."""
    invitation, token = _invite(acme)

    def revoke() -> None:
        with tenancy.scope(acme):
            Invitation.objects.get(pk=invitation.pk).revoke()

    results = run_at_once(
        [
            lambda: Invitation.objects.accept(token, user=carol),
            lambda: Invitation.objects.decline(token),
            revoke,
        ]
    )

    refused = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in refused] == [InvitationUsed] * 2
    stored = _reload(invitation)
    assert stored.status in {"accepted", "declined", "revoked"}
    with tenancy.scope(acme):
        is_member = Membership.objects.live().filter(user=carol).exists()
    assert is_member is (stored.status == "accepted")
