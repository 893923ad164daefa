"""Deleting a user from every organization."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction
from django.utils import timezone

import tenancy
from tenancy import testing
from tenancy.erasure import aerase_user, erase_user
from tenancy.exceptions import CrossOrganization, ImpersonationRefused, LastOwner
from tenancy.models import (
    Account,
    AuditEvent,
    Invitation,
    Lock,
    Membership,
    Organization,
    Role,
    Session,
    SystemEvent,
    User,
    Verification,
)
from tenancy.origin import Origin, acting_from
from tenancy.signals import user_erased
from tests.concurrency import run_at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def carol(acme: Organization, globex: Organization) -> User:
    """A member of acme and of globex, who owns neither."""
    carol = User.objects.create_user("carol@acme.example", "demo", name="Carol")
    for organization in (acme, globex):
        with tenancy.scope(organization):
            role = Role.objects.get(key="member")
            Membership.objects.create(user=carol, role=role)
    return carol


def furnish(user: User, organization: Organization) -> Invitation:
    """Give a user a row of each kind that knows them."""
    later = timezone.now() + timedelta(1)
    with tenancy.scope(organization, user=user):
        membership = Membership.objects.get(user=user)
        AuditEvent.objects.record("team.created")
        Session.objects.create(
            key_digest="b" * 64, user=user, membership=membership, expires_at=later
        )
        Verification.objects.create(
            purpose="sign-in",
            identifier=user.email,
            value_digest="c" * 64,
            expires_at=later,
        )
        return Invitation.objects.create(
            role=membership.role,
            email=user.email,
            token_digest="a" * 64,
            expires_at=later,
            status="accepted",
            invited_by=user,
            invited_by_name="Carol",
            answered_by=user,
            answered_by_name="Carol",
            answered_at=timezone.now() + timedelta(minutes=1),
        )


def test_erased_user_leaves_a_trail_and_nothing_personal(
    acme: Organization, globex: Organization, carol: User
) -> None:
    """What is personal goes from every organization, and the trails stay."""
    invitation = furnish(carol, acme)
    key = str(carol.pk)

    with tenancy.unscoped("request of 3 May"):
        erase_user(carol, reason="asked for it")

    assert not User.objects.filter(email="carol@acme.example").exists()
    assert not Session.objects.exists()
    assert not Account.objects.exists()
    assert not Verification.objects.exists()
    assert not Lock.objects.filter(name=f"user:{key}").exists()
    with tenancy.scope(acme):
        assert AuditEvent.objects.by(key).get().action == "team.created"
        erased = AuditEvent.objects.get(action="membership.erased")
        assert Membership.objects.count() == 1
        invitation.refresh_from_db()
    assert erased.unscoped_reason == "request of 3 May"
    assert (invitation.invited_by_name, invitation.answered_by_name) == ("", "")
    assert (invitation.email, invitation.invited_by_id) == (None, None)
    with tenancy.scope(globex):
        assert AuditEvent.objects.filter(action="membership.erased").count() == 1
    event = SystemEvent.objects.get()
    assert (event.action, event.subject_key, event.reason) == (
        "user.erased",
        key,
        "asked for it",
    )


def test_erasing_a_last_owner_is_refused(
    acme: Organization, globex: Organization, alice: User, bob: User
) -> None:
    """No organization is left without an owner; how many it would be is told."""
    with transaction.atomic():
        with pytest.raises(LastOwner, match="last owner of an organization") as error:
            erase_user(alice, reason="asked for it")
        assert User.objects.filter(pk=alice.pk).exists()
    assert "Acme" not in str(error.value)
    Organization.objects.create_with_owner(name="Second", owner=alice)
    with pytest.raises(LastOwner, match="2 organizations"):
        erase_user(alice, reason="asked for it")

    with tenancy.scope(globex):
        role = Role.objects.get(key="owner")
        Membership.objects.create(user=alice, role=role)
    erase_user(bob, reason="asked for it")

    with tenancy.scope(globex):
        assert Membership.objects.get().user_id == alice.pk


def test_erasing_in_a_scope_or_in_anothers_name_is_refused(
    acme: Organization, carol: User, alice: User
) -> None:
    """An organization's scope, an impersonator and a blank reason are refused."""
    with tenancy.scope(acme), pytest.raises(CrossOrganization, match="unscoped"):
        erase_user(carol, reason="asked for it")
    with (
        acting_from(Origin(impersonator_id=alice.pk)),
        pytest.raises(ImpersonationRefused),
    ):
        erase_user(carol, reason="asked for it")
    with pytest.raises(ValueError, match="Say in words why"):
        erase_user(carol, reason=" ")

    assert User.objects.filter(pk=carol.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_erasure_waits_for_who_signs_in(carol: User) -> None:
    """A session that is made at the same time goes along, or is refused."""
    is_made = threading.Event()

    def sign_in() -> None:
        with transaction.atomic():
            testing.SessionFactory(user=carol)
            is_made.set()
            time.sleep(0.3)

    def erase() -> None:
        is_made.wait()
        erase_user(carol, reason="asked for")

    signed_in, erased = run_at_once([sign_in, erase])

    assert erased is None
    # PostgreSQL looks at the key when the transaction ends.
    assert signed_in is None or isinstance(signed_in, IntegrityError)
    assert not Session.objects.exists()
    assert not User.objects.filter(pk=carol.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_erasure_is_told_and_not_done_twice(carol: User) -> None:
    """The signal has the key that the user had; an erased instance is refused."""
    told: list[Any] = []  # Keys, by the user model.
    key = carol.pk

    def receive(key: Any, **_values: Any) -> None:
        told.append(key)

    user_erased.connect(receive)
    try:
        async_to_sync(aerase_user)(carol, reason="asked for it")
    finally:
        user_erased.disconnect(receive)

    assert told == [key]
    with pytest.raises(User.DoesNotExist):
        erase_user(carol, reason="asked for it")
    with pytest.raises(ValueError, match="not saved"):
        erase_user(User(pk=None), reason="asked for it")
    assert SystemEvent.objects.count() == 1
