from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Q, QuerySet
from django.utils import timezone

from tenancy.context import LookUp, look_up
from tenancy.models.invitation import Invitation
from tenancy.models.session import Session
from tenancy.models.verification import Verification

# Few enough for a short transaction, and for SQLite's count of parameters.
BATCH_SIZE = 500


class Command(BaseCommand):
    """Remove what has expired."""

    help = (
        "Deletes expired verifications, and expired and revoked sessions; marks "
        "pending invitations that are past their time as expired. Run it daily."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database."""
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The alias of the database. Defaults to "default".',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove what has expired, and print how many of each."""
        alias, now = options["database"], timezone.now()
        verifications = _delete(
            Verification.objects.using(alias).filter(expires_at__lte=now)
        )
        sessions = _delete(
            Session.objects.using(alias).filter(
                Q(expires_at__lte=now) | Q(revoked_at__isnull=False)
            )
        )
        with look_up(LookUp.INVITATION_EXPIRY):
            invitations = _expire(
                Invitation.objects.using(alias).filter(
                    status=Invitation.Status.PENDING, expires_at__lte=now
                )
            )
        self.stdout.write(f"{verifications} verifications were deleted.")
        self.stdout.write(f"{sessions} sessions were deleted.")
        self.stdout.write(f"{invitations} invitations have expired.")


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows a batch at a time, and return how many there were."""
    count = 0
    while keys := _read_keys(rows):
        # Asked again: a session's end may have been put off since.
        _total, deleted = rows.filter(pk__in=keys).delete()
        count += deleted.get(rows.model._meta.label, 0)
    return count


def _expire(rows: QuerySet[Any]) -> int:
    """Mark invitations as expired a batch at a time, and return how many."""
    count = 0
    while keys := _read_keys(rows):
        now = timezone.now()
        count += rows.filter(pk__in=keys).update(
            status=Invitation.Status.EXPIRED, answered_at=now, updated_at=now
        )
    return count


def _read_keys(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.order_by("expires_at").values_list("pk", flat=True)[:BATCH_SIZE])
