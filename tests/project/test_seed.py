"""The command that fills the demo."""

from __future__ import annotations

from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import (
    AuditEvent,
    Domain,
    Invitation,
    Membership,
    Organization,
    OrganizationSlug,
    Plan,
    Purchase,
    Session,
    Subscription,
    Team,
    User,
)
from tenancy.transactions import deleting

pytestmark = pytest.mark.django_db


def seed(**options: Any) -> str:
    """Run seed_demo and return what it prints."""
    out = StringIO()
    call_command("seed_demo", **{"tasks": 20, "stdout": out, **options})
    return out.getvalue()


def read_all() -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the demo, by table."""
    models = [
        model
        for label in ("tenancy", "tracker")
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        # Written by the model itself, with a key of its own.
        if model is not OrganizationSlug
    ]
    with tenancy.unscoped("compare two fillings"):
        return {
            model._meta.db_table: sorted(
                model._default_manager.values_list(*_fields(model)), key=repr
            )
            for model in models
        }


def _fields(model: Any) -> list[str]:
    # Keys that the database gives go on where the first filling ended.
    names = [field.attname for field in model._meta.concrete_fields]
    if model._meta.label in ("tracker.Comment", "tracker.Attachment"):
        names.remove("id")
    if model._meta.auto_created or model._meta.label == "tracker.Bookmark":
        names.remove("id")
    return names


def empty() -> None:
    """Delete all rows, without the database's memory of keys."""
    with tenancy.unscoped("empty the database"):
        for model in (Task, Project):
            model.objects.all().delete()
        apps.get_model("tracker.Label")._default_manager.all().delete()
        # A live subscription keeps its organization from being deleted.
        Subscription.objects.all().delete()
        Organization.objects.all().delete()
        User.objects.all().delete()
        for name in ("OrganizationSlug", "Plan", "BillingEvent", "Verification"):
            apps.get_model("tenancy", name)._default_manager.all().delete()
        # The ORM deletes no row of a trail, and the database none for raw SQL.
        with deleting("default"), connection.cursor() as cursor:
            cursor.execute("DELETE FROM tenancy_systemevent")


def test_same_seed_gives_same_rows() -> None:
    """Two fillings with one seed are the same, and with another they differ."""
    seed(seed=7)
    first = read_all()
    empty()

    seed(seed=7)
    second = read_all()
    empty()
    seed(seed=8)

    assert second == first
    assert len(first["tracker_task"]) == 20
    assert read_all() != first


def test_each_organization_has_a_past() -> None:
    """What the admin's overview plots is there, up to the day that is named."""
    seed(organizations=3, tasks=3, today=date(2026, 3, 5))

    with tenancy.unscoped("who has what"):
        organizations = list(Organization.objects.all())
    for organization in organizations:
        with tenancy.scope(organization):
            members = Membership.objects.all()
            months = {each.created_at.strftime("%Y-%m") for each in members}
            assert len(months) > 3 and max(months) <= "2026-03"
            assert members.exclude(ended_at=None).count() == 2
            assert Subscription.objects.live().get().plan.limits["members"] >= 20
            assert {each.status for each in Invitation.objects.all()} == {
                status.value for status in Invitation.Status
            }
            assert Domain.objects.verified().count() == 1
            for model in (AuditEvent, Purchase, Team):
                assert model.objects.exists()
            assert Session.objects.filter(membership__in=members).exists()
    assert Plan.objects.count() == 3


def test_organizations_have_words_of_their_own() -> None:
    """The titles of one organization's tasks are none of the other's."""
    seed(organizations=3, tasks=60)

    with tenancy.unscoped("compare"):
        titles = {
            organization.name: set(
                Task.objects.filter(organization=organization).values_list(
                    "title", flat=True
                )
            )
            for organization in Organization.objects.all()
        }
    assert len(titles) == 3 and {"Acme", "Globex"} < set(titles)
    everything = [title for own in titles.values() for title in own]
    assert len(everything) == len(set(everything))


def test_sign_ins_are_printed_and_work(client: Client) -> None:
    """Each person that the command prints can sign in."""
    printed = seed()

    for email in ("alice@acme.example", "bob@globex.example", "carol@example.com"):
        assert email in printed
        assert client.login(username=email, password="demo")
    assert User.objects.get(email="admin@example.com").is_superuser


def test_each_organization_has_a_member_without_the_admin() -> None:
    """Whom the superuser can impersonate is printed, and is plain in each of two."""
    printed = seed()

    for slug, email in (
        ("acme", "dave@acme.example"),
        ("globex", "erin@globex.example"),
    ):
        plain = User.objects.get(email=email)
        assert email in printed and not plain.is_staff
        with tenancy.unscoped("whose member"):
            membership = Membership.objects.get(user=plain)
            assert membership.role.key == "member"
            assert membership.organization.slug == slug


def test_filled_database_is_refused(acme: Organization) -> None:
    """A database that holds data is left alone, with an error that says so."""
    with pytest.raises(CommandError, match="already holds 1 organizations .*--if-empt"):
        seed()

    assert User.objects.count() == 1


def test_if_empty_leaves_data_alone() -> None:
    """With --if-empty a second run changes nothing and still prints the sign-ins."""
    seed(if_empty=True)
    before = read_all()

    printed = seed(if_empty=True)

    assert "left as they are" in printed and "alice@acme.example" in printed
    assert read_all() == before


@pytest.mark.parametrize("option", [{"organizations": 0}, {"tasks": -1}])
def test_impossible_amount_is_refused(option: dict[str, int]) -> None:
    """An amount that cannot be is refused before anything is made."""
    (name,) = option

    with pytest.raises(CommandError, match=f"--{name} is"):
        seed(**option)

    assert not User.objects.exists()


def test_rows_can_be_added_afterwards() -> None:
    """The database goes on with keys of its own after the given ones."""
    seed()

    with tenancy.unscoped("find acme"):
        acme = Organization.objects.get(slug="acme")
    with tenancy.scope(acme):
        task = Task.objects.create(project=Project.objects.all()[0], title="Later")
        assert task.pk > 20, connection.vendor


def test_progress_is_told_in_lines() -> None:
    """Where there is no terminal the progress is plain lines."""
    assert "20 of 20 tasks" in seed()
