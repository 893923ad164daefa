from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import (
    REFUSALS,
    ActingAdmin,
    ActionForm,
    RowAction,
    add_refusal,
)
from tenancy.admin.base import (
    ReadOnlyAdmin,
    SuperuserAdmin,
    TenantAdmin,
    is_superuser,
)
from tenancy.models import Organization, Plan, Subscription

HELP_TEXTS = {
    "product": _(
        "Plans of one product take each other's place; an organization has one live "
        "subscription to each product."
    ),
    "is_active": _("Whether it is offered. Subscriptions that it has go on."),
    "limits": _(
        'Whole numbers by name: {"members": 20, "teams": null}. What is left out, or '
        "null, is not limited by the plan."
    ),
    "prices": _(
        "Amounts in minor units, such as cents, by interval and currency: "
        '{"month": {"EUR": 1200}}.'
    ),
}


class PlanAdmin(SuperuserAdmin):
    """The admin of plans, which superusers offer."""

    list_display = ("name", "key", "product", "trial_days", "is_active")
    list_filter = ("is_active", "product")
    search_fields = ("name", "key", "product")
    ordering = ("product", "name")
    readonly_fields = ("created_at", "updated_at")
    prepopulated_fields: ClassVar[Any] = {"key": ("name",)}
    fields = (
        "name",
        "key",
        "product",
        "is_active",
        "trial_days",
        "limits",
        "prices",
        "created_at",
        "updated_at",
    )

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, which says how limits and prices are written."""
        kwargs["help_texts"] = {
            **HELP_TEXTS,
            **(kwargs.get("help_texts") or {}),
        }
        return super().get_form(request, obj, change=change, **kwargs)


class PlanForm(ActionForm):
    plan: Any = forms.ModelChoiceField(label=_("Plan"), queryset=None)  # of a form

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plans = Plan.objects.active()
        if self.row is not None:
            plans = plans.filter(product=self.row.product)
        self.fields["plan"].queryset = plans  # type: ignore[attr-defined]  # it is a choice of rows


class StartForm(PlanForm):
    interval = forms.ChoiceField(
        label=_("Billing interval"),
        choices=Subscription.Interval.choices,
        initial=Subscription.Interval.MONTH,
    )
    seats = forms.IntegerField(label=_("Seats"), min_value=1, initial=1)
    trial = forms.BooleanField(label=_("Begin with the trial"), required=False)

    def clean(self) -> Any:  # As Django's.
        """Refuse a trial of a plan that has none."""
        plan = self.cleaned_data.get("plan")
        if self.cleaned_data.get("trial") and plan is not None and not plan.trial_days:
            message = _("The plan has no trial.")
            raise ValidationError({"trial": ValidationError(message, code="trial")})
        return super().clean()


class ChangePlanForm(PlanForm):
    at_period_end = forms.BooleanField(
        label=_("Only when the current period is over"), required=False
    )


class SeatsForm(ActionForm):
    seats = forms.IntegerField(label=_("Seats"), min_value=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.row is not None:
            self.fields["seats"].initial = self.row.seats


def _cancel(request: HttpRequest, subscription: Any, data: dict[str, Any]) -> None:
    subscription.cancel_at_period_end()


def _resume(request: HttpRequest, subscription: Any, data: dict[str, Any]) -> None:
    subscription.resume()


def _change_plan(request: HttpRequest, subscription: Any, data: dict[str, Any]) -> None:
    subscription.change_plan(data["plan"], at_period_end=data["at_period_end"])


def _change_seats(
    request: HttpRequest, subscription: Any, data: dict[str, Any]
) -> None:
    subscription.change_seats(data["seats"])


def _end(request: HttpRequest, subscription: Any, data: dict[str, Any]) -> None:
    subscription.end()


def _is_live(subscription: Any) -> bool:
    return bool(subscription.is_live)


class SubscriptionAdmin(ActingAdmin, TenantAdmin):
    """The admin of subscriptions, which superusers start, change and end by the verbs.

    An organization's own staff reads them: what it pays is not theirs to say.
    """

    list_display = ("plan", "status", "interval", "seats", "current_period_end")
    list_filter = (
        "status",
        # Of other organizations' plans, even the names may tell.
        ("plan", admin.RelatedOnlyFieldListFilter),
        "interval",
        "current_period_end",
    )
    list_select_related = ("plan",)
    search_fields = ("plan__name", "plan__key", "=provider_subscription_id")
    ordering = ("-created_at",)
    date_hierarchy = "current_period_end"
    fields = (
        "plan",
        "next_plan",
        "product",
        "status",
        "interval",
        "seats",
        ("current_period_start", "current_period_end"),
        ("trial_start", "trial_end"),
        ("canceled_at", "cancel_at", "ended_at"),
        "provider",
        "provider_customer_id",
        "provider_subscription_id",
        "provider_schedule_id",
        ("created_at", "updated_at"),
    )
    row_actions = (
        RowAction(
            name="change_plan",
            label=_("Change plan"),
            question=_("To which plan? Members beyond its limits stay."),
            run=_change_plan,
            form=ChangePlanForm,
            applies=_is_live,
            takes_many=False,
            is_for_superusers=True,
        ),
        RowAction(
            name="change_seats",
            label=_("Change seats"),
            question=_("How many seats are paid?"),
            run=_change_seats,
            form=SeatsForm,
            applies=_is_live,
            takes_many=False,
            is_for_superusers=True,
        ),
        RowAction(
            name="cancel",
            label=_("Cancel at the period's end"),
            question=_("Let it end with the current period?"),
            run=_cancel,
            applies=lambda row: row.is_live and row.cancel_at is None,
            is_danger=True,
            is_for_superusers=True,
        ),
        RowAction(
            name="resume",
            label=_("Resume"),
            question=_("Let it go on?"),
            run=_resume,
            applies=lambda row: row.is_live and row.cancel_at is not None,
            is_for_superusers=True,
        ),
        RowAction(
            name="end",
            label=_("End now"),
            question=_("End it at once? At the provider it is to be ended too."),
            run=_end,
            applies=_is_live,
            is_danger=True,
            is_for_superusers=True,
        ),
    )
    # What the page to add asks; it has a row only afterwards.
    start_action = RowAction(
        name="start",
        label=_("Start subscription"),
        question=_("To which plan does the organization subscribe?"),
        run=_end,
        form=StartForm,
    )

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:  # As Django's.
        """Start a subscription, by the verb."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = StartForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                made = Subscription.objects.start(**form.cleaned_data)
            except REFUSALS as refusal:
                add_refusal(form, refusal)
            else:
                self.message_user(request, _("Done: %s.") % made)
                return HttpResponseRedirect(self._find_page(made))
        return self.ask(request, self.start_action, form, back=self._find_list())

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let superusers start subscriptions."""
        return is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change by a form what the verbs change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete what is history."""
        return False


class PurchaseAdmin(ReadOnlyAdmin, TenantAdmin):
    """The admin of purchases, which are written once."""

    list_display = ("__str__", "amount", "currency", "provider", "purchased_at")
    list_filter = ("currency", "provider", "purchased_at")
    search_fields = ("description", "=provider_payment_id")
    ordering = ("-purchased_at",)
    date_hierarchy = "purchased_at"
    fields = (
        "description",
        "amount",
        "currency",
        "provider",
        "provider_payment_id",
        "metadata",
        "purchased_at",
        "created_at",
    )


def _apply(request: HttpRequest, event: Any, data: dict[str, Any]) -> None:
    try:
        event.apply()
    except Exception as error:
        # Any fault of the provider's handler; the event keeps its text.
        text = _("It failed again: %s") % type(error).__name__
        raise ValidationError(text, code="failed") from error


class BillingEventAdmin(ActingAdmin, ReadOnlyAdmin, SuperuserAdmin):
    """What payment providers told; not the whole of it, which may hold addresses."""

    list_display = (
        "type",
        "provider",
        "status",
        "attempts",
        "occurred_at",
        "settled_at",
    )
    list_filter = ("status", "provider", "type", "occurred_at")
    search_fields = ("=event_id", "=customer_id", "type")
    ordering = ("-occurred_at",)
    date_hierarchy = "occurred_at"
    secret_fields = ("payload",)
    fields = (
        "provider",
        "type",
        "event_id",
        "customer_id",
        "status",
        "attempts",
        "error",
        "occurred_at",
        "received_at",
        "settled_at",
    )
    row_actions = (
        RowAction(
            name="apply",
            label=_("Apply again"),
            question=_("Apply it again? What was applied is not applied twice."),
            run=_apply,
            applies=lambda event: not event.is_settled,
            is_for_superusers=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the events, without what they hold."""
        return super().get_queryset(request).defer("payload")

    def narrow(self, rows: QuerySet[Any], organization_id: Any) -> QuerySet[Any]:
        """Keep those of the organization's billing customer."""
        own = Organization.objects.filter(pk=organization_id)
        customer = own.values_list("billing_customer_id", flat=True).first()
        return rows.filter(customer_id=customer) if customer else rows.none()
