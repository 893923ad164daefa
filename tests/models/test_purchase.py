from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import connections, transaction

import tenancy
from tenancy.exceptions import PaymentConflict, ScopeRequired
from tenancy.models import AuditEvent, Organization, Purchase
from tenancy.signals import purchase_recorded

MANY = 16


def _record(**values: Any) -> Purchase:
    return Purchase.objects.record(
        **{
            "provider": "stripe",
            "provider_payment_id": "pi_1",
            "amount": 1200,
            "currency": "EUR",
            **values,
        }
    )


@pytest.mark.django_db(transaction=True)
def test_record_keeps_payment_once(acme: Organization) -> None:
    """A payment that is recorded again is the former purchase, with one signal."""
    sent = []

    def note(purchase: Purchase, **kwargs: Any) -> None:
        sent.append((purchase.pk, tenancy.require_organization()))

    purchase_recorded.connect(note)
    try:
        with tenancy.scope(acme):
            first = _record(metadata={"order": 7})
            again = _record(metadata={"order": 7})
            recorded = AuditEvent.objects.filter(action="purchase.recorded").count()
    finally:
        purchase_recorded.disconnect(note)

    assert again.pk == first.pk
    assert str(first) == "pi_1"
    assert recorded == 1
    assert sent == [(first.pk, acme.pk)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        {"amount": 1201},
        {"currency": "USD"},
        {"description": "A hat"},
        {"metadata": {"order": 8}},
    ],
)
def test_record_when_values_differ_is_refused(
    acme: Organization, values: dict[str, Any]
) -> None:
    """A recorded payment does not take other values."""
    with tenancy.scope(acme), transaction.atomic():
        _record()
        with pytest.raises(PaymentConflict, match="'pi_1' of 'stripe' is recorded"):
            _record(**values)

        assert Purchase.objects.get().amount == 1200


@pytest.mark.django_db
def test_record_when_another_organization_has_it_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A payment of another organization is refused, and nobody is told whose it is."""
    with tenancy.scope(acme):
        _record()

    with tenancy.scope(globex), transaction.atomic():
        with pytest.raises(PaymentConflict) as caught:
            _record()
        assert Purchase.objects.count() == 0

    assert str(acme.pk) not in str(caught.value)
    assert "Acme" not in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", -1),
        ("amount", "much"),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("currency", "EURO"),
        ("provider", ""),
        ("provider_payment_id", ""),
    ],
)
def test_record_when_value_is_not_valid_names_field(
    acme: Organization, field: str, value: Any
) -> None:
    """A negative amount, or a currency that there is not, is said of its field."""
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        _record(**{field: value})

    assert set(caught.value.message_dict) == {field}


@pytest.mark.django_db
def test_record_when_in_no_scope_raises(acme: Organization) -> None:
    """A purchase is some organization's."""
    with pytest.raises(ScopeRequired):
        _record()


@pytest.mark.django_db(transaction=True)
def test_record_when_async_keeps_payment(acme: Organization) -> None:
    """The twin records as well."""

    async def record() -> Purchase:
        async with tenancy.scope(acme):
            return await Purchase.objects.arecord(
                provider="stripe", provider_payment_id="pi_2", amount=0, currency="JPY"
            )

    assert async_to_sync(record)().currency == "JPY"


@pytest.mark.django_db(transaction=True)
def test_record_when_raced_keeps_one(acme: Organization, globex: Organization) -> None:
    """Of sixteen at once, half for each organization, one organization has it."""
    barrier = threading.Barrier(MANY, timeout=60)

    def record(organization: Organization) -> Any:
        try:
            barrier.wait()
            with tenancy.scope(organization):
                return _record().pk
        except PaymentConflict as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(MANY) as pool:
        results = list(pool.map(record, [acme, globex] * (MANY // 2)))

    refused = [each for each in results if isinstance(each, PaymentConflict)]
    assert len(refused) == MANY // 2
    assert len(set(results) - set(refused)) == 1
    with tenancy.unscoped("all purchases"):
        assert Purchase.objects.count() == 1
