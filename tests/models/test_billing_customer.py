from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

import tenancy
from tenancy.exceptions import (
    BillingCustomerConflict,
    CrossOrganization,
    ScopeRequired,
)
from tenancy.models import (
    AuditEvent,
    Organization,
    aset_billing_customer,
    set_billing_customer,
)


@pytest.mark.django_db
def test_set_billing_customer_stores_it_once(acme: Organization) -> None:
    """The customer is stored and audited; again is nothing."""
    with tenancy.scope(acme):
        set_billing_customer(acme, "cus_1")
        set_billing_customer(acme, "cus_1")

        assert Organization.objects.get().billing_customer_id == "cus_1"
        event = AuditEvent.objects.get(action="organization.billing_customer_set")

    assert event.details == {"customer_id": "cus_1", "before": None}
    assert acme.billing_customer_id == "cus_1"


@pytest.mark.django_db
def test_set_billing_customer_when_set_is_refused(acme: Organization) -> None:
    """Another customer is taken only where it is forced."""
    with tenancy.scope(acme), transaction.atomic():
        set_billing_customer(acme, "cus_1")
        with pytest.raises(BillingCustomerConflict, match="force=True"):
            set_billing_customer(acme, "cus_2")
        assert Organization.objects.get().billing_customer_id == "cus_1"
        set_billing_customer(acme, "cus_2", force=True)

        assert Organization.objects.get().billing_customer_id == "cus_2"


@pytest.mark.django_db
def test_set_billing_customer_when_taken_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A customer of another organization is refused, and not told whose it is."""
    with tenancy.scope(acme):
        set_billing_customer(acme, "cus_1")

    with tenancy.scope(globex), transaction.atomic():
        with pytest.raises(BillingCustomerConflict, match="is taken") as caught:
            set_billing_customer(globex, "cus_1")
        assert Organization.objects.get().billing_customer_id is None

    assert "Acme" not in str(caught.value)
    assert globex.billing_customer_id is None


@pytest.mark.django_db
def test_set_billing_customer_when_unscoped_is_audited(acme: Organization) -> None:
    """A command that goes over organizations leaves its trace in each."""
    with tenancy.unscoped("import of customers"):
        set_billing_customer(acme, "cus_1")

    with tenancy.scope(acme):
        assert AuditEvent.objects.filter(action__endswith="customer_set").exists()


@pytest.mark.django_db
def test_set_billing_customer_when_not_own_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """It takes the organization's own scope, and a key."""
    with pytest.raises(ScopeRequired):
        set_billing_customer(acme, "cus_1")
    with tenancy.scope(globex), pytest.raises(CrossOrganization):
        set_billing_customer(acme, "cus_1")
    with tenancy.scope(acme), pytest.raises(ValueError, match="was given ''"):
        set_billing_customer(acme, "")


@pytest.mark.django_db(transaction=True)
def test_set_billing_customer_when_async_stores_it(acme: Organization) -> None:
    """The twin stores as well."""

    async def store() -> None:
        async with tenancy.scope(acme):
            await aset_billing_customer(acme, "cus_1")

    async_to_sync(store)()

    assert acme.billing_customer_id == "cus_1"
