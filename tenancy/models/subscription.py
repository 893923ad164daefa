from __future__ import annotations

import calendar
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.constraints import UniqueEverywhere
from tenancy.context import require_organization
from tenancy.exceptions import (
    AlreadySubscribed,
    PlanRefused,
    SeatLimitReached,
    SubscriptionConflict,
    SubscriptionEnded,
    TransitionRefused,
    TrialUsed,
)
from tenancy.fields import TenantForeignKey
from tenancy.limits import count_invitations, count_members
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.billing_event import BillingEvent
from tenancy.models.plan import Plan
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.policies import SameValue
from tenancy.querysets import TenantQuerySet, require_own
from tenancy.signals import (
    subscription_changed,
    subscription_ended,
    subscription_started,
)
from tenancy.texts import ExactCharField, has_form_of_slug
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

ENDED = ("canceled", "incomplete_expired")

MAX_SEATS = 2_147_483_647
"""The most seats that every database's integer holds."""

_RUNNING = ("trialing", "active", "past_due", "unpaid", "paused")
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "incomplete": (*_RUNNING, *ENDED),
    **dict.fromkeys(_RUNNING, (*_RUNNING, "canceled")),
    "canceled": (),
    "incomplete_expired": (),
}
"""The statuses that may follow each: nothing follows an end, nothing is incomplete
again, and only what is incomplete expires. A provider's word counts above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionState:
    """A subscription as its provider describes it, whole.

    Args:
        provider (str): the provider's name: "stripe".
        provider_subscription_id (str): the provider's key of the subscription.
        plan (Plan): what is subscribed to.
        status (str): one of Subscription.Status.
        period_start (datetime): when the current period began.
        period_end (datetime): when it ends.
        interval (str): one of Subscription.Interval.
        seats (int): how many seats are paid.
        trial_start (datetime | None): when the trial began; None without one.
        trial_end (datetime | None): when it ends.
        cancel_at (datetime | None): when it will end; None where it goes on.
        canceled_at (datetime | None): when that was said.
        ended_at (datetime | None): when it ended; None for the time of the event.
        provider_customer_id (str): the provider's key of the customer.
        provider_schedule_id (str): the provider's key of the schedule.
    """

    provider: str
    provider_subscription_id: str
    plan: Plan
    status: str
    period_start: datetime
    period_end: datetime
    interval: str = "month"
    seats: int = 1
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    provider_customer_id: str = ""
    provider_schedule_id: str = ""


class SubscriptionQuerySet(TenantQuerySet["Subscription"]):
    """Subscriptions of the scope's organization."""

    def live(self) -> SubscriptionQuerySet:
        """Keep those that have not ended."""
        return self.exclude(status__in=ENDED)

    def ended(self) -> SubscriptionQuerySet:
        """Keep those that have ended."""
        return self.filter(status__in=ENDED)


class SubscriptionManager(TenantManager["Subscription"]):
    """The manager of subscriptions."""

    _queryset_class = SubscriptionQuerySet

    def live(self) -> SubscriptionQuerySet:
        """Keep those that have not ended."""
        return SubscriptionQuerySet.live(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def ended(self) -> SubscriptionQuerySet:
        """Keep those that have ended."""
        return SubscriptionQuerySet.ended(self.get_queryset())  # type: ignore[arg-type]  # as above

    @verb
    def start(
        self,
        *,
        plan: Plan,
        interval: str = "month",
        seats: int = 1,
        trial: bool = False,
        trial_days: int | None = None,
        period_start: datetime | None = None,
        period_end: datetime | None = None,
        provider: str = "",
        provider_customer_id: str = "",
        provider_subscription_id: str | None = None,
        provider_schedule_id: str = "",
    ) -> Subscription:
        """Subscribe the scope's organization to a plan.

        Args:
            plan (Plan): one that is offered.
            interval (str): how long a period is: one of Subscription.Interval.
            seats (int): how many seats are paid.
            trial (bool): begin with the trial, which is then the first period.
            trial_days (int | None): how long it is; None for the plan's own.
            period_start (datetime | None): None for now.
            period_end (datetime | None): None for the end of the trial, or an interval
                after the start.
            provider (str): the payment provider's name, where there is one.
            provider_customer_id (str): its key of the customer.
            provider_subscription_id (str | None): its key of the subscription.
            provider_schedule_id (str): its key of the schedule.
        Returns:
            Subscription: the saved one, on trial or active.
        Raises:
            AlreadySubscribed: a subscription to the plan's product is live.
            TrialUsed: the organization has had its trial, ever.
            PlanRefused: the plan is offered no more.
            SubscriptionConflict: the provider's key is stored already.
            ValidationError: a value is not valid; it names the field.
            ValueError: a trial of no days is asked for.
            ScopeRequired: no organization's scope is active.
        """
        alias = find_alias(self)
        organization_id = require_organization()
        take_locks(alias, organizations=[organization_id])
        plan = _find_offered(plan, using=alias)
        self._require_none_live(alias, plan.product)
        start = period_start or timezone.now()
        row = self.model(
            organization_id=organization_id,
            plan=plan,
            product=plan.product,
            status=Subscription.Status.ACTIVE,
            interval=interval,
            seats=seats,
            current_period_start=start,
            provider=provider,
            provider_customer_id=provider_customer_id,
            provider_subscription_id=provider_subscription_id,
            provider_schedule_id=provider_schedule_id,
        )
        if trial or trial_days is not None:
            self._begin_trial(row, alias, trial_days)
        row.current_period_end = period_end or row.trial_end or _add(start, interval)
        if provider_subscription_id is not None:
            self._require_free_key(row, alias)
        row.full_clean()
        _save(row, alias)
        _tell(row, alias, "subscription.started", subscription_started)
        return row

    async def astart(
        self,
        *,
        plan: Plan,
        interval: str = "month",
        seats: int = 1,
        trial: bool = False,
        trial_days: int | None = None,
        period_start: datetime | None = None,
        period_end: datetime | None = None,
        provider: str = "",
        provider_customer_id: str = "",
        provider_subscription_id: str | None = None,
        provider_schedule_id: str = "",
    ) -> Subscription:
        """See start()."""
        return await sync_to_async(self.start)(
            plan=plan,
            interval=interval,
            seats=seats,
            trial=trial,
            trial_days=trial_days,
            period_start=period_start,
            period_end=period_end,
            provider=provider,
            provider_customer_id=provider_customer_id,
            provider_subscription_id=provider_subscription_id,
            provider_schedule_id=provider_schedule_id,
        )

    @verb
    def apply_state(self, state: SubscriptionState, *, event: BillingEvent) -> bool:
        """Store what the provider says a subscription is, unless newer word is stored.

        The newest event counts. Of those that occurred at the same time, one that ends
        the subscription counts above one that does not, and then the greater event id
        above the lesser: in whatever order events arrive, the last state is the same.
        It makes the subscription where there is none; a live one of the product that
        names the provider, and has no key there yet, gets the key.

        Args:
            state (SubscriptionState): the whole of it.
            event (BillingEvent): which says so.
        Returns:
            bool: False where the stored state is newer, and stays.
        Raises:
            AlreadySubscribed: another subscription to the product is live.
            SubscriptionConflict: the provider's key is another organization's.
            ValidationError: a value is not valid; it names the field.
            ScopeRequired: no organization's scope is active.
        """
        alias = find_alias(self)
        organization_id = require_organization()
        take_locks(alias, organizations=[organization_id])
        row = self._find_stored(state, alias)
        if row is None:
            row = self.model(organization_id=organization_id)
        elif not _is_newer(event, state.status, row):
            return False
        was_new, was_live = row._state.adding, row.is_live
        row._take_state(state, event)
        if row.is_live:
            self._require_none_live(alias, row.product, besides=row)
        # Not the transitions: what the provider bills is what is stored.
        row._clean_each_field()
        row.validate_constraints()
        _save(row, alias)
        if was_new:
            _tell(row, alias, "subscription.started", subscription_started)
        if not row.is_live and (was_new or was_live):
            _tell(row, alias, "subscription.ended", subscription_ended)
        elif not was_new:
            _tell(row, alias, "subscription.changed", subscription_changed)
        return True

    async def aapply_state(
        self, state: SubscriptionState, *, event: BillingEvent
    ) -> bool:
        """See apply_state()."""
        return await sync_to_async(self.apply_state)(state, event=event)

    def _find_stored(self, state: SubscriptionState, alias: str) -> Subscription | None:
        rows = self.using(alias)
        stored = rows.filter(
            provider=state.provider,
            provider_subscription_id=state.provider_subscription_id,
        ).first()
        if stored is not None:
            return stored
        return rows.filter(
            provider=state.provider,
            provider_subscription_id__isnull=True,
            live_product=state.plan.product,
        ).first()

    def _require_none_live(
        self, alias: str, product: str, *, besides: Subscription | None = None
    ) -> None:
        live = self.using(alias).filter(live_product=product)
        if besides is not None:
            live = live.exclude(pk=besides.pk)
        if live.exists():
            raise AlreadySubscribed(
                f"The organization has a live subscription to the product {product!r}. "
                "Change its plan with change_plan(), or end it first."
            )

    def _require_free_key(self, row: Subscription, alias: str) -> None:
        stored = self.using(alias).filter(
            provider=row.provider,
            provider_subscription_id=row.provider_subscription_id,
        )
        if stored.exists():
            raise _conflict(row)

    def _begin_trial(self, row: Subscription, alias: str, days: int | None) -> None:
        days = row.plan.trial_days if days is None else days
        if days < 1:
            raise ValueError(
                f"A trial of {days} days was asked for. Pass trial_days, one or more, "
                "or set them in the plan."
            )
        if self.using(alias).filter(trial_start__isnull=False).exists():
            raise TrialUsed(
                "The organization has had its trial. Start the subscription without "
                "one."
            )
        row.status = Subscription.Status.TRIALING
        row.trial_start = row.current_period_start
        row.trial_end = row.trial_start + timedelta(days=days)


class Subscription(StampedModel, TenantModel):
    """An organization's subscription to a plan; one is live for each product.

    The statuses are Stripe's. All but "canceled" and "incomplete_expired" are live:
    the plan's limits hold for one that is past due, unpaid, paused or incomplete as
    well, so that nobody gains by not paying. Those that have ended stay, as history.
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
        "own_trial": "trial_start",
        "tenancy_subscription_end_dated": "ended_at",
        "tenancy_subscription_trial_dated": "trial_end",
        "product": "plan",
        "tenancy_subscription_provider_named": "provider",
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
    seats = models.PositiveIntegerField(
        _("seats"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_SEATS)],
    )
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
    # The provider's word is stored, which may give an organization several. A number,
    # since Django casts what it validates, and MySQL casts to no boolean.
    own_trial = models.GeneratedField(
        expression=Case(
            When(trial_start__isnull=False, last_event_at=None, then=Value(1)),
            default=None,
        ),
        output_field=models.SmallIntegerField(null=True),
        db_persist=True,
        verbose_name=_("trial that no provider told of"),
    )

    objects: ClassVar[SubscriptionManager] = SubscriptionManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        ordering = ["-created_at"]
        constraints = [
            SameValue(
                field="plan",
                to="tenancy.plan",
                value="product",
                name="tenancy_subscription_plan_product",
            ),
            SameValue(
                field="next_plan",
                to="tenancy.plan",
                value="product",
                name="tenancy_subscription_next_product",
            ),
            models.UniqueConstraint(
                fields=["organization", "live_product"],
                name="tenancy_subscription_live_once",
                violation_error_code="live_twice",
                violation_error_message=_(
                    "The organization has a live subscription to that product."
                ),
            ),
            models.UniqueConstraint(
                fields=["organization", "own_trial"],
                name="tenancy_subscription_trial_once",
                violation_error_code="trial_twice",
                violation_error_message=_("The organization has had its trial."),
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
                condition=Q(seats__gte=1, seats__lte=MAX_SEATS),
                name="tenancy_subscription_seats",
            ),
            models.CheckConstraint(
                condition=Q(current_period_end__gt=F("current_period_start")),
                name="tenancy_subscription_period_ordered",
                violation_error_code="period_order",
                violation_error_message=_("The period ends after its start."),
            ),
            models.CheckConstraint(
                condition=Q(trial_start=None, trial_end=None)
                | Q(
                    trial_start__isnull=False,
                    trial_end__isnull=False,
                    trial_end__gt=F("trial_start"),
                ),
                name="tenancy_subscription_trial_ordered",
                violation_error_code="trial_order",
                violation_error_message=_("A trial has a start, and ends after it."),
            ),
            models.CheckConstraint(
                condition=~Q(status="trialing") | Q(trial_end__isnull=False),
                name="tenancy_subscription_trial_dated",
                violation_error_code="trial_date",
                violation_error_message=_("What is on trial has the trial's end."),
            ),
            models.CheckConstraint(
                condition=(Q(status__in=ENDED) & Q(ended_at__isnull=False))
                | (~Q(status__in=ENDED) & Q(ended_at=None)),
                name="tenancy_subscription_end_dated",
                violation_error_code="end_date",
                violation_error_message=_(
                    "What has ended has the time of its end; what is live has none."
                ),
            ),
            models.CheckConstraint(
                condition=Q(cancel_at=None)
                | Q(canceled_at__isnull=False, cancel_at__gte=F("canceled_at")),
                name="tenancy_subscription_cancel_ordered",
                violation_error_code="cancel_order",
                violation_error_message=_(
                    "It ends after it was canceled; the time of that is needed."
                ),
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None)
                | Q(canceled_at=None)
                | Q(ended_at__gte=F("canceled_at")),
                name="tenancy_subscription_end_ordered",
                violation_error_code="end_order",
                violation_error_message=_("It has ended after it was canceled."),
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("product"),
                name="tenancy_subscription_product",
            ),
            models.CheckConstraint(
                condition=Q(provider_subscription_id=None)
                | (~Q(provider_subscription_id="") & ~Q(provider="")),
                name="tenancy_subscription_provider_named",
                violation_error_code="provider_name",
                violation_error_message=_(
                    "A subscription at a provider has the provider's name."
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} ({self.get_status_display()})"

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.status not in ENDED

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, with the product of the plan.

        A plan of another product cannot follow, nor can a status that is not one of
        TRANSITIONS.
        """
        errors: dict[str, list[ValidationError]] = {}
        try:
            self._clean_each_field(exclude)
        except ValidationError as error:
            errors = error.update_error_dict({})
        excluded = {*(exclude or ()), *errors}
        if "next_plan" not in excluded and not self._keeps_product():
            fault = _("Choose a plan of the same product.")
            errors["next_plan"] = [ValidationError(fault, code="product")]
        if "status" not in excluded and not self._keeps_transitions():
            fault = _("This status cannot follow the present one.")
            errors["status"] = [ValidationError(fault, code="transition")]
        if errors:
            raise ValidationError(errors)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the subscription, with the product of its plan."""
        self._fill_product()
        if "plan" in (kwargs.get("update_fields") or ()):
            kwargs["update_fields"] = {*kwargs["update_fields"], "product"}
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    @verb
    def cancel_at_period_end(self) -> None:
        """End it with the current period; again is nothing.

        A plan that was to follow is forgotten.

        Raises:
            SubscriptionEnded: it has ended.
        """
        alias = self._reread_live()
        if self.cancel_at is not None:
            return
        self.canceled_at = timezone.now()
        # The period may be over, and its successor not known yet.
        self.cancel_at = max(self.current_period_end, self.canceled_at)
        self.next_plan = None
        self._store(alias, "subscription.canceled", cancel_at=str(self.cancel_at))

    cancel_at_period_end.alters_data = True  # type: ignore[attr-defined]  # as above

    async def acancel_at_period_end(self) -> None:
        """See cancel_at_period_end()."""
        await sync_to_async(self.cancel_at_period_end)()

    @verb
    def resume(self) -> None:
        """Let it go on after cancel_at_period_end(); again is nothing.

        Raises:
            SubscriptionEnded: it has ended.
            TransitionRefused: the time of its end has come.
        """
        alias = self._reread_live()
        if self.cancel_at is None:
            return
        if self.cancel_at <= timezone.now():
            raise TransitionRefused(
                f"The subscription was to end at {self.cancel_at}, which is past. Call "
                "end(), and start another one."
            )
        self.cancel_at = self.canceled_at = None
        self._store(alias, "subscription.resumed")

    resume.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aresume(self) -> None:
        """See resume()."""
        await sync_to_async(self.resume)()

    @verb
    def change_plan(self, plan: Plan, *, at_period_end: bool = False) -> None:
        """Change the plan, at once or when the current period is over.

        Members beyond the new plan's limits stay; no more can be added.

        Args:
            plan (Plan): an offered one of the same product; the present one, at the
                period's end, takes back a change that was to come.
            at_period_end (bool): wait for advance().
        Raises:
            SubscriptionEnded: it has ended.
            PlanRefused: the plan is offered no more, or is another product's.
        """
        alias = self._reread_live()
        if plan.pk != self.plan_id:
            plan = _find_offered(plan, using=alias)
        if plan.product != self.product:
            raise PlanRefused(
                f"The plan {plan.key!r} is of the product {plan.product!r}. Choose one "
                f"of {self.product!r}, or start another subscription."
            )
        if at_period_end:
            self.next_plan = None if plan.pk == self.plan_id else plan
        else:
            self.plan, self.next_plan = plan, None
        self._store(
            alias,
            "subscription.plan_changed",
            plan=plan.key,
            at_period_end=at_period_end,
        )

    change_plan.alters_data = True  # type: ignore[attr-defined]  # as above

    async def achange_plan(self, plan: Plan, *, at_period_end: bool = False) -> None:
        """See change_plan()."""
        await sync_to_async(self.change_plan)(plan, at_period_end=at_period_end)

    @verb
    def change_seats(self, seats: int) -> None:
        """Change how many seats are paid.

        Raises:
            SubscriptionEnded: it has ended.
            SeatLimitReached: live members and pending invitations take more seats.
            ValueError: it is less than one, or more than MAX_SEATS.
        """
        if not 1 <= seats <= MAX_SEATS:
            raise ValueError(
                f"{seats!r} seats were asked for. Pass one or more, up to {MAX_SEATS}."
            )
        alias = self._reread_live()
        taken = count_members(self.organization_id, using=alias)
        taken += count_invitations(self.organization_id, using=alias)
        if seats < taken:
            raise SeatLimitReached(
                f"{taken} seats are taken. Pass as many, or remove members and revoke "
                "invitations first.",
                seats,
            )
        self._store_seats(alias, seats)

    change_seats.alters_data = True  # type: ignore[attr-defined]  # as above

    async def achange_seats(self, seats: int) -> None:
        """See change_seats()."""
        await sync_to_async(self.change_seats)(seats)

    @verb
    def follow_members(self) -> None:
        """Set the seats to the number of live members, and to one at least.

        Raises:
            SubscriptionEnded: it has ended.
        """
        alias = self._reread_live()
        members = count_members(self.organization_id, using=alias)
        self._store_seats(alias, max(1, members))

    follow_members.alters_data = True  # type: ignore[attr-defined]  # as above

    async def afollow_members(self) -> None:
        """See follow_members()."""
        await sync_to_async(self.follow_members)()

    @verb
    def change_status(self, status: str) -> None:
        """Change the status to another of the live ones; again is nothing.

        Args:
            status (str): one of Subscription.Status; end() is for the others.
        Raises:
            SubscriptionEnded: it has ended.
            TransitionRefused: the status cannot follow the present one.
        """
        alias = self._reread_live()
        if status == self.status:
            return
        has_trial = status != "trialing" or self.trial_end is not None
        if status in ENDED or not _can_follow(self.status, status) or not has_trial:
            raise TransitionRefused(
                f"The status {status!r} cannot follow {str(self.status)!r}. Call end() "
                "for the end; see tenancy.models.subscription.TRANSITIONS."
            )
        before, self.status = self.status, status
        self._store(alias, "subscription.status_changed", before=str(before))

    change_status.alters_data = True  # type: ignore[attr-defined]  # as above

    async def achange_status(self, status: str) -> None:
        """See change_status()."""
        await sync_to_async(self.change_status)(status)

    @verb
    def advance(self, period_start: datetime, period_end: datetime) -> None:
        """Begin the next period, with the plan that was to follow; again is nothing.

        One that was canceled ends instead, once its time has come; a trial that is
        over becomes active.

        Args:
            period_start (datetime): the next period's; not before the present one's.
            period_end (datetime): after the start.
        Raises:
            SubscriptionEnded: it has ended.
            TransitionRefused: the period is an earlier one.
            ValueError: the period ends before it starts.
        """
        if period_end <= period_start:
            raise ValueError(
                f"A period from {period_start} to {period_end} was given. Pass an end "
                "that is later than the start."
            )
        alias = self._reread_live()
        if (period_start, period_end) == (
            self.current_period_start,
            self.current_period_end,
        ):
            return
        if period_start < self.current_period_start:
            raise TransitionRefused(
                f"A period from {period_start} was given, and the present one began "
                f"at {self.current_period_start}. Pass the next one."
            )
        if self.cancel_at is not None and self.cancel_at <= period_start:
            self._end(alias, self.cancel_at)
            return
        self.current_period_start = period_start
        self.current_period_end = period_end
        if self.next_plan is not None:
            self.plan, self.next_plan = self.next_plan, None
        if self.status == "trialing" and self._is_trial_over(period_start):
            self.status = Subscription.Status.ACTIVE
        self._store(alias, "subscription.advanced", plan=self.plan.key)

    advance.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aadvance(self, period_start: datetime, period_end: datetime) -> None:
        """See advance()."""
        await sync_to_async(self.advance)(period_start, period_end)

    @verb
    def end(self) -> None:
        """End it now; again is nothing. It is not taken up again."""
        alias = self._reread()
        if self.is_live:
            self._end(alias, timezone.now())

    end.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aend(self) -> None:
        """See end()."""
        await sync_to_async(self.end)()

    def _clean_each_field(self, exclude: Collection[str] | None = None) -> None:
        self._fill_product()
        super().clean_fields(exclude=exclude)

    def _keeps_product(self) -> bool:
        return self.next_plan is None or self.next_plan.product == self.product

    def _keeps_transitions(self) -> bool:
        if self._state.adding:
            return True
        rows = type(self)._base_manager.using(self._state.db)
        before = rows.filter(pk=self.pk).values_list("status", flat=True).first()
        return before is None or _can_follow(before, self.status)

    def _fill_product(self) -> None:
        if self.plan_id is None:
            return
        # A key of no plan is said of the field, by clean_fields(), or refused.
        with suppress(Plan.DoesNotExist):
            self.product = self.plan.product

    def _reread(self) -> str:
        """Take the organization's lock and read the row anew; return the database."""
        require_own(self)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        self.refresh_from_db(using=alias)
        return alias

    def _reread_live(self) -> str:
        alias = self._reread()
        if not self.is_live:
            raise SubscriptionEnded(
                f"The subscription ended at {self.ended_at}. Start another one."
            )
        return alias

    def _store(self, alias: str, action: str, **details: Any) -> None:
        self.save(using=alias)
        _tell(self, alias, action, subscription_changed, **details)

    def _store_seats(self, alias: str, seats: int) -> None:
        before, self.seats = self.seats, seats
        if before != seats:
            self._store(alias, "subscription.seats_changed", before=before, seats=seats)

    def _end(self, alias: str, ended_at: datetime) -> None:
        is_begun = self.status != "incomplete"
        self.status = self.Status.CANCELED if is_begun else "incomplete_expired"
        self.canceled_at = min(self.canceled_at or ended_at, ended_at)
        self.ended_at = ended_at
        self.next_plan = None
        self.save(using=alias)
        _tell(self, alias, "subscription.ended", subscription_ended)

    def _is_trial_over(self, at: datetime) -> bool:
        return self.trial_end is None or bool(self.trial_end <= at)

    def _take_state(self, state: SubscriptionState, event: BillingEvent) -> None:
        """Take the provider's word, with the times that it leaves out."""
        self.plan, self.product = state.plan, state.plan.product
        if state.status in ENDED or self.next_plan_id == state.plan.pk:
            self.next_plan = None
        self.status, self.interval = state.status, state.interval
        self.seats = state.seats
        self.current_period_start = state.period_start
        self.current_period_end = state.period_end
        self.trial_start, self.trial_end = state.trial_start, state.trial_end
        self.ended_at = None
        if state.status in ENDED:
            self.ended_at = state.ended_at or event.occurred_at
        self.canceled_at = state.canceled_at
        if state.cancel_at is not None and state.canceled_at is None:
            self.canceled_at = min(event.occurred_at, state.cancel_at)
        self.cancel_at = state.cancel_at
        self.provider = state.provider
        self.provider_subscription_id = state.provider_subscription_id
        self.provider_customer_id = state.provider_customer_id
        self.provider_schedule_id = state.provider_schedule_id
        self.last_event_at, self.last_event_id = event.occurred_at, event.event_id


def _can_follow(before: str, after: str) -> bool:
    return before == after or after in TRANSITIONS.get(before, ())


def _is_newer(event: BillingEvent, status: str, row: Subscription) -> bool:
    """Return whether an event's word counts above the one that is stored."""
    if row.last_event_at is None:
        return True
    stored = (row.last_event_at, not row.is_live, row.last_event_id)
    return (event.occurred_at, status in ENDED, event.event_id) >= stored


def _find_offered(plan: Plan, *, using: str) -> Plan:
    active = Plan.objects.db_manager(using).active()
    found = active.filter(pk=plan.pk).first()
    if found is None:
        raise PlanRefused(
            f"The plan {plan.key!r} is not offered. Choose one of "
            "Plan.objects.active()."
        )
    return found


def _conflict(row: Subscription) -> SubscriptionConflict:
    # Whose it is, may be another organization's data.
    return SubscriptionConflict(
        f"The subscription {row.provider_subscription_id!r} of {row.provider!r} is "
        "stored already. Pass the key of another one."
    )


def _save(row: Subscription, alias: str) -> None:
    """Save it; what no other transaction of the organization can have taken is a key.

    Raises:
        SubscriptionConflict: the provider's key is another organization's.
    """
    try:
        with transaction.atomic(using=alias):
            row.save(using=alias)
    except IntegrityError:
        raise _conflict(row) from None


def _tell(
    row: Subscription, alias: str, action: str, signal: Signal, **details: Any
) -> None:
    trail = AuditEvent.objects.db_manager(alias)
    trail.record(action, row, status=str(row.status), **details)
    send_on_commit(signal, Subscription, using=alias, subscription=row)


def _add(start: datetime, interval: str) -> datetime:
    """Return the time an interval later: the same day, or the month's last."""
    if interval == "day":
        return start + timedelta(days=1)
    if interval == "week":
        return start + timedelta(weeks=1)
    months = start.month + (12 if interval == "year" else 1)
    year, month = start.year + (months - 1) // 12, (months - 1) % 12 + 1
    last = calendar.monthrange(year, month)[1]
    return start.replace(year=year, month=month, day=min(start.day, last))
