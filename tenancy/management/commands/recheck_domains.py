from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from tenancy.challenges import Finding, find_record, import_dns
from tenancy.context import LookUp, look_up, scope_of_any_status
from tenancy.models.domain import Domain

# Few enough that what was found is applied while it is fresh.
BATCH_SIZE = 200

# Their wait is for others' name servers, not for ours.
LOOK_UPS_AT_ONCE = 16


class Command(BaseCommand):
    """Look for the records of verified domains again."""

    help = (
        "Looks for the DNS record of each verified domain, and withdraws those whose "
        "record has been missing or wrong for TENANCY_DOMAIN_GRACE. Prints each, and "
        "fails unless each record was found. Run it hourly."
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
        """Recheck each domain in a transaction of its own.

        Raises:
            CommandError: a record was missing, wrong or not to be asked for; the exit
                status is 1.
        """
        import_dns()
        with look_up(LookUp.DOMAIN_RECHECK):
            rows = Domain.objects.db_manager(options["database"]).verified()
            # Those that were not looked at for longest are first.
            ordered = rows.order_by("checked_at", "pk")
            keys = list(ordered.values_list("pk", flat=True))
        counts = dict.fromkeys(Finding, 0)
        done = 0
        with ThreadPoolExecutor(LOOK_UPS_AT_ONCE) as pool:
            for start in range(0, len(keys), BATCH_SIZE):
                batch = keys[start : start + BATCH_SIZE]
                domains = _read(options["database"], batch)
                found = pool.map(_look, domains)
                for domain, finding in zip(domains, found, strict=True):
                    done += 1
                    if self._recheck(domain, finding, f"[{done}/{len(keys)}]"):
                        counts[finding] += 1
        bad = sum(counts.values()) - counts[Finding.FOUND]
        self.stdout.write(
            ", ".join(f"{finding.value}: {count}" for finding, count in counts.items())
        )
        if bad:
            raise CommandError(
                f"{bad} of {sum(counts.values())} records were not found. Tell the "
                "organizations whose domains fail, and look at the name servers of "
                "TENANCY_DNS_SERVERS where none answers.",
                returncode=1,
            )

    def _recheck(self, domain: Domain, finding: Finding, progress: str) -> bool:
        """Apply what was found, and print it; return whether there is the domain."""
        with scope_of_any_status(domain.organization):
            try:
                domain.recheck(finding)
            except Domain.DoesNotExist:
                self.stdout.write(f"{progress} {domain}: removed")
                return False
        is_good = finding == Finding.FOUND
        words = finding.value
        if not domain.is_verified:
            words += ", withdrawn"
        elif domain.failing_since is not None:
            words += f", failing since {domain.failing_since.isoformat()}"
        style = self.style.SUCCESS if is_good else self.style.ERROR
        self.stdout.write(style(f"{progress} {domain}: {words}"))
        return True


def _read(alias: str, keys: list[Any]) -> list[Domain]:
    with look_up(LookUp.DOMAIN_RECHECK):
        rows = Domain.objects.using(alias).filter(pk__in=keys)
        return list(rows.select_related("organization").order_by("checked_at", "pk"))


def _look(domain: Domain) -> Finding:
    return find_record(domain.host, domain.token)
