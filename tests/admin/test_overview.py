"""An organization in numbers: its own, all of them, and by few queries."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from pytest_django import DjangoAssertNumQueries, Settings

import tenancy
from project.tracker.models import Label
from tenancy.admin.figures import Figure
from tenancy.admin.overview import Overview, Reader, RowCount
from tenancy.exceptions import CrossOrganization, ScopeRequired
from tenancy.models import Invitation, Membership, Organization, Team, User
from tenancy.sites import TenantAdminSite
from tenancy.testing import (
    InvitationFactory,
    MembershipFactory,
    PlanFactory,
    SessionFactory,
    SubscriptionFactory,
)
from tests.admin.conftest import make_task, sign_in
from tests.admin.urls import site

pytestmark = pytest.mark.django_db


def path_of(key: Any) -> str:
    """Return the address of an organization's numbers."""
    return f"/admin/tenancy/organization/{key}/overview/"


def ask(client: Client, method: str, key: str) -> tuple[Any, ...]:
    """Return the answer without the key, its place, and the number of queries."""
    with CaptureQueriesContext(connection) as queries:
        answer = getattr(client, method)(path_of(key), {"post": "yes"})
    body = answer.content.decode().replace(key, "KEY")
    place = answer.headers.get("Location", "").replace(key, "KEY")
    return answer.status_code, place, body, len(queries)


def fill(organization: Organization, *, times: int = 1) -> None:
    """Give an organization members, invitations, sessions, teams and tasks."""
    with tenancy.scope(organization):
        for number in range(times):
            live, ended = MembershipFactory(), MembershipFactory()
            ended.end()
            SessionFactory(user=live.user, membership=live)
            past = timezone.now() - timedelta(days=1)
            SessionFactory(user=live.user, membership=live, expires_at=past)
            InvitationFactory()
            expire(InvitationFactory())
            InvitationFactory().revoke()
            Team.objects.create_team(name=f"Team {number}")
            Label.objects.create(name=f"Label {number}")
    make_task(organization, "Something stops")


def expire(invitation: Invitation) -> None:
    """Let the time of an invitation be past."""
    past = timezone.now() - timedelta(days=1)
    Invitation.objects.filter(pk=invitation.pk).update(
        created_at=past - timedelta(days=1), expires_at=past
    )


def see(client: Client, organization: Organization) -> Overview:
    """Return what the page shows."""
    answer = client.get(path_of(organization.pk))
    assert answer.status_code == 200
    overview: Overview = answer.context["overview"]
    return overview


def numbers(figures: tuple[Figure, ...] | None) -> dict[str, int]:
    """Return what is shown, by its name."""
    return {figure.label: figure.number for figure in figures or ()}


def test_overview_counts_what_is_there(
    staff: Client, acme: Organization, globex: Organization
) -> None:
    """Each number is that of acme, of which globex has others."""
    fill(acme, times=2)
    fill(globex, times=3)

    overview = see(staff, acme)

    assert numbers(overview.figures) == {
        "Members": 3,
        "Seats used": 5,
        "Pending invitations": 2,
        "Active sessions": 2,
        "Teams": 2,
    }
    assert numbers(overview.roles) == {"Member": 2, "Owner": 1}
    assert numbers(overview.invitations) == {"Pending": 2, "Revoked": 2, "Expired": 2}
    rows = numbers(overview.rows)
    assert (rows["Memberships"], rows["Labels"], rows["Tasks"]) == (5, 2, 1)
    assert "Purchases" in overview.empty
    assert overview.growth is not None
    assert (overview.growth.joined, overview.growth.left) == ("5", "2")


def test_rows_of_others_change_no_number(
    staff: Client, root: Client, acme: Organization, globex: Organization
) -> None:
    """Whatever globex gets, the page of acme stays what it is, for a superuser too."""
    fill(acme)
    pages = [shown(client, acme) for client in (staff, root)]

    fill(globex, times=2)
    with tenancy.scope(globex):
        SubscriptionFactory(plan=PlanFactory(limits={"members": 1}))

    assert [shown(client, acme) for client in (staff, root)] == pages


def shown(client: Client, organization: Organization) -> str:
    """Return the page, without what differs each time."""
    page = client.get(path_of(organization.pk)).content.decode()
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)


def test_key_of_other_equals_random_key(
    staff: Client, alice: User, globex: Organization
) -> None:
    """Globex answers acme's staff like no organization, by as many queries."""
    fill(globex)

    answers = [
        ask(sign_in(alice), method, key)
        for method in ("get", "post")
        for key in (str(globex.pk), str(uuid.uuid4()))
    ]

    assert answers[0] == answers[1] and answers[2] == answers[3]
    assert answers[0][0] == 302 and "Globex" not in answers[0][2]


def test_superuser_sees_every_organization(
    superuser: Client, root: Client, acme: Organization, globex: Organization
) -> None:
    """Over all a superuser enters the organization; inside acme there is no globex."""
    fill(globex)

    overview = see(superuser, globex)

    assert numbers(overview.figures)["Members"] == 2
    assert root.get(path_of(globex.pk)).status_code == 302
    assert f"organization__id__exact={globex.pk}" in overview.rows[0].address
    listed = superuser.get(overview.figures[0].address)
    assert listed.status_code == 200
    assert listed.context["cl"].result_count == 2


def test_links_lead_to_what_was_counted(staff: Client, acme: Organization) -> None:
    """Each linked list holds as many rows as the number says."""
    fill(acme, times=2)
    overview = see(staff, acme)

    for figure in (*overview.figures, *overview.rows):
        if figure.address and figure.label != "Pending invitations":
            listed = staff.get(figure.address).context["cl"].result_count
            assert listed == figure.number, figure


def test_overview_takes_few_queries(
    acme: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """All numbers take six queries, and the leading ones two, whatever is there."""
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("admin@example.com")

    fill(acme, times=2)

    with tenancy.scope(acme):
        reader = Reader(site, request, acme)
        with django_assert_num_queries(6):
            reader.describe()
        with django_assert_num_queries(2):
            reader.summarize()


def test_page_takes_as_many_queries_when_full(
    staff: Client, acme: Organization
) -> None:
    """The page of an organization with rows takes no more queries than without."""
    counts = []
    for number in range(3):
        with CaptureQueriesContext(connection) as queries:
            staff.get(path_of(acme.pk))
        counts.append(len(queries))
        if number == 1:
            fill(acme, times=3)
            with tenancy.scope(acme):
                SubscriptionFactory()

    # The first request of a test fills caches.
    assert counts[1] == counts[2]


def test_count_stops_at_its_limit(acme: Organization) -> None:
    """Of very many rows, one more is counted than is told."""
    with tenancy.scope(acme):
        Label.objects.bulk_create(Label(name=f"Label {n}") for n in range(5))
        counted = Organization.objects.annotate(
            few=RowCount(Label.objects.values("pk")[:3])
        ).get()

    assert counted.few == 3


def test_reader_of_another_organization_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """Numbers of one organization are not asked for in another's scope, or none."""
    request = RequestFactory().get("/")

    with tenancy.scope(globex), pytest.raises(CrossOrganization, match="overview"):
        Reader(site, request, acme)
    with tenancy.unscoped("a test"), pytest.raises(ScopeRequired):
        Reader(site, request, acme)


def test_overview_shows_what_may_be_viewed(alice: User, acme: Organization) -> None:
    """Who may not list a model's rows sees no number of them; others see no page."""
    alice.is_staff = True
    alice.save()
    client = sign_in(alice)
    refused = client.get(path_of(acme.pk))
    without = client.get("/admin/")
    alice.user_permissions.set(
        Permission.objects.filter(codename__in=["view_organization", "view_label"])
    )
    with tenancy.scope(acme):
        Label.objects.create(name="Urgent")

    overview = see(client, acme)

    assert refused.status_code == 403
    assert without.context["tenancy_figures"] is None
    assert client.get("/admin/").context["tenancy_figures"] == ()
    assert overview.figures == () and overview.seats is None
    assert overview.roles is None and overview.invitations is None
    assert overview.growth is None and overview.subscriptions is None
    assert numbers(overview.rows) == {"Labels": 1}


def test_archived_organization_has_no_overview(
    superuser: Client, acme: Organization
) -> None:
    """Nobody enters an archived organization, which the page says."""
    with tenancy.scope(acme):
        acme.archive()

    answer = superuser.get(path_of(acme.pk), follow=True)

    assert answer.redirect_chain[0][0].endswith(f"{acme.pk}/change/")
    assert "which is archived" in answer.content.decode()
    assert path_of(acme.pk) not in answer.content.decode()


def test_suspension_is_said(superuser: Client, acme: Organization) -> None:
    """A superuser sees the numbers of a suspended organization, and that it is."""
    with tenancy.scope(acme):
        acme.suspend(reason="unpaid")

    assert "The organization is suspended" in shown(superuser, acme)


def test_overview_is_linked(staff: Client, root: Client, acme: Organization) -> None:
    """The index leads with the numbers; the header and the form have the way to all."""
    for client in (staff, root):
        index = client.get("/admin/")
        form = client.get(f"/admin/tenancy/organization/{acme.pk}/change/")

        assert numbers(index.context["tenancy_figures"])["Members"] in (1, 2)
        assert index.content.decode().count(path_of(acme.pk)) == 2
        assert form.content.decode().count(path_of(acme.pk)) == 2


def test_index_over_all_has_no_numbers(superuser: Client, acme: Organization) -> None:
    """Over all organizations nothing is counted."""
    index = superuser.get("/admin/")

    assert index.context["tenancy_figures"] is None
    assert "/overview/" not in index.content.decode()


def test_empty_organization_is_shown(superuser: Client) -> None:
    """An organization of which nobody is a member has a page, too."""
    with tenancy.unscoped("a test"):
        empty = Organization.objects.create(name="Nobody")

    page = superuser.get(path_of(empty.pk)).content.decode()

    assert "Nobody is a member." in page and "no limit" in page
    assert "There is no live subscription." in page


def test_overview_shows_plan_and_seats(staff: Client, acme: Organization) -> None:
    """The subscription is told, and the seats against its limit."""
    fill(acme)
    with tenancy.scope(acme):
        plan = PlanFactory(name="Team plan", limits={"members": 12, "teams": 3})
        SubscriptionFactory(plan=plan)

    overview = see(staff, acme)
    page = shown(staff, acme)

    assert overview.seats is not None
    assert overview.seats.text == "3 of 12 seats are used."
    assert overview.seats.note == "2 members, 1 pending invitation, 9 free"
    assert (overview.seats.members, overview.seats.invitations) == ("16.667%", "25%")
    assert "Team plan" in page and "of 3" in page


def test_unreadable_limit_keeps_the_page(staff: Client, acme: Organization) -> None:
    """A plan that another client has written badly is said, and breaks nothing."""
    with tenancy.scope(acme):
        SubscriptionFactory(plan=PlanFactory(limits={"members": "many"}))

    assert "the limit cannot be read" in shown(staff, acme)
    assert staff.get("/admin/").status_code == 200


@pytest.mark.parametrize("language", ["de", "ar"])
def test_drawing_is_in_no_language(
    staff: Client, acme: Organization, settings: Settings, language: str
) -> None:
    """Positions are plain numbers, however a language writes numbers."""
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = language
    fill(acme, times=3)

    with translation.override(language):
        page = shown(staff, acme).partition('id="content-main"')[2]
    page = page.partition("base-svgs")[0]
    drawn = re.findall(r'\b(x|y|x1|x2|y1|y2|width|height)="([^"]*)"', page)

    assert len(drawn) > 100
    assert not [each for each in drawn if not re.fullmatch(r"\d+(\.\d+)?%?", each[1])]


def test_plots_are_told_in_words(staff: Client, acme: Organization) -> None:
    """Each plot has a name and a text of its own; the same stands in a table."""
    page = shown(staff, acme)

    named = re.findall(r'role="img"\s+aria-labelledby="([\w-]+) ([\w-]+)"', page)
    for title, text in named:
        assert re.search(f'<title id="{title}">[^<]+</title>', page)
        assert re.search(f'<desc id="{text}">[^<]+</desc>', page)
    assert len(named) == page.count('role="img"') == 2
    assert page.count('<th scope="row">') > 12


def test_sessions_of_former_members_are_not_counted(
    staff: Client, acme: Organization
) -> None:
    """A session counts where its membership is live, and acme's."""
    with tenancy.scope(acme):
        member = MembershipFactory()
        SessionFactory(user=member.user, membership=member)
        Membership.objects.filter(pk=member.pk).update(ended_at=timezone.now())

    assert numbers(see(staff, acme).figures)["Active sessions"] == 0


def test_sessions_of_members_count_unless_they_are_elsewhere(
    staff: Client, acme: Organization, globex: Organization
) -> None:
    """Whoever has chosen no organization is here, and who chose globex is there."""
    with tenancy.scope(acme):
        member = MembershipFactory()
    with tenancy.scope(globex):
        elsewhere = MembershipFactory(user=member.user)
    SessionFactory(user=member.user, membership=None)
    with tenancy.scope(globex):
        SessionFactory(user=member.user, membership=elsewhere)

    assert numbers(see(staff, acme).figures)["Active sessions"] == 1


def test_overview_on_a_plain_site(
    staff: Client, acme: Organization, settings: Settings
) -> None:
    """Django's own admin site shows the page, too, in the scope of the request."""
    settings.ROOT_URLCONF = "tests.admin.plain_urls"

    assert numbers(see(staff, acme).figures)["Members"] == 1


def test_header_without_overview(alice: User, acme: Organization) -> None:
    """A project's own admin of its organizations need not have the page."""
    bare = TenantAdminSite()
    bare.register(Organization, ModelAdmin)
    alice.is_staff = True
    request = RequestFactory().get("/")
    request.user = alice

    with tenancy.scope(acme, user=alice):
        situation = bare.each_context(request)["tenancy"]

    assert (situation.organization, situation.overview) == (acme, "")
