from __future__ import annotations

import math
from datetime import datetime
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.db.transaction import TransactionManagementError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.billing import Handler, find_handler
from tenancy.context import LookUp, look_up, scope_of_any_status
from tenancy.indexes import PartialIndex
from tenancy.models.audit_event import AuditEvent
from tenancy.models.billing_customer import find_billing_customer
from tenancy.models.stamped_model import StampedModel
from tenancy.signals import billing_event_applied
from tenancy.texts import ExactCharField
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

UNSETTLED = ("received", "failed")

ERROR_LENGTH = 2000

DEEPEST = 30
"""How many levels of JSON are kept: MariaDB reads 32, and MySQL 100."""


class BillingEventQuerySet(models.QuerySet["BillingEvent", "BillingEvent"]):
    """Events of payment providers, which are no organization's until applied."""

    def unsettled(self) -> BillingEventQuerySet:
        """Keep those that are still to be applied, the oldest first."""
        # The index of some rows is found by the first, one of all by the second.
        rows = self.filter(settled_at=None, status__in=UNSETTLED)
        return rows.order_by("occurred_at", "event_id")


class BillingEventManager(models.Manager["BillingEvent"]):
    """The manager of the ledger."""

    _queryset_class = BillingEventQuerySet

    def unsettled(self) -> BillingEventQuerySet:
        """Keep those that are still to be applied, the oldest first."""
        return BillingEventQuerySet.unsettled(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def receive(
        self,
        *,
        provider: str,
        event_id: str,
        type: str,
        occurred_at: datetime,
        customer_id: str = "",
        payload: Any = None,
    ) -> BillingEvent:
        """Write an event down, in a transaction of its own; again is nothing.

        Call apply() of what it returns. An event that arrives again is the one that
        was written down first, whatever it says.

        Args:
            provider (str): the payment provider's name: "stripe".
            event_id (str): its key of the event.
            type (str): what happened, in the provider's words.
            occurred_at (datetime): when.
            customer_id (str): its key of the customer, by which the organization is
                found; empty for none.
            payload (Any): what the handler reads; what JSON can hold.
        Returns:
            BillingEvent: the saved one.
        Raises:
            ValidationError: a key is empty or too long, or something in it is what not
                every database keeps: the character NUL, half of a surrogate pair, a
                number that is infinite or none or has more than 64 bits, or more than
                30 levels.
            TransactionManagementError: a transaction is open, whose end would decide
                whether the event is kept.
        """
        _refuse_transaction(find_alias(self), "BillingEvent.objects.receive()")
        return self._write_down(
            provider=provider,
            event_id=event_id,
            defaults={
                "type": type,
                "occurred_at": occurred_at,
                "customer_id": customer_id,
                "payload": {} if payload is None else payload,
            },
        )

    async def areceive(
        self,
        *,
        provider: str,
        event_id: str,
        type: str,
        occurred_at: datetime,
        customer_id: str = "",
        payload: Any = None,
    ) -> BillingEvent:
        """See receive()."""
        return await sync_to_async(self.receive)(
            provider=provider,
            event_id=event_id,
            type=type,
            occurred_at=occurred_at,
            customer_id=customer_id,
            payload=payload,
        )

    @verb
    def _write_down(
        self, *, provider: str, event_id: str, defaults: dict[str, Any]
    ) -> BillingEvent:
        row = self.model(provider=provider, event_id=event_id, **defaults)
        row.clean_fields()
        texts = [provider, event_id, row.type, row.customer_id]
        if not _is_storable(texts) or not _is_storable(row.payload):
            raise ValidationError(
                {"payload": _("Something in it cannot be stored.")}, code="invalid"
            )
        rows = self.using(find_alias(self))
        return rows.get_or_create(
            provider=provider, event_id=event_id, defaults=defaults
        )[0]


class BillingEvent(StampedModel):
    """A payment provider's event, written down before it is applied.

    Each is applied once, however often it arrives. One that fails is kept, with the
    error, and is tried again. One of a type that nothing handles is ignored.
    """

    class Status(models.TextChoices):
        RECEIVED = "received", _("received")
        APPLIED = "applied", _("applied")
        OUTDATED = "outdated", _("outdated")
        IGNORED = "ignored", _("ignored")
        FAILED = "failed", _("failed")

    provider = ExactCharField(_("provider"), max_length=63)
    event_id = ExactCharField(_("event"), max_length=255)
    type = ExactCharField(_("type"), max_length=100)
    customer_id = ExactCharField(_("customer"), max_length=255, blank=True)
    payload = models.JSONField(_("payload"), default=dict, blank=True)
    occurred_at = models.DateTimeField(_("occurred at"))
    received_at = models.DateTimeField(_("received at"), default=timezone.now)
    status = ExactCharField(
        _("status"), max_length=16, choices=Status, default=Status.RECEIVED
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    settled_at = models.DateTimeField(_("settled at"), null=True, blank=True)

    objects: ClassVar[BillingEventManager] = BillingEventManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("billing event")
        verbose_name_plural = _("billing events")
        ordering = ["-occurred_at"]
        indexes = [
            PartialIndex(
                fields=["status", "received_at"],
                name="tenancy_billingevent_status",
                where=Q(settled_at__isnull=True),
            ),
            models.Index(
                fields=["provider", "customer_id"], name="tenancy_billingevent_customer"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "event_id"], name="tenancy_billingevent_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "received",
                        "applied",
                        "outdated",
                        "ignored",
                        "failed",
                    ]
                ),
                name="tenancy_billingevent_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(provider="") & ~Q(event_id="") & ~Q(type=""),
                name="tenancy_billingevent_named",
            ),
            models.CheckConstraint(
                condition=(
                    Q(status__in=["applied", "outdated", "ignored"])
                    & Q(settled_at__isnull=False)
                )
                | (Q(status__in=["received", "failed"]) & Q(settled_at=None)),
                name="tenancy_billingevent_settled",
            ),
            models.CheckConstraint(
                condition=Q(settled_at=None) | Q(settled_at__gte=F("received_at")),
                name="tenancy_billingevent_settled_later",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.type}"

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status not in UNSETTLED

    def apply(self) -> None:
        """Apply the event, once; again is nothing.

        The organization is the one whose billing customer the event names, and never
        one that the payload names; an archived one's subscription goes on at the
        provider, and ends there. Its lock is taken, the handler is called in its
        scope, and the event is marked in the same transaction. What goes wrong undoes
        all of it, is written down with the event, and is raised, so that a webhook
        answers with an error and the provider tries again; so does the command
        'retry_billing_events'.

        Raises:
            UnknownBillingCustomer: no organization has the customer.
            BillingHandlerMissing: nothing is registered for the provider.
            TransactionManagementError: a transaction is open, whose end would decide
                whether a failure is kept.
            Exception: what the handler raises.
        """
        alias = find_alias(self)
        _refuse_transaction(alias, "BillingEvent.apply()")
        try:
            self._apply()
        except Exception as error:
            self._keep_failure(f"{type(error).__name__}: {error}"[:ERROR_LENGTH])
            raise
        finally:
            # Of the row and not of this run, which another one may have overtaken.
            self.refresh_from_db(using=alias)

    apply.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def aapply(self) -> None:
        """See apply()."""
        await sync_to_async(self.apply)()

    @verb
    def _apply(self) -> None:
        alias = find_alias(self)
        handler = find_handler(self.provider, self.type)
        if handler is None:
            self._settle(alias, self.Status.IGNORED)
            return
        organization = find_billing_customer(self.customer_id, using=alias)
        take_locks(alias, organizations=[organization.pk])
        # The caller may be in any scope, or in none.
        with look_up(LookUp.BILLING_CUSTOMER), scope_of_any_status(organization):
            self._handle(alias, handler)

    def _handle(self, alias: str, handler: Handler) -> None:
        rows = type(self)._base_manager.using(alias).select_for_update()
        event = rows.get(pk=self.pk)
        if event.is_settled:
            return
        if not handler(event):
            event._settle(alias, self.Status.OUTDATED)
            return
        event._settle(alias, self.Status.APPLIED)
        AuditEvent.objects.db_manager(alias).record(
            "billing_event.applied",
            event,
            provider=self.provider,
            type=self.type,
            event_id=self.event_id,
        )
        send_on_commit(
            billing_event_applied, type(self), using=alias, billing_event=event
        )

    def _settle(self, alias: str, status: str) -> None:
        self._find_unsettled(alias).update(
            status=status,
            # The clock of the machine that received it may be ahead.
            settled_at=max(timezone.now(), self.received_at),
            attempts=F("attempts") + 1,
            error="",
            updated_at=timezone.now(),
        )

    @verb
    def _keep_failure(self, error: str) -> None:
        alias = find_alias(self)
        # Another run may have applied it meanwhile, which this failure does not undo.
        self._find_unsettled(alias).update(status=self.Status.FAILED, error=error)
        type(self)._base_manager.using(alias).filter(pk=self.pk).update(
            attempts=F("attempts") + 1, updated_at=timezone.now()
        )

    def _find_unsettled(self, alias: str) -> models.QuerySet[Any, Any]:
        rows = type(self)._base_manager.using(alias)
        return rows.filter(pk=self.pk, status__in=UNSETTLED)


def _is_storable(value: Any, level: int = 1) -> bool:
    """Return whether every database keeps a value of JSON, and gives it back."""
    if isinstance(value, str):
        # PostgreSQL keeps no NUL in a text, and no driver sends a lone surrogate.
        return "\0" not in value and value.encode(errors="replace").decode() == value
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        return level <= DEEPEST and all(_is_storable(one, level + 1) for one in value)
    return value is None


def _refuse_transaction(alias: str, call: str) -> None:
    """Refuse a caller's transaction, which could undo what is to be kept."""
    try:
        with transaction.atomic(using=alias, durable=True):
            pass
    except RuntimeError:
        raise TransactionManagementError(
            f"{call} was called in a transaction. Call it outside transaction.atomic(),"
            " and exempt the view from ATOMIC_REQUESTS, so that what it writes down is "
            "kept."
        ) from None
