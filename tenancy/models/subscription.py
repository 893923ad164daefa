from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.utils.translation import gettext_lazy as _

from tenancy.constraints import UniqueEverywhere
from tenancy.fields import TenantForeignKey
from tenancy.models.plan import Plan
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.texts import ExactCharField, has_form_of_slug

ENDED = ("canceled", "incomplete_expired")


class Subscription(StampedModel, TenantModel):
    """An organization's subscription to a plan; one is live for each product.

    The statuses are Stripe's. Those that have ended stay, as history.
    """

    class Status(models.TextChoices):
        INCOMPLETE = "incomplete", _("incomplete")
        INCOMPLETE_EXPIRED = "incomplete_expired", _("incomplete, expired")
        TRIALING = "trialing", _("on trial")
        ACTIVE = "active", _("active")
        PAST_DUE = "past_due", _("past due")
        CANCELED = "canceled", _("canceled")
        UNPAID = "unpaid", _("unpaid")
        PAUSED = "paused", _("paused")

    class Interval(models.TextChoices):
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")
        YEAR = "year", _("year")

    rule_fields: ClassVar[dict[str, str]] = {
        "live_product": "plan",
        "product": "plan",
        "provider": "provider_subscription_id",
    }

    plan = TenantForeignKey(
        Plan,
        verbose_name=_("plan"),
        on_delete=models.PROTECT,
        related_name="subscriptions",
    )
    next_plan = TenantForeignKey(
        Plan,
        verbose_name=_("plan from the next period on"),
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    product = ExactCharField(_("product"), max_length=63, editable=False)
    status = ExactCharField(_("status"), max_length=20, choices=Status)
    interval = ExactCharField(
        _("billing interval"),
        max_length=8,
        choices=Interval,
        default=Interval.MONTH,
    )
    seats = models.PositiveIntegerField(_("seats"), default=1)
    current_period_start = models.DateTimeField(_("period starts at"))
    current_period_end = models.DateTimeField(_("period ends at"))
    trial_start = models.DateTimeField(_("trial starts at"), null=True, blank=True)
    trial_end = models.DateTimeField(_("trial ends at"), null=True, blank=True)
    cancel_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    canceled_at = models.DateTimeField(_("canceled at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    provider = ExactCharField(_("provider"), max_length=63, blank=True)
    provider_customer_id = ExactCharField(
        _("customer at the provider"), max_length=255, blank=True
    )
    provider_subscription_id = ExactCharField(
        _("subscription at the provider"), max_length=255, null=True, blank=True
    )
    provider_schedule_id = ExactCharField(
        _("schedule at the provider"), max_length=255, blank=True
    )
    # Of the newest event that was applied; an older one changes nothing.
    last_event_at = models.DateTimeField(null=True, editable=False)
    last_event_id = ExactCharField(max_length=255, blank=True, editable=False)
    live_product = models.GeneratedField(
        expression=Case(
            When(status__in=ENDED, then=None),
            default=F("product"),
        ),
        output_field=ExactCharField(max_length=63, null=True),
        db_persist=True,
        verbose_name=_("product while live"),
    )

    class Meta:
        app_label = "tenancy"
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "live_product"],
                name="tenancy_subscription_live_once",
                violation_error_message=_(
                    "The organization has a live subscription to that product."
                ),
            ),
            UniqueEverywhere(
                fields=["provider", "provider_subscription_id"],
                name="tenancy_subscription_provider_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "incomplete",
                        "incomplete_expired",
                        "trialing",
                        "active",
                        "past_due",
                        "canceled",
                        "unpaid",
                        "paused",
                    ]
                ),
                name="tenancy_subscription_status_known",
            ),
            models.CheckConstraint(
                condition=Q(interval__in=["day", "week", "month", "year"]),
                name="tenancy_subscription_interval_known",
            ),
            models.CheckConstraint(
                condition=Q(seats__gte=1), name="tenancy_subscription_seats"
            ),
            models.CheckConstraint(
                condition=Q(current_period_end__gt=F("current_period_start")),
                name="tenancy_subscription_period_ordered",
            ),
            models.CheckConstraint(
                condition=Q(trial_start=None, trial_end=None)
                | Q(
                    trial_start__isnull=False,
                    trial_end__isnull=False,
                    trial_end__gt=F("trial_start"),
                ),
                name="tenancy_subscription_trial_ordered",
            ),
            models.CheckConstraint(
                condition=(Q(status__in=ENDED) & Q(ended_at__isnull=False))
                | (~Q(status__in=ENDED) & Q(ended_at=None)),
                name="tenancy_subscription_end_dated",
            ),
            models.CheckConstraint(
                condition=Q(cancel_at=None)
                | Q(canceled_at__isnull=False, cancel_at__gte=F("canceled_at")),
                name="tenancy_subscription_cancel_ordered",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None)
                | Q(canceled_at=None)
                | Q(ended_at__gte=F("canceled_at")),
                name="tenancy_subscription_end_ordered",
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("product"),
                name="tenancy_subscription_product",
            ),
            models.CheckConstraint(
                condition=Q(provider_subscription_id=None)
                | (~Q(provider_subscription_id="") & ~Q(provider="")),
                name="tenancy_subscription_provider_named",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} ({self.get_status_display()})"
