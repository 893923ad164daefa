from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from tenancy.models.billing_event import BillingEvent


class Command(BaseCommand):
    """Apply the billing events that failed, or whose process died before it could."""

    help = (
        "Applies the payment providers' events that are not settled, the oldest first. "
        "Prints each, and fails when one does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database and --provider."""
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The alias of the database. Defaults to "default".',
        )
        parser.add_argument("--provider", help="Only the events of this provider.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Apply each event in a transaction of its own.

        Raises:
            CommandError: an event failed again; the exit status is 1.
        """
        ledger = BillingEvent.objects.db_manager(options["database"])
        events = ledger.unsettled()
        if options["provider"]:
            events = events.filter(provider=options["provider"])
        keys = list(events.values_list("pk", flat=True))
        failed = 0
        for number, key in enumerate(keys, 1):
            event = ledger.get(pk=key)
            is_applied = self._apply(event)
            failed += not is_applied
            line = f"[{number}/{len(keys)}] {event} {event.event_id}: {event.status}"
            style = self.style.SUCCESS if is_applied else self.style.ERROR
            self.stdout.write(style(line))
            if not is_applied:
                self.stdout.write(f"    {event.error}")
        if failed:
            raise CommandError(
                f"{failed} of {len(keys)} events failed. Mend what the errors say, and "
                "run 'retry_billing_events' again.",
                returncode=1,
            )
        self.stdout.write(f"{len(keys)} events are settled.")

    def _apply(self, event: BillingEvent) -> bool:
        try:
            event.apply()
        except Exception:
            # It is kept with the event, whose text is printed.
            return False
        return True
