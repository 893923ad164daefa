"""The command that removes what has expired."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

import tenancy
from tenancy.management.commands import purge_expired
from tenancy.models import Invitation, Organization, Role, Session, User, Verification
from tenancy.tokens import digest_token, make_token

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def run() -> str:
    """Return what the command prints."""
    output = io.StringIO()
    call_command("purge_expired", stdout=output)
    return output.getvalue()


def add_session(user: User, *, ends: timedelta, is_revoked: bool = False) -> Session:
    """Add a session that ends so long from now."""
    now = timezone.now()
    return Session.objects.create(
        key_digest=digest_token(make_token()),
        user=user,
        created_at=now,
        expires_at=now + ends,
        revoked_at=now if is_revoked else None,
        end_reason="ended" if is_revoked else "",
    )


def invite(organization: Organization, email: str, *, ends: timedelta) -> Invitation:
    """Add an invitation that ends so long from now."""
    now = timezone.now()
    with tenancy.scope(organization):
        invitation: Invitation = Invitation.objects.create(
            email=email,
            role=Role.objects.get(key="member"),
            token_digest=digest_token(make_token()),
            created_at=now - 2 * HOUR,
            expires_at=now + ends,
        )
    return invitation


def test_purge_deletes_expired_verifications() -> None:
    """A verification is deleted once it has expired, and not before."""
    for name in ("old", "new"):
        Verification.objects.issue(purpose="sign-in", identifier=name)
    Verification.objects.filter(identifier="old").update(
        created_at=F("created_at") - timedelta(days=3),
        expires_at=F("expires_at") - timedelta(days=3),
    )

    output = run()

    assert "1 verifications were deleted." in output
    assert [v.identifier for v in Verification.objects.all()] == ["new"]


def test_purge_deletes_ended_sessions(alice: User) -> None:
    """Expired and revoked sessions are deleted, and live ones stay."""
    add_session(alice, ends=-HOUR)
    add_session(alice, ends=HOUR, is_revoked=True)
    live = add_session(alice, ends=HOUR)

    output = run()

    assert "2 sessions were deleted." in output
    assert list(Session.objects.values_list("pk", flat=True)) == [live.pk]


def test_purge_expires_invitations_everywhere(
    acme: Organization, globex: Organization
) -> None:
    """Each organization's pending invitations past their time are marked."""
    late = [
        invite(acme, "carol@example.com", ends=-HOUR),
        invite(globex, "carol@example.com", ends=-HOUR),
    ]
    live = invite(acme, "dave@example.com", ends=HOUR)

    output = run()

    with tenancy.unscoped("what the command did"):
        rows = {row.pk: row for row in Invitation.objects.all()}
    assert "2 invitations have expired." in output
    assert [rows[row.pk].status for row in late] == ["expired", "expired"]
    assert all(rows[row.pk].answered_at for row in late)
    assert (rows[live.pk].status, rows[live.pk].answered_at) == ("pending", None)


def test_purge_when_repeated_finds_nothing(alice: User) -> None:
    """A second run has nothing to do."""
    add_session(alice, ends=-HOUR)
    run()

    assert run() == (
        "0 verifications were deleted.\n"
        "0 sessions were deleted.\n"
        "0 invitations have expired.\n"
    )


def test_purge_goes_in_batches(alice: User, acme: Organization) -> None:
    """More rows than a batch holds are all removed."""
    count = purge_expired.BATCH_SIZE + 1
    now = timezone.now()
    Session.objects.bulk_create(
        Session(key_digest=digest_token(str(n)), user=alice, expires_at=now - HOUR)
        for n in range(count)
    )
    with tenancy.scope(acme):
        role = Role.objects.get(key="member")
        Invitation.objects.bulk_create(
            Invitation(
                role=role,
                token_digest=digest_token(str(n)),
                created_at=now - 2 * HOUR,
                expires_at=now - HOUR,
            )
            for n in range(count)
        )

    output = run()

    assert f"{count} sessions were deleted." in output
    assert f"{count} invitations have expired." in output
