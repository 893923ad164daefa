from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import BigAutoField
from django.db.models.signals import pre_save
from django.dispatch import Signal
from django.forms import modelform_factory
from django.test import override_settings
from django.test.utils import isolate_apps
from django.utils import timezone

import tenancy
from tenancy import signals
from tenancy.exceptions import (
    CrossOrganization,
    OrganizationLimitReached,
    ScopeRequired,
    SubscriptionLive,
    TransitionRefused,
)
from tenancy.identifiers import make_id
from tenancy.models import (
    AbstractOrganization,
    AuditEvent,
    BillingEvent,
    Invitation,
    Lock,
    Membership,
    Organization,
    OrganizationSlug,
    Plan,
    Purchase,
    Role,
    Session,
    Subscription,
    SystemEvent,
    Team,
    User,
)
from tenancy.transactions import take_locks
from tests.concurrency import run_at_once

pytestmark = pytest.mark.django_db


@contextmanager
def receiving(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """Collect what a signal is sent with, and the scope in which it is received."""
    received: list[dict[str, Any]] = []

    def receive(sender: Any, **values: Any) -> None:
        received.append({**values, "scope": tenancy.current_scope()})

    signal.connect(receive)
    try:
        yield received
    finally:
        signal.disconnect(receive)


def rename(organization: Organization, slug: str) -> None:
    with tenancy.scope(organization):
        organization.slug = slug
        organization.save()


def read(organization: Organization) -> Organization:
    with tenancy.unscoped("read an organization"):
        return Organization.objects.get(pk=organization.pk)


def subscribe(organization: Organization, status: str = "active") -> Subscription:
    plan, _created = Plan.objects.get_or_create(key="pro", name="Pro", product="app")
    now = timezone.now()
    with tenancy.scope(organization):
        return Subscription.objects.create(
            plan=plan,
            product=plan.product,
            status=status,
            current_period_start=now,
            current_period_end=now + timedelta(days=30),
            ended_at=now if status == "canceled" else None,
        )


# Slugs


def test_slug_when_changed_keeps_the_former(acme: Organization) -> None:
    """An organization has a row for each slug that it has or had."""
    rename(acme, "acme-two")

    assert set(
        OrganizationSlug.objects.filter(organization=acme.pk).values_list(
            "slug", flat=True
        )
    ) == {"acme", "acme-two"}


def test_slug_of_another_is_refused_old_or_archived(
    acme: Organization, globex: Organization
) -> None:
    """A slug once used is never another organization's, and the field is named."""
    rename(acme, "acme-two")
    with tenancy.scope(acme):
        acme.archive()

    for slug in ("acme", "acme-two"):
        globex.slug = slug
        with tenancy.scope(globex), transaction.atomic():
            with pytest.raises(ValidationError, match="is taken") as cleaned:
                globex.full_clean()
            with pytest.raises(ValidationError, match="is taken") as saved:
                globex.save()
            assert Organization.objects.get().slug == "globex"
        assert list(cleaned.value.message_dict) == ["slug"]
        assert list(saved.value.message_dict) == ["slug"]


def test_slug_of_its_own_past_is_taken_up_again(acme: Organization) -> None:
    """An organization goes back to a slug that it had."""
    rename(acme, "acme-two")
    rename(acme, "acme")

    assert read(acme).slug == "acme"
    assert OrganizationSlug.objects.filter(organization=acme.pk).count() == 2


def test_slug_of_a_deleted_organization_stays_reserved(
    acme: Organization, bob: User
) -> None:
    """The slugs of a deleted organization lead nowhere, and to nobody else."""
    rename(acme, "acme-two")
    with tenancy.scope(acme):
        acme.delete()

    rows = OrganizationSlug.objects.filter(organization=None)
    assert {row.slug for row in rows} == {"acme", "acme-two"}
    with pytest.raises(ValidationError, match="is taken"):
        Organization.objects.create_with_owner(name="A", slug="acme", owner=bob)
    other = Organization.objects.create_with_owner(name="Acme", owner=bob)
    assert other.slug.startswith("acme-")


@override_settings(TENANCY_REUSE_SLUGS=True)
def test_slug_when_reuse_is_set_is_given_away(
    acme: Organization, globex: Organization, bob: User
) -> None:
    """With TENANCY_REUSE_SLUGS only the slugs of the living are taken."""
    rename(acme, "acme-two")
    rename(globex, "acme")
    with tenancy.scope(acme):
        acme.archive()
    new = Organization.objects.create_with_owner(name="A", slug="acme-two", owner=bob)

    with pytest.raises(ValidationError, match="is taken"):
        acme.restore()
    with pytest.raises(ValidationError, match="is taken"):
        acme.restore(slug="acme")
    acme.restore(slug="acme-three")

    assert read(acme).status == "active"
    assert Organization.objects.find_by_slug("acme") == (globex, True)
    assert Organization.objects.find_by_slug("acme-two") == (new, True)


def test_slug_that_is_reserved_or_malformed_is_refused(acme: Organization) -> None:
    """A reserved word and a malformed slug are refused by save(), on the field."""
    for slug, text in (("admin", "reserved"), ("Not a slug", "lower-case")):
        acme.slug = slug
        with tenancy.scope(acme), pytest.raises(ValidationError, match=text) as error:
            acme.save()
        assert list(error.value.message_dict) == ["slug"]


@override_settings(TENANCY_RESERVED_SLUGS={"acme"})
def test_slug_that_is_reserved_later_is_kept(acme: Organization, bob: User) -> None:
    """A word that is reserved takes no slug from an organization that has it."""
    with tenancy.scope(acme):
        acme.full_clean()
        acme.save()

    assert read(acme).slug == "acme"
    other = Organization.objects.create_with_owner(name="Acme", owner=bob)
    assert other.slug.startswith("acme-")


def test_slug_by_queryset_is_refused_and_other_fields_are_not(
    acme: Organization,
) -> None:
    """A queryset does not change slugs, which save() does."""
    with tenancy.scope(acme):
        with pytest.raises(ValueError, match=r"Use organization\.save\(\)"):
            Organization.objects.update(slug="other")
        with pytest.raises(ValueError, match=r"Use organization\.save\(\)"):
            Organization.objects.bulk_update([acme], ["slug"])
        Organization.objects.update(name="Acme Limited")
        acme.name = "Acme Inc"
        Organization.objects.bulk_update([acme], ["name"])

    assert read(acme).name == "Acme Inc"


def test_bulk_create_keeps_the_slugs(acme: Organization) -> None:
    """Organizations that are created in bulk have their slugs, made or given."""
    with tenancy.unscoped("create many"):
        rows = Organization.objects.bulk_create(
            [Organization(name="Acme"), Organization(name="B", slug="b-corp")]
        )
        with transaction.atomic():
            with pytest.raises(ValidationError, match="is taken"):
                Organization.objects.bulk_create([Organization(name="C", slug="acme")])
            with pytest.raises(ValidationError, match="is taken"):
                Organization.objects.bulk_create(
                    [Organization(name="C", slug="c"), Organization(name="D", slug="c")]
                )
            assert Organization.objects.count() == 3
        with pytest.raises(ValueError, match=r"use save\(\)"):
            Organization.objects.bulk_create(rows, ignore_conflicts=True)
        with pytest.raises(ValueError, match=r"use save\(\)"):
            Organization.objects.bulk_create(
                rows,
                update_conflicts=True,
                update_fields=["name"],
                unique_fields=["id"],
            )

    assert rows[0].slug.startswith("acme-")
    assert (
        OrganizationSlug.objects.filter(
            organization__in=[row.pk for row in rows]
        ).count()
        == 2
    )


def test_save_of_other_fields_asks_nothing_of_the_slug(acme: Organization) -> None:
    """update_fields without the slug, and a deferred slug, leave it alone."""
    with tenancy.scope(acme):
        acme.slug = "globex"
        acme.save(update_fields=["name"])
        row = Organization.objects.defer("slug").get()
        row.save()

    assert read(acme).slug == "acme"


def test_find_by_slug_leads_from_the_former_to_the_present(
    acme: Organization, globex: Organization
) -> None:
    """A present and a former slug find the organization, in any case or scope."""
    rename(acme, "acme-two")

    assert Organization.objects.find_by_slug("acme-two") == (acme, True)
    assert Organization.objects.find_by_slug("acme") == (acme, False)
    assert Organization.objects.find_by_slug("ACME-two") == (acme, False)
    with tenancy.scope(globex):
        assert Organization.objects.find_by_slug("acme") == (acme, False)
    found = async_to_sync(Organization.objects.afind_by_slug)("acme")
    assert found == (acme, False)


def test_find_by_slug_of_the_archived_or_unknown_raises(acme: Organization) -> None:
    """Nobody is led to an archived organization, as to none; to a suspended one yes."""
    with tenancy.scope(acme):
        acme.suspend(reason="unpaid")
    assert Organization.objects.find_by_slug("acme")[0].status == "suspended"
    with tenancy.scope(acme):
        acme.archive()

    for slug in ("acme", "unknown"):
        with pytest.raises(Organization.DoesNotExist, match="No living organization"):
            Organization.objects.find_by_slug(slug)


@pytest.mark.django_db(transaction=True)
def test_slug_when_raced_for_is_one_organizations(alice: User) -> None:
    """Of sixteen that ask for a slug at once one gets it, and the others are told."""

    def create() -> Organization:
        return Organization.objects.create_with_owner(
            name="Acme", slug="acme", owner=alice
        )

    results = run_at_once([create] * 16)

    errors = [one for one in results if not isinstance(one, Organization)]
    assert len(errors) == 15
    for error in errors:
        assert isinstance(error, ValidationError)
        assert list(error.message_dict) == ["slug"]
    assert OrganizationSlug.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_slug_when_made_at_once_gets_suffixes(alice: User) -> None:
    """Sixteen of one name, created at once, get sixteen slugs."""

    def create() -> Organization:
        with tenancy.unscoped("create at once"):
            return Organization.objects.create(name="Acme")

    results = run_at_once([create] * 16)

    assert len({one.slug for one in results}) == 16
    assert "acme" in {one.slug for one in results}
    assert OrganizationSlug.objects.exclude(organization=None).count() == 16


def test_metadata_that_is_no_object_is_refused(acme: Organization) -> None:
    """The metadata are a JSON object."""
    values: tuple[Any, ...] = ([], "text", 1)  # JSON of each kind.
    for value in values:
        acme.metadata = value
        with tenancy.scope(acme), pytest.raises(ValidationError) as error:
            acme.full_clean()
        assert list(error.value.message_dict) == ["metadata"]


# Creation


@pytest.mark.django_db(transaction=True)
def test_creation_makes_all_and_tells_it(alice: User) -> None:
    """An organization comes with roles, owner, trail and signal."""
    with receiving(signals.organization_created) as received:
        acme = Organization.objects.create_with_owner(name="Acme", owner=alice)

    with tenancy.scope(acme):
        assert {role.key for role in Role.objects.all()} == {"owner", "admin", "member"}
        assert Membership.objects.get().role.key == "owner"
        (event,) = AuditEvent.objects.for_target(acme)
    assert (event.action, event.details) == (
        "organization.created",
        {"owner": str(alice.pk)},
    )
    (values,) = received
    assert (values["organization"], values["owner"]) == (acme, alice)
    assert values["scope"].organization_id == acme.pk


def test_creation_when_refused_makes_nothing(alice: User) -> None:
    """A fault at the last step leaves no organization, and a usable connection."""
    with transaction.atomic():
        with pytest.raises(ValueError, match="Cannot assign"):
            Organization.objects.create_with_owner(
                name="Acme", owner=type("Owner", (), {"pk": alice.pk})()
            )
        assert not OrganizationSlug.objects.exists()
    with tenancy.unscoped("count"):
        assert not Organization.objects.exists()
        assert not Role.objects.exists()


@pytest.mark.parametrize("name", ["status", "billing_customer_id", "owned"])
def test_creation_with_protected_or_unknown_field_is_refused(
    alice: User, name: str
) -> None:
    """What has a verb of its own, or is none, is no argument."""
    with pytest.raises(TypeError, match=name):
        Organization.objects.create_with_owner(name="A", owner=alice, **{name: "x"})


@pytest.mark.django_db(transaction=True)
@override_settings(TENANCY_LIMITS={"organizations": 3})
def test_creation_at_once_holds_the_limit(alice: User) -> None:
    """Of sixteen creations at once as many succeed as the user may have."""

    def create() -> Organization:
        return Organization.objects.create_with_owner(name="Acme", owner=alice)

    results = run_at_once([create] * 16)

    refused = [one for one in results if isinstance(one, OrganizationLimitReached)]
    assert len(refused) == 13
    assert refused[0].limit == 3


def test_creation_records_who_acts(acme: Organization, bob: User) -> None:
    """The trail has the scope's user, or the reason of going unscoped."""
    with tenancy.scope(user=bob):
        one = Organization.objects.create_with_owner(name="One", owner=bob)
    with tenancy.unscoped("import"):
        two = async_to_sync(Organization.objects.acreate_with_owner)(
            name="Two", owner=bob
        )

    with tenancy.scope(one):
        assert AuditEvent.objects.by(bob).get().action == "organization.created"
    with tenancy.scope(two):
        assert AuditEvent.objects.get().unscoped_reason == "import"


# Life


@pytest.mark.django_db(transaction=True)
def test_life_goes_through_its_verbs(acme: Organization, alice: User) -> None:
    """Each change is stored, on the instance too, recorded and told."""
    told: list[dict[str, Any]] = []
    for name in ("suspended", "reactivated", "archived", "restored"):
        getattr(signals, f"organization_{name}").connect(
            lambda sender, _name=name, **values: told.append({"name": _name, **values}),
            weak=False,
            dispatch_uid=name,
        )
    try:
        with tenancy.scope(acme, user=alice):
            acme.suspend(reason="unpaid")
            assert (acme.status, acme.living_slug) == ("suspended", "acme")
            acme.reactivate()
            assert acme.status == "active"
            async_to_sync(acme.asuspend)(reason="again")
            async_to_sync(acme.areactivate)()
            async_to_sync(acme.aarchive)()
        assert (acme.status, acme.living_slug) == ("archived", None)
        with tenancy.scope(user=alice):
            async_to_sync(acme.arestore)()
    finally:
        for name in ("suspended", "reactivated", "archived", "restored"):
            getattr(signals, f"organization_{name}").disconnect(dispatch_uid=name)

    assert (acme.status, acme.living_slug) == ("active", "acme")
    with tenancy.scope(acme):
        events = list(AuditEvent.objects.by(alice).order_by("occurred_at"))
    assert [event.action.partition(".")[2] for event in events] == [
        "suspended",
        "reactivated",
        "suspended",
        "reactivated",
        "archived",
        "restored",
    ]
    assert events[0].details == {"reason": "unpaid"}
    assert [one["name"] for one in told] == [
        event.action.partition(".")[2] for event in events
    ]
    assert told[0]["reason"] == "unpaid"


def test_life_in_the_wrong_order_is_refused(acme: Organization) -> None:
    """A verb reads the status anew, and refuses one that it does not lead from."""
    with tenancy.unscoped("the wrong order"), transaction.atomic():
        for wrong in (acme.reactivate, acme.restore):
            with pytest.raises(TransitionRefused, match="is active"):
                wrong()
        stale = Organization.objects.get()
        acme.archive()
        for call in (acme.archive, stale.archive, acme.reactivate):
            with pytest.raises(TransitionRefused, match="is archived"):
                call()
        with pytest.raises(TransitionRefused, match="active"):
            stale.suspend(reason="unpaid")
        assert Organization.objects.get().status == "archived"


def test_life_of_another_organization_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """No verb reaches another organization from a scope, nor works in none."""
    with tenancy.unscoped("archive another"):
        globex.archive()

    with tenancy.scope(acme):
        for call in (
            globex.archive,
            globex.reactivate,
            globex.restore,
            globex.delete,
            lambda: globex.suspend(reason="x"),
        ):
            with pytest.raises(CrossOrganization):
                call()
    for call in (acme.archive, acme.delete, lambda: acme.suspend(reason="x")):
        with pytest.raises(ScopeRequired):
            call()

    assert read(globex).status == "archived"
    assert read(acme).status == "active"


def test_archived_when_restored_without_a_scope_is_active(acme: Organization) -> None:
    """Who holds an archived organization restores it, in no scope or its own."""
    with tenancy.scope(acme):
        acme.archive()
        acme.restore()
        acme.archive()

    acme.restore()

    assert read(acme).status == "active"


def test_status_is_in_no_form() -> None:
    """A form shows neither the status nor the payment provider's customer."""
    form = modelform_factory(Organization, fields="__all__")

    assert not {"status", "billing_customer_id"} & set(form.base_fields)


@pytest.mark.django_db(transaction=True)
def test_archive_at_once_is_done_once(acme: Organization) -> None:
    """Of eight that archive at once one does, and is recorded."""

    def archive() -> None:
        with tenancy.unscoped("archive at once"):
            Organization.objects.get(pk=acme.pk).archive()

    results = run_at_once([archive] * 8)

    assert sum(isinstance(one, TransitionRefused) for one in results) == 7
    with tenancy.unscoped("count"):
        assert AuditEvent.objects.filter(action="organization.archived").count() == 1


# Deletion


def furnish(organization: Organization, owner: User) -> None:
    """Give an organization a row of each kind."""
    organization.billing_customer_id = f"cus_{organization.slug}"
    with tenancy.scope(organization):
        organization.save()
        membership = Membership.objects.get()
        Team.objects.create(name="Team")
        now = timezone.now()
        Invitation.objects.create(
            role=membership.role, token_digest="a" * 64, expires_at=now + timedelta(1)
        )
        Purchase.objects.create(
            amount=1, currency="EUR", provider="p", provider_payment_id="1"
        )
        Session.objects.create(
            key_digest="b" * 64,
            user=owner,
            membership=membership,
            expires_at=now + timedelta(1),
        )
    subscribe(organization, "canceled")
    BillingEvent.objects.create(
        provider="p",
        event_id="1",
        type="t",
        customer_id=organization.billing_customer_id,
        occurred_at=now,
    )


@pytest.mark.parametrize("way", ["instance", "queryset", "archived"])
def test_deletion_leaves_no_pointer(
    acme: Organization, globex: Organization, alice: User, way: str
) -> None:
    """Everything of the organization goes, and what pointed to it points nowhere."""
    furnish(acme, alice)
    key = acme.pk
    if way == "archived":
        with tenancy.scope(acme):
            acme.archive()

    with tenancy.unscoped("closing the account"):
        if way == "queryset":
            Organization.objects.filter(pk=key).delete()
        else:
            acme.delete()

        assert set(Membership.objects.values_list("organization", flat=True)) == {
            globex.pk
        }
        assert set(Role.objects.values_list("organization", flat=True)) == {globex.pk}
        assert AuditEvent.objects.get().organization_id == globex.pk
        assert not Team.objects.exists()
        assert not Invitation.objects.exists()
        assert not Purchase.objects.exists()
        assert not Subscription.objects.exists()
        assert Organization.objects.get() == globex
    assert Session.objects.get().membership_id is None
    assert OrganizationSlug.objects.get(slug="acme").organization_id is None
    assert not Lock.objects.filter(name=f"organization:{key}").exists()
    assert not BillingEvent.objects.exists()
    event = SystemEvent.objects.get()
    assert (event.action, event.subject_key) == ("organization.deleted", str(key))
    assert event.reason == "closing the account"
    assert event.details == {"slug": "acme"}


@pytest.mark.django_db(transaction=True)
def test_deletion_is_told(acme: Organization) -> None:
    """The signal has the key and the slug of what is gone."""
    key = acme.pk
    with receiving(signals.organization_deleted) as received, tenancy.scope(acme):
        acme.delete()

    assert [(one["key"], one["slug"]) for one in received] == [(key, "acme")]


@pytest.mark.parametrize("status", ["active", "past_due", "incomplete", "paused"])
def test_deletion_while_a_subscription_is_live_is_refused(
    acme: Organization, status: str
) -> None:
    """Neither the instance nor a queryset is deleted, and the connection is usable."""
    subscription = subscribe(acme, status)

    with tenancy.scope(acme), transaction.atomic():
        with pytest.raises(SubscriptionLive, match="End that"):
            acme.delete()
        with pytest.raises(SubscriptionLive):
            Organization.objects.all().delete()
        assert Membership.objects.count() == 1
        Subscription.objects.filter(pk=subscription.pk).update(
            status="canceled", ended_at=timezone.now()
        )
        acme.delete()

    assert SystemEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_deletion_at_once_with_new_rows_is_whole(
    acme: Organization, alice: User
) -> None:
    """A deletion that is asked for by eight happens once, with all that it has."""

    def delete() -> int:
        with tenancy.unscoped("delete at once"):
            return Organization.objects.filter(pk=acme.pk).delete()[0]

    results = run_at_once([delete] * 8)

    assert sum(bool(count) for count in results) == 1
    assert SystemEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_deletion_waits_for_a_subscription_that_starts(acme: Organization) -> None:
    """A subscription that starts under the lock is seen by the deletion that waits."""
    is_held = threading.Event()

    def start() -> None:
        with transaction.atomic(), tenancy.unscoped("start"):
            take_locks("default", organizations=[acme.pk])
            is_held.set()
            time.sleep(0.3)
            subscribe(acme)

    def delete() -> None:
        is_held.wait()
        with tenancy.unscoped("delete"):
            Organization.objects.filter(pk=acme.pk).delete()

    results = run_at_once([start, delete])

    assert results[0] is None
    assert isinstance(results[1], SubscriptionLive)
    assert read(acme) == acme


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_queryset", [False, True])
def test_deletion_waits_for_rows_that_are_inserted(
    acme: Organization, is_queryset: bool
) -> None:
    """A row that is inserted without a verb's lock goes along, or is refused."""
    is_inserted = threading.Event()

    def insert() -> None:
        with transaction.atomic(), tenancy.scope(acme):
            Team.objects.create(name="Late")
            is_inserted.set()
            time.sleep(0.3)

    def delete() -> None:
        is_inserted.wait()
        with tenancy.scope(acme):
            rows = Organization.objects.all()
            rows.delete() if is_queryset else rows.get().delete()

    results = run_at_once([insert, delete])

    assert results[1] is None
    # PostgreSQL looks at the key when the transaction ends.
    assert results[0] is None or isinstance(results[0], IntegrityError)
    with tenancy.unscoped("what is left"):
        assert not Team.objects.exists()
        assert not Organization.objects.exists()


@isolate_apps("tests.apps.notebook")
def test_key_of_a_projects_own_comes_before_what_is_generated() -> None:
    """Of what an INSERT made, Django on MySQL reads the first field: the key."""

    class Company(AbstractOrganization):
        id = BigAutoField(primary_key=True)  # type: ignore[assignment]  # not a UUID

        class Meta(AbstractOrganization.Meta):
            app_label = "notebook"

    names = [field.name for field in Company._meta.local_fields]
    returned = [field.name for field in Company._meta.db_returning_fields]

    assert names[0] == returned[0] == "id"
    assert "living_slug" in returned


@pytest.mark.parametrize("is_bulk", [False, True])
def test_slug_of_a_key_that_the_database_gives_is_kept(is_bulk: bool) -> None:
    """A key that is known after the insert gets its slug, and no deleted one's."""
    OrganizationSlug.objects.create(slug="gone")
    late = Organization(id=None, name="Late")

    def give_key(instance: Organization, **kwargs: Any) -> None:
        instance.pk = make_id()

    with tenancy.unscoped("keys that come late"):
        with pytest.raises(ValidationError, match="is taken"):
            Organization(id=None, name="Other", slug="gone").full_clean()
        assert OrganizationSlug.objects.reserve({"gone": None}) == {"gone"}
        if is_bulk:
            Organization.objects.bulk_create([late])
        else:
            pre_save.connect(give_key, sender=Organization)
            try:
                late.save()
            finally:
                pre_save.disconnect(give_key, sender=Organization)

    assert late.pk is not None
    assert OrganizationSlug.objects.get(slug="late").organization_id == late.pk


@pytest.mark.django_db(transaction=True)
def test_slug_when_renamed_to_at_once_is_one_organizations(alice: User) -> None:
    """Of eight that change to one slug at once one has it, and keeps its former too."""
    rows = [
        Organization.objects.create_with_owner(name=f"Acme {number}", owner=alice)
        for number in range(8)
    ]

    results = run_at_once([partial(rename, row, "wanted") for row in rows])

    assert sum(isinstance(one, ValidationError) for one in results) == 7
    assert results.count(None) == 1
    assert OrganizationSlug.objects.count() == 9


def test_deletion_reserves_a_slug_that_had_no_row(acme: Organization) -> None:
    """An organization that was loaded without its slug's row reserves it too."""
    OrganizationSlug.objects.all().delete()

    with tenancy.scope(acme):
        acme.delete()

    assert OrganizationSlug.objects.get().slug == "acme"
