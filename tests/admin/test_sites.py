"""The admin's site: whose page it is, whose form is taken, whose log is shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.test import Client
from pytest_django import Settings

import tenancy
from tenancy.models import AuditEvent, Organization, User
from tenancy.testing import MembershipFactory
from tests.admin.conftest import sign_in
from tests.admin.test_pages import path_of
from tests.apps.notebook.models import Category

pytestmark = pytest.mark.django_db


def text(response: Any) -> str:
    """Return the page."""
    page: str = response.content.decode()
    return page


# The log


@pytest.fixture
def shared(settings: Settings) -> Category:
    """A global row, in whose admin rows of organizations can be added."""
    settings.ROOT_URLCONF = "tests.admin.global_urls"
    category: Category = Category.objects.create(name="shared")
    return category


def test_history_of_a_global_row_is_the_organizations(
    shared: Category,
    staff: Client,
    superuser: Client,
    bob: User,
    globex: Organization,
) -> None:
    """What alice added in acme is told to superusers, and not to globex's staff."""
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.all())
    as_bob = sign_in(bob)
    with tenancy.scope(globex):
        AuditEvent.objects.record("category.praised", shared)
    form = {
        "name": "shared",
        "notes-TOTAL_FORMS": 1,
        "notes-INITIAL_FORMS": 0,
        "notes-0-code": "rocket",
    }
    assert staff.post(path_of(Category, "change/", shared.pk), form).status_code == 302

    page = path_of(Category, "history/", shared.pk)
    own, shown, whole = (text(one.get(page)) for one in (staff, as_bob, superuser))

    assert LogEntry.objects.get().get_change_message() == "Added note “rocket”."
    assert "praised" in shown and "praised" not in own
    for told in ("rocket", "alice@"):
        assert told not in shown and told in whole


def test_history_of_a_fellow_member_names_no_stranger(
    staff: Client, superuser: Client, acme: Organization
) -> None:
    """What a superuser did to a user is not told to the user's fellow members."""
    with tenancy.scope(acme):
        user = MembershipFactory().user
    form = {"email": user.email, "name": "Al", "locale": "en", "time_zone": "UTC"}
    superuser.post(path_of(User, "change/", user.pk), form)
    page = path_of(User, "history/", user.pk)

    shown, whole = text(staff.get(page)), text(superuser.get(page))

    assert "tells nothing of this row" in shown and "admin@example.com" in whole
    assert "admin@" not in shown


def test_history_outside_of_organizations_is_empty(db: None) -> None:
    """Staff who are in none are shown nothing of what was done to a global row."""
    user = User.objects.create_user("dora@example.com")
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.all())
    group = Group.objects.create(name="pilots")
    LogEntry.objects.log_actions(user.pk, [group], 2, "secret", single_object=True)

    shown = text(sign_in(user).get(path_of(Group, "history/", group.pk)))

    assert "tells nothing of this row" in shown and "secret" not in shown
