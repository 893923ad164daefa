"""The admin: staff of acme see acme, and superusers see all, one at a time."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models.signals import pre_delete
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

import tenancy
from project.tracker.models import Task
from tenancy.admin import TenantAdmin
from tenancy.models import (
    Membership,
    Organization,
    Plan,
    Role,
    Subscription,
    SystemEvent,
    User,
)
from tenancy.testing import UserFactory
from tests.admin.conftest import sign_in
from tests.admin.site_urls import site
from tests.apps.notebook.models import Note

pytestmark = pytest.mark.django_db


def text(response: Any) -> str:
    """Return the page."""
    page: str = response.content.decode()
    return page


def form_of(task: Task, **changes: Any) -> dict[str, Any]:
    """Return what the form of a task posts."""
    return {
        "project": task.project_id,
        "title": task.title,
        "status": task.status,
        "priority": task.priority,
        "comments-TOTAL_FORMS": 0,
        "comments-INITIAL_FORMS": 0,
        **changes,
    }


def test_superuser_sees_organization_of_rows(
    superuser: Client, ours: Task, theirs: Task, staff: Client
) -> None:
    """Rows of several organizations are shown with theirs, and those of one without."""
    over_all = text(superuser.get("/admin/tracker/task/"))
    own = text(staff.get("/admin/tracker/task/"))

    assert "Rocket skates stop" in over_all and "Turbine 3 stops" in over_all
    assert "column-organization" in over_all
    assert "column-organization" not in own


def test_staff_changes_and_adds_rows(
    staff: Client, acme: Organization, ours: Task
) -> None:
    """Staff of acme change its rows, and what they add is acme's."""
    changed = staff.post(
        f"/admin/tracker/task/{ours.pk}/change/", form_of(ours, title="Changed")
    )
    added = staff.post("/admin/tracker/task/add/", form_of(ours, title="Added"))

    assert (changed.status_code, added.status_code) == (302, 302)
    with tenancy.scope(acme):
        titles = set(Task.objects.values_list("title", flat=True))
    assert titles == {"Changed", "Added"}


def test_superuser_opens_row_in_its_organization(
    superuser: Client, ours: Task, theirs: Task
) -> None:
    """The form of a row offers its organization's rows, also to a superuser."""
    page = superuser.get(f"/admin/tracker/task/{theirs.pk}/change/")
    ours_offered = superuser.post(
        f"/admin/tracker/task/{theirs.pk}/change/",
        form_of(theirs, project=ours.project_id),
    )
    saved = superuser.post(
        f"/admin/tracker/task/{theirs.pk}/change/", form_of(theirs, title="Mended")
    )

    assert "Turbine 3 stops" in text(page)
    assert ours_offered.context["errors"]
    assert saved.status_code == 302
    with tenancy.scope(theirs.organization_id):
        assert Task.objects.get().title == "Mended"


def test_superuser_deletes_a_row(superuser: Client, theirs: Task) -> None:
    """A superuser deletes a row of any organization, after the question."""
    address = f"/admin/tracker/task/{theirs.pk}/delete/"

    question = superuser.get(address)
    superuser.post(address, {"post": "yes"})

    assert "Are you sure" in text(question)
    with tenancy.scope(theirs.organization_id):
        assert not Task.objects.exists()


def test_superuser_adds_no_row_without_organization(
    superuser: Client, ours: Task
) -> None:
    """Where the address does not say whose, nothing can be added, nor is offered."""
    opened = text(superuser.get(f"/admin/tracker/task/{ours.pk}/change/"))

    assert superuser.get("/admin/tracker/task/add/").status_code == 403
    assert "/admin/tracker/label/add/" not in opened


def test_header_tells_whose_rows_they_are(
    superuser: Client, staff: Client, ours: Task
) -> None:
    """Each page of the admin says in its header which organization it is about."""
    assert "administration: all organizations" in text(superuser.get("/admin/"))
    assert "administration: Acme" in text(staff.get("/admin/"))
    assert "administration:" not in text(Client().get("/admin/login/"))


def test_superuser_is_logged(
    superuser: Client, ours: Task, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request of a superuser over all organizations is told in the log."""
    with caplog.at_level(logging.INFO, logger="tenancy"):
        superuser.get("/admin/tracker/task/")

    assert "admin: superuser" in caplog.text
    assert tenancy.current_scope() is None


def test_superuser_in_chosen_organization_stays_there(
    acme: Organization, ours: Task, theirs: Task
) -> None:
    """A superuser who has chosen an organization works in it alone."""
    user = User.objects.create_superuser("root@example.com", "demo")
    with tenancy.scope(acme):
        Membership.objects.create(user=user)
    client = sign_in(user)
    over_all = text(client.get("/admin/tracker/task/"))
    session = client.session
    session["tenancy_organization"] = str(acme.pk)
    session.save()

    chosen = text(client.get("/admin/tracker/task/"))

    assert "Turbine" in over_all and "Rocket" in over_all
    assert "Turbine" not in chosen and "Rocket" in chosen


def test_staff_without_organization_sees_no_rows(ours: Task) -> None:
    """Staff who are in no organization see no tenant model at all."""
    user = User.objects.create_user("dora@example.com")
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.all())
    client = sign_in(user)

    assert "Tasks" not in text(client.get("/admin/"))
    assert client.get("/admin/tracker/task/").status_code == 403
    assert client.get("/admin/tenancy/user/").status_code == 200


def test_user_picker_offers_fellow_members(
    staff: Client, superuser: Client, alice: User, bob: User, globex: Organization
) -> None:
    """A picker of users offers fellow members, and all users to superusers."""
    address = "/admin/autocomplete/"
    asked = {"app_label": "tenancy", "model_name": "membership", "field_name": "user"}

    own = {row["text"] for row in staff.get(address, asked).json()["results"]}
    every = {row["text"] for row in superuser.get(address, asked).json()["results"]}

    assert own == {alice.email}
    assert {alice.email, bob.email} <= every


def test_superuser_picks_anybody(root: Client, acme: Organization, bob: User) -> None:
    """Within an organization too, a superuser is offered everybody, and takes them."""
    asked = {"app_label": "tenancy", "model_name": "membership", "field_name": "user"}
    with tenancy.scope(acme):
        role = Role.objects.get(key="member")

    offered = root.get("/admin/autocomplete/", asked).json()["results"]
    root.post(
        "/admin/tenancy/membership/add/", {"user": str(bob.pk), "role": str(role.pk)}
    )

    assert bob.email in {row["text"] for row in offered}
    with tenancy.scope(acme):
        assert Membership.objects.filter(user=bob).exists()


@pytest.mark.parametrize("kind", [admin.ModelAdmin, TenantAdmin])
@pytest.mark.parametrize("raw", [(), ("author", "readers")])
def test_form_of_any_admin_offers_fellow_members(
    kind: Any,
    raw: Any,
    acme: Organization,
    globex: Organization,
    alice: User,
    bob: User,
    settings: Settings,
) -> None:
    """Django's own admin, in which users are ordered, names and takes no stranger."""
    settings.ROOT_URLCONF = "tests.admin.site_urls"
    note_admin = type("Admin", (kind,), {"raw_id_fields": raw})(Note, site)
    request = RequestFactory().get("/")
    request.user = alice

    with tenancy.scope(acme):
        form_class = note_admin.get_form(request, fields=["author", "readers"])
        readers = str(bob.pk) if raw else [str(bob.pk)]
        form = form_class({"author": str(bob.pk), "readers": readers})

        assert list(form.errors) == ["author", "readers"]
        assert bob.email not in str(form)
        assert alice.email in str(form_class({"author": str(alice.pk)}))


def test_former_member_is_shown_no_more(
    staff: Client, acme: Organization, globex: Organization, bob: User
) -> None:
    """Who has left is no user of acme's admin, and is not picked there."""
    with tenancy.scope(acme):
        Membership.objects.add(user=bob).end()
    page = f"/admin/tenancy/user/{bob.pk}"
    asked = "app_label=tenancy&model_name=membership&field_name=user&term=bob"

    assert bob.email not in text(staff.get("/admin/tenancy/user/?q=bob"))
    assert staff.get(f"{page}/change/").status_code == 302
    assert staff.get(f"{page}/history/").status_code == 302
    assert bob.email not in text(staff.get(f"/admin/autocomplete/?{asked}"))


def test_crafted_user_is_invalid(
    staff: Client, bob: User, globex: Organization
) -> None:
    """A user who is no fellow member cannot be picked by a crafted POST either."""
    response = staff.post("/admin/tenancy/membership/add/", {"user": str(bob.pk)})

    assert response.status_code == 200
    assert "user" in response.context["adminform"].form.errors


def test_raw_key_of_user_names_fellow_members_only(
    staff: Client, alice: User, bob: User, globex: Organization, settings: Settings
) -> None:
    """What is posted as a key is not answered with a stranger's address."""
    settings.ROOT_URLCONF = "tests.admin.site_urls"
    keys = (alice.pk, bob.pk, uuid.uuid4(), "no key")

    pages = [
        text(staff.post("/admin/notebook/note/add/", {"author": key})) for key in keys
    ]

    assert ["<strong><a" in page for page in pages] == [True, False, False, False]
    assert not any(bob.email in page for page in pages)


def test_filter_by_user_offers_those_of_own_rows(
    staff: Client, alice: User, acme: Organization, theirs: Task, settings: Settings
) -> None:
    """A filter offers no user of another organization."""
    settings.ROOT_URLCONF = "tests.admin.site_urls"
    carol = UserFactory(email="carol@acme.example")
    with tenancy.scope(acme):
        for user in (alice, carol):
            Note.objects.create(code=user.email, author=user)

    page = text(staff.get("/admin/notebook/note/"))

    assert f"author__id__exact={carol.pk}" in page
    assert "bob@" not in page


def test_staff_cannot_change_users(staff: Client, alice: User) -> None:
    """Users, who may be in several organizations, are changed by superusers only."""
    response = staff.post(
        f"/admin/tenancy/user/{alice.pk}/change/", {"is_superuser": "on"}
    )

    alice.refresh_from_db()
    assert response.status_code == 403 and not alice.is_superuser
    assert staff.get("/admin/tenancy/user/add/").status_code == 403
    assert staff.get(f"/admin/tenancy/user/{alice.pk}/delete/").status_code == 403


def test_superuser_adds_user(superuser: Client) -> None:
    """A superuser adds a user by address and password."""
    response = superuser.post(
        "/admin/tenancy/user/add/",
        {
            "email": "Dora@example.com",
            "usable_password": "true",
            "password1": "long enough 1",
            "password2": "long enough 1",
        },
    )

    assert response.status_code == 302
    assert User.objects.filter(email="dora@example.com").exists()


def test_superuser_adds_organization(superuser: Client, staff: Client) -> None:
    """A superuser adds an organization, and staff of one do not."""
    data = {"name": "Initech", "slug": "initech", "status": "active", "metadata": "{}"}

    response = superuser.post("/admin/tenancy/organization/add/", data)

    assert response.status_code == 302
    assert staff.get("/admin/tenancy/organization/add/").status_code == 403


def test_autocomplete_offers_own_rows(staff: Client, ours: Task, theirs: Task) -> None:
    """The completion of a relation offers acme's rows only."""
    response = staff.get(
        "/admin/autocomplete/",
        {"app_label": "tracker", "model_name": "task", "field_name": "project"},
    )

    assert [row["text"] for row in response.json()["results"]] == ["Acme project"]


def test_action_leaves_other_rows_alone(
    staff: Client, ours: Task, theirs: Task
) -> None:
    """The action 'delete' with globex's key among the selected does not reach it."""
    staff.post(
        "/admin/tracker/task/",
        {
            "action": "delete_selected",
            "_selected_action": [ours.pk, theirs.pk],
            "post": "yes",
        },
    )

    with tenancy.unscoped("what is left"):
        assert [task.pk for task in Task.objects.all()] == [theirs.pk]


# Organizations


def act(client: Client, action: str, organization: Organization, **more: str) -> Any:
    """Run an action of the list on an organization, and answer its question."""
    chosen = {
        "action": action,
        "_selected_action": [organization.pk],
        "confirmed": "yes",
        "reason": "a test",
        **more,
    }
    return client.post("/admin/tenancy/organization/", chosen, follow=True)


def test_actions_lead_an_organization_through_its_life(
    superuser: Client, acme: Organization
) -> None:
    """Actions change the status, an archived one's page opens, and errors are told."""
    for action, status in (
        ("suspend", "suspended"),
        ("reactivate", "active"),
        ("archive", "archived"),
    ):
        assert "Done: Acme." in text(act(superuser, action, acme))
        with tenancy.unscoped("read the status"):
            assert Organization.objects.get().status == status
    assert "is archived" in text(act(superuser, "suspend", acme))
    address = f"/admin/tenancy/organization/{acme.pk}/change/"
    assert superuser.get(address).status_code == 200
    assert "Done: Acme." in text(act(superuser, "restore", acme))


def test_actions_are_for_superusers(staff: Client, acme: Organization) -> None:
    """Staff of an organization do not change its status."""
    act(staff, "archive", acme)

    with tenancy.scope(acme):
        assert Organization.objects.get().status == "active"


@pytest.mark.parametrize("is_archived", [False, True])
def test_deletion_of_an_organization_waits_for_its_subscription(
    superuser: Client, acme: Organization, is_archived: bool
) -> None:
    """Neither the page nor the action deletes it while a subscription is live."""
    now = timezone.now()
    with tenancy.scope(acme):
        subscription = Subscription.objects.create(
            plan=Plan.objects.create(key="pro", name="Pro plan", product="app"),
            product="app",
            status="active",
            current_period_start=now,
            current_period_end=now + timedelta(1),
        )
        if is_archived:
            acme.archive()
    address = f"/admin/tenancy/organization/{acme.pk}/delete/"

    assert "Pro plan" in text(superuser.post(address, {"post": "yes"}))
    assert "Pro plan" in text(act(superuser, "delete_selected", acme, post="yes"))
    with tenancy.unscoped("end the subscription"):
        assert Organization.objects.exists()
        subscription.status, subscription.ended_at = "canceled", now
        subscription.save()
    superuser.post(address, {"post": "yes"})

    with tenancy.unscoped("what is left"):
        assert not Organization.objects.exists()
    assert SystemEvent.objects.get().action == "organization.deleted"


def test_system_events_are_for_superusers_to_read(
    superuser: Client, staff: Client
) -> None:
    """Superusers read the system's trail, staff do not, and nobody changes it."""
    event = SystemEvent.objects.record("user.banned", reason="spam")
    address = f"/admin/tenancy/systemevent/{event.pk}/"

    assert "spam" in text(superuser.get("/admin/tenancy/systemevent/"))
    assert "spam" in text(superuser.get(f"{address}change/"))
    assert superuser.post(f"{address}change/", {"reason": "x"}).status_code == 403
    assert superuser.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    assert superuser.get("/admin/tenancy/systemevent/add/").status_code == 403
    assert staff.get("/admin/tenancy/systemevent/").status_code == 403


def owner_of(organization: Organization) -> Membership:
    """Return the membership of the only owner."""
    with tenancy.scope(organization):
        return Membership.objects.owners().get()


def test_last_owner_is_kept_by_form(root: Client, acme: Organization) -> None:
    """The form says on the field why the last owner stays one."""
    owner = owner_of(acme)
    with tenancy.scope(acme):
        role = Role.objects.get(key="member")

    response = root.post(
        f"/admin/tenancy/membership/{owner.pk}/change/",
        {"user": owner.user_id, "role": role.pk},
    )

    errors = response.context["adminform"].form.errors
    assert list(errors) == ["role"] and "without an owner" in str(errors)


def test_last_owner_is_kept_by_deletions(root: Client, acme: Organization) -> None:
    """Neither the page of deletion nor the action deletes the last owner."""
    owner = owner_of(acme)
    data = {
        "action": "delete_selected",
        "_selected_action": [owner.pk],
        "post": "yes",
    }

    single = root.post(f"/admin/tenancy/membership/{owner.pk}/delete/", data)
    action = root.post("/admin/tenancy/membership/", data)

    assert single.status_code == action.status_code == 200
    assert "would be left without an owner" in text(single)
    assert "would be left without an owner" in text(action)
    assert owner_of(acme) == owner


def test_last_owner_when_refused_late_is_said(
    root: Client, acme: Organization, alice: User, bob: User
) -> None:
    """What is refused only when it is written, after a race, ends as a message."""
    owner = owner_of(acme)
    with tenancy.scope(acme):
        other = Membership.objects.add(user=bob, role="owner")

    def demote(**values: Any) -> None:
        other.change_role("member")

    pre_delete.connect(demote, sender=Membership)
    try:
        response = root.post(
            f"/admin/tenancy/membership/{owner.pk}/delete/",
            {"post": "yes"},
            follow=True,
        )
    finally:
        pre_delete.disconnect(demote, sender=Membership)

    assert "Make another member an owner first" in text(response)
    with tenancy.scope(acme):
        assert set(Membership.objects.owners()) == {owner, other}


def test_user_with_memberships_is_kept(superuser: Client, bob: User) -> None:
    """A user is deleted who has no membership, and no other."""
    alone = User.objects.create_user("alone@example.com")
    Organization.objects.create_with_owner(name="Initech", owner=bob)

    kept = superuser.post(f"/admin/tenancy/user/{bob.pk}/delete/", {"post": "yes"})
    superuser.post(f"/admin/tenancy/user/{alone.pk}/delete/", {"post": "yes"})

    assert "erase_user()" in text(kept)
    assert set(User.objects.filter(pk__in=[bob.pk, alone.pk])) == {bob}


def test_built_in_role_is_kept(root: Client, acme: Organization) -> None:
    """A built-in role cannot be deleted; the page says so."""
    with tenancy.scope(acme):
        role = Role.objects.get(key="admin")

    response = root.post(f"/admin/tenancy/role/{role.pk}/delete/", {"post": "yes"})

    assert "is a built-in role" in text(response)
