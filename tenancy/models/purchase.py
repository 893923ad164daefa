from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.constraints import UniqueEverywhere
from tenancy.managers import TenantManager
from tenancy.models.immutable_model import ImmutableModel
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.policies import Immutable
from tenancy.querysets import ImmutableRows, TenantQuerySet
from tenancy.texts import ExactCharField, has_form_of_currency


class PurchaseQuerySet(ImmutableRows, TenantQuerySet["Purchase"]):
    """Purchases of the scope's organization."""


class PurchaseManager(TenantManager["Purchase"]):
    """The manager of purchases."""

    _queryset_class = PurchaseQuerySet


class Purchase(ImmutableModel, StampedModel, TenantModel):
    """A payment that was made once. It is never changed.

    The amount is in the currency's minor units: cents, pence, yen.
    """

    description = models.CharField(_("description"), max_length=500, blank=True)
    amount = models.BigIntegerField(_("amount in minor units"))
    currency = ExactCharField(_("currency"), max_length=3)
    provider = ExactCharField(_("provider"), max_length=63)
    provider_payment_id = ExactCharField(_("payment at the provider"), max_length=255)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    purchased_at = models.DateTimeField(_("purchased at"), default=timezone.now)

    objects: ClassVar[PurchaseManager] = PurchaseManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("purchase")
        verbose_name_plural = _("purchases")
        ordering = ["-purchased_at"]
        constraints = [
            UniqueEverywhere(
                fields=["provider", "provider_payment_id"],
                name="tenancy_purchase_once",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=0), name="tenancy_purchase_amount"
            ),
            models.CheckConstraint(
                condition=has_form_of_currency("currency"),
                name="tenancy_purchase_currency",
            ),
            models.CheckConstraint(
                condition=~Q(provider="") & ~Q(provider_payment_id=""),
                name="tenancy_purchase_provider_named",
            ),
            Immutable(name="tenancy_purchase_immutable"),
        ]

    def __str__(self) -> str:
        return self.description or self.provider_payment_id
