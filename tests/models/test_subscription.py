from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

import tenancy
from tenancy.exceptions import (
    AlreadySubscribed,
    CrossOrganization,
    PlanRefused,
    ScopeRequired,
    SeatLimitReached,
    SubscriptionConflict,
    SubscriptionEnded,
    TransitionRefused,
    TrialUsed,
)
from tenancy.models import (
    AuditEvent,
    BillingEvent,
    Membership,
    Organization,
    Plan,
    Subscription,
    User,
)
from tenancy.models.subscription import SubscriptionQuerySet, SubscriptionState
from tenancy.signals import (
    subscription_changed,
    subscription_ended,
    subscription_started,
)
from tests.concurrency import run_at_once

MANY = 16
JANUARY = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)

database = pytest.mark.django_db
threads = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team(db: None) -> Plan:
    """The plan to which acme subscribes."""
    return Plan.objects.create(key="team", name="Team", trial_days=14)


@pytest.fixture
def business(db: None) -> Plan:
    """Another plan of the same product."""
    return Plan.objects.create(key="business", name="Business")


@pytest.fixture
def support(db: None) -> Plan:
    """A plan of another product."""
    return Plan.objects.create(key="support", name="Support", product="support")


@pytest.fixture
def subscription(acme: Organization, team: Plan) -> Subscription:
    """The live subscription of acme."""
    with tenancy.scope(acme):
        return Subscription.objects.start(plan=team, period_start=JANUARY)


# Starting


@database
def test_start_subscribes_organization(acme: Organization, team: Plan) -> None:
    """It is active at once, of the plan's product, for one period."""
    with tenancy.scope(acme):
        started = Subscription.objects.start(plan=team, seats=3, period_start=JANUARY)

        stored = Subscription.objects.live().get()
        assert AuditEvent.objects.filter(action="subscription.started").count() == 1
        assert str(stored) == "Team (active)"
    assert (stored.pk, stored.organization_id) == (started.pk, acme.pk)
    assert (stored.status, stored.product, stored.seats) == ("active", "main", 3)
    # February has no 31st.
    assert stored.current_period_end == JANUARY.replace(month=2, day=28)


@database
@pytest.mark.parametrize(
    ("interval", "end"),
    [
        ("day", JANUARY + DAY),
        ("week", JANUARY + 7 * DAY),
        ("year", JANUARY.replace(year=2027)),
    ],
)
def test_start_when_given_interval_lasts_so_long(
    acme: Organization, team: Plan, interval: str, end: datetime
) -> None:
    """The first period is a day, a week or a year."""
    with tenancy.scope(acme):
        started = Subscription.objects.start(
            plan=team, interval=interval, period_start=JANUARY
        )

    assert started.current_period_end == end


@database
def test_start_when_product_is_live_is_refused(
    subscription: Subscription, acme: Organization, business: Plan, support: Plan
) -> None:
    """A second live one is of another product only; ended ones are history."""
    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(AlreadySubscribed, match="the product 'main'"):
            Subscription.objects.start(plan=business)
        Subscription.objects.start(plan=support)
        subscription.end()
        Subscription.objects.start(plan=business)

        assert Subscription.objects.live().count() == 2
        assert SubscriptionQuerySet(Subscription).ended().get().pk == subscription.pk
        assert SubscriptionQuerySet(Subscription).live().count() == 2
        assert Subscription.objects.ended().count() == 1


@database
def test_start_when_other_organization_is_live_subscribes(
    subscription: Subscription, globex: Organization, team: Plan
) -> None:
    """The subscriptions of others are no hindrance, and are not seen."""
    with tenancy.scope(globex):
        Subscription.objects.start(plan=team)

        assert Subscription.objects.count() == 1


@database
def test_start_when_trial_is_asked_for_begins_with_it(
    acme: Organization, team: Plan
) -> None:
    """The trial is the first period, and is given once, ever."""
    with tenancy.scope(acme), transaction.atomic():
        trial = Subscription.objects.start(plan=team, trial=True, period_start=JANUARY)
        trial.end()
        with pytest.raises(TrialUsed, match="has had its trial"):
            Subscription.objects.start(plan=team, trial_days=3)
        again = Subscription.objects.start(plan=team)

    assert trial.trial_end == trial.current_period_end == JANUARY + 14 * DAY
    assert (again.status, again.trial_end) == ("active", None)


@database
def test_start_when_plan_has_no_trial_is_refused(
    acme: Organization, business: Plan
) -> None:
    """A trial has a day at least."""
    with tenancy.scope(acme), pytest.raises(ValueError, match="trial of 0 days"):
        Subscription.objects.start(plan=business, trial=True)


@database
def test_start_when_plan_is_not_offered_is_refused(
    acme: Organization, team: Plan
) -> None:
    """What the database says of the plan counts, and not the instance in hand."""
    Plan.objects.update(is_active=False)

    with tenancy.scope(acme), pytest.raises(PlanRefused, match="'team' is not offered"):
        Subscription.objects.start(plan=team)


@database
def test_start_when_in_no_scope_raises(team: Plan) -> None:
    """A subscription is some organization's."""
    with pytest.raises(ScopeRequired):
        Subscription.objects.start(plan=team)


@database
def test_start_when_provider_key_is_stored_is_refused(
    acme: Organization, globex: Organization, team: Plan, support: Plan
) -> None:
    """A provider's subscription is stored once, whoever has it."""
    key = {"provider": "stripe", "provider_subscription_id": "sub_1"}
    with tenancy.scope(acme), transaction.atomic():
        Subscription.objects.start(plan=team, **key)  # type: ignore[arg-type]  # str only
        with pytest.raises(SubscriptionConflict, match="'sub_1' of 'stripe'"):
            Subscription.objects.start(plan=support, **key)  # type: ignore[arg-type]  # as above
        assert Subscription.objects.count() == 1
    with tenancy.scope(globex), transaction.atomic():
        with pytest.raises(SubscriptionConflict) as caught:
            Subscription.objects.start(plan=support, **key)  # type: ignore[arg-type]  # as above
        assert Subscription.objects.count() == 0

    assert "Acme" not in str(caught.value)


@database
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("seats", {"seats": 0}),
        ("seats", {"seats": -1}),
        ("interval", {"interval": "decade"}),
        ("current_period_end", {"period_end": JANUARY - DAY}),
        ("provider", {"provider_subscription_id": "sub_1"}),
    ],
)
def test_start_when_value_is_not_valid_names_field(
    acme: Organization, team: Plan, field: str, values: dict[str, Any]
) -> None:
    """A fault is a ValidationError on its field."""
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        Subscription.objects.start(plan=team, period_start=JANUARY, **values)

    assert set(caught.value.message_dict) == {field}


@threads
def test_start_when_raced_gives_one(
    acme: Organization, team: Plan, business: Plan
) -> None:
    """Of sixteen at once, one subscribes, and the others are told so."""
    sent: list[Any] = []

    def note(subscription: Subscription, **kwargs: Any) -> None:
        sent.append(subscription.pk)

    def start(plan: Plan) -> Any:
        with tenancy.scope(acme):
            return Subscription.objects.start(plan=plan).pk

    subscription_started.connect(note)
    try:
        results = run_at_once(
            [lambda plan=plan: start(plan) for plan in (team, business)] * (MANY // 2)
        )
    finally:
        subscription_started.disconnect(note)

    kinds = [type(each) for each in results]
    assert kinds.count(AlreadySubscribed) == MANY - 1, results
    with tenancy.scope(acme):
        assert [Subscription.objects.live().get().pk] == sent


@threads
def test_start_when_trials_are_raced_gives_one(
    acme: Organization, team: Plan, support: Plan
) -> None:
    """Of two trials of two products at once, one is given."""

    def start(plan: Plan) -> Any:
        with tenancy.scope(acme):
            return Subscription.objects.start(plan=plan, trial_days=7).pk

    results = run_at_once([lambda: start(team), lambda: start(support)])

    assert [type(each) for each in results].count(TrialUsed) == 1, results


# What full_clean() and the database say of a row


@database
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("current_period_end", {"current_period_end": JANUARY - DAY}),
        ("current_period_end", {"current_period_end": JANUARY}),
        ("seats", {"seats": 0}),
        ("status", {"status": "abandoned"}),
        ("interval", {"interval": "decade"}),
        ("trial_end", {"trial_start": JANUARY, "trial_end": JANUARY - DAY}),
        ("trial_end", {"trial_start": JANUARY}),
        ("trial_end", {"status": "trialing"}),
        ("cancel_at", {"cancel_at": JANUARY}),
        ("cancel_at", {"cancel_at": JANUARY, "canceled_at": JANUARY + DAY}),
        ("ended_at", {"status": "canceled"}),
        ("ended_at", {"ended_at": JANUARY}),
        (
            "ended_at",
            {
                "status": "canceled",
                "ended_at": JANUARY,
                "canceled_at": JANUARY + DAY,
            },
        ),
        ("provider", {"provider_subscription_id": "sub_1"}),
    ],
)
def test_row_when_faulty_is_refused_everywhere(
    subscription: Subscription, acme: Organization, field: str, values: dict[str, Any]
) -> None:
    """full_clean() names the field, and the database refuses the same row."""
    for name, value in values.items():
        setattr(subscription, name, value)

    with tenancy.scope(acme):
        with pytest.raises(ValidationError) as caught:
            subscription.full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            Subscription.objects.filter(pk=subscription.pk).update(**values)

    assert set(caught.value.message_dict) == {field}


@database
def test_row_when_product_is_live_twice_is_refused(
    subscription: Subscription, acme: Organization, business: Plan
) -> None:
    """full_clean() says it of the plan, and the database refuses the second row."""
    second = Subscription(
        plan=business,
        status="past_due",
        current_period_start=JANUARY,
        current_period_end=JANUARY + DAY,
    )

    with tenancy.scope(acme):
        with pytest.raises(ValidationError) as caught:
            second.full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            second.save()

    assert caught.value.message_dict == {
        "plan": ["The organization has a live subscription to that product."]
    }


@database
def test_row_when_form_hides_field_faults_the_whole(
    subscription: Subscription, acme: Organization
) -> None:
    """A form that does not show the faulty field tells its users all the same."""
    other = Subscription(plan=subscription.plan, status="active")
    other.product = subscription.product
    shown = {"organization", "live_product", "product", "status"}
    hidden = {field.name for field in Subscription._meta.fields} - shown

    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        other.validate_constraints(exclude=hidden)

    assert set(caught.value.message_dict) == {"__all__"}


@database
def test_row_when_empty_names_each_field(acme: Organization) -> None:
    """What is left out is said of its field, and of no other."""
    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        Subscription().full_clean()

    assert {"plan", "current_period_start", "current_period_end"} <= set(
        caught.value.message_dict
    )


@database
def test_row_when_next_plan_is_of_other_product_names_field(
    subscription: Subscription, acme: Organization, support: Plan
) -> None:
    """A subscription goes on in its own product."""
    subscription.next_plan = support

    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        subscription.full_clean()

    assert set(caught.value.message_dict) == {"next_plan"}


@database
def test_row_when_ended_is_not_taken_up(
    subscription: Subscription, acme: Organization
) -> None:
    """What has ended gets no other status by a form."""
    with tenancy.scope(acme):
        subscription.end()
        subscription.full_clean()
        subscription.status, subscription.ended_at = "active", None
        with pytest.raises(ValidationError) as caught:
            subscription.full_clean()

    assert set(caught.value.message_dict) == {"status"}


@database
def test_save_keeps_product_of_plan(
    subscription: Subscription, acme: Organization, support: Plan
) -> None:
    """The product is the plan's, whichever fields are saved."""
    with tenancy.scope(acme):
        subscription.product = "another"
        subscription.save()
        subscription.refresh_from_db()
        before = subscription.product
        subscription.plan = support
        subscription.save(update_fields=["plan"])
        subscription.refresh_from_db()

    assert (before, subscription.product) == ("main", "support")


# The life of a subscription


@database
def test_cancel_at_period_end_ends_it_then(
    subscription: Subscription, acme: Organization, business: Plan
) -> None:
    """It stays live until its period is over, and ends when that is advanced."""
    ahead = timezone.now() + 10 * DAY
    with tenancy.scope(acme):
        subscription.advance(JANUARY + DAY, ahead)
        subscription.change_plan(business, at_period_end=True)
        subscription.cancel_at_period_end()
        first = subscription.canceled_at
        subscription.cancel_at_period_end()
        assert (subscription.is_live, subscription.cancel_at) == (True, ahead)
        assert (subscription.canceled_at, subscription.next_plan) == (first, None)
        subscription.advance(ahead, ahead + 30 * DAY)

        stored = Subscription.objects.get()
    assert (stored.status, stored.ended_at) == ("canceled", ahead)
    assert stored.plan_id == subscription.plan_id != business.pk


@database
def test_cancel_when_period_is_over_ends_now(
    subscription: Subscription, acme: Organization
) -> None:
    """Where the next period is not known yet, the end is not in the past."""
    with tenancy.scope(acme):
        subscription.cancel_at_period_end()
        with pytest.raises(TransitionRefused, match="which is past"):
            subscription.resume()

    assert subscription.cancel_at == subscription.canceled_at


@database
def test_resume_takes_cancellation_back(
    subscription: Subscription, acme: Organization
) -> None:
    """It goes on as before; again is nothing."""
    with tenancy.scope(acme):
        subscription.advance(JANUARY + DAY, timezone.now() + DAY)
        subscription.cancel_at_period_end()
        subscription.resume()
        subscription.resume()

        stored = Subscription.objects.get()
        actions = AuditEvent.objects.filter(action="subscription.resumed")
        assert actions.count() == 1
    assert (stored.cancel_at, stored.canceled_at) == (None, None)


@database
def test_change_plan_at_once_and_at_period_end(
    subscription: Subscription, acme: Organization, team: Plan, business: Plan
) -> None:
    """A change waits for the next period where that is asked for."""
    with tenancy.scope(acme):
        subscription.change_plan(business)
        subscription.change_plan(team, at_period_end=True)
        before = (subscription.plan, subscription.next_plan)
        subscription.advance(JANUARY + 30 * DAY, JANUARY + 60 * DAY)

        stored = Subscription.objects.get()
    assert before == (business, team)
    assert (stored.plan, stored.next_plan) == (team, None)


@database
def test_change_plan_when_present_one_takes_change_back(
    subscription: Subscription, acme: Organization, team: Plan, business: Plan
) -> None:
    """The present plan, even one that is offered no more, stays by being chosen."""
    with tenancy.scope(acme):
        subscription.change_plan(business, at_period_end=True)
        Plan.objects.filter(pk=team.pk).update(is_active=False)
        subscription.change_plan(team, at_period_end=True)

    assert subscription.next_plan is None


@database
def test_change_plan_when_not_to_be_had_is_refused(
    subscription: Subscription, acme: Organization, support: Plan, business: Plan
) -> None:
    """A plan is of the same product, and is offered."""
    Plan.objects.filter(pk=business.pk).update(is_active=False)

    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(PlanRefused, match="of the product 'support'"):
            subscription.change_plan(support)
        with pytest.raises(PlanRefused, match="not offered"):
            subscription.change_plan(business)

        assert Subscription.objects.get().plan.key == "team"


@database
def test_change_seats_when_taken_is_refused(
    subscription: Subscription, acme: Organization, bob: User
) -> None:
    """There are no fewer seats than members, and no fewer than one."""
    with tenancy.scope(acme), transaction.atomic():
        Membership.objects.create(user=bob)
        with pytest.raises(SeatLimitReached, match="2 seats are taken"):
            subscription.change_seats(1)
        with pytest.raises(ValueError, match="0 seats"):
            subscription.change_seats(0)
        subscription.change_seats(2)
        subscription.change_seats(2)

        assert Subscription.objects.get().seats == 2
        changes = AuditEvent.objects.get(action="subscription.seats_changed")
    assert changes.details["before"] == 1


@database
def test_follow_members_counts_them(
    subscription: Subscription, acme: Organization, bob: User
) -> None:
    """The seats become the number of live members, and stay one at least."""
    with tenancy.scope(acme):
        Membership.objects.create(user=bob)
        subscription.follow_members()
        grown = Subscription.objects.get().seats
        Membership.objects.filter(user=bob).update(ended_at=timezone.now())
        subscription.follow_members()

        assert (grown, Subscription.objects.get().seats) == (2, 1)


@database
def test_advance_when_trial_is_over_becomes_active(
    acme: Organization, team: Plan
) -> None:
    """The period after the trial is an active one."""
    with tenancy.scope(acme):
        trial = Subscription.objects.start(plan=team, trial=True, period_start=JANUARY)
        trial.advance(JANUARY + DAY, JANUARY + 14 * DAY)
        during = trial.status
        trial.advance(JANUARY + 14 * DAY, JANUARY + 44 * DAY)

    assert (during, trial.status) == ("trialing", "active")


@database
def test_advance_when_period_is_wrong_is_refused(
    subscription: Subscription, acme: Organization
) -> None:
    """Periods follow each other, and end after they start; again is nothing."""
    present = subscription.current_period_start, subscription.current_period_end
    with tenancy.scope(acme):
        with pytest.raises(TransitionRefused, match="Pass the next one"):
            subscription.advance(JANUARY - DAY, JANUARY + DAY)
        with pytest.raises(ValueError, match="later than the start"):
            subscription.advance(JANUARY + DAY, JANUARY + DAY)
        subscription.advance(*present)

        assert not AuditEvent.objects.filter(action="subscription.advanced").exists()


@database
def test_end_is_final(
    subscription: Subscription, acme: Organization, business: Plan
) -> None:
    """Nothing of an ended subscription changes; ending again is nothing."""
    with tenancy.scope(acme), transaction.atomic():
        subscription.end()
        ended_at = subscription.ended_at
        subscription.end()
        for change in (
            subscription.cancel_at_period_end,
            subscription.resume,
            lambda: subscription.change_plan(business),
            lambda: subscription.change_seats(4),
            subscription.follow_members,
            lambda: subscription.change_status("active"),
            lambda: subscription.advance(JANUARY + DAY, JANUARY + 9 * DAY),
        ):
            with pytest.raises(SubscriptionEnded, match="Start another one"):
                change()

        stored = Subscription.objects.get()
    assert (stored.status, stored.ended_at) == ("canceled", ended_at)


@database
def test_change_status_keeps_transitions(
    acme: Organization, subscription: Subscription
) -> None:
    """A live status follows another, save one that only a beginning has."""
    with tenancy.scope(acme):
        subscription.change_status("past_due")
        subscription.change_status("past_due")
        subscription.change_status("active")
        for status in ("incomplete", "incomplete_expired", "canceled", "trialing", "?"):
            with pytest.raises(TransitionRefused, match="cannot follow 'active'"):
                subscription.change_status(status)

        changes = AuditEvent.objects.filter(action="subscription.status_changed")
        assert changes.count() == 2
        Subscription.objects.update(status="incomplete")
        subscription.end()

    assert subscription.status == "incomplete_expired"


@database
def test_verbs_when_row_is_not_own_are_refused(
    subscription: Subscription, globex: Organization
) -> None:
    """A subscription of another organization is out of reach."""
    with tenancy.scope(globex), pytest.raises(CrossOrganization):
        subscription.end()
    with pytest.raises(ScopeRequired):
        subscription.end()
    with tenancy.unscoped("the end of a product"):
        subscription.end()

    assert not subscription.is_live


@threads
def test_signals_are_sent_on_commit(acme: Organization, team: Plan) -> None:
    """Each is sent once, when what it says is true."""
    sent: list[str] = []

    def note(signal: Any, subscription: Subscription, **kwargs: Any) -> None:
        sent.append(subscription.status)

    signals = (subscription_started, subscription_changed, subscription_ended)
    for signal in signals:
        signal.connect(note)
    try:
        with tenancy.scope(acme), transaction.atomic():
            started = Subscription.objects.start(plan=team)
            started.change_status("past_due")
            assert sent == []
        with tenancy.scope(acme):
            started.end()
    finally:
        for signal in signals:
            signal.disconnect(note)

    assert len(sent) == 3
    assert sent[-1] == "canceled"


@threads
def test_verbs_when_async_do_the_same(
    acme: Organization, team: Plan, business: Plan
) -> None:
    """Each verb has its twin."""
    ahead = timezone.now() + DAY

    async def live() -> Subscription:
        async with tenancy.scope(acme):
            row = await Subscription.objects.astart(plan=team, period_end=ahead)
            await row.acancel_at_period_end()
            await row.aresume()
            await row.achange_plan(business)
            await row.achange_seats(3)
            await row.afollow_members()
            await row.achange_status("unpaid")
            await row.aadvance(ahead, ahead + DAY)
            await row.aend()
            return row

    ended = async_to_sync(live)()

    assert (ended.status, ended.plan, ended.seats) == ("canceled", business, 1)


@threads
def test_change_plan_when_raced_with_end_gives_one_story(
    subscription: Subscription, acme: Organization, business: Plan
) -> None:
    """Whoever comes after the end is told of it; nothing is half done."""

    def change() -> None:
        with tenancy.scope(acme):
            Subscription.objects.get().change_plan(business, at_period_end=True)

    def end() -> None:
        with tenancy.scope(acme):
            Subscription.objects.get().end()

    results = run_at_once([change, end] * 4)

    assert {type(each) for each in results} <= {type(None), SubscriptionEnded}, results
    with tenancy.scope(acme):
        stored = Subscription.objects.get()
    assert (stored.status, stored.next_plan_id) == ("canceled", None)


# What a provider says


def _event(seconds: int, event_id: str = "evt") -> BillingEvent:
    return BillingEvent(
        provider="stripe",
        event_id=event_id,
        type="state",
        occurred_at=JANUARY + timedelta(seconds=seconds),
    )


def _state(plan: Plan, status: str = "active", **values: Any) -> SubscriptionState:
    return SubscriptionState(
        **{
            "provider": "stripe",
            "provider_subscription_id": "sub_1",
            "plan": plan,
            "status": status,
            "period_start": JANUARY,
            "period_end": JANUARY + 30 * DAY,
            **values,
        }
    )


@database
def test_apply_state_makes_and_changes_subscription(
    acme: Organization, team: Plan, business: Plan
) -> None:
    """The first word makes the subscription, and each newer one counts."""
    apply = Subscription.objects.apply_state
    with tenancy.scope(acme):
        assert apply(_state(team), event=_event(1))
        assert apply(_state(business, "past_due", seats=4), event=_event(2))
        late = apply(_state(team), event=_event(1, "other"))

        stored = Subscription.objects.get()
    assert not late
    assert (stored.plan, stored.status, stored.seats) == (business, "past_due", 4)


@database
def test_apply_state_when_times_are_equal_ends_alike(
    acme: Organization, team: Plan, business: Plan
) -> None:
    """In whichever order words arrive, the same one is the last."""
    words = [
        (_state(team), _event(1, "evt_c")),
        (_state(business), _event(1, "evt_d")),
        (_state(team, "canceled"), _event(1, "evt_a")),
    ]

    for order in itertools.permutations(words):
        with tenancy.scope(acme):
            Subscription.objects.all().delete()
            for state, event in order:
                Subscription.objects.apply_state(state, event=event)
            stored = Subscription.objects.get()
        assert (stored.status, stored.last_event_id) == ("canceled", "evt_a")
        assert stored.ended_at == _event(1).occurred_at


@database
def test_apply_state_when_newer_counts_above_transitions(
    acme: Organization, team: Plan
) -> None:
    """What the provider bills is what is stored, whatever stood there."""
    with tenancy.scope(acme):
        Subscription.objects.apply_state(_state(team, "canceled"), event=_event(1))
        Subscription.objects.apply_state(_state(team), event=_event(2))

        stored = Subscription.objects.get()
    assert (stored.status, stored.ended_at) == ("active", None)


@database
def test_apply_state_when_started_here_adopts(acme: Organization, team: Plan) -> None:
    """One that names the provider, and awaits its key, becomes the provider's."""
    with tenancy.scope(acme):
        started = Subscription.objects.start(plan=team, provider="stripe")
        Subscription.objects.apply_state(_state(team), event=_event(1))

        assert Subscription.objects.get().provider_subscription_id == "sub_1"
    assert started.provider_subscription_id is None


@database
def test_apply_state_when_other_is_live_is_refused(
    subscription: Subscription, acme: Organization, globex: Organization, team: Plan
) -> None:
    """A second live one is refused, and so is a key of another organization."""
    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(AlreadySubscribed):
            Subscription.objects.apply_state(_state(team), event=_event(1))
        subscription.end()
        Subscription.objects.apply_state(_state(team), event=_event(1))
    with tenancy.scope(globex), transaction.atomic():
        with pytest.raises(SubscriptionConflict):
            Subscription.objects.apply_state(_state(team), event=_event(1))
        assert Subscription.objects.count() == 0


@database
def test_apply_state_when_not_valid_names_field(acme: Organization, team: Plan) -> None:
    """A word that cannot be stored is refused, field by field."""
    state = _state(team, "odd", period_end=JANUARY, trial_end=JANUARY)

    with tenancy.scope(acme), pytest.raises(ValidationError) as caught:
        Subscription.objects.apply_state(state, event=_event(1))

    assert set(caught.value.message_dict) == {"status"}


@database
def test_apply_state_when_cancellation_has_no_time_takes_event(
    acme: Organization, team: Plan
) -> None:
    """A schedule ends subscriptions without saying when that was decided."""
    state = _state(team, cancel_at=JANUARY + 30 * DAY)

    with tenancy.scope(acme):
        Subscription.objects.apply_state(state, event=_event(1))

        stored = Subscription.objects.get()
    assert stored.canceled_at == _event(1).occurred_at


@threads
def test_apply_state_when_async_does_the_same(acme: Organization, team: Plan) -> None:
    """The twin applies as well."""

    async def apply() -> bool:
        async with tenancy.scope(acme):
            return await Subscription.objects.aapply_state(
                _state(team), event=_event(1)
            )

    assert async_to_sync(apply)()
