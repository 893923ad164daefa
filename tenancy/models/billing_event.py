from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.texts import ExactCharField


class BillingEvent(StampedModel):
    """A payment provider's event, written down before it is applied.

    Each is applied once, however often it arrives. One that fails is kept, with the
    error, and is tried again.
    """

    class Status(models.TextChoices):
        RECEIVED = "received", _("received")
        APPLIED = "applied", _("applied")
        OUTDATED = "outdated", _("outdated")
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

    class Meta:
        app_label = "tenancy"
        verbose_name = _("billing event")
        verbose_name_plural = _("billing events")
        ordering = ["-occurred_at"]
        indexes = [
            models.Index(
                fields=["status", "received_at"], name="tenancy_billingevent_status"
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
                condition=Q(status__in=["received", "applied", "outdated", "failed"]),
                name="tenancy_billingevent_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(provider="") & ~Q(event_id="") & ~Q(type=""),
                name="tenancy_billingevent_named",
            ),
            models.CheckConstraint(
                condition=(
                    Q(status__in=["applied", "outdated"]) & Q(settled_at__isnull=False)
                )
                | (Q(status__in=["received", "failed"]) & Q(settled_at=None)),
                name="tenancy_billingevent_settled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.type}"
