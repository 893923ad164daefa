from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug


class Plan(StampedModel):
    """What an organization can subscribe to: limits and prices, of one product.

    Plans of the same product take each other's place; an organization has one live
    subscription to each product. The limits are numbers by name ("members",
    "invitations", "teams"); a name left out is not limited by the plan.
    """

    key = ExactCharField(_("key"), max_length=63, unique=True, validators=[SLUG])
    name = models.CharField(_("name"), max_length=100)
    product = ExactCharField(
        _("product"), max_length=63, default="main", validators=[SLUG]
    )
    limits = models.JSONField(_("limits"), default=dict, blank=True)
    prices = models.JSONField(_("prices"), default=dict, blank=True)
    trial_days = models.PositiveSmallIntegerField(_("days of trial"), default=0)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        ordering = ["product", "name"]
        constraints = [
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
                condition=Q(trial_days__gte=0), name="tenancy_plan_trial_days"
            ),
        ]

    def __str__(self) -> str:
        return self.name
