"""What is done in the admin: by the verbs, after a question, on the record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

import tenancy
from project.tracker.models import Task
from tenancy.billing import billing_handler
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Membership,
    Organization,
    Plan,
    Role,
    Session,
    Subscription,
    Team,
    User,
)
from tenancy.testing import (
    AccountFactory,
    BillingEventFactory,
    DomainFactory,
    InvitationFactory,
    PlanFactory,
    SessionFactory,
    UserFactory,
)
from tests.admin.conftest import sign_in
from tests.admin.test_pages import path_of
from tests.nameserver import NameServer

pytestmark = pytest.mark.django_db


def text(response: Any) -> str:
    """Return the page."""
    page: str = response.content.decode()
    return page


def act(client: Client, row: Any, name: str, **data: Any) -> Any:
    """Ask for an action on the page of a row, and answer the question."""
    address = path_of(type(row), f"act/{name}/", row.pk)
    asked = client.get(address)
    assert asked.status_code == 200 and "<form" in text(asked)
    return client.post(address, data, follow=True)


def trail(organization: Organization) -> list[str]:
    """Return what was done in an organization, from the first on."""
    with tenancy.scope(organization):
        events = AuditEvent.objects.order_by("occurred_at", "pk")
        return list(events.values_list("action", flat=True))


@pytest.fixture
def member(acme: Organization) -> Membership:
    """A member of acme."""
    with tenancy.scope(acme):
        added: Membership = Membership.objects.add(user=UserFactory())
        return added


@pytest.fixture
def plan(db: None) -> Plan:
    """A plan without a trial."""
    made: Plan = PlanFactory(name="Pro plan")
    return made


# The header


def test_switcher_leads_a_superuser_into_an_organization(
    superuser: Client, ours: Task, theirs: Task
) -> None:
    """In a chosen organization its rows are shown, and changed; then all again."""
    page = path_of(Task)
    chosen = {"organization": str(ours.organization_id), "next": page}

    inside = superuser.post("/admin/switch-organization/", chosen, follow=True)
    again = superuser.post(
        "/admin/switch-organization/", {"organization": "", "next": page}, follow=True
    )

    assert inside.redirect_chain == [(page, 302)]
    assert "Turbine" not in text(inside) and "tenancy-over-all" not in text(inside)
    assert "administration: Acme" in text(inside)
    assert "Turbine" in text(again) and "tenancy-over-all" in text(again)


@pytest.mark.parametrize(
    "address", ["https://evil.example/", "//evil.example", "/nowhere/", "/home/"]
)
def test_switcher_leads_to_lists_only(
    superuser: Client, acme: Organization, address: str
) -> None:
    """Any other address ends at the index."""
    chosen = {"organization": str(acme.pk), "next": address}

    answer = superuser.post("/admin/switch-organization/", chosen)

    assert answer.headers["Location"] == "/admin/"


def test_switcher_refuses_others_as_unknown(
    superuser: Client, staff: Client, acme: Organization, globex: Organization
) -> None:
    """Globex is to acme's staff what no organization is; so is an archived one."""
    keys = [str(globex.pk), "01a20000-0000-7000-8000-000000000000", "x", ""]

    refused = [
        staff.post("/admin/switch-organization/", {"organization": key}) for key in keys
    ]
    with tenancy.scope(globex):
        globex.archive()
    archived = superuser.post(
        "/admin/switch-organization/", {"organization": str(globex.pk)}
    )

    assert {(one.status_code, one.content) for one in refused} == {
        (404, archived.content)
    }
    assert superuser.get("/admin/switch-organization/").status_code == 405


def test_switcher_offers_members_their_own(
    staff: Client, alice: User, acme: Organization, globex: Organization
) -> None:
    """Staff of two organizations switch between them, and see no third one."""
    bare = text(staff.get("/admin/"))
    initech = Organization.objects.create_with_owner(name="Initech", owner=alice)

    staff.post("/admin/switch-organization/", {"organization": str(initech.pk)})
    page = text(staff.get("/admin/"))

    assert "tenancy-switcher" not in bare
    assert "administration: Initech" in page
    assert ">Acme</option>" in page and "Globex" not in page


def test_switcher_needs_a_token(superuser: Client, acme: Organization) -> None:
    """A form of another site switches nothing."""
    client = Client(enforce_csrf_checks=True)
    client.cookies = superuser.cookies

    answer = client.post("/admin/switch-organization/", {"organization": str(acme.pk)})

    assert answer.status_code == 403


def test_choice_that_is_gone_is_forgotten(
    superuser: Client, acme: Organization
) -> None:
    """Where the chosen organization was archived, the page is over all again."""
    superuser.post("/admin/switch-organization/", {"organization": str(acme.pk)})
    with tenancy.scope(acme):
        acme.archive()

    assert "administration: all organizations" in text(superuser.get("/admin/"))


def test_opened_row_says_whose_it_is(superuser: Client, theirs: Task) -> None:
    """The page of a row opened over all is in its organization, and says so."""
    page = text(superuser.get(path_of(Task, "change/", theirs.pk)))

    assert "administration: Globex" in page and "tenancy-opened" in page
    assert "tenancy-over-all" not in page and "Lists can be read only" not in page


def test_choices_on_an_opened_row_are_its_organizations(
    superuser: Client, ours: Task, theirs: Task
) -> None:
    """What completes a choice on globex's row is globex's, for superusers only."""
    asked = {
        "app_label": "tracker",
        "model_name": "task",
        "field_name": "project",
        "tenancy_organization": str(theirs.organization_id),
    }
    page = text(superuser.get(path_of(Task, "change/", theirs.pk)))

    offered = superuser.get("/admin/autocomplete/", asked).json()["results"]

    assert f"?tenancy_organization={theirs.organization_id}" in page
    assert f"organization__id__exact={theirs.organization_id}" in page
    assert [one["text"] for one in offered] == ["Globex project"]


def test_completion_ignores_an_organization_named_by_staff(
    staff: Client, ours: Task, theirs: Task
) -> None:
    """Staff of acme are offered acme's rows, whatever the address says."""
    asked = {"app_label": "tracker", "model_name": "task", "field_name": "project"}
    named = {**asked, "tenancy_organization": str(theirs.organization_id)}

    offered = staff.get("/admin/autocomplete/", named).json()["results"]

    assert [one["text"] for one in offered] == ["Acme project"]


def test_lists_over_all_are_read_only(superuser: Client, theirs: Task) -> None:
    """Over all organizations neither actions nor cells of a list change a row."""
    page = path_of(Task)
    shown = text(superuser.get(page))
    chosen = {"_selected_action": [theirs.pk], "post": "yes"}

    superuser.post(page, {"action": "delete_selected", **chosen})
    superuser.post(
        page,
        {
            "form-TOTAL_FORMS": 1,
            "form-INITIAL_FORMS": 1,
            "form-0-id": theirs.pk,
            "form-0-status": "done",
            "_save": "Save",
        },
    )

    assert 'name="action"' not in shown and "form-0-status" not in shown
    with tenancy.scope(theirs.organization_id):
        assert Task.objects.get().status == theirs.status


def test_rows_of_an_archived_organization_are_read_only(
    superuser: Client, theirs: Task
) -> None:
    """They are shown to a superuser, with their organization, and stay."""
    with tenancy.scope(theirs.organization_id):
        Organization.objects.get().archive()
    address = path_of(Task, "change/", theirs.pk)

    page = text(superuser.get(address))

    assert "Turbine 3 stops" in page and "administration: Globex" in page
    assert superuser.post(address, {"title": "x"}).status_code == 403
    assert superuser.get(path_of(Task, "delete/", theirs.pk)).status_code == 403


# The trail


def test_changes_are_written_into_the_organizations_trail(
    staff: Client, acme: Organization, ours: Task
) -> None:
    """What staff change stands in acme's trail and the row's history, not in a log."""
    page = path_of(Task, "change/", ours.pk)
    data = {
        "project": ours.project_id,
        "title": "Changed",
        "status": ours.status,
        "priority": ours.priority,
        "comments-TOTAL_FORMS": 0,
        "comments-INITIAL_FORMS": 0,
    }

    staff.post(path_of(Task, "add/"), {**data, "title": "Added"})
    staff.post(page, data)
    history = text(staff.get(path_of(Task, "history/", ours.pk)))
    staff.post(path_of(Task, "delete/", ours.pk), {"post": "yes"})

    assert trail(acme)[-3:] == ["task.added", "task.changed", "task.deleted"]
    assert "alice@acme.example" in history and "fields: Title" in history
    assert not LogEntry.objects.exists()


def test_recent_actions_are_the_organizations(
    staff: Client, superuser: Client, ours: Task, theirs: Task
) -> None:
    """The index tells acme's staff of acme, and a superuser of what they did."""
    with tenancy.scope(ours.organization_id):
        AuditEvent.objects.record("rocket.launched", ours)
    with tenancy.scope(theirs.organization_id):
        AuditEvent.objects.record("turbine.turned", theirs)
    superuser.post(path_of(Task, "delete/", theirs.pk), {"post": "yes"})

    own, over_all = text(staff.get("/admin/")), text(superuser.get("/admin/"))

    assert "Rocket: launched" in own and "Turbine: turned" not in own
    assert "Task: deleted" in over_all and "Globex" in over_all
    assert "Rocket: launched" not in over_all


def test_recent_actions_name_the_team_and_the_person(
    staff: Client, acme: Organization, member: Membership
) -> None:
    """Who joined which team is told, and by no key."""
    with tenancy.scope(acme):
        Team.objects.create_team(name="Pilots").add(member)

    page = text(staff.get("/admin/"))

    assert "Team: joined" in page
    assert f"name: Pilots; user: {member.user.email}" in page
    assert str(member.pk) not in page


def test_history_of_an_untouched_row_says_so(staff: Client, ours: Task) -> None:
    """A row of which the trail has nothing has a page of plain words."""
    page = text(staff.get(path_of(Task, "history/", ours.pk)))

    assert "No changes are recorded." in page


def test_actor_from_outside_is_not_named(staff: Client, ours: Task) -> None:
    """Staff of acme are not told the name of who is no member."""
    stranger = UserFactory(email="stranger@example.com")
    with tenancy.unscoped("tests"), tenancy.scope(ours.organization_id, user=stranger):
        AuditEvent.objects.record("task.changed", ours)

    history = text(staff.get(path_of(Task, "history/", ours.pk)))

    assert "somebody who is no member" in history
    assert "stranger@example.com" not in history


# Invitations


def test_invitation_shows_its_secret_once(staff: Client, acme: Organization) -> None:
    """Who invites sees the token, on a page that nobody keeps; it works."""
    with tenancy.scope(acme):
        role = Role.objects.get(key="admin")
    page = path_of(Invitation, "add/")
    assert "Whom do you invite" in text(staff.get(page))

    shown = staff.post(page, {"email": "Dora@example.com", "role": str(role.pk)})

    # A token, or a link that ends with it.
    token = shown.context["secret"].strip("/").rpartition("/")[2]
    assert shown.headers["Cache-Control"].startswith("no-store")
    pending = Invitation.objects.find_pending(token)
    assert pending.role_name == role.name
    with tenancy.scope(acme):
        invitation = Invitation.objects.get()
    assert token not in text(staff.get(path_of(Invitation)))
    assert token not in text(staff.get(path_of(Invitation, "change/", invitation.pk)))


def test_invitation_on_another_site_shows_its_token(
    staff: Client, acme: Organization, settings: Settings
) -> None:
    """Where neither the site nor the page of invitations is ours, inviting works."""
    settings.ROOT_URLCONF = "tests.admin.plain_urls"
    with tenancy.scope(acme):
        role = Role.objects.get(key="member")

    shown = staff.post(
        path_of(Invitation, "add/"), {"email": "d@example.com", "role": str(role.pk)}
    )

    assert Invitation.objects.find_pending(shown.context["secret"])


@pytest.mark.parametrize(
    ("email", "said"),
    [("alice@acme.example", "member"), ("dora@example.com", "1 of 1 are taken")],
)
def test_invitation_that_is_refused_is_a_form_error(
    staff: Client, acme: Organization, settings: Settings, email: str, said: str
) -> None:
    """A member's address, and a seat too many, are said in the form."""
    settings.TENANCY_LIMITS = {"members": 1}
    with tenancy.scope(acme):
        role = Role.objects.get(key="member")

    page = staff.post(
        path_of(Invitation, "add/"), {"email": email, "role": str(role.pk)}
    )

    assert page.status_code == 200 and said in text(page)
    assert "errorlist" in text(page)


def test_invitation_with_a_role_of_others_is_invalid(
    staff: Client, globex: Organization
) -> None:
    """A crafted role of globex is no choice."""
    with tenancy.scope(globex):
        role = Role.objects.get(key="member")

    page = staff.post(
        path_of(Invitation, "add/"), {"email": "d@example.com", "role": str(role.pk)}
    )

    assert "role" in page.context["form"].errors


def test_invitation_is_renewed_and_revoked(staff: Client, acme: Organization) -> None:
    """Renewing shows a new secret; what is revoked offers neither any more."""
    with tenancy.scope(acme):
        invitation, old = Invitation.objects.invite(email="dora@example.com")

    renewed = act(staff, invitation, "renew")
    revoked = act(staff, invitation, "revoke")

    assert old not in renewed.context["secret"]
    assert "Done: dora@example.com." in text(revoked)
    assert "act/revoke/" not in text(revoked)
    late = staff.get(path_of(Invitation, "act/revoke/", invitation.pk), follow=True)
    assert "cannot be done" in text(late)


def test_form_to_invite_is_no_question(staff: Client, acme: Organization) -> None:
    """It is cancelled, not denied, and the way to it leads through the list."""
    with tenancy.scope(acme):
        pending = InvitationFactory()

    form = text(staff.get(path_of(Invitation, "add/")))
    question = text(staff.get(path_of(Invitation, "act/revoke/", pending.pk)))

    assert "No, take me back" in question and "No, take me back" not in form
    assert "Cancel" in form
    for page in (form, question):
        crumbs = page.partition('<ol class="breadcrumbs">')[2].partition("</ol>")[0]
        assert "Organizations and people" in crumbs
        assert f'href="{path_of(Invitation)}"' in crumbs


def test_invitations_are_revoked_from_the_list(
    staff: Client, acme: Organization
) -> None:
    """The list asks about all that are chosen, and tells what came of each."""
    later = timezone.now() + timedelta(minutes=1)
    with tenancy.scope(acme):
        pending = InvitationFactory()
        answered = InvitationFactory(status="declined", answered_at=later)
    chosen = {"action": "revoke", "_selected_action": [pending.pk, answered.pk]}

    asked = staff.post(path_of(Invitation), chosen)
    done = staff.post(path_of(Invitation), {**chosen, "confirmed": "yes"}, follow=True)

    assert pending.email in text(asked) and answered.email in text(asked)
    assert f"Done: {pending.email}." in text(done)
    assert f"{answered.email.capitalize()}: " in text(done)
    with tenancy.scope(acme):
        statuses = set(Invitation.objects.values_list("status", flat=True))
    assert statuses == {"revoked", "declined"}


# Members


def test_member_is_added_and_changed_by_the_verbs(
    root: Client, acme: Organization
) -> None:
    """The forms of memberships add and change by the verbs, which write it down."""
    user = UserFactory()
    with tenancy.scope(acme):
        roles = {role.key: str(role.pk) for role in Role.objects.all()}

    root.post(
        path_of(Membership, "add/"), {"user": str(user.pk), "role": roles["member"]}
    )
    with tenancy.scope(acme):
        added = Membership.objects.get(user=user)
    root.post(path_of(Membership, "change/", added.pk), {"role": roles["admin"]})

    assert "membership.added" in trail(acme)
    assert "membership.role_changed" in trail(acme)
    history = text(root.get(path_of(Membership, "history/", added.pk)))
    assert "role changed" in history and "after: admin" in history


def test_member_beyond_the_seats_is_a_form_error(
    root: Client, acme: Organization, settings: Settings
) -> None:
    """One member too many is said in the form."""
    settings.TENANCY_LIMITS = {"members": 2}
    user = UserFactory()

    page = root.post(path_of(Membership, "add/"), {"user": str(user.pk)})

    assert page.status_code == 200
    assert "2 of 2 are taken" in str(page.context["adminform"].form.errors)


def test_membership_ends_and_is_taken_up_again(
    staff: Client, member: Membership
) -> None:
    """Ending is offered to who is a member, taking up to who was one."""
    ended = act(staff, member, "end")
    again = act(staff, member, "take_up")

    assert "act/take_up/" in text(ended) and "act/end/" not in text(ended)
    assert "act/end/" in text(again)


def test_role_of_an_ended_membership_stays(
    root: Client, acme: Organization, member: Membership
) -> None:
    """The form refuses another role for who is no member."""
    with tenancy.scope(acme):
        member.end()
        role = Role.objects.get(key="admin")

    page = root.post(
        path_of(Membership, "change/", member.pk), {"role": str(role.pk)}, follow=True
    )

    assert "The membership has ended" in text(page)
    assert page.redirect_chain


def test_last_owner_cannot_be_ended(staff: Client, acme: Organization) -> None:
    """The page says why, and nothing changes."""
    with tenancy.scope(acme):
        owner = Membership.objects.owners().get()

    page = act(staff, owner, "end")

    assert page.status_code == 200 and "without an owner" in text(page)


def test_ownership_is_transferred(
    staff: Client, acme: Organization, member: Membership
) -> None:
    """An owner hands over to a member of acme who is chosen."""
    with tenancy.scope(acme):
        owner = Membership.objects.owners().get()

    page = act(staff, owner, "transfer", to=str(member.pk))

    assert "Done: alice@acme.example." in text(page)
    with tenancy.scope(acme):
        assert Membership.objects.owners().get() == member


def test_ownership_is_not_transferred_to_others(
    staff: Client, acme: Organization, globex: Organization
) -> None:
    """A crafted member of globex is no choice."""
    with tenancy.scope(globex):
        other = Membership.objects.get()
    with tenancy.scope(acme):
        owner = Membership.objects.get()

    page = act(staff, owner, "transfer", to=str(other.pk))

    assert "to" in page.context["form"].errors


def test_role_is_made_by_the_verb(staff: Client, acme: Organization) -> None:
    """A new role grants what is chosen; a built-in one keeps its own."""
    granted = ["tracker.view_task"]
    data = {"name": "Reader", "key": "reader", "permissions": granted}

    staff.post(path_of(Role, "add/"), data)
    with tenancy.scope(acme):
        made, built_in = Role.objects.get(key="reader"), Role.objects.get(key="member")
    staff.post(path_of(Role, "change/", made.pk), {"name": "Readers"})
    built_in_page = staff.post(
        path_of(Role, "change/", built_in.pk),
        {"name": "Member", "key": "x", "permissions": granted},
    )

    assert made.permissions == granted and "role.created" in trail(acme)
    assert built_in_page.status_code == 302
    with tenancy.scope(acme):
        built_in.refresh_from_db()
        assert (built_in.key, built_in.name) == ("member", "Member")
        assert Role.objects.get(key="reader").name == "Readers"


def test_team_is_joined_and_left_by_the_verbs(
    staff: Client, acme: Organization, member: Membership, settings: Settings
) -> None:
    """The page of a team adds and removes members; one team too many is an error."""
    settings.TENANCY_LIMITS = {"teams": 1}
    rows = "team_memberships"
    data = {f"{rows}-TOTAL_FORMS": 1, f"{rows}-INITIAL_FORMS": 0, "name": "Rockets"}

    staff.post(path_of(Team, "add/"), {**data, f"{rows}-0-membership": str(member.pk)})
    with tenancy.scope(acme):
        team = Team.objects.get()
        link = team.team_memberships.get()
    staff.post(
        path_of(Team, "change/", team.pk),
        {
            **data,
            f"{rows}-INITIAL_FORMS": 1,
            f"{rows}-0-id": str(link.pk),
            f"{rows}-0-team": str(team.pk),
            f"{rows}-0-DELETE": "on",
        },
    )
    refused = staff.post(
        path_of(Team, "add/"), {**data, "name": "Skates", f"{rows}-TOTAL_FORMS": 0}
    )

    assert [name for name in trail(acme) if name.startswith("team.")] == [
        "team.created",
        "team.joined",
        "team.left",
        "team.changed",
    ]
    assert "1 of 1 are taken" in text(refused)


def test_domain_is_added_verified_and_removed_by_the_verbs(
    staff: Client, acme: Organization, name_server: NameServer, settings: Settings
) -> None:
    """The admin shows the record, looks for it when told to, and edits nothing."""
    staff.post(path_of(Domain, "add/"), {"host": "Tasks.Acme.test"})
    with tenancy.scope(acme):
        domain = Domain.objects.get()
    page = text(staff.get(path_of(Domain, "change/", domain.pk)))
    refused = text(act(staff, domain, "verify"))
    name_server.publish(domain.host, domain.token)
    verified = text(act(staff, domain, "verify"))
    settings.TENANCY_LIMITS = {"domains": 1}
    more = staff.post(path_of(Domain, "add/"), {"host": "b.test"})
    staff.post(path_of(Domain, "delete/", domain.pk), {"post": "yes"})

    assert "_tenancy-challenge.tasks.acme.test" in page and domain.token in page
    assert 'name="host"' not in page and 'name="_save"' not in page
    assert "is absent. Set it to" in refused and "Done: tasks.acme.test" in verified
    assert "1 of 1 are taken" in text(more)
    assert [name for name in trail(acme) if name.startswith("domain.")] == [
        "domain.added",
        "domain.verified",
        "domain.removed",
    ]


def test_domains_are_verified_and_removed_from_the_list(
    staff: Client, acme: Organization, name_server: NameServer
) -> None:
    """What is done to many is done to each by the verb."""
    domains = DomainFactory.create_batch(2, organization=acme)
    name_server.publish(domains[0].host, domains[0].token)
    chosen = {"_selected_action": [str(one.pk) for one in domains]}

    answer = staff.post(
        path_of(Domain), {**chosen, "action": "verify", "confirmed": "yes"}, follow=True
    )
    staff.post(path_of(Domain), {**chosen, "action": "delete_selected", "post": "yes"})

    assert "Done: tasks" in text(answer) and "is absent. Set it to" in text(answer)
    assert trail(acme)[-3:] == ["domain.verified", "domain.removed", "domain.removed"]


# People, for superusers


def test_user_is_banned_and_let_in_again(superuser: Client, alice: User) -> None:
    """A ban ends the sessions; a time that is past is refused; it is lifted."""
    past = (timezone.now() - timedelta(1)).isoformat()
    SessionFactory(user=alice)

    refused = act(superuser, alice, "ban", until=past)
    act(superuser, alice, "ban", reason="spam")
    is_banned = User.objects.get(pk=alice.pk).is_banned
    act(superuser, alice, "lift_ban")

    assert "Give a time in the future" in text(refused)
    assert is_banned and not User.objects.get(pk=alice.pk).is_banned
    assert not Session.objects.for_user(alice).live().exists()


def test_superuser_does_not_ban_themselves(superuser: Client) -> None:
    """The page refuses it."""
    own = User.objects.get(email="admin@example.com")

    assert "cannot ban yourself" in text(act(superuser, own, "ban"))


def test_sessions_are_ended(superuser: Client, alice: User, settings: Settings) -> None:
    """All of a user's, or one by one; who asks stays signed in here."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    client = sign_in(User.objects.get(email="admin@example.com"))
    rows = [SessionFactory(user=alice), SessionFactory(user=alice)]

    act(client, rows[0], "end")
    one = Session.objects.for_user(alice).live().count()
    act(client, alice, "end_sessions")
    act(client, User.objects.get(email="admin@example.com"), "end_sessions")

    assert one == 1 and not Session.objects.for_user(alice).live().exists()
    assert client.get("/admin/").status_code == 200


def test_actions_of_superusers_are_refused_to_staff(
    staff: Client, alice: User, acme: Organization
) -> None:
    """Staff of acme neither ban nor impersonate, and archive nothing."""
    for row, name in ((alice, "ban"), (alice, "impersonate"), (acme, "archive")):
        address = path_of(type(row), f"act/{name}/", row.pk)
        assert staff.get(address).status_code == 403
        assert staff.post(address, {"reason": "x"}).status_code == 403
    assert staff.get(path_of(User, "act/nothing/", alice.pk)).status_code == 404


def test_superuser_impersonates_and_stops(
    superuser: Client, bob: User, globex: Organization, settings: Settings
) -> None:
    """It leads to the site, every page of the admin tells it, and a button ends it."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.LOGIN_REDIRECT_URL = "home"
    client = sign_in(User.objects.get(email="admin@example.com"))

    there = act(client, bob, "impersonate", reason="a support case")
    banner = text(client.get("/admin/login/"))
    back = client.post("/admin/stop-impersonating/", follow=True)

    assert there.redirect_chain == [("/home/", 302)]
    assert text(there) == bob.email
    assert "Stop impersonating" in banner and bob.email in banner
    assert "administration: all organizations" in text(back)
    assert "Stop impersonating" not in text(back)
    assert {"impersonation.started", "impersonation.stopped"} <= set(trail(globex))
    assert client.post("/admin/stop-impersonating/").status_code == 404


def test_superuser_enters_an_organization_from_its_page(
    superuser: Client, acme: Organization
) -> None:
    """The action leads to the index, in the organization."""
    assert "administration: Acme" in text(act(superuser, acme, "enter"))


def test_account_is_unlinked(superuser: Client, alice: User) -> None:
    """It is gone; the only way in of a user without a password stays."""
    alone = UserFactory(password=None)
    kept, gone = AccountFactory(user=alone), AccountFactory(user=alice)

    refused, done = act(superuser, kept, "unlink"), act(superuser, gone, "unlink")

    assert "only way in" in text(refused) and "Done" in text(done)
    assert list(Account.objects.all()) == [kept]


# Billing, for superusers


def test_subscription_is_led_by_the_verbs(
    root: Client, acme: Organization, plan: Plan
) -> None:
    """It is started once, changed, canceled, resumed and ended."""
    page = path_of(Subscription, "add/")
    data = {"plan": str(plan.pk), "interval": "month", "seats": 5}

    no_trial = root.post(page, {**data, "trial": "on"})
    started = root.post(page, data, follow=True)
    again = root.post(page, data)
    with tenancy.scope(acme):
        row = Subscription.objects.get()
    act(root, row, "change_plan", plan=str(plan.pk), at_period_end="on")
    too_few = act(root, row, "change_seats", seats=1)
    act(root, row, "change_seats", seats=9)
    act(root, row, "cancel")
    act(root, row, "resume")
    act(root, row, "end")

    assert "has no trial" in text(no_trial) and "Pro plan" in text(started)
    assert "has a live subscription" in text(again)
    assert "seats are taken" in text(too_few)
    with tenancy.scope(acme):
        row.refresh_from_db()
    assert (row.seats, row.status) == (9, "canceled")


def test_plan_in_use_is_kept(root: Client, acme: Organization, plan: Plan) -> None:
    """A plan to which anybody subscribes is not deleted, and its keeper not named."""
    other = PlanFactory()
    with tenancy.scope(acme):
        Subscription.objects.start(plan=plan)

    kept = root.post(path_of(Plan, "delete/", plan.pk), {"post": "yes"}, follow=True)
    root.post(path_of(Plan, "delete/", other.pk), {"post": "yes"})

    assert kept.status_code == 200
    assert list(Plan.objects.all()) == [plan]


def test_billing_event_is_applied_again(superuser: Client) -> None:
    """One that nothing handles is settled; one that fails says so."""

    @billing_handler("rockets", "sold")
    def apply(event: BillingEvent) -> bool:
        return True

    ignored = BillingEventFactory(provider="rockets", type="counted")
    failing = BillingEventFactory(provider="rockets", type="sold", customer_id="x")

    assert "Done" in text(act(superuser, ignored, "apply"))
    page = text(act(superuser, failing, "apply"))
    assert "It failed again: UnknownBillingCustomer" in page
    ignored.refresh_from_db()
    assert ignored.status == "ignored"


def test_history_of_no_row_leads_away(staff: Client, ours: Task) -> None:
    """The history of a key that is nobody's leads to the index."""
    answer = staff.get(path_of(Task, "history/", 7340231))

    assert answer.status_code == 302
