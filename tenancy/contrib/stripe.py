"""Stripe's events, with no need of Stripe's own package.

In the project's settings::

    TENANCY_BILLING_HANDLERS = ["tenancy.contrib.stripe"]
    TENANCY_BILLING_SECRETS = {"stripe": [env("STRIPE_WEBHOOK_SECRET")]}

and in its addresses ``path("webhooks/stripe/", tenancy.contrib.stripe.webhook)``. A
price's lookup key at Stripe is the plan's key, which may be followed by a colon and
more: ``team:month:eur``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import BadRequest, ImproperlyConfigured, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tenancy import conf
from tenancy.billing import billing_handler
from tenancy.exceptions import InvalidSignature, PlanRefused
from tenancy.models import AuditEvent, BillingEvent, Plan, Purchase, Subscription
from tenancy.models.subscription import SubscriptionState

PROVIDER = "stripe"

TOLERANCE = timedelta(minutes=5)
"""How far the clocks may be apart, in either direction."""

Json = dict[str, Any]  # An object of Stripe's, whose form its documentation tells.


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def webhook(request: HttpRequest) -> HttpResponse:
    """Write down and apply the event that Stripe posts.

    A signature that is not right, and an event that cannot be kept, are logged and
    answered with status 400; what goes wrong later is kept with the event and raised,
    so that it is answered with 500 and Stripe sends the event again.
    """
    verify_signature(request.body, request.headers.get("Stripe-Signature", ""))
    receive(request.body).apply()
    return HttpResponse(status=200)


def verify_signature(
    payload: bytes,
    header: str,
    *,
    secrets: Sequence[str] | None = None,
    tolerance: timedelta = TOLERANCE,
) -> None:
    """Refuse what is not signed with one of the secrets, at about this time.

    Args:
        payload (bytes): the request's body, as it came.
        header (str): that of the name Stripe-Signature.
        secrets (Sequence[str] | None): None for those of TENANCY_BILLING_SECRETS.
        tolerance (timedelta): how far the time of signing may be from now.
    Raises:
        InvalidSignature: no signature in the header is right, or its time is not.
        ImproperlyConfigured: there are no secrets.
    """
    keys = conf.billing_secrets(PROVIDER) if secrets is None else secrets
    if not keys or not all(keys):
        raise ImproperlyConfigured(
            "TENANCY_BILLING_SECRETS names no secret of 'stripe'. Name those of the "
            "webhook's endpoint: {'stripe': ['whsec_...']}."
        )
    stamp, signatures = _read_header(header)
    if abs(time.time() - int(stamp)) > tolerance.total_seconds():
        raise InvalidSignature(
            f"The event was signed at {stamp}, which is too far from now. Compare the "
            "server's clock; Stripe signs anew when it sends again."
        )
    signed = stamp.encode() + b"." + payload
    expected = [
        hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in keys
    ]
    # Every pair is compared, so that the time tells nothing.
    matches = [
        hmac.compare_digest(signature.encode(), digest.encode())
        for signature in signatures
        for digest in expected
    ]
    if not any(matches):
        raise InvalidSignature(
            "The event has no signature of a known secret. Name the secret of the "
            "webhook's endpoint in TENANCY_BILLING_SECRETS."
        )


def receive(payload: bytes) -> BillingEvent:
    """Write down an event whose signature was verified.

    Raises:
        BadRequest: it is no event of Stripe's, or one that no database keeps.
    """
    try:
        event = json.loads(payload)
        customer_id = _find_customer(event["data"]["object"])
        event_id, type = event["id"], event["type"]
        occurred_at = _to_time(event["created"])
        if not (isinstance(event_id, str) and isinstance(type, str)):
            raise TypeError("The event has no key, or no type.")
        if occurred_at.year < 2000:
            raise ValueError("The event is older than Stripe.")
    except (
        AttributeError,
        KeyError,
        OSError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BadRequest(
            f"The body is no event of Stripe's ({error.__class__.__name__}). Post what "
            "Stripe sends, unchanged."
        ) from error
    try:
        return BillingEvent.objects.receive(
            provider=PROVIDER,
            event_id=event_id,
            type=type,
            occurred_at=occurred_at,
            customer_id=customer_id,
            payload=event,
        )
    except ValidationError as error:
        names = ", ".join(error.message_dict)
        raise BadRequest(
            f"The event of Stripe's cannot be stored, for its {names}. Look at it in "
            "Stripe's dashboard, and do there what it was to do here."
        ) from error


@billing_handler(
    PROVIDER,
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
)
def apply_subscription(event: BillingEvent) -> bool:
    """Store the subscription that the event holds, whole."""
    state = read_subscription(event.payload["data"]["object"])
    return Subscription.objects.apply_state(state, event=event)


@billing_handler(
    PROVIDER,
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
)
def record_invoice(event: BillingEvent) -> bool:
    """Write the invoice into the audit trail.

    What it means for the subscription, Stripe tells in an event of the subscription.
    """
    invoice = event.payload["data"]["object"]
    AuditEvent.objects.record(
        event.type, event, invoice=invoice["id"], status=invoice.get("status")
    )
    return True


@billing_handler(
    PROVIDER, "checkout.session.completed", "checkout.session.async_payment_succeeded"
)
def record_payment(event: BillingEvent) -> bool:
    """Record the purchase of a checkout that was paid, and is no subscription's."""
    checkout = event.payload["data"]["object"]
    if checkout.get("mode") == "payment" and checkout.get("payment_status") == "paid":
        Purchase.objects.record(
            provider=PROVIDER,
            provider_payment_id=checkout.get("payment_intent") or checkout["id"],
            amount=checkout["amount_total"],
            currency=checkout["currency"].upper(),
            purchased_at=event.occurred_at,
        )
    return True


def read_subscription(described: Json) -> SubscriptionState:
    """Return a subscription of Stripe's in the package's words.

    Raises:
        PlanRefused: its price names no plan.
    """
    item = described["items"]["data"][0]
    price = item["price"]
    # The periods are the item's from Stripe's version 2025-03-31 on.
    period = item if "current_period_end" in item else described
    return SubscriptionState(
        provider=PROVIDER,
        provider_subscription_id=described["id"],
        provider_customer_id=_find_customer(described),
        provider_schedule_id=described.get("schedule") or "",
        plan=_find_plan(price),
        status=described["status"],
        interval=price["recurring"]["interval"],
        # None where the price is metered.
        seats=max(1, item.get("quantity") or 1),
        period_start=_to_time(period["current_period_start"]),
        period_end=_to_time(period["current_period_end"]),
        trial_start=_to_time_or_none(described.get("trial_start")),
        trial_end=_to_time_or_none(described.get("trial_end")),
        cancel_at=_to_time_or_none(described.get("cancel_at")),
        canceled_at=_to_time_or_none(described.get("canceled_at")),
        ended_at=_to_time_or_none(described.get("ended_at")),
    )


def _find_customer(described: Json) -> str:
    """Return the customer's key, which stands alone or, expanded, in an object."""
    customer = described.get("customer") or ""
    return str(customer["id"] if isinstance(customer, dict) else customer)


def _find_plan(price: Json) -> Plan:
    key = (price.get("lookup_key") or "").partition(":")[0]
    plan = Plan.objects.filter(key=key).first()
    if plan is None:
        raise PlanRefused(
            f"The price {price['id']!r} has the lookup key "
            f"{price.get('lookup_key')!r}, which names no plan. Give it the plan's "
            "key at Stripe, or make the plan."
        )
    return plan


def _read_header(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of a header "t=...,v1=...,v1=..."."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in pairs if name == "t"]
    # Python refuses to read a number of thousands of digits.
    if len(stamps) != 1 or re.fullmatch(r"[0-9]{1,15}", stamps[0]) is None:
        raise InvalidSignature(
            "The header Stripe-Signature states no time. Post what Stripe sends, "
            "unchanged."
        )
    return stamps[0], [value for name, _, value in pairs if name == "v1"]


def _to_time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _to_time_or_none(seconds: int | None) -> datetime | None:
    return None if seconds is None else _to_time(seconds)
