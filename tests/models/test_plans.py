"""The look-ups that a product makes all day, by the database's own EXPLAIN."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

import tenancy
from tenancy import testing
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Lock,
    Membership,
    Organization,
    OrganizationSlug,
    Ownership,
    Plan,
    Role,
    Session,
    Subscription,
    User,
    Verification,
)
from tenancy.resolvers import Address
from tenancy.transactions import deleting

ROWS = 300
NOW = timezone.now()

Rows = QuerySet[Any, Any]


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[Organization]:
    """An organization with many rows of each kind, and its neighbour with a few."""
    with django_db_blocker.unblock():
        organization = fill()
        yield organization
        empty()
        connection.close()


def empty() -> None:
    """Delete the committed rows, children before parents."""
    alias = connection.alias
    with (
        tenancy.unscoped("the end of the plans"),
        transaction.atomic(using=alias),
        deleting(alias),
    ):
        for model in (
            *(Subscription, Plan, Domain, Invitation, Ownership, Membership, Role),
            AuditEvent,
            *(OrganizationSlug, Organization, Lock),
            *(Session, Account, Verification, BillingEvent, User),
        ):
            rows: Any = model._base_manager.all()  # Any: a private method.
            rows._raw_delete(using=alias)


def fill() -> Organization:
    """Make the rows, committed, so that the database counts them."""
    users = User.objects.bulk_create(
        User(email=f"{number}@example.com", password="x") for number in range(ROWS)
    )
    later = NOW + timedelta(days=30)
    Session.objects.bulk_create(
        Session(user=user, key_digest=uuid.uuid4().hex * 2, expires_at=later)
        for user in users
    )
    Account.objects.bulk_create(
        Account(user=user, provider="github", provider_account_id=str(number))
        for number, user in enumerate(users)
    )
    Verification.objects.bulk_create(
        Verification(
            purpose="verify-email",
            identifier=user.email,
            value_digest=uuid.uuid4().hex * 2,
            expires_at=later,
        )
        for user in users
    )
    BillingEvent.objects.bulk_create(
        BillingEvent(
            provider="stripe",
            event_id=str(number),
            type="x",
            occurred_at=NOW,
            status="applied",
            received_at=NOW,
            settled_at=NOW,
        )
        for number in range(ROWS)
    )
    plan = testing.PlanFactory()
    organizations = [
        Organization.objects.create_with_owner(name=f"Organization {number}", owner=one)
        for number, one in enumerate(users[:30])
    ]
    with tenancy.unscoped("rows of many"):
        members = {
            role.organization_id: role for role in Role.objects.filter(key="member")
        }
        Membership.objects.bulk_create(
            Membership(organization=one, user=user, role=members[one.pk])
            for one in organizations
            for user in users[30:40]
        )
        Invitation.objects.bulk_create(
            Invitation(
                organization=one,
                email=f"{number}@example.org",
                role=members[one.pk],
                token_digest=uuid.uuid4().hex * 2,
                expires_at=later,
                status=status,
                answered_at=None if status == "pending" else later,
            )
            for one in organizations
            for number in range(10)
            # A partial index is of the few that wait.
            for status in ("pending", "declined", "declined")
        )
        Domain.objects.bulk_create(
            Domain(
                organization=one,
                host=f"{number}-{index}.example.org",
                verified_host=f"{number}-{index}.example.org",
                verified_at=NOW,
                checked_at=NOW,
                finding="found",
            )
            for index, one in enumerate(organizations)
            for number in range(10)
        )
        Subscription.objects.bulk_create(
            Subscription(
                organization=one,
                plan=plan,
                product="main",
                status="active",
                provider="stripe",
                provider_subscription_id=f"sub_{number}",
                current_period_start=NOW,
                current_period_end=later,
            )
            for number, one in enumerate(organizations)
        )
    with connection.cursor() as cursor, tenancy.unscoped("statistics"):
        for statement in STATISTICS[connection.vendor]:
            cursor.execute(statement)
    return organizations[0]


TABLES = (
    "tenancy_user, tenancy_session, tenancy_account, tenancy_verification, "
    "tenancy_billingevent, tenancy_organization, tenancy_organizationslug, "
    "tenancy_membership, tenancy_invitation, tenancy_subscription, tenancy_domain"
)
STATISTICS = {
    "mysql": [f"ANALYZE TABLE {TABLES}"],
    # Vacuumed: rows that may be dead are looked at in the table.
    "postgresql": [f"VACUUM ANALYZE {TABLES}"],
    # Statistics are not kept apart from the tests to come.
    "sqlite": [],
}

LOOK_UPS: dict[str, Callable[[Organization], Rows]] = {
    "user by e-mail": lambda _: User.objects.filter(email="7@example.com"),
    "session by key": lambda _: Session.objects.filter(key_digest="0" * 64),
    "sessions of a user": lambda _: Session.objects.filter(user=uuid.uuid4()),
    "account by provider and id": lambda _: Account.objects.filter(
        provider="github", provider_account_id="7"
    ),
    "accounts of a user": lambda _: Account.objects.filter(user=uuid.uuid4()),
    "verification by purpose and identifier": lambda _: Verification.objects.filter(
        purpose="verify-email", identifier="7@example.com"
    ),
    "organization by slug": lambda _: Organization.objects.filter(
        living_slug="organization-7"
    ),
    "organization by former slug": lambda _: OrganizationSlug.objects.filter(
        slug="organization-7"
    ),
    "organization by customer": lambda _: Organization.objects.filter(
        billing_customer_id="cus_7"
    ),
    "membership by user and organization": lambda one: Membership.objects.filter(
        user=uuid.uuid4(), organization=one
    ),
    "members of an organization": lambda one: Membership.objects.filter(
        organization=one
    ),
    "memberships of a user": lambda _: Membership.objects.filter(user=uuid.uuid4()),
    "invitation by token": lambda _: Invitation.objects.filter(token_digest="0" * 64),
    "pending invitations by e-mail": lambda _: Invitation.objects.filter(
        pending_email="7@example.org"
    ),
    "pending invitations of an organization": lambda one: Invitation.objects.filter(
        organization=one, status="pending", expires_at__gt=NOW
    ),
    "live subscription of an organization": lambda one: Subscription.objects.filter(
        organization=one, live_product__isnull=False
    ),
    "subscription by provider": lambda _: Subscription.objects.filter(
        provider="stripe", provider_subscription_id="sub_7"
    ),
    "organization by domain": lambda _: Domain.objects.filter(
        verified_host="7-7.example.org"
    ),
    "memberships at a domain": lambda _: Address(host="7-7.example.org").filter(
        Membership.objects.filter(user=uuid.uuid4())
    ),
    "domains of an organization": lambda one: Domain.objects.filter(organization=one),
    "event by provider and id": lambda _: BillingEvent.objects.filter(
        provider="stripe", event_id="7"
    ),
    "events to try again": lambda _: BillingEvent.objects.unsettled(),
    "expired sessions": lambda _: Session.objects.filter(expires_at__lt=NOW),
    "expired verifications": lambda _: Verification.objects.filter(expires_at__lt=NOW),
    "expired invitations": lambda _: Invitation.objects.filter(
        status="pending", expires_at__lt=NOW
    ),
    "ended sessions": lambda _: Session.objects.filter(revoked_at__isnull=False),
    "pending invitations counted": lambda one: Invitation.objects.filter(
        organization=one, status="pending", expires_at__gt=NOW
    ).values("organization"),
}

# The look-ups that are answered by a partial index, or by a whole one of its name.
BY_PARTIAL = {
    "pending invitations by e-mail": "tenancy_invitation_address",
    "pending invitations of an organization": "tenancy_invitation_pending",
    "expired invitations": "tenancy_invitation_expiry",
    "ended sessions": "tenancy_session_revoked",
    "events to try again": "tenancy_billingevent_status",
}


@pytest.mark.parametrize("name", LOOK_UPS)
@pytest.mark.django_db
def test_look_up_when_explained_uses_index(name: str, filled: Organization) -> None:
    """Each hot look-up finds its rows through an index."""
    with tenancy.unscoped("plans of look-ups across organizations"), without_scans():
        plan = LOOK_UPS[name](filled).order_by().explain()

    assert READS_ALL[connection.vendor].search(plan) is None, plan


@pytest.mark.parametrize("name", BY_PARTIAL)
@pytest.mark.django_db
def test_look_up_of_few_rows_uses_their_index(name: str, filled: Organization) -> None:
    """What asks for the rows of a partial index is answered by it."""
    with tenancy.unscoped("plans of look-ups across organizations"), without_scans():
        plan = LOOK_UPS[name](filled).order_by().explain()

    assert BY_PARTIAL[name] in plan, plan


@pytest.mark.django_db
def test_seats_in_scope_are_counted_from_an_index_alone(filled: Organization) -> None:
    """Pending invitations are counted under the policy with no look at the table."""
    with tenancy.scope(filled), without_scans():
        pending = LOOK_UPS["pending invitations counted"](filled)
        plan = pending.order_by().explain()

    assert FROM_INDEX[connection.vendor].search(plan) is not None, plan


FROM_INDEX = {
    "mysql": re.compile(r"[Cc]overing index|Using index"),
    "postgresql": re.compile("Index Only Scan"),
    "sqlite": re.compile("COVERING INDEX"),
}


# What a plan says that reads a table from end to end.
READS_ALL = {
    "mysql": re.compile(r"Table scan|\bALL\b|\bindex\t"),
    "postgresql": re.compile("Seq Scan"),
    "sqlite": re.compile(r"\bSCAN\b"),
}


@contextmanager
def without_scans() -> Iterator[None]:
    """Let PostgreSQL scan only where it has no index to use: the tables are small."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    yield


@pytest.mark.django_db
def test_look_up_when_without_index_is_noticed(filled: Organization) -> None:
    """The test above sees a look-up that has no index."""
    with without_scans():
        plan = User.objects.filter(name="Alice").order_by().explain()

    assert READS_ALL[connection.vendor].search(plan) is not None, plan
