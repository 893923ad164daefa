"""Rows that nobody may have, typed in by another client: the database refuses each."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import Model
from django.utils import timezone

import tenancy
from tenancy import testing
from tenancy.models import (
    Membership,
    Organization,
    OrganizationSlug,
    Ownership,
    Role,
    SystemEvent,
    TeamMembership,
    User,
)
from tests.deferral import check_deferred

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LATER = NOW + timedelta(days=30)
DIGEST = "0" * 64

Values = dict[str, Any]  # Any: a column's value.


def insert(row: Model, **changes: Any) -> None:
    """Insert a copy of a row by raw SQL, with a key of its own and the changes."""
    values: Values = {"id": uuid.uuid4()}
    for field in row._meta.concrete_fields:
        if not getattr(field, "generated", False):
            values.setdefault(field.attname, getattr(row, field.attname))
    values |= changes
    columns, parameters = [], []
    for field in row._meta.concrete_fields:
        if field.attname in values:
            columns.append(connection.ops.quote_name(str(field.column)))
            parameters.append(prepare(field, values[field.attname]))
    table = connection.ops.quote_name(row._meta.db_table)
    run(
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" VALUES ({', '.join(['%s'] * len(columns))})",
        parameters,
    )


def update(row: Model, **changes: Any) -> None:
    """Change a row by raw SQL."""
    fields = {field.attname: field for field in row._meta.concrete_fields}
    table = connection.ops.quote_name(row._meta.db_table)
    assignments = ", ".join(
        f"{connection.ops.quote_name(str(fields[name].column))} = %s"
        for name in changes
    )
    key = connection.ops.quote_name(str(row._meta.pk.column))
    run(
        f"UPDATE {table} SET {assignments} WHERE {key} = %s",
        [
            *(prepare(fields[name], value) for name, value in changes.items()),
            prepare(row._meta.pk, row.pk),
        ],
    )


def prepare(field: Any, value: Any) -> Any:  # Any: a field of any type.
    """Return a value as the driver takes it; a Raw one as it is."""
    if isinstance(value, Raw):
        return str(value)
    return field.get_db_prep_value(value, connection)


class Raw(str):
    """A value that goes to the database as it stands."""

    __slots__ = ()


def run(sql: str, parameters: list[Any]) -> None:
    """Run a statement, and look at the keys that wait for the transaction's end."""
    with (
        tenancy.unscoped("what another client types"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, parameters)
        if connection.features.can_defer_constraint_checks:
            check_deferred()


@pytest.fixture
def other(globex: Organization, bob: User) -> Values:
    """Rows of the other organization."""
    with tenancy.scope(globex):
        membership = Membership.objects.get(user=bob)
        role = Role.objects.built_in(globex.pk, "member")
        team = testing.TeamFactory()
    return {"membership": membership, "role": role, "team": team}


# Each is made in acme: the row that is copied, and what is wrong with the copy.
FRESH: dict[str, Callable[[], Values]] = {
    "tenancy_invitation": lambda: {
        "token_digest": uuid.uuid4().hex * 2,
        "email": f"{uuid.uuid4().hex}@example.com",
    },
    "tenancy_session": lambda: {"key_digest": uuid.uuid4().hex * 2},
    "tenancy_user": lambda: {"email": f"{uuid.uuid4().hex}@example.com"},
    "tenancy_organization": lambda: {"slug": uuid.uuid4().hex},
    "tenancy_organizationslug": lambda: {"slug": uuid.uuid4().hex},
    "tenancy_role": lambda: {"key": uuid.uuid4().hex, "name": uuid.uuid4().hex},
    "tenancy_team": lambda: {"name": uuid.uuid4().hex},
    "tenancy_domain": lambda: {"host": f"{uuid.uuid4().hex}.test"},
    "tenancy_account": lambda: {"provider_account_id": uuid.uuid4().hex},
    "tenancy_verification": lambda: {"identifier": uuid.uuid4().hex},
    "tenancy_plan": lambda: {"key": uuid.uuid4().hex},
    "tenancy_purchase": lambda: {"provider_payment_id": uuid.uuid4().hex},
    "tenancy_billingevent": lambda: {"event_id": uuid.uuid4().hex},
}

PROVED = {
    "host": "a.test",
    "verified_host": "a.test",
    "verified_at": NOW,
    "checked_at": NOW,
    "finding": "found",
}

BAD_ROWS: list[tuple[str, Any, Values]] = [
    # Users
    ("user whose address has capitals", testing.UserFactory, {"email": "Bob@x.org"}),
    ("user without an address", testing.UserFactory, {"email": ""}),
    ("user whose address has no sign", testing.UserFactory, {"email": "bob.x.org"}),
    ("user whose address has a space", testing.UserFactory, {"email": "b ob@x.org"}),
    ("ban with a reason only", testing.UserFactory, {"ban_reason": "fraud"}),
    ("ban with an end only", testing.UserFactory, {"banned_until": LATER}),
    (
        "ban that ends before it begins",
        testing.UserFactory,
        {"banned_at": LATER, "banned_until": NOW},
    ),
    # Organizations
    ("slug with capitals", testing.OrganizationFactory, {"slug": "Acme-Inc"}),
    ("slug with a space", testing.OrganizationFactory, {"slug": "acme inc"}),
    ("slug with a line break", testing.OrganizationFactory, {"slug": "acme\n"}),
    ("slug with an accent", testing.OrganizationFactory, {"slug": "acmé"}),
    ("slug that begins with a hyphen", testing.OrganizationFactory, {"slug": "-acme"}),
    ("slug that ends with a hyphen", testing.OrganizationFactory, {"slug": "acme-"}),
    ("slug with two hyphens", testing.OrganizationFactory, {"slug": "ac--me"}),
    ("slug that is empty", testing.OrganizationFactory, {"slug": ""}),
    ("organization without a name", testing.OrganizationFactory, {"name": ""}),
    ("unknown status", testing.OrganizationFactory, {"status": "deleted"}),
    ("status in capitals", testing.OrganizationFactory, {"status": "ACTIVE"}),
    ("empty customer", testing.OrganizationFactory, {"billing_customer_id": ""}),
    ("metadata that is no JSON", testing.OrganizationFactory, {"metadata": Raw("{")}),
    ("metadata that are a list", testing.OrganizationFactory, {"metadata": []}),
    ("metadata that are null", testing.OrganizationFactory, {"metadata": Raw("null")}),
    # Roles, members, teams
    ("role without a name", testing.RoleFactory, {"name": ""}),
    ("role with a malformed key", testing.RoleFactory, {"key": "The Boss"}),
    ("permissions that are no JSON", testing.RoleFactory, {"permissions": Raw("x")}),
    ("permissions by name", testing.RoleFactory, {"permissions": {"a": 1}}),
    ("permissions in words", testing.RoleFactory, {"permissions": "all"}),
    ("membership without a role", testing.MembershipFactory, {"role_id": None}),
    ("role that is none", testing.MembershipFactory, {"role_id": uuid.uuid4()}),
    ("member that is none", testing.MembershipFactory, {"user_id": uuid.uuid4()}),
    (
        "membership that ended before it began",
        testing.MembershipFactory,
        {"ended_at": NOW - timedelta(days=30)},
    ),
    ("team without a name", testing.TeamFactory, {"name": ""}),
    # Invitations
    ("unknown status of an invitation", testing.InvitationFactory, {"status": "open"}),
    ("acceptance without a date", testing.InvitationFactory, {"status": "accepted"}),
    ("pending one with an answer", testing.InvitationFactory, {"answered_at": LATER}),
    (
        "answer before the question",
        testing.InvitationFactory,
        {"status": "declined", "answered_at": NOW - timedelta(days=30)},
    ),
    ("invited address in capitals", testing.InvitationFactory, {"email": "A@x.org"}),
    ("invited address without sign", testing.InvitationFactory, {"email": "a.x.org"}),
    ("token in clear", testing.InvitationFactory, {"token_digest": "secret"}),
    (
        "invitation that expires before it is made",
        testing.InvitationFactory,
        {"expires_at": NOW - timedelta(days=30)},
    ),
    # Domains
    ("domain in capitals", testing.DomainFactory, {"host": "Acme.test"}),
    ("domain of one part", testing.DomainFactory, {"host": "acme"}),
    ("domain with a dot at its end", testing.DomainFactory, {"host": "acme.test."}),
    ("domain with a dot before it", testing.DomainFactory, {"host": ".acme.test"}),
    ("domain with two dots", testing.DomainFactory, {"host": "acme..test"}),
    ("domain with a port", testing.DomainFactory, {"host": "acme.test:80"}),
    ("domain with a line break", testing.DomainFactory, {"host": "acme.test\n"}),
    ("domain with a hyphen first", testing.DomainFactory, {"host": "-acme.test"}),
    ("part with a hyphen first", testing.DomainFactory, {"host": "a.-acme.test"}),
    ("part with a hyphen last", testing.DomainFactory, {"host": "acme-.test"}),
    ("domain in other letters", testing.DomainFactory, {"host": "acmé.test"}),
    ("domain that is an address", testing.DomainFactory, {"host": "192.0.2.1"}),
    ("part of 64 letters", testing.DomainFactory, {"host": f"{'a' * 64}.test"}),
    (
        "domain of 254 letters",
        testing.DomainFactory,
        {"host": ".".join([*["a" * 49] * 5, "test"])[-254:]},
    ),
    ("token that is made up", testing.DomainFactory, {"token": "tenancy"}),
    (
        "verification without a check",
        testing.DomainFactory,
        {**PROVED, "checked_at": None, "finding": ""},
    ),
    (
        "verification of another domain",
        testing.DomainFactory,
        {**PROVED, "verified_host": "b.test"},
    ),
    (
        "verification of no domain",
        testing.DomainFactory,
        {**PROVED, "verified_host": None},
    ),
    (
        "verified domain of no time",
        testing.DomainFactory,
        {**PROVED, "verified_at": None},
    ),
    ("check without a finding", testing.DomainFactory, {"checked_at": NOW}),
    ("finding without a check", testing.DomainFactory, {"finding": "found"}),
    (
        "unknown finding",
        testing.DomainFactory,
        {"checked_at": NOW, "finding": "mislaid"},
    ),
    (
        "verified domain whose record is missing since never",
        testing.DomainFactory,
        {**PROVED, "finding": "absent"},
    ),
    (
        "verified domain that fails while its record is found",
        testing.DomainFactory,
        {**PROVED, "failing_since": NOW},
    ),
    (
        "verification after the last check",
        testing.DomainFactory,
        {**PROVED, "verified_at": LATER},
    ),
    (
        "failure of a domain that is not verified",
        testing.DomainFactory,
        {"checked_at": NOW, "failing_since": NOW, "finding": "absent"},
    ),
    # Sessions, accounts, verifications
    (
        "ended session with data",
        testing.SessionFactory,
        {"revoked_at": LATER, "end_reason": "ended", "data": "x"},
    ),
    (
        "session that ends before it begins",
        testing.SessionFactory,
        {"revoked_at": NOW - timedelta(days=30), "end_reason": "ended", "data": ""},
    ),
    ("end without a date", testing.SessionFactory, {"end_reason": "ended"}),
    ("session key in clear", testing.SessionFactory, {"key_digest": "secret"}),
    ("session of no user", testing.SessionFactory, {"user_id": uuid.uuid4()}),
    ("provider with a space", testing.AccountFactory, {"provider": "Git Hub"}),
    ("account of nobody", testing.AccountFactory, {"user_id": None}),
    ("account without an id", testing.AccountFactory, {"provider_account_id": ""}),
    ("scopes that are no JSON", testing.AccountFactory, {"scopes": Raw("a, b")}),
    ("scopes by name", testing.AccountFactory, {"scopes": {"email": True}}),
    ("six attempts", testing.VerificationFactory, {"attempts": 6}),
    ("negative attempts", testing.VerificationFactory, {"attempts": -1}),
    ("value in clear", testing.VerificationFactory, {"value_digest": "123456"}),
    ("purpose in words", testing.VerificationFactory, {"purpose": "Verify it"}),
    ("verification of nothing", testing.VerificationFactory, {"identifier": ""}),
    # Billing
    ("plan with a malformed key", testing.PlanFactory, {"key": "Big Plan"}),
    ("limits that are no JSON", testing.PlanFactory, {"limits": Raw("many")}),
    ("limits as a list", testing.PlanFactory, {"limits": ["members"]}),
    ("prices as a number", testing.PlanFactory, {"prices": 12}),
    ("negative trial", testing.PlanFactory, {"trial_days": -1}),
    ("no seats", testing.SubscriptionFactory, {"seats": 0}),
    ("seats beyond count", testing.SubscriptionFactory, {"seats": 2**31}),
    ("trial beyond count", testing.PlanFactory, {"trial_days": 2**15}),
    ("negative seats", testing.SubscriptionFactory, {"seats": -3}),
    ("subscription to no plan", testing.SubscriptionFactory, {"plan_id": uuid.uuid4()}),
    (
        "unknown status of a subscription",
        testing.SubscriptionFactory,
        {"status": "free"},
    ),
    ("product of another plan", testing.SubscriptionFactory, {"product": "other"}),
    ("unknown interval", testing.SubscriptionFactory, {"interval": "decade"}),
    (
        "reversed period",
        testing.SubscriptionFactory,
        {"current_period_start": LATER, "current_period_end": NOW},
    ),
    (
        "reversed trial",
        testing.SubscriptionFactory,
        {"trial_start": LATER, "trial_end": NOW},
    ),
    ("trial without an end", testing.SubscriptionFactory, {"trial_start": NOW}),
    ("end of a live one", testing.SubscriptionFactory, {"ended_at": LATER}),
    ("canceled one without end", testing.SubscriptionFactory, {"status": "canceled"}),
    (
        "end before it was canceled",
        testing.SubscriptionFactory,
        {"status": "canceled", "canceled_at": LATER, "ended_at": NOW},
    ),
    ("end that nobody asked for", testing.SubscriptionFactory, {"cancel_at": LATER}),
    ("negative amount", testing.PurchaseFactory, {"amount": -1}),
    ("currency in small letters", testing.PurchaseFactory, {"currency": "eur"}),
    ("currency of two letters", testing.PurchaseFactory, {"currency": "EU"}),
    ("payment without an id", testing.PurchaseFactory, {"provider_payment_id": ""}),
    ("metadata in words", testing.PurchaseFactory, {"metadata": "paid"}),
    ("event without an id", testing.BillingEventFactory, {"event_id": ""}),
    ("unknown status of an event", testing.BillingEventFactory, {"status": "lost"}),
    ("applied event without date", testing.BillingEventFactory, {"status": "applied"}),
    (
        "event that is applied before it came",
        testing.BillingEventFactory,
        {"status": "applied", "settled_at": NOW - timedelta(days=30)},
    ),
    ("payload that is no JSON", testing.BillingEventFactory, {"payload": Raw("{x")}),
    ("audit of nothing", testing.AuditEventFactory, {"action": ""}),
    ("audit of a list", testing.AuditEventFactory, {"details": [1]}),
    ("trail of a list", testing.SystemEventFactory, {"details": [1]}),
]


@pytest.mark.parametrize(
    ("factory", "changes"),
    [case[1:] for case in BAD_ROWS],
    ids=[case[0] for case in BAD_ROWS],
)
def test_bad_row_when_typed_in_is_refused(
    factory: Any, changes: Values, acme: Organization
) -> None:
    """The same row is taken without its fault, and refused with it."""
    with tenancy.scope(acme):
        row = factory()
    if factory is testing.SubscriptionFactory:
        changes = {"live": False, **changes}
        with tenancy.unscoped("room for another live one"):
            type(row)._base_manager.filter(pk=row.pk).delete()
        changes.pop("live")
    fresh = FRESH.get(row._meta.db_table, dict)

    with pytest.raises(DatabaseError):
        insert(row, **{**fresh(), **changes})

    if factory is testing.MembershipFactory:
        fresh = lambda: {"user_id": testing.UserFactory().pk}  # noqa: E731
    insert(row, **fresh())


# The form mends these, and the sign-up with them; the trails have no form.
MENDED = {
    "user whose address has capitals",
    "slug that is empty",
    "invited address in capitals",
    "product of another plan",
    "membership without a role",
    "audit of nothing",
    "audit of a list",
    "trail of a list",
}
# Past the forms, which take no text that is no JSON.
UNTYPED = {
    case[0]
    for case in BAD_ROWS
    if any(isinstance(value, Raw) for value in case[2].values())
}


@pytest.mark.parametrize(
    ("factory", "changes"),
    [case[1:] for case in BAD_ROWS if case[0] not in UNTYPED | MENDED],
    ids=[case[0] for case in BAD_ROWS if case[0] not in UNTYPED | MENDED],
)
def test_bad_row_when_cleaned_names_field(
    factory: Any, changes: Values, acme: Organization
) -> None:
    """The same fault is a ValidationError on a field that holds it."""
    with tenancy.scope(acme):
        row = factory()
        fresh = FRESH.get(row._meta.db_table, dict)
        for name, value in {**fresh(), **changes}.items():
            setattr(row, name, value)

    with (
        tenancy.unscoped("a row of its own organization"),
        pytest.raises(ValidationError) as caught,
    ):
        row.full_clean()

    assert set(caught.value.error_dict) <= set(FIELDS_AT_FAULT) | {
        name.removesuffix("_id") for name in changes
    } | set(changes)


# Where two fields contradict each other, either may be named.
FIELDS_AT_FAULT = {
    "checked_at",
    "failing_since",
    "finding",
    "verified_at",
    "status",
    "answered_at",
    "cancel_at",
    "canceled_at",
    "trial_end",
    "ban_reason",
    "ended_at",
}


TWICE: list[tuple[str, Any, Values]] = [
    ("duplicate member", testing.MembershipFactory, {}),
    ("member twice in a team", testing.TeamMembershipFactory, {}),
    ("duplicate provider account", testing.AccountFactory, {}),
    (
        "two pending invitations",
        testing.InvitationFactory,
        {"token_digest": DIGEST},
    ),
    ("token of another invitation", testing.InvitationFactory, {"email": "a@x.org"}),
    ("two live subscriptions", testing.SubscriptionFactory, {}),
    ("domain twice in an organization", testing.DomainFactory, {}),
    ("payment twice", testing.PurchaseFactory, {}),
    ("event twice", testing.BillingEventFactory, {}),
    ("key of another session", testing.SessionFactory, {}),
    ("verification twice", testing.VerificationFactory, {}),
    ("plan's key twice", testing.PlanFactory, {"name": "Other"}),
    ("role's key twice", testing.RoleFactory, {"name": "Other"}),
    ("user's address twice", testing.UserFactory, {}),
    ("organization's slug twice", testing.OrganizationFactory, {}),
]


@pytest.mark.parametrize(
    ("factory", "changes"),
    [case[1:] for case in TWICE],
    ids=[case[0] for case in TWICE],
)
def test_row_when_typed_in_twice_is_refused(
    factory: Any, changes: Values, acme: Organization
) -> None:
    """What there is once is there once, whatever else the second row says."""
    with tenancy.scope(acme):
        row = factory()

    with pytest.raises(DatabaseError):
        insert(row, **changes)


@pytest.mark.parametrize("factory", [testing.RoleFactory, testing.TeamFactory])
def test_name_when_it_differs_by_case_is_refused(
    factory: Any, acme: Organization
) -> None:
    """Names that differ by their capitals collide in an organization."""
    with tenancy.scope(acme):
        row = factory(name="Support")
    fresh = {"key": "other"} if factory is testing.RoleFactory else {}

    with pytest.raises(DatabaseError):
        insert(row, **fresh, name="SUPPORT")


def test_subscription_of_provider_when_typed_in_twice_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A provider's subscription belongs to one organization."""
    row = testing.SubscriptionFactory(
        organization=acme, provider="stripe", provider_subscription_id="sub_1"
    )

    with pytest.raises(DatabaseError):
        insert(row, organization_id=globex.pk)


def test_domain_when_verified_twice_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A domain is verified for one organization, and named by as many as like."""
    row = testing.DomainFactory(organization=acme, is_verified=True)

    with pytest.raises(DatabaseError):
        insert(row, organization_id=globex.pk)
    insert(
        row,
        organization_id=globex.pk,
        verified_at=None,
        verified_host=None,
    )


def test_customer_when_of_two_organizations_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A provider's customer is one organization."""
    update(acme, billing_customer_id="cus_1")

    with pytest.raises(DatabaseError):
        update(globex, billing_customer_id="cus_1")


@pytest.mark.parametrize(
    ("factory", "column", "name"),
    [
        (testing.MembershipFactory, "role_id", "role"),
        (testing.InvitationFactory, "role_id", "role"),
        (testing.TeamMembershipFactory, "membership_id", "membership"),
        (testing.TeamMembershipFactory, "team_id", "team"),
    ],
)
def test_key_when_of_other_organization_is_refused(
    factory: Any, column: str, name: str, acme: Organization, other: Values
) -> None:
    """A row refers to rows of its own organization, though the other's exist."""
    with tenancy.scope(acme):
        row = factory()

    with pytest.raises(DatabaseError):
        update(row, **{column: other[name].pk})


def test_session_when_active_elsewhere_is_refused(
    acme: Organization, other: Values, alice: User
) -> None:
    """A session's active membership is one of its own user."""
    session = testing.SessionFactory(user=alice)

    with pytest.raises(DatabaseError):
        update(session, membership_id=other["membership"].pk)


@pytest.mark.parametrize(
    "table", ["tenancy_role", "tenancy_membership", "tenancy_auditevent"]
)
def test_organization_when_deleted_beneath_its_rows_is_refused(
    acme: Organization, table: str
) -> None:
    """Nobody deletes an organization from under what belongs to it."""
    key = connection.ops.quote_name(str(Organization._meta.pk.column))

    with pytest.raises(DatabaseError):
        run(
            f"DELETE FROM {Organization._meta.db_table} WHERE {key} = %s",
            [prepare(Organization._meta.pk, acme.pk)],
        )


@pytest.mark.parametrize(
    "factory", [testing.PurchaseFactory, testing.AuditEventFactory]
)
def test_row_that_is_written_once_when_changed_is_refused(
    factory: Any, acme: Organization
) -> None:
    """What was paid, and what was done, is changed by nobody."""
    row = factory(organization=acme)
    change: Values = (
        {"amount": 1} if factory is testing.PurchaseFactory else {"action": "other"}
    )

    with pytest.raises(DatabaseError):
        update(row, **change)


@pytest.mark.parametrize(
    "table",
    [
        "tenancy_auditevent",
        "tenancy_ownership",
        "tenancy_purchase",
        "tenancy_systemevent",
    ],
)
def test_row_that_is_kept_when_deleted_is_refused(
    acme: Organization, table: str
) -> None:
    """What was paid and done, and who owns the organization, is taken by nobody."""
    testing.PurchaseFactory(organization=acme)
    SystemEvent.objects.record("organization.checked", acme)

    with pytest.raises(DatabaseError):
        run(f"DELETE FROM {table}", [])


def test_owner_when_of_other_organization_is_refused(
    acme: Organization, other: Values, bob: User
) -> None:
    """An organization's owner is a member of that organization, of a role of it."""
    with tenancy.scope(acme):
        owned = Ownership.objects.get()

    with pytest.raises(DatabaseError):
        update(
            owned,
            membership_id=other["membership"].pk,
            role_id=other["membership"].role_id,
        )


def test_member_of_team_when_ended_is_refused(acme: Organization) -> None:
    """Who leaves the organization has left its teams, and comes into none."""
    with tenancy.scope(acme):
        row = testing.TeamMembershipFactory()
        member = row.membership
        with pytest.raises(DatabaseError):
            update(member, ended_at=LATER)
        member.end()
        assert not TeamMembership.objects.exists()

    for live in (True, False):
        with pytest.raises(DatabaseError):
            insert(row, live=live)


def test_time_when_after_2038_is_taken(alice: User) -> None:
    """A time after the thirty-second bit's end is kept, to the microsecond."""
    late = timezone.now().replace(year=2039, microsecond=123_456)
    session = testing.SessionFactory(user=alice, expires_at=late)

    session.refresh_from_db()

    assert session.expires_at == late


def test_slug_when_reserved_twice_is_refused(acme: Organization) -> None:
    """A slug is one organization's, now and later."""
    reserved = OrganizationSlug(slug="acme-old", organization=acme)
    with tenancy.scope(acme):
        reserved.save()

    with pytest.raises(DatabaseError):
        insert(reserved)


def test_plan_when_of_other_product_is_refused(acme: Organization) -> None:
    """No subscription follows a plan, or is to follow one, of another product."""
    row = testing.SubscriptionFactory(organization=acme)
    other = testing.PlanFactory(product="other")

    for column in ("plan_id", "next_plan_id"):
        with pytest.raises(DatabaseError):
            update(row, **{column: other.pk})
    with pytest.raises(DatabaseError):
        update(row.plan, product="other")


def test_trial_when_typed_in_twice_is_refused(acme: Organization) -> None:
    """An organization has one trial, ended or not, but for what a provider tells of."""
    trial: Values = {"trial_start": NOW, "trial_end": LATER}
    ended: Values = {"status": "canceled", "ended_at": LATER}
    row = testing.SubscriptionFactory(organization=acme, **trial, **ended)

    with pytest.raises(DatabaseError):
        insert(row)

    insert(row, last_event_at=NOW)
    with tenancy.unscoped("a row of its own organization"):
        row.pk = uuid.uuid4()
        with pytest.raises(ValidationError) as caught:
            row.validate_constraints()
    assert set(caught.value.error_dict) == {"trial_start"}
