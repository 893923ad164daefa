"""The customer of a payment provider that an organization is."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import IntegrityError, models, transaction

from tenancy import conf
from tenancy.context import LookUp, look_up, scope
from tenancy.exceptions import BillingCustomerConflict, UnknownBillingCustomer
from tenancy.models.audit_event import AuditEvent
from tenancy.querysets import require_own
from tenancy.transactions import find_alias, take_locks, verb


@verb
def set_billing_customer(
    organization: models.Model, customer_id: str, *, force: bool = False
) -> None:
    """Say which customer of the payment provider an organization is; again is nothing.

    Args:
        organization (AbstractOrganization): the scope's own.
        customer_id (str): the provider's key of the customer.
        force (bool): put it in another one's place.
    Raises:
        ValueError: the key is empty.
        BillingCustomerConflict: the organization has another customer, and it is not
            forced; or the customer is taken.
        ScopeRequired: no scope is active.
        CrossOrganization: it is another organization than the scope's.
    """
    if not customer_id:
        raise ValueError(
            f"set_billing_customer() was given {customer_id!r}. Pass the key that the "
            "payment provider gave the customer."
        )
    require_own(organization)
    # Where the caller is unscoped, too, the audit trail needs the organization.
    with scope(organization):
        _set(organization, customer_id, force=force)
    organization.billing_customer_id = customer_id  # type: ignore[attr-defined]  # AbstractOrganization's field


async def aset_billing_customer(
    organization: models.Model, customer_id: str, *, force: bool = False
) -> None:
    """See set_billing_customer()."""
    await sync_to_async(set_billing_customer)(organization, customer_id, force=force)


def find_billing_customer(customer_id: str, *, using: str) -> models.Model:
    """Return the organization that is a payment provider's customer.

    Raises:
        UnknownBillingCustomer: there is none.
    """
    model: Any = apps.get_model(conf.organization_model())  # AbstractOrganization's.
    found: models.Model | None
    with look_up(LookUp.BILLING_CUSTOMER):
        rows = model._base_manager.using(using)
        found = rows.filter(billing_customer_id=customer_id).first()
    if found is None or not customer_id:
        raise UnknownBillingCustomer(
            f"No organization has the billing customer {customer_id!r}. Name it with "
            "set_billing_customer(), and run 'retry_billing_events'."
        )
    return found


def _set(organization: models.Model, customer_id: str, *, force: bool) -> None:
    alias = find_alias(organization)
    take_locks(alias, organizations=[organization.pk])
    rows: Any = type(organization)._base_manager.using(alias)
    before = rows.get(pk=organization.pk).billing_customer_id
    if before == customer_id:
        return
    if before is not None and not force:
        raise BillingCustomerConflict(
            "The organization has another billing customer. Pass force=True to put "
            "this one in its place."
        )
    try:
        with transaction.atomic(using=alias):
            rows.filter(pk=organization.pk).update(billing_customer_id=customer_id)
    except IntegrityError:
        # Whose it is, is another organization's data.
        raise BillingCustomerConflict(
            f"The billing customer {customer_id!r} is taken. Make another one at the "
            "payment provider."
        ) from None
    AuditEvent.objects.db_manager(alias).record(
        "organization.billing_customer_set",
        organization,
        customer_id=customer_id,
        before=before,
    )
