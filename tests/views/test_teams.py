from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

import tenancy
from tenancy.models import Organization, Team, User
from tests.views.conftest import membership_of, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def pilots(acme: Organization) -> Team:
    """A team of acme."""
    with tenancy.scope(acme):
        team: Team = Team.objects.create_team(name="Pilots")
    return team


def test_team_is_made(as_alice: Client, acme: Organization) -> None:
    """The new team has its page and stands in the list."""
    data = {"name": "Pilots", "description": "They fly."}

    response = as_alice.post("/teams/new/", data, follow=True)

    assert "The team “Pilots” is made." in response.content.decode()
    assert "They fly." in as_alice.get("/teams/").content.decode()


def test_refused_team_is_told(
    as_alice: Client, pilots: Team, settings: Settings
) -> None:
    """A name that is taken and one team too many are errors of the form."""
    taken = as_alice.post("/teams/new/", {"name": "PILOTS"})
    settings.TENANCY_LIMITS = {"teams": 1}
    full = as_alice.post("/teams/new/", {"name": "Nurses"})

    assert "The organization has a team of that name." in taken.content.decode()
    assert "as many teams as it may" in full.content.decode()


def test_member_joins_and_leaves_team(
    as_alice: Client, acme: Organization, carol: User, pilots: Team
) -> None:
    """Carol is put in, shown, and taken out."""
    path, key = f"/teams/{pilots.pk}/", membership_of(acme, carol).pk

    added = as_alice.post(f"{path}members/", {"member": key}, follow=True)
    listed = as_alice.get("/teams/").content.decode()
    again = as_alice.post(f"{path}members/", {"member": key}, follow=True)
    removed = as_alice.post(f"{path}members/{key}/remove/", follow=True)

    assert "Carol is in the team." in added.content.decode()
    assert "1 member" in listed
    assert "Select a valid choice" in again.content.decode()
    assert "Carol is not in the team any more." in removed.content.decode()
    with tenancy.scope(acme):
        assert not pilots.team_memberships.exists()


def test_strangers_are_no_choice(
    as_alice: Client, globex: Organization, bob: User, pilots: Team
) -> None:
    """Bob's membership of globex is answered like none."""
    path = f"/teams/{pilots.pk}/members/"
    keys = (membership_of(globex, bob).pk, "no key")

    pages = [as_alice.post(path, {"member": key}, follow=True) for key in keys]

    assert "Select a valid choice" in pages[0].content.decode()
    assert "bob" not in pages[0].content.decode()
    assert "valid" in pages[1].content.decode()


def test_team_is_deleted(as_alice: Client, acme: Organization, pilots: Team) -> None:
    """Its page is gone, and its address is nobody's."""
    response = as_alice.post(f"/teams/{pilots.pk}/delete/", follow=True)

    assert "The team “Pilots” is deleted." in response.content.decode()
    assert as_alice.get(f"/teams/{pilots.pk}/").status_code == 404


def test_plain_member_looks_only(carol: User, pilots: Team) -> None:
    """Carol sees the teams, without a form, and every change is refused."""
    client = sign_in(carol)

    page = client.get(f"/teams/{pilots.pk}/").content.decode()

    assert "Pilots" in page and "Add a member" not in page
    assert "New team" not in client.get("/teams/").content.decode()
    assert client.get("/teams/new/").status_code == 403
    assert client.post(f"/teams/{pilots.pk}/delete/").status_code == 403
    assert client.post(f"/teams/{pilots.pk}/members/").status_code == 403
