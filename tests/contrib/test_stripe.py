from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from django.urls import path

import tenancy
from tenancy.contrib import stripe
from tenancy.contrib.stripe import verify_signature
from tenancy.exceptions import InvalidSignature, PlanRefused
from tenancy.models import (
    AuditEvent,
    BillingEvent,
    Organization,
    Plan,
    Purchase,
    Subscription,
    set_billing_customer,
)

pytestmark = pytest.mark.urls(__name__)

urlpatterns = [path("webhooks/stripe/", stripe.webhook)]

SECRET = "whsec_one"
MARCH = 1_772_323_200  # The first of March 2026, as Stripe counts.
MONTH = 31 * 24 * 3600

webhooks = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    """Sign with a secret that the settings know."""
    settings.TENANCY_BILLING_SECRETS = {"stripe": [SECRET]}


@pytest.fixture
def customer(acme: Organization) -> Organization:
    """The organization acme, which is Stripe's customer cus_acme."""
    Plan.objects.create(key="team", name="Team")
    with tenancy.scope(acme):
        set_billing_customer(acme, "cus_acme")
    return acme


def _sign(payload: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    stamp = str(int(time.time() if at is None else at))
    signed = stamp.encode() + b"." + payload
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def _post(
    event: Any, *, client: Client | None = None, signature: str | None = None
) -> Any:
    # The test client would raise what a server answers with 500.
    client = client or Client(enforce_csrf_checks=True, raise_request_exception=False)
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    return client.post(
        "/webhooks/stripe/",
        data=payload,
        content_type="application/json",
        headers={"Stripe-Signature": signature or _sign(payload)},
    )


def _event(type: str, described: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "type": type,
        "created": MARCH,
        "data": {"object": {"customer": "cus_acme", **described}},
        **values,
    }


def _subscription(**values: Any) -> dict[str, Any]:
    period = {
        "current_period_start": MARCH,
        "current_period_end": MARCH + MONTH,
    }
    return {
        "id": "sub_1",
        "customer": "cus_acme",
        "status": "active",
        "metadata": {"organization": "globex"},
        "items": {
            "data": [
                {
                    "quantity": 7,
                    "price": {
                        "id": "price_1",
                        "lookup_key": "team:month:eur",
                        "recurring": {"interval": "month"},
                    },
                    **period,
                }
            ]
        },
        **values,
    }


# Signatures


def test_signature_when_right_is_accepted() -> None:
    """One right signature of one of the secrets is enough."""
    payload = b'{"id": "evt_1"}'
    header = f"{_sign(payload, secret='old')},v1=00,v0=11"

    verify_signature(payload, header, secrets=["new", "old"])
    verify_signature(payload, _sign(payload))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1=00",
        "t=,v1=00",
        "t=-1,v1=00",
        "t=²,v1=00",
        f"t={'9' * 5000},v1=00",
        "t=1,t=2,v1=00",
        "nonsense",
    ],
)
def test_signature_when_header_is_malformed_is_refused(header: str) -> None:
    """A header that states no time, or two, is refused."""
    with pytest.raises(InvalidSignature, match="states no time"):
        verify_signature(b"{}", header)


@pytest.mark.parametrize(
    "forge",
    [
        lambda right: right.replace("v1=", "v0="),
        lambda right: right[:-1] + ("0" if right[-1] != "0" else "1"),
        lambda right: right.partition(",")[0],
        lambda right: right.partition(",")[0] + ",v1=é",
    ],
    ids=["other scheme", "other digest", "no digest", "no hexadecimal"],
)
def test_signature_when_wrong_is_refused(forge: Any) -> None:
    """Another scheme, another digest and no digest are refused."""
    with pytest.raises(InvalidSignature, match="no signature of a known secret"):
        verify_signature(b"{}", forge(_sign(b"{}")))


def test_signature_when_payload_or_secret_differs_is_refused() -> None:
    """The signature is of these bytes, by this secret."""
    with pytest.raises(InvalidSignature):
        verify_signature(b"{ }", _sign(b"{}"))
    with pytest.raises(InvalidSignature):
        verify_signature(b"{}", _sign(b"{}", secret="whsec_two"))


@pytest.mark.parametrize("seconds", [-301, 301])
def test_signature_when_time_is_far_is_refused(seconds: int) -> None:
    """A signature is good for five minutes in either direction, or as is said."""
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        near = _sign(b"{}", at=time.time() + seconds * 300 / 301)
        far = _sign(b"{}", at=time.time() + seconds)
        verify_signature(b"{}", near)
        verify_signature(b"{}", far, tolerance=timedelta(minutes=6))

        with pytest.raises(InvalidSignature, match="too far from now"):
            verify_signature(b"{}", far)


@pytest.mark.parametrize("secrets", [{}, {"stripe": []}, {"stripe": [""]}])
def test_signature_when_there_is_no_secret_raises(secrets: Any) -> None:
    """Without a secret nothing is accepted; an empty one is none."""
    with (
        override_settings(TENANCY_BILLING_SECRETS=secrets),
        pytest.raises(ImproperlyConfigured, match="TENANCY_BILLING_SECRETS"),
    ):
        verify_signature(b"{}", _sign(b"{}", secret=""))


# The webhook


@webhooks
def test_webhook_stores_subscription(
    customer: Organization, globex: Organization
) -> None:
    """The subscription is the stored customer's, whatever the metadata says."""
    answer = _post(_event("customer.subscription.created", _subscription()))

    assert answer.status_code == 200
    with tenancy.scope(customer):
        stored = Subscription.objects.get()
    assert (stored.plan.key, stored.status, stored.seats) == ("team", "active", 7)
    assert stored.current_period_end == datetime.fromtimestamp(MARCH + MONTH, UTC)
    with tenancy.scope(globex):
        assert not Subscription.objects.exists()


@webhooks
def test_webhook_follows_subscription_to_its_end(customer: Organization) -> None:
    """Updates and the deletion are stored in the form of older versions too."""
    described = _subscription(
        customer={"id": "cus_acme"},
        status="trialing",
        trial_start=MARCH,
        trial_end=MARCH + 60,
        current_period_start=MARCH,
        current_period_end=MARCH + 60,
    )
    item = described["items"]["data"][0]
    del item["current_period_start"], item["current_period_end"], item["quantity"]
    _post(_event("customer.subscription.updated", described))
    with tenancy.scope(customer):
        trial = Subscription.objects.get()
    ended = _subscription(status="canceled", ended_at=MARCH + 9, canceled_at=MARCH + 8)
    _post(_event("customer.subscription.deleted", ended, id="evt_2", created=MARCH + 9))

    with tenancy.scope(customer):
        stored = Subscription.objects.get()
    assert (trial.status, trial.seats) == ("trialing", 1)
    assert (stored.pk, stored.status) == (trial.pk, "canceled")
    assert stored.ended_at == datetime.fromtimestamp(MARCH + 9, UTC)


@webhooks
def test_webhook_when_event_fails_answers_500(customer: Organization) -> None:
    """Stripe is told to send it again; the event is kept, and then applied."""
    Plan.objects.update(key="later")
    event = _event("customer.subscription.created", _subscription())

    first = _post(event)
    with pytest.raises(PlanRefused, match="names no plan"):
        _post(event, client=Client())
    Plan.objects.update(key="team")
    second = _post(event)

    assert (first.status_code, second.status_code) == (500, 200)
    stored = BillingEvent.objects.get()
    assert (stored.status, stored.attempts) == ("applied", 3)


@webhooks
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": {"object": []}}',
        b'{"data": {"object": {"customer": {}}}, "id": 1, "type": 2, "created": 3}',
        b'{"data": {"object": {}}, "id": 1, "type": 2, "created": 1e300}',
        b'{"data": {"object": {}}, "id": "1", "type": "2", "created": 1e18}',
        b"[" * 100_000,
    ],
)
def test_webhook_when_body_is_no_event_answers_400(body: bytes) -> None:
    """What is signed and is no event is refused, and not written down."""
    assert _post(body).status_code == 400
    assert not BillingEvent.objects.exists()


@webhooks
def test_webhook_when_event_cannot_be_stored_answers_400(
    customer: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    """What no database keeps is logged and refused, and leaves nothing behind."""
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    strange = [
        _event("invoice.paid", {"id": "in_\0"}),
        _event("invoice.paid", {"id": "in_1", "note\0": 1}),
        _event("invoice.paid", {"id": "\ud800"}),
        _event("invoice.paid", {"id": "in_1", "total": float("nan")}),
        _event("invoice.paid", {"id": "in_1", "total": float("inf")}),
        _event("invoice.paid", {"id": "in_1", "total": 2**63}),
        _event("invoice.paid", {"id": "in_1", "deep": deep}),
        _event("invoice.paid", {"customer": "c" * 256}),
        _event("invoice.paid", {}, id="e" * 256),
        _event("invoice.paid", {}, id="evt_\0"),
        _event("invoice.paid", {}, id=""),
        _event("t" * 101, {}),
        _event("", {}),
        _event("invoice.paid", {}, created=-62_135_596_800),
    ]

    statuses = [_post(event).status_code for event in strange]

    assert statuses == [400] * len(strange)
    assert not BillingEvent.objects.exists()
    assert "cannot be stored, for its payload" in caplog.text
    assert "cannot be stored, for its event_id" in caplog.text


@webhooks
def test_webhook_when_subscription_cannot_be_stored_keeps_event(
    customer: Organization,
) -> None:
    """A key that is too long for the subscription fails, and the event is kept."""
    described = _subscription(id="s" * 300)

    answer = _post(_event("customer.subscription.created", described))

    assert answer.status_code == 500
    assert BillingEvent.objects.get().status == "failed"
    with tenancy.scope(customer):
        assert not Subscription.objects.exists()


@webhooks
def test_webhook_when_not_signed_answers_400(customer: Organization) -> None:
    """What nobody signed is refused, and not written down."""
    event = _event("customer.subscription.created", _subscription())

    answer = _post(event, signature=_sign(b"{}"))

    assert answer.status_code == 400
    assert not BillingEvent.objects.exists()
    assert Client().get("/webhooks/stripe/").status_code == 405


@webhooks
def test_webhook_when_requests_are_atomic_applies(
    customer: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view is exempt from ATOMIC_REQUESTS, so that a failure is kept."""
    from django.db import connection

    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    answer = _post(_event("customer.subscription.created", _subscription()))

    assert answer.status_code == 200


@webhooks
def test_webhook_records_paid_checkout(customer: Organization) -> None:
    """A checkout that was paid is a purchase, once; others are none."""
    paid = {
        "id": "cs_1",
        "mode": "payment",
        "payment_status": "paid",
        "payment_intent": "pi_1",
        "amount_total": 4900,
        "currency": "eur",
    }
    _post(_event("checkout.session.completed", paid))
    _post(
        _event("checkout.session.async_payment_succeeded", paid, id="evt_2"),
    )
    _post(
        _event("checkout.session.completed", {**paid, "mode": "setup"}, id="evt_3"),
    )

    with tenancy.scope(customer):
        purchase = Purchase.objects.get()
    assert (purchase.amount, purchase.currency) == (4900, "EUR")
    assert purchase.provider_payment_id == "pi_1"
    assert set(BillingEvent.objects.values_list("status", flat=True)) == {"applied"}


@webhooks
def test_webhook_audits_invoices_and_ignores_the_rest(customer: Organization) -> None:
    """An invoice is written into the trail; what is not handled is settled."""
    _post(_event("invoice.paid", {"id": "in_1", "status": "paid"}))
    _post(_event("product.created", {}, id="evt_2"))

    with tenancy.scope(customer):
        assert AuditEvent.objects.get(action="invoice.paid").details == {
            "invoice": "in_1",
            "status": "paid",
        }
    assert BillingEvent.objects.get(event_id="evt_2").status == "ignored"
