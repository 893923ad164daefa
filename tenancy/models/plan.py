from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models, router
from django.db.models import ProtectedError, Q
from django.utils.translation import gettext_lazy as _

from tenancy.context import LookUp, look_up
from tenancy.currencies import CURRENCIES
from tenancy.documents import is_object
from tenancy.exceptions import PlanInUse
from tenancy.models.stamped_model import StampedModel
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug

INTERVALS = ("day", "week", "month", "year")

MAX_TRIAL_DAYS = 32_767
"""The most days that every database's small integer holds."""


class PlanQuerySet(models.QuerySet["Plan", "Plan"]):
    """Plans, which are no organization's."""

    def active(self) -> PlanQuerySet:
        """Keep those that are offered."""
        return self.filter(is_active=True)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the plans, none of which any organization subscribes to.

        Raises:
            ProtectedError: an organization does, or did.
            ScopeRequired: no scope is active; plans are deleted unscoped.
        """
        _refuse_deletion(self.db, list(self.values_list("pk", flat=True)))
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]  # Django's own habit
    delete.queryset_only = True  # type: ignore[attr-defined]  # as above


class PlanManager(models.Manager["Plan"]):
    """The manager of plans."""

    _queryset_class = PlanQuerySet

    def active(self) -> PlanQuerySet:
        """Keep those that are offered."""
        return PlanQuerySet.active(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class


class Plan(StampedModel):
    """What an organization can subscribe to: limits and prices, of one product.

    Plans of the same product take each other's place; an organization has one live
    subscription to each product. The limits are whole numbers by name ("members",
    "invitations", "teams"); a name left out, or None, is not limited by the plan. The
    prices are amounts in minor units by interval and currency:
    ``{"month": {"EUR": 1200, "JPY": 1500}}``.
    """

    key = ExactCharField(_("key"), max_length=63, unique=True, validators=[SLUG])
    name = models.CharField(_("name"), max_length=100)
    product = ExactCharField(
        _("product"), max_length=63, default="main", validators=[SLUG]
    )
    limits = models.JSONField(_("limits"), default=dict, blank=True)
    prices = models.JSONField(_("prices"), default=dict, blank=True)
    trial_days = models.PositiveSmallIntegerField(
        _("days of trial"), default=0, validators=[MaxValueValidator(MAX_TRIAL_DAYS)]
    )
    is_active = models.BooleanField(_("active"), default=True)

    objects: ClassVar[PlanManager] = PlanManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        ordering = ["product", "name"]
        constraints = [
            # To which a subscription's plan and product refer together.
            models.UniqueConstraint(
                fields=["id", "product"], name="tenancy_plan_product_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("key"), name="tenancy_plan_key_formed"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("product"),
                name="tenancy_plan_product_formed",
            ),
            models.CheckConstraint(
                condition=~Q(name=""), name="tenancy_plan_name_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(trial_days__gte=0, trial_days__lte=MAX_TRIAL_DAYS),
                name="tenancy_plan_trial_days",
            ),
            is_object("limits", name="tenancy_plan_limits_kind"),
            is_object("prices", name="tenancy_plan_prices_kind"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, the limits and the prices name by name."""
        errors: dict[str, list[ValidationError]] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            errors = error.update_error_dict({})
        found = {
            "limits": _find_fault_of_limits(self.limits),
            "prices": _find_fault_of_prices(self.prices),
            "product": _PRODUCT_KEPT if self._leaves_product() else None,
        }
        for name, fault in found.items():
            if fault is not None and name not in (exclude or ()) and name not in errors:
                errors[name] = [ValidationError(fault, code="invalid")]
        if errors:
            raise ValidationError(errors)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the plan.

        Raises:
            PlanInUse: the product is another one, and subscriptions refer to the plan.
        """
        if self._leaves_product():
            raise PlanInUse(
                f"The product of the plan {self.key!r} was changed, and subscriptions "
                "refer to it. Make another plan."
            )
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the plan, to which no organization subscribes.

        Raises:
            ProtectedError: an organization does, or did.
            ScopeRequired: no scope is active; plans are deleted unscoped.
        """
        alias = kwargs.get("using") or router.db_for_write(Plan, instance=self)
        _refuse_deletion(alias, [self.pk])
        return super().delete(*args, **kwargs)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above

    def _leaves_product(self) -> bool:
        if self._state.adding:
            return False
        alias = self._state.db or router.db_for_write(Plan, instance=self)
        stored = Plan._base_manager.using(alias).filter(pk=self.pk)
        before = stored.values_list("product", flat=True).first()
        return before not in (None, self.product) and _is_used(alias, [self.pk])


_PRODUCT_KEPT = _("Subscriptions refer to the plan, whose product stays.")


def _is_used(alias: str, keys: list[Any]) -> bool:
    # It refers to plans, and so stands above this file.
    subscriptions: Any = apps.get_model("tenancy", "Subscription")._base_manager
    with look_up(LookUp.PLAN_USE):
        rows = subscriptions.using(alias)
        return bool(rows.filter(Q(plan__in=keys) | Q(next_plan__in=keys)).exists())


def _refuse_deletion(alias: str, keys: list[Any]) -> None:
    """Refuse to delete plans to which any organization subscribes.

    Django's own PROTECT sees the scope's subscriptions only, and names them.
    """
    if _is_used(alias, keys):
        raise ProtectedError(
            "Subscriptions refer to the plan. Set 'is_active' to False, so that it is "
            "offered no more.",
            set(),
        )


def _find_fault_of_limits(limits: Any) -> Any:
    """Return what is wrong with the limits, or None."""
    if not isinstance(limits, dict):
        return _("Give the limits as an object, of numbers by name.")
    for name, limit in limits.items():
        if not isinstance(name, str) or not name:
            return _("Give each limit a name.")
        if limit is not None and not _is_amount(limit):
            return _("Give each limit as a whole number, zero or more, or null.")
    return None


def _find_fault_of_prices(prices: Any) -> Any:
    """Return what is wrong with the prices, or None."""
    if not isinstance(prices, dict) or not all(
        isinstance(amounts, dict) for amounts in prices.values()
    ):
        return _("Give the prices as objects of amounts, by interval and currency.")
    if not set(prices) <= set(INTERVALS):
        return _("Give the prices by day, week, month or year.")
    for amounts in prices.values():
        if not set(amounts) <= CURRENCIES:
            return _("Give the amounts by the currency's code of ISO 4217.")
        if not all(_is_amount(amount) for amount in amounts.values()):
            return _("Give each amount in minor units: a whole number, zero or more.")
    return None


def _is_amount(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
