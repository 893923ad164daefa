"""Factories of every model, for the tests of projects; the extra "testing" brings them.

A factory of tenant rows makes them in the active scope, or in the organization that it
is given, or, with neither, in a new one::

    acme = OrganizationFactory(name="Acme")
    TeamFactory(organization=acme)
    with tenancy.scope(acme):
        TeamFactory.create_batch(3)
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.utils import timezone

from tenancy import conf
from tenancy.context import current_scope, scope
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Membership,
    Plan,
    Purchase,
    Role,
    Session,
    Subscription,
    SystemEvent,
    Team,
    TeamMembership,
    Verification,
)


class UserFactory(factory.django.DjangoModelFactory):
    """Users who sign in with the password "password"."""

    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    email = factory.Sequence(lambda number: f"user{number}@example.com")
    name = factory.Sequence(lambda number: f"User {number}")

    @classmethod
    def _create(cls, model_class: type[Model], *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("password", "password")
        manager: Any = model_class._default_manager  # Any: the project's own user.
        return manager.create_user(*args, **kwargs)


class OrganizationFactory(factory.django.DjangoModelFactory):
    """Organizations with their built-in roles and an owner, a new user by default."""

    class Meta:
        model = conf.organization_model()

    name = factory.Sequence(lambda number: f"Organization {number}")
    owner = factory.SubFactory(UserFactory)

    @classmethod
    def _create(cls, model_class: type[Model], *args: Any, **kwargs: Any) -> Any:
        manager: Any = model_class._default_manager  # Any: the project's own model.
        return manager.create_with_owner(**kwargs)


class TenantFactory(factory.django.DjangoModelFactory):
    """The base of factories of tenant rows, for a project's own models too."""

    class Meta:
        abstract = True

    @classmethod
    def _generate(cls, strategy: Any, params: dict[str, Any]) -> Any:  # As Factory's.
        organization = params.pop("organization", None)
        active = current_scope()
        if organization is None and (active is None or active.organization_id is None):
            organization = OrganizationFactory()
        if organization is None:
            return super()._generate(strategy, params)
        with scope(organization):
            return super()._generate(strategy, params)


class RoleFactory(TenantFactory):
    """Roles of the organization's own making, which allow nothing yet."""

    class Meta:
        model = Role

    key = factory.Sequence(lambda number: f"role-{number}")
    name = factory.Sequence(lambda number: f"Role {number}")


class MembershipFactory(TenantFactory):
    """Members with the role "member", new users by default."""

    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)


class TeamFactory(TenantFactory):
    """Teams without members."""

    class Meta:
        model = Team

    name = factory.Sequence(lambda number: f"Team {number}")


class TeamMembershipFactory(TenantFactory):
    """Members of a team, both new by default."""

    class Meta:
        model = TeamMembership

    team = factory.SubFactory(TeamFactory)
    membership = factory.SubFactory(MembershipFactory)


class DomainFactory(TenantFactory):
    """Domains that nobody has verified; with ``is_verified=True``, verified ones."""

    class Meta:
        model = Domain

    class Params:
        is_verified = factory.Trait(
            verified_at=factory.LazyFunction(timezone.now),
            verified_host=factory.SelfAttribute("host"),
            checked_at=factory.SelfAttribute("verified_at"),
            finding="found",
        )

    host = factory.Sequence(lambda number: f"tasks{number}.example.org")


class InvitationFactory(TenantFactory):
    """Pending invitations. Nobody knows their tokens: invite() gives one that works."""

    class Meta:
        model = Invitation

    email = factory.Sequence(lambda number: f"invited{number}@example.com")
    role = factory.LazyFunction(lambda: _role("member"))
    token_digest = factory.Sequence(lambda number: _digest("invitation", number))
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=7))


class SessionFactory(factory.django.DjangoModelFactory):
    """Sessions of a new user. Nobody knows their keys."""

    class Meta:
        model = Session

    user = factory.SubFactory(UserFactory)
    key_digest = factory.Sequence(lambda number: _digest("session", number))
    user_agent = "Factory/1.0"
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=7))


class AccountFactory(factory.django.DjangoModelFactory):
    """Accounts with a provider, without tokens."""

    class Meta:
        model = Account

    user = factory.SubFactory(UserFactory)
    provider = "example"
    provider_account_id = factory.Sequence(lambda number: f"account-{number}")


class VerificationFactory(factory.django.DjangoModelFactory):
    """Verifications. Nobody knows their values: issue() gives one that works."""

    class Meta:
        model = Verification

    purpose = "verify-email"
    identifier = factory.Sequence(lambda number: f"user{number}@example.com")
    value_digest = factory.Sequence(lambda number: _digest("verification", number))
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=1))


class PlanFactory(factory.django.DjangoModelFactory):
    """Plans of the product "main", without limits."""

    class Meta:
        model = Plan

    key = factory.Sequence(lambda number: f"plan-{number}")
    name = factory.Sequence(lambda number: f"Plan {number}")


class SubscriptionFactory(TenantFactory):
    """Active subscriptions, in the first days of a month."""

    class Meta:
        model = Subscription

    plan = factory.SubFactory(PlanFactory)
    product = factory.SelfAttribute("plan.product")
    status = Subscription.Status.ACTIVE
    current_period_start = factory.LazyFunction(
        lambda: timezone.now() - timedelta(days=3)
    )
    current_period_end = factory.LazyFunction(
        lambda: timezone.now() + timedelta(days=27)
    )


class PurchaseFactory(TenantFactory):
    """Payments of ten euros."""

    class Meta:
        model = Purchase

    amount = 1000
    currency = "EUR"
    provider = "example"
    provider_payment_id = factory.Sequence(lambda number: f"payment-{number}")


class BillingEventFactory(factory.django.DjangoModelFactory):
    """Events that have been received, and not been applied."""

    class Meta:
        model = BillingEvent

    provider = "example"
    event_id = factory.Sequence(lambda number: f"event-{number}")
    type = "subscription.updated"
    occurred_at = factory.LazyFunction(timezone.now)


class AuditEventFactory(TenantFactory):
    """Entries of the audit trail."""

    class Meta:
        model = AuditEvent

    action = "example.done"


class SystemEventFactory(factory.django.DjangoModelFactory):
    """Entries of the trail that no organization owns."""

    class Meta:
        model = SystemEvent

    action = "example.done"


def _role(key: str) -> Role:
    active = current_scope()
    assert active is not None  # TenantFactory enters one.
    return Role.objects.built_in(active.organization_id, key)


def _digest(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()
