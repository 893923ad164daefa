from __future__ import annotations

import pytest
from django.db import connection, transaction

import tenancy
from tenancy.exceptions import ImmutableRow, ScopeRequired
from tenancy.models import AuditEvent, Membership, Organization, User
from tenancy.origin import Origin, acting_from

pytestmark = pytest.mark.django_db


def test_record_says_who_did_what_and_from_where(
    acme: Organization, alice: User, bob: User
) -> None:
    """An event has the actor, the impersonator, the address, target and details."""
    origin = Origin(ip_address="192.0.2.1", impersonator_id=bob.pk)
    with tenancy.scope(acme, user=alice), acting_from(origin):
        event = AuditEvent.objects.record("team.created", acme, name="Team")

        assert AuditEvent.objects.by(alice).get() == event
        assert AuditEvent.objects.by(bob.pk).get() == event
        assert AuditEvent.objects.for_target(acme).count() == 2
        assert AuditEvent.objects.for_target(acme).by(bob).get() == event
    assert event.details == {"name": "Team"}
    assert event.organization_id == acme.pk


def test_record_when_unscoped_is_of_the_targets_organization(
    acme: Organization, globex: Organization
) -> None:
    """Unscoped, an event is the target's organization's, and has the reason."""
    with tenancy.unscoped("r" * 600):
        membership = Membership.objects.get(organization=acme)
        one = AuditEvent.objects.record("membership.checked", membership)
        two = AuditEvent.objects.record("organization.checked", globex)

    assert (one.organization_id, two.organization_id) == (acme.pk, globex.pk)
    assert one.unscoped_reason == "r" * 500


def test_record_without_a_scope_is_refused() -> None:
    """The trail is an organization's: there is none without a scope."""
    with pytest.raises(ScopeRequired):
        AuditEvent.objects.record("team.created")


def test_event_is_of_its_organization_only(
    acme: Organization, globex: Organization
) -> None:
    """Another organization's trail is not seen."""
    with tenancy.scope(globex):
        assert not AuditEvent.objects.for_target(acme).exists()
        assert AuditEvent.objects.count() == 1


def test_event_when_changed_or_deleted_is_refused(acme: Organization) -> None:
    """No way of the ORM changes or deletes an event; the connection stays usable."""
    with tenancy.scope(acme), transaction.atomic():
        event = AuditEvent.objects.get()
        again = AuditEvent(pk=event.pk, action="x")
        for call in (
            event.save,
            event.delete,
            lambda: again.save(force_update=True),
            lambda: again.save(update_fields=["action"]),
            lambda: AuditEvent.objects.update(action="x"),
            AuditEvent.objects.all().delete,
            lambda: AuditEvent.objects.bulk_update([event], ["action"]),
            lambda: AuditEvent.objects.update_or_create(
                pk=event.pk, defaults={"action": "x"}
            ),
            lambda: AuditEvent.objects.bulk_create(
                [event],
                update_conflicts=True,
                update_fields=["action"],
                unique_fields=["id"],
            ),
        ):
            with pytest.raises(ImmutableRow, match="written once"):
                call()
        assert AuditEvent.objects.get().action == "organization.created"
        AuditEvent.objects.bulk_create([AuditEvent(action="team.created")])
        assert AuditEvent.objects.count() == 2


def test_event_when_changed_by_raw_sql_is_refused(acme: Organization) -> None:
    """The database refuses the UPDATE too, in the scope and unscoped."""
    field = AuditEvent._meta.get_field("organization")
    key = field.get_db_prep_value(acme.pk, connection)
    statement = "UPDATE tenancy_auditevent SET action = 'x' WHERE organization_id = %s"

    for block in (tenancy.unscoped("raw"), tenancy.scope(acme)):
        with block, pytest.raises(ImmutableRow, match="refused"), transaction.atomic():
            connection.cursor().execute(statement, [key])

    with tenancy.scope(acme):
        assert AuditEvent.objects.get().action == "organization.created"
