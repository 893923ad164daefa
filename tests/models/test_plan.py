from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import ProtectedError

import tenancy
from tenancy import testing
from tenancy.exceptions import PlanInUse, ScopeRequired
from tenancy.limits import find_limit
from tenancy.models import Organization, Plan, Subscription
from tenancy.models.plan import PlanQuerySet

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Plan:
    """The plan to which acme subscribes."""
    return Plan.objects.create(key="team", name="Team", limits={"members": 5})


@pytest.fixture
def subscribed(acme: Organization, team: Plan) -> Subscription:
    """The subscription of acme to the plan."""
    with tenancy.scope(acme):
        return Subscription.objects.start(plan=team)


@pytest.mark.parametrize(
    "limits", [[], {"members": -1}, {"members": True}, {"members": "5"}, {"": 5}]
)
def test_plan_when_limits_are_no_numbers_names_field(limits: Any) -> None:
    """Limits are whole numbers, zero or more, or None, by name."""
    with pytest.raises(ValidationError) as caught:
        Plan(key="team", name="Team", limits=limits).full_clean()

    assert set(caught.value.message_dict) == {"limits"}


@pytest.mark.parametrize(
    "prices",
    [
        [],
        {"month": 1200},
        {"decade": {"EUR": 1}},
        {"month": {"eur": 1}},
        {"month": {"EUR": 12.5}},
        {"month": {"EUR": -1}},
    ],
)
def test_plan_when_prices_are_no_amounts_names_field(prices: Any) -> None:
    """Prices are amounts in minor units, by interval and currency."""
    with pytest.raises(ValidationError) as caught:
        Plan(key="team", name="Team", prices=prices).full_clean()

    assert set(caught.value.message_dict) == {"prices"}


def test_plan_when_formed_is_valid() -> None:
    """A limit may be None, and a plan has prices in many currencies."""
    plan = Plan(
        key="team",
        name="Team",
        limits={"members": 0, "teams": None},
        prices={"month": {"EUR": 1200, "JPY": 0}, "year": {}},
    )

    plan.full_clean()

    assert str(plan) == "Team"


def test_plan_when_faulty_twice_names_each_field() -> None:
    """What the fields find and what the plan finds is said together."""
    with pytest.raises(ValidationError) as caught:
        Plan(key="No slug", name="Team", limits=[]).full_clean(exclude=["prices"])

    assert set(caught.value.message_dict) == {"key", "limits"}


def test_active_keeps_offered_plans(team: Plan) -> None:
    """A plan that is offered no more is left out."""
    Plan.objects.create(key="old", name="Old", is_active=False)

    assert list(Plan.objects.active()) == [team]
    assert list(PlanQuerySet(Plan).active()) == [team]


def test_delete_when_subscribed_is_refused(
    subscribed: Subscription, team: Plan, globex: Organization
) -> None:
    """A plan stays whoever subscribes to it, and nobody is told who does."""
    with tenancy.scope(globex):
        with pytest.raises(ProtectedError, match="'is_active'") as caught:
            team.delete()
        with pytest.raises(ProtectedError, match="'is_active'"):
            Plan.objects.filter(pk=team.pk).delete()

    assert caught.value.protected_objects == set()
    assert Plan.objects.filter(pk=team.pk).exists()


def test_delete_when_unused_removes_plan(team: Plan) -> None:
    """A plan of no subscription is deleted, unscoped, by instance and by queryset."""
    other = Plan.objects.create(key="other", name="Other")

    with pytest.raises(ScopeRequired):
        team.delete()
    with tenancy.unscoped("tidying the plans up"):
        team.delete()
        Plan.objects.filter(pk=other.pk).delete()

    assert not Plan.objects.exists()


def test_product_when_subscribed_stays(subscribed: Subscription, team: Plan) -> None:
    """The product of a plan is kept from the first subscription on."""
    team.product = "extra"

    with pytest.raises(ValidationError) as caught:
        team.full_clean()
    with pytest.raises(PlanInUse, match="Make another plan"):
        team.save()

    assert set(caught.value.message_dict) == {"product"}
    team.refresh_from_db()
    assert team.product == "main"


def test_product_when_unused_changes(team: Plan) -> None:
    """The product of a plan that nobody has may be another one."""
    team.product = "extra"

    team.save()

    team.refresh_from_db()
    assert team.product == "extra"


def test_limits_when_past_due_hold(
    acme: Organization, subscribed: Subscription
) -> None:
    """The plan's limits hold while the subscription is live, and not after."""
    with tenancy.scope(acme):
        subscribed.change_status("past_due")
        before = find_limit("members", acme.pk, using="default")
        subscribed.end()
        after = find_limit("members", acme.pk, using="default")

    assert (before, after) == (5, None)


@pytest.mark.parametrize("limits", [{"members": "5"}, {"members": True}])
def test_limit_that_cannot_be_read_is_not_none(acme: Organization, limits: Any) -> None:
    """What another client has written lets nobody past a limit."""
    subscription = testing.SubscriptionFactory(organization=acme)
    Plan.objects.filter(pk=subscription.plan_id).update(limits=limits)

    with (
        tenancy.scope(acme),
        pytest.raises(ImproperlyConfigured, match=r"Set Plan\.limits"),
    ):
        find_limit("members", acme.pk, using="default")
