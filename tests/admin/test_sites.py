"""The admin's site: whose page it is, whose form is taken, whose log is shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

import tenancy
from project.tracker.models import Label, Task
from tenancy.models import AuditEvent, Membership, Organization, User
from tenancy.provenance import SCOPE_FIELD_NAME
from tenancy.testing import DomainFactory, MembershipFactory
from tests.admin.conftest import sign_in
from tests.admin.test_pages import path_of
from tests.apps.notebook.models import Category
from tests.domains import sign_in_at

pytestmark = pytest.mark.django_db

CARRIED = re.compile(rf'name="{SCOPE_FIELD_NAME}" value="([^"]+)"')
TOKEN = 'name="csrfmiddlewaretoken"'
SWITCH = "/admin/switch-organization/"
RESOLVERS = [
    f"tenancy.resolvers.{name}"
    for name in (
        "SubdomainResolver",
        "DomainResolver",
        "PathResolver",
        "SessionResolver",
    )
]


def text(response: Any) -> str:
    """Return the page."""
    page: str = response.content.decode()
    return page


def carried(response: Any) -> str:
    """Return in which scope the forms of a page were made."""
    (found,) = set(CARRIED.findall(text(response)))
    return str(found)


def switch(client: Client, organization: Organization | None) -> None:
    """Choose an organization in the header, or none."""
    key = "" if organization is None else organization.pk
    assert client.post(SWITCH, {"organization": key}).status_code == 302


@pytest.fixture
def both(staff: Client, alice: User, acme: Organization, globex: Organization) -> Any:
    """A browser of alice, who is staff in acme and in globex, and works in acme."""
    with tenancy.scope(globex):
        Membership.objects.add(user=alice, role="owner")
    switch(staff, acme)
    return staff


# Forms of another organization


def test_form_to_add_of_another_organization_is_not_taken(
    both: Client, acme: Organization, globex: Organization
) -> None:
    """What was written in acme becomes no row of globex, and is saved in acme."""
    page = path_of(Label, "add/")
    scope = carried(both.get(page))
    form = {"name": "Rocket", "color": "red", SCOPE_FIELD_NAME: scope}
    switch(both, globex)

    refused = both.post(page, form)
    switch(both, acme)
    saved = both.post(page, form)

    assert (refused.status_code, saved.status_code) == (409, 302)
    assert "You are in Globex now" in text(refused) and "Acme" not in text(refused)
    with tenancy.unscoped("both organizations"):
        assert Label.objects.get().organization == acme


def test_question_of_another_organization_deletes_nothing(
    both: Client, globex: Organization, ours: Task, theirs: Task
) -> None:
    """Where all rows of acme were chosen, those of globex stay."""
    page = path_of(Task)
    form = {
        "action": "delete_selected",
        "select_across": "1",
        "_selected_action": [ours.pk],
    }
    asked = both.post(page, {**form, SCOPE_FIELD_NAME: carried(both.get(page))})
    assert "Are you sure" in text(asked)
    switch(both, globex)

    sent = {**form, "post": "yes", SCOPE_FIELD_NAME: carried(asked)}
    refused = both.post(page, sent)

    assert refused.status_code == 409
    with tenancy.unscoped("both organizations"):
        assert Task.objects.count() == 2


def test_action_of_another_organization_is_not_run(
    superuser: Client, acme: Organization, globex: Organization
) -> None:
    """A question of the package's own, asked over all, is not answered in globex."""
    page = path_of(Organization, "act/suspend/", acme.pk)
    form = {"reason": "spam", SCOPE_FIELD_NAME: carried(superuser.get(page))}
    switch(superuser, acme)

    refused = superuser.post(page, form)
    switch(superuser, None)
    done = superuser.post(page, form)

    assert (refused.status_code, done.status_code) == (409, 302)
    assert "You are in Acme now" in text(refused)


def test_form_of_one_is_not_taken_over_all(
    superuser: Client, acme: Organization, ours: Task
) -> None:
    """To a superuser all organizations are one of their own kind."""
    switch(superuser, acme)
    page = path_of(Task, "delete/", ours.pk)
    form = {"post": "yes", SCOPE_FIELD_NAME: carried(superuser.get(page))}
    switch(superuser, None)

    refused = superuser.post(page, form)

    assert refused.status_code == 409
    assert "You are in all organizations now" in text(refused)
    with tenancy.scope(acme):
        assert Task.objects.exists()


def test_form_of_an_archived_organization_is_not_taken(
    both: Client, acme: Organization, ours: Task
) -> None:
    """The page says that the organization was archived meanwhile."""
    page = path_of(Label, "add/")
    form = {"name": "Rocket", SCOPE_FIELD_NAME: carried(both.get(page))}
    with tenancy.scope(acme):
        acme.archive()

    refused = both.post(page, form)

    assert refused.status_code == 409 and "Acme is archived" in text(refused)


@pytest.mark.parametrize("how", ["forged", "cut", "second"])
def test_forged_form_is_not_taken(
    how: str, both: Client, acme: Organization, globex: Organization
) -> None:
    """What is not signed, or is signed for another one beside, counts as another's."""
    page = path_of(Label, "add/")
    own = carried(both.get(page))
    switch(both, globex)
    other = carried(both.get(page))
    values = {"forged": f"{globex.pk}:x", "cut": str(globex.pk), "second": [own, other]}

    refused = both.post(page, {"name": "Rocket", SCOPE_FIELD_NAME: values[how]})

    assert refused.status_code == 409


def test_every_form_carries_its_scope(
    staff: Client, superuser: Client, ours: Task
) -> None:
    """The field stands in each form that has a CSRF token, whatever its template."""
    for client in (staff, superuser):
        for page in (
            "/admin/",
            path_of(Task),
            path_of(Task, "change/", ours.pk),
            path_of(Task, "delete/", ours.pk),
            path_of(Task, "history/", ours.pk),
            "/admin/password_change/",
        ):
            shown = text(client.get(page))

            assert len(CARRIED.findall(shown)) == shown.count(TOKEN) > 0


@pytest.mark.parametrize("name", ["tenancy_switch", "password_change", "logout"])
def test_form_of_the_user_is_taken_everywhere(
    name: str, both: Client, acme: Organization, globex: Organization
) -> None:
    """Who switches, signs out or takes another password does so from any page."""
    form = {SCOPE_FIELD_NAME: carried(both.get("/admin/")), "organization": acme.pk}
    switch(both, globex)

    answer = both.post(reverse(f"admin:{name}"), form)

    assert answer.status_code in (200, 302)


# Organizations that the address names


@pytest.fixture
def addressed(settings: Settings, globex: Organization) -> Client:
    """A browser of a superuser who is a member of globex, on a site with addresses."""
    settings.TENANCY_BASE_DOMAIN = "example.com"
    settings.TENANCY_RESOLVERS = RESOLVERS
    settings.SESSION_ENGINE = "tenancy.sessions"
    DomainFactory(organization=globex, host=DOMAIN, is_verified=True)
    user = User.objects.create_superuser("root@example.com", "demo")
    with tenancy.scope(globex):
        Membership.objects.add(user=user, role="owner")
    return sign_in(user)


DOMAIN = "tasks.globex.example"
ADDRESSES = [("example.com", "/o/globex"), ("globex.example.com", "")]


@pytest.mark.parametrize(("host", "before"), [*ADDRESSES, (DOMAIN, "")])
def test_address_is_not_outvoted_in_the_admin(
    host: str,
    before: str,
    addressed: Client,
    acme: Organization,
    ours: Task,
    theirs: Task,
) -> None:
    """At globex's address neither acme nor all can be chosen, nor is it offered."""
    page = f"{before}{path_of(Task)}"
    headers = {"host": host}
    if host == DOMAIN:
        sign_in_at(host, addressed)
    refused = [
        addressed.post(f"{before}{SWITCH}", {"organization": key}, headers=headers)
        for key in (acme.pk, "", "x")
    ]
    chosen = {"organization": theirs.organization_id}
    taken = addressed.post(f"{before}{SWITCH}", chosen, headers=headers)

    shown = text(addressed.get(page, headers=headers))

    assert {one.status_code for one in refused} == {404} and taken.status_code == 302
    assert "Turbine 3 stops" in shown and "Rocket skates stop" not in shown
    assert "tenancy-switcher" not in shown


# A session that began at a domain is that host's: no choice made elsewhere is in it.
@pytest.mark.parametrize(("host", "before"), ADDRESSES)
def test_choice_that_differs_from_the_address_is_unknown(
    host: str,
    before: str,
    addressed: Client,
    acme: Organization,
    globex: Organization,
    ours: Task,
    theirs: Task,
) -> None:
    """Both must agree; the choice of all, or of one that is gone, is none."""
    page, headers = f"{before}{path_of(Task)}", {"host": host}

    def choose(organization: Organization | None) -> Any:
        key = "" if organization is None else organization.pk
        plain = {"host": "example.com"}
        addressed.post(SWITCH, {"organization": key}, headers=plain)
        return addressed.get(page, headers=headers)

    differing, same, every = choose(acme), choose(globex), choose(None)
    choose(acme)
    with tenancy.scope(acme):
        acme.archive()
    gone = addressed.get(page, headers=headers)

    assert differing.status_code == 404
    for shown in (same, every, gone):
        assert "Turbine" in text(shown) and "Rocket" not in text(shown)


# The switch


def test_switcher_when_none_is_chosen_says_so(
    both: Client, alice: User, globex: Organization
) -> None:
    """No organization looks chosen to staff of several who are in none."""
    client = sign_in(alice)

    unchosen, chosen = text(client.get("/admin/")), text(both.get("/admin/"))

    assert '<option value="" selected>Choose an organization</option>' in unchosen
    assert unchosen.count(" selected>") == 1 and " required>" in unchosen
    assert "Choose an organization" not in chosen


def test_switcher_offers_the_only_one_that_is_left(
    both: Client, acme: Organization, alice: User
) -> None:
    """Who worked in one of two, and has left it, finds the way to the other."""
    assert "administration: Acme" in text(both.get("/admin/"))
    with tenancy.scope(acme):
        owner = User.objects.create_user("carol@acme.example")
        Membership.objects.add(user=owner, role="owner")
        Membership.objects.get(user=alice).end()

    page = text(both.get("/admin/"))

    assert "Choose an organization" in page and ">Globex</option>" in page


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

    assert "No changes are recorded" in shown and "admin@example.com" in whole
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

    assert "No changes are recorded" in shown and "secret" not in shown
