from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction
from django.db.transaction import TransactionManagementError

import tenancy
from tenancy.billing import billing_handler
from tenancy.exceptions import BillingHandlerMissing, UnknownBillingCustomer
from tenancy.models import (
    AuditEvent,
    BillingEvent,
    Organization,
    Plan,
    Subscription,
    set_billing_customer,
)
from tenancy.models.subscription import SubscriptionState
from tenancy.signals import billing_event_applied
from tests.concurrency import run_at_once
from tests.isolation.test_concurrency import kill

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 16
START = datetime(2026, 3, 1, tzinfo=UTC)

_faults: list[Exception | str] = []
"""What the next runs of the handler meet; the last is met first."""

_runs: list[str] = []
"""The events that the handler has seen, in order, undone ones included."""


@billing_handler("ledger", "subscription")
def _apply_subscription(event: BillingEvent) -> bool:
    """Store the seats and the status that the payload tells."""
    _runs.append(event.event_id)
    state = SubscriptionState(
        provider="ledger",
        provider_subscription_id="sub_1",
        plan=Plan.objects.get(key="team"),
        status=event.payload.get("status", "active"),
        period_start=START,
        period_end=START + timedelta(days=30),
        seats=event.payload["seats"],
    )
    is_newer = Subscription.objects.apply_state(state, event=event)
    fault = _faults.pop() if _faults else None
    if isinstance(fault, Exception):
        raise fault
    if fault == "crash":
        # The rest of the transaction meets a server that has closed the connection.
        kill(connection)
        Subscription.objects.count()
    return is_newer


@pytest.fixture(autouse=True)
def _clean_handler() -> Iterator[None]:
    """Begin and end with a handler that meets no fault."""
    _faults.clear()
    _runs.clear()
    yield
    _faults.clear()


@pytest.fixture
def customer(acme: Organization, globex: Organization) -> Organization:
    """The organization acme, which is the provider's customer cus_acme."""
    Plan.objects.create(key="team", name="Team")
    for organization, key in ((acme, "cus_acme"), (globex, "cus_globex")):
        with tenancy.scope(organization):
            set_billing_customer(organization, key)
    return acme


def _receive(
    event_id: str = "evt_1", *, second: int = 0, **values: Any
) -> BillingEvent:
    payload = {"seats": values.pop("seats", 1), "organization": "globex"}
    if "status" in values:
        payload["status"] = values.pop("status")
    return BillingEvent.objects.receive(
        **{
            "provider": "ledger",
            "event_id": event_id,
            "type": "subscription",
            "occurred_at": START + timedelta(seconds=second),
            "customer_id": "cus_acme",
            "payload": payload,
            **values,
        }
    )


def _seats_of(organization: Organization) -> list[int]:
    with tenancy.scope(organization):
        return list(Subscription.objects.values_list("seats", flat=True))


# Once


def test_apply_changes_state_once(customer: Organization, globex: Organization) -> None:
    """The event is applied for its customer's organization, and again is nothing."""
    event = _receive(seats=3)

    event.apply()
    event.apply()
    _receive(seats=9).apply()

    assert (event.status, event.attempts, event.error) == ("applied", 1, "")
    assert event.settled_at is not None
    assert _runs == ["evt_1"]
    assert (_seats_of(customer), _seats_of(globex)) == ([3], [])
    with tenancy.scope(customer):
        recorded = AuditEvent.objects.get(action="billing_event.applied")
    assert recorded.details["event_id"] == "evt_1"


def test_apply_when_in_scope_of_another_serves_customer(
    customer: Organization, globex: Organization
) -> None:
    """Whoever is signed in where the event arrives, it is the customer's."""
    with tenancy.scope(globex):
        _receive(seats=3).apply()

    assert (_seats_of(customer), _seats_of(globex)) == ([3], [])


def test_apply_sends_signal_on_commit(customer: Organization) -> None:
    """The signal comes once, in the organization's scope."""
    sent: list[Any] = []

    def note(billing_event: BillingEvent, **kwargs: Any) -> None:
        sent.append((billing_event.event_id, tenancy.require_organization()))

    billing_event_applied.connect(note)
    try:
        event = _receive()
        event.apply()
        event.apply()
    finally:
        billing_event_applied.disconnect(note)

    assert sent == [("evt_1", customer.pk)]


def test_apply_when_delivered_sixteen_times_applies_once(
    customer: Organization,
) -> None:
    """Sixteen deliveries at once are one event, applied once."""

    def deliver() -> str:
        event = _receive(seats=5)
        event.apply()
        return str(event.status)

    results = run_at_once([deliver] * MANY)

    assert results == ["applied"] * MANY
    assert _runs == ["evt_1"]
    assert BillingEvent.objects.get().attempts == 1
    assert _seats_of(customer) == [5]
    with tenancy.scope(customer):
        applied = AuditEvent.objects.filter(action="billing_event.applied")
        assert applied.count() == 1


def test_apply_when_out_of_order_at_once_keeps_newest(customer: Organization) -> None:
    """Sixteen events in any order, some at the same time, end in the newest state."""

    def deliver(number: int) -> str:
        # Two by two they have the same time, and the greater key of the two counts.
        event = _receive(f"evt_{number:02}", second=number // 2, seats=number + 1)
        event.apply()
        return str(event.status)

    results = run_at_once(
        [partial(deliver, number) for number in reversed(range(MANY))]
    )

    assert set(results) <= {"applied", "outdated"}, results
    assert not BillingEvent.objects.unsettled().exists()
    assert _seats_of(customer) == [MANY]


def test_apply_when_times_are_equal_is_the_same_in_any_order(
    customer: Organization,
) -> None:
    """Of one moment, the end counts most, and then the greatest key."""
    kinds = {"b": "active", "c": "past_due", "a": "canceled"}

    for round_, order in enumerate(["bca", "acb"]):
        with tenancy.scope(customer):
            Subscription.objects.all().delete()
        for kind in order:
            event = _receive(f"evt_{round_}_{kind}", status=kinds[kind])
            event.apply()

        with tenancy.scope(customer):
            assert Subscription.objects.get().status == "canceled", order


def test_apply_when_outdated_is_marked(customer: Organization) -> None:
    """An older event changes nothing, and is settled."""
    _receive("evt_2", second=9, seats=2).apply()
    old = _receive("evt_1", second=1, seats=1)

    old.apply()

    assert old.status == "outdated"
    assert _seats_of(customer) == [2]


# What goes wrong


def test_apply_when_handler_raises_keeps_event(customer: Organization) -> None:
    """Nothing of it is stored but the failure, and the next try applies it once."""
    event = _receive(seats=4)
    _faults.append(RuntimeError("no such coupon"))

    with pytest.raises(RuntimeError, match="no such coupon"):
        event.apply()

    assert (event.status, event.attempts) == ("failed", 1)
    assert event.error == "RuntimeError: no such coupon"
    assert _seats_of(customer) == []
    _receive(seats=4).apply()
    event.refresh_from_db()
    assert (event.status, event.attempts, event.error) == ("applied", 2, "")
    assert _seats_of(customer) == [4]


def test_apply_when_connection_is_killed_is_applied_by_retry(
    customer: Organization,
) -> None:
    """A crash between the ledger and the state leaves the event to be applied."""
    event = _receive(seats=4)
    _faults.append("crash")

    with pytest.raises(Error):
        event.apply()

    assert BillingEvent.objects.unsettled().count() == 1
    assert _seats_of(customer) == []
    call_command("retry_billing_events", stdout=StringIO())
    assert BillingEvent.objects.get().status == "applied"
    assert _seats_of(customer) == [4]


def test_apply_when_failing_for_some_of_many_is_applied_once(
    customer: Organization,
) -> None:
    """Of sixteen deliveries at once three fail, and one of the others applies."""
    _faults.extend(RuntimeError("busy") for _ in range(3))

    def deliver() -> str:
        event = _receive(seats=5)
        event.apply()
        return str(event.status)

    results = run_at_once([deliver] * MANY)

    assert sum(isinstance(each, RuntimeError) for each in results) == 3, results
    event = BillingEvent.objects.get()
    assert (event.status, event.attempts) == ("applied", 4)
    assert len(_runs) == 4
    assert _seats_of(customer) == [5]


@pytest.mark.parametrize("status", ["suspended", "archived"])
def test_apply_when_customer_is_not_active_stores_state(
    customer: Organization, status: str
) -> None:
    """What the provider ends is ended here too, or nobody could delete it."""
    _receive(seats=1).apply()
    with tenancy.scope(customer):
        customer.archive() if status == "archived" else customer.suspend(reason="debt")

    _receive("evt_2", second=1, status="canceled").apply()

    with tenancy.unscoped("what is archived"):
        assert Subscription.objects.get().status == "canceled"
        customer.delete()


@pytest.mark.parametrize("key", ["", "cus_nobody"])
def test_apply_when_customer_is_unknown_keeps_event(
    customer: Organization, key: str
) -> None:
    """An event of nobody's customer fails, whatever its payload says."""
    event = _receive(customer_id=key)

    with pytest.raises(UnknownBillingCustomer, match=f"billing customer {key!r}"):
        event.apply()

    assert event.status == "failed"
    assert event.error.startswith("UnknownBillingCustomer: No organization has")


def test_apply_when_type_is_not_handled_is_ignored(customer: Organization) -> None:
    """A type that nothing handles is settled; a provider of nobody's is a failure."""
    ignored = _receive("evt_1", type="mandate")
    unknown = _receive("evt_2", provider="nobody")

    ignored.apply()
    with pytest.raises(BillingHandlerMissing):
        unknown.apply()

    assert (ignored.status, ignored.is_settled) == ("ignored", True)
    assert (unknown.status, unknown.is_settled) == ("failed", False)


def test_ledger_when_in_transaction_is_refused(customer: Organization) -> None:
    """What is written down is kept, and so needs a transaction of its own."""
    event = _receive()

    with transaction.atomic():
        with pytest.raises(TransactionManagementError, match=r"receive\(\) was called"):
            _receive("evt_2")
        with pytest.raises(TransactionManagementError, match=r"apply\(\) was called"):
            event.apply()

        assert BillingEvent.objects.count() == 1


def test_ledger_when_async_does_the_same(customer: Organization) -> None:
    """Both verbs have their twins."""

    async def deliver() -> BillingEvent:
        event = await BillingEvent.objects.areceive(
            provider="ledger",
            event_id="evt_1",
            type="subscription",
            occurred_at=START,
            customer_id="cus_acme",
            payload={"seats": 2},
        )
        await event.aapply()
        return event

    event = async_to_sync(deliver)()

    assert (event.status, str(event)) == ("applied", "ledger subscription")


# The command


def test_retry_command_applies_what_is_left(customer: Organization) -> None:
    """It applies the failed and the forgotten, oldest first, and says so."""
    _receive("evt_2", second=2, seats=2)
    failed = _receive("evt_1", second=1, seats=1)
    _faults.append(RuntimeError("no"))
    with pytest.raises(RuntimeError):
        failed.apply()
    written = StringIO()

    call_command("retry_billing_events", stdout=written)

    assert written.getvalue().splitlines() == [
        "[1/2] ledger subscription evt_1: applied",
        "[2/2] ledger subscription evt_2: applied",
        "2 events are settled.",
    ]
    assert _seats_of(customer) == [2]


def test_retry_command_when_some_fail_exits_with_one(customer: Organization) -> None:
    """It goes on after a failure, and fails in the end."""
    _receive("evt_1", customer_id="cus_nobody")
    _receive("evt_2", second=2, seats=2)
    _receive("evt_3", provider="nobody")
    written = StringIO()

    with pytest.raises(CommandError, match="1 of 2 events failed") as caught:
        call_command("retry_billing_events", provider="ledger", stdout=written)

    assert caught.value.returncode == 1
    assert "    UnknownBillingCustomer: " in written.getvalue()
    assert _seats_of(customer) == [2]
    assert BillingEvent.objects.get(event_id="evt_3").status == "received"
