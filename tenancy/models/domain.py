from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Self, cast

from asgiref.sync import sync_to_async
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.challenges import Finding, find_record, make_challenge, name_record
from tenancy.constraints import UniqueEverywhere
from tenancy.context import require_organization
from tenancy.exceptions import ChallengeFailed, DNSUnavailable, DomainTaken
from tenancy.hosts import normalize_host, validate_host
from tenancy.limits import require_domain_room
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.querysets import TenantQuerySet, require_own
from tenancy.signals import (
    domain_added,
    domain_failing,
    domain_removed,
    domain_verified,
    domain_withdrawn,
)
from tenancy.texts import (
    DIGEST_LENGTH,
    HOST_LENGTH,
    ExactCharField,
    has_form_of_digest,
    has_form_of_host,
)
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

_MISSING = (Finding.ABSENT, Finding.WRONG)


class DomainQuerySet(TenantQuerySet["Domain"]):
    """Domains of the scope's organization."""

    def verified(self) -> Self:
        """Keep those at which the organization is reached."""
        return self.filter(verified_at__isnull=False)


class DomainManager(TenantManager["Domain"]):
    """The manager of domains."""

    _queryset_class = DomainQuerySet

    def verified(self) -> DomainQuerySet:
        """Keep those at which the organization is reached."""
        return cast(
            "DomainQuerySet", self.get_queryset()
        ).verified()  # it is of _queryset_class

    @verb
    def add_domain(self, *, host: str) -> Domain:
        """Name a domain of the active organization, which is to be verified.

        Others may name the same one; the first that verifies it has it.

        Args:
            host (str): the domain, such as "tasks.example.com", in any letters.
        Returns:
            Domain: the saved domain, whose record_name and token its owner puts into
                DNS, for verify().
        Raises:
            DomainLimitReached: the organization has as many as it may.
            ValidationError: it is no domain, the site's own, or the organization has
                it.
            ScopeRequired: no organization's scope is active.
        """
        organization_id = require_organization()
        alias = find_alias(self)
        take_locks(alias, organizations=[organization_id])
        domain = self.model(host=normalize_host(host))
        domain.full_clean()
        require_domain_room(organization_id, using=alias)
        domain.save(using=alias, force_insert=True)
        domain._tell(alias, "domain.added", domain_added)
        return domain

    async def aadd_domain(self, *, host: str) -> Domain:
        """See add_domain()."""
        return await sync_to_async(self.add_domain)(host=host)


class Domain(StampedModel, TenantModel):
    """A domain at which an organization is reached, once it is verified.

    It is verified by a TXT record that holds the token, and for one organization at a
    time. One that is not verified names nobody. The token is no secret: who reads it
    cannot put it into the DNS of a domain that is another's.
    """

    rule_fields: ClassVar[dict[str, str]] = {
        "tenancy_domain_verified_is_host": "host",
        "verified_host": "host",
    }

    host = ExactCharField(
        _("domain"), max_length=HOST_LENGTH, validators=[validate_host]
    )
    token = ExactCharField(
        _("token"),
        max_length=DIGEST_LENGTH,
        default=make_challenge,
        editable=False,
    )
    verified_at = models.DateTimeField(_("verified at"), null=True, editable=False)
    checked_at = models.DateTimeField(_("checked at"), null=True, editable=False)
    finding = ExactCharField(
        _("last finding"),
        max_length=16,
        choices=Finding,
        blank=True,
        default="",
        editable=False,
    )
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    # Not generated from the domain: a change of that alone is refused by the database,
    # and takes no domain that nobody has proved.
    verified_host = ExactCharField(
        _("domain while verified"), max_length=HOST_LENGTH, null=True, editable=False
    )

    objects: ClassVar[DomainManager] = DomainManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("domain")
        verbose_name_plural = _("domains")
        ordering = ["host"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "host"],
                name="tenancy_domain_host_once",
                violation_error_message=_("The organization has this domain."),
            ),
            # Who is refused has proved that the domain is theirs, and learns no more
            # than that somebody proved the same.
            UniqueEverywhere(
                fields=["verified_host"], name="tenancy_domain_verified_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_host("host"), name="tenancy_domain_host_formed"
            ),
            models.CheckConstraint(
                condition=has_form_of_digest("token"),
                name="tenancy_domain_token_formed",
            ),
            models.CheckConstraint(
                condition=Q(verified_host__isnull=True, verified_at__isnull=True)
                | Q(verified_host__isnull=False, verified_at__isnull=False)
                & Q(verified_host=F("host")),
                name="tenancy_domain_verified_is_host",
                violation_error_message=_(
                    "A verified domain does not become another one. Add that one."
                ),
            ),
            models.CheckConstraint(
                condition=Q(finding__in=["", *Finding.values]),
                name="tenancy_domain_finding_known",
            ),
            models.CheckConstraint(
                condition=Q(checked_at__isnull=True, finding="")
                | (Q(checked_at__isnull=False) & ~Q(finding="")),
                name="tenancy_domain_finding_dated",
            ),
            models.CheckConstraint(
                condition=Q(verified_at__isnull=True)
                | Q(checked_at__isnull=False, verified_at__lte=F("checked_at")),
                name="tenancy_domain_verified_by_check",
            ),
            models.CheckConstraint(
                condition=Q(failing_since__isnull=True)
                | (
                    Q(verified_at__isnull=False, failing_since__gte=F("verified_at"))
                    & Q(failing_since__lte=F("checked_at"))
                    & ~Q(finding="found")
                ),
                name="tenancy_domain_failing_verified",
            ),
            models.CheckConstraint(
                condition=Q(verified_at__isnull=True)
                | Q(failing_since__isnull=False)
                | Q(finding__in=["found", "unanswered"]),
                name="tenancy_domain_failure_dated",
            ),
        ]

    def __str__(self) -> str:
        return str(self.host)

    @property
    def is_verified(self) -> bool:
        """Whether the organization is reached at the domain."""
        return self.verified_at is not None

    @property
    def record_name(self) -> str:
        """The name of the TXT record that is to hold the token."""
        return name_record(self.host)

    def verify(self) -> Self:
        """Look for the record, and verify the domain where it holds the token.

        DNS is asked before the transaction begins, and what it said is kept, though
        this raises. Of a domain that is verified already, it is another check.

        Raises:
            ChallengeFailed: there is no record, or none that holds the token.
            DNSUnavailable: there was no answer; the domain may be verified later.
            DomainTaken: the domain is verified for another organization.
            DoesNotExist: the domain was removed.
            CrossOrganization: the domain is another organization's.
            ImproperlyConfigured: dnspython is not installed.
        """
        require_own(self)
        finding = find_record(self.host, self.token)
        self._settle(finding, verifies=True)
        if finding == Finding.UNANSWERED:
            raise DNSUnavailable(
                f"The name servers of {self.host!r} gave no answer. Try again later."
            )
        if finding != Finding.FOUND:
            raise ChallengeFailed(
                f"The TXT record {self.record_name!r} is {finding.value}. Set it to "
                f"{self.token!r}, wait until it is published, and try again."
            )
        return self

    verify.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def averify(self) -> Self:
        """See verify()."""
        return await sync_to_async(self.verify)()

    def recheck(self, finding: Finding | None = None) -> Finding:
        """Look for the record of a verified domain again.

        One that has been missing or wrong for TENANCY_DOMAIN_GRACE is not verified any
        more. A look-up without an answer changes nothing, however often there is
        none. A domain that is not verified stays so.

        Args:
            finding (Finding | None): what a look-up has come to; None makes one.
        Returns:
            Finding: what the look-up came to.
        Raises:
            DoesNotExist: the domain was removed.
            CrossOrganization: the domain is another organization's.
            ImproperlyConfigured: dnspython is not installed.
        """
        require_own(self)
        if finding is None:
            finding = find_record(self.host, self.token)
        self._settle(finding, verifies=False)
        return finding

    recheck.alters_data = True  # type: ignore[attr-defined]  # as above

    async def arecheck(self, finding: Finding | None = None) -> Finding:
        """See recheck()."""
        return await sync_to_async(self.recheck)(finding)

    @verb
    def remove(self) -> None:
        """Delete the domain, at which the organization is not reached any more.

        Raises:
            DoesNotExist: the domain was removed.
            CrossOrganization: the domain is another organization's.
        """
        require_own(self)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        stored = Domain._base_manager.using(alias).get(pk=self.pk)
        stored._tell(alias, "domain.removed", domain_removed)
        stored.delete(using=alias)

    remove.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aremove(self) -> None:
        """See remove()."""
        await sync_to_async(self.remove)()

    @verb
    def _settle(self, finding: Finding, *, verifies: bool) -> None:
        """Keep what a look-up came to, and do what follows from it.

        Args:
            finding (Finding): what it came to.
            verifies (bool): whether a record that is found verifies the domain.
        """
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        stored = Domain._base_manager.using(alias).get(pk=self.pk)
        # However the clock is set, a check is not before the one that it follows.
        now = max(timezone.now(), stored.checked_at or datetime.min.replace(tzinfo=UTC))
        stored.checked_at, stored.finding = now, finding.value
        news = stored._judge(finding, now, verifies=verifies)
        fields = ["verified_at", "verified_host", "checked_at", "finding"]
        fields += ["failing_since", "updated_at"]
        try:
            with transaction.atomic(using=alias):
                stored.save(using=alias, update_fields=fields)
        except IntegrityError:
            # Whose it is, is another organization's data.
            raise DomainTaken(
                f"The domain {self.host!r} is verified for another organization. Have "
                "it removed there first."
            ) from None
        if news is not None:
            stored._tell(alias, *news)
        self.refresh_from_db(using=alias, fields=fields)

    def _judge(
        self, finding: Finding, now: datetime, *, verifies: bool
    ) -> tuple[str, Signal] | None:
        """Change the row by what was found; return what is to be told of it."""
        if finding == Finding.FOUND:
            self.failing_since = None
            if self.verified_at is None and verifies:
                self.verified_at, self.verified_host = now, self.host
                return "domain.verified", domain_verified
        if self.verified_at is None or finding not in _MISSING:
            return None
        is_news = self.failing_since is None
        self.failing_since = self.failing_since or now
        if now - self.failing_since < conf.domain_grace():
            return ("domain.failing", domain_failing) if is_news else None
        self.verified_at = self.verified_host = self.failing_since = None
        return "domain.withdrawn", domain_withdrawn

    def _tell(self, alias: str, action: str, signal: Signal) -> None:
        details: dict[str, Any] = {"host": self.host}
        if self.finding:
            details["finding"] = self.finding
        AuditEvent.objects.db_manager(alias).record(action, self, **details)
        send_on_commit(signal, Domain, using=alias, domain=self)
