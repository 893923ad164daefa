from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.constraints import UniqueEverywhere
from tenancy.context import require_organization
from tenancy.currencies import CURRENCIES
from tenancy.documents import is_object
from tenancy.exceptions import PaymentConflict
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.immutable_model import ImmutableModel
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.policies import Immutable, Kept
from tenancy.querysets import ImmutableRows, TenantQuerySet
from tenancy.signals import purchase_recorded
from tenancy.texts import ExactCharField, has_form_of_currency
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb


class PurchaseQuerySet(ImmutableRows, TenantQuerySet["Purchase"]):
    """Purchases of the scope's organization."""


class PurchaseManager(TenantManager["Purchase"]):
    """The manager of purchases."""

    _queryset_class = PurchaseQuerySet

    @verb
    def record(
        self,
        *,
        provider: str,
        provider_payment_id: str,
        amount: int,
        currency: str,
        description: str = "",
        metadata: Mapping[str, Any] | None = None,
        purchased_at: datetime | None = None,
    ) -> Purchase:
        """Record a payment of the scope's organization; again is nothing.

        Args:
            provider (str): the payment provider's name: "stripe".
            provider_payment_id (str): its key of the payment.
            amount (int): in the currency's minor units, zero or more.
            currency (str): its code of ISO 4217, in capitals.
            description (str): what was bought.
            metadata (Mapping[str, Any] | None): what else JSON can hold.
            purchased_at (datetime | None): None for now.
        Returns:
            Purchase: the saved one; the former one, where the payment was recorded.
        Raises:
            PaymentConflict: the payment is recorded with another amount, currency,
                description or metadata, or by another organization.
            ValidationError: a value is not valid; it names the field.
            ScopeRequired: no organization's scope is active.
        """
        alias = find_alias(self)
        organization_id = require_organization()
        take_locks(alias, organizations=[organization_id])
        row = self.model(
            organization_id=organization_id,
            provider=provider,
            provider_payment_id=provider_payment_id,
            amount=amount,
            currency=currency,
            description=description,
            metadata=dict(metadata or {}),
            purchased_at=purchased_at or timezone.now(),
        )
        row.clean_fields()
        stored = self.using(alias).filter(
            provider=provider, provider_payment_id=provider_payment_id
        )
        former = stored.first()
        if former is not None:
            if not former._has_values_of(row):
                raise _conflict(row)
            return former
        try:
            with transaction.atomic(using=alias):
                row.save(using=alias, force_insert=True)
        except IntegrityError:
            # Under the organization's lock, only another one can have taken it.
            raise _conflict(row) from None
        AuditEvent.objects.db_manager(alias).record(
            "purchase.recorded", row, amount=amount, currency=currency
        )
        send_on_commit(purchase_recorded, Purchase, using=alias, purchase=row)
        return row

    async def arecord(
        self,
        *,
        provider: str,
        provider_payment_id: str,
        amount: int,
        currency: str,
        description: str = "",
        metadata: Mapping[str, Any] | None = None,
        purchased_at: datetime | None = None,
    ) -> Purchase:
        """See record()."""
        return await sync_to_async(self.record)(
            provider=provider,
            provider_payment_id=provider_payment_id,
            amount=amount,
            currency=currency,
            description=description,
            metadata=metadata,
            purchased_at=purchased_at,
        )


class Purchase(ImmutableModel, StampedModel, TenantModel):
    """A payment that was made once. It is never changed.

    The amount is in the currency's minor units: cents, pence, yen.
    """

    description = models.CharField(_("description"), max_length=500, blank=True)
    amount = models.BigIntegerField(
        _("amount in minor units"), validators=[MinValueValidator(0)]
    )
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
            Kept(name="tenancy_purchase_kept"),
            is_object("metadata", name="tenancy_purchase_metadata_kind"),
        ]

    def __str__(self) -> str:
        return self.description or self.provider_payment_id

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, the currency by the list of ISO 4217."""
        errors: dict[str, list[ValidationError]] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            errors = error.update_error_dict({})
        excluded = {*(exclude or ()), *errors}
        if "currency" not in excluded and self.currency not in CURRENCIES:
            fault = _("Give the currency's code of ISO 4217, such as EUR.")
            errors["currency"] = [ValidationError(fault, code="invalid")]
        if errors:
            raise ValidationError(errors)

    def _has_values_of(self, other: Purchase) -> bool:
        names = ("amount", "currency", "description", "metadata")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def _conflict(row: Purchase) -> PaymentConflict:
    # By which organization, may be another's data.
    return PaymentConflict(
        f"The payment {row.provider_payment_id!r} of {row.provider!r} is recorded with "
        "other values. Look for it at the provider; a purchase is never changed."
    )
