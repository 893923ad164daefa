"""Switching between organizations."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client
from django.utils import timezone

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import Membership, Organization, Team, User

PATH = "/organizations/switch/"


@pytest.fixture
def carol(acme: Organization, globex: Organization) -> User:
    """A member of both."""
    carol = User.objects.create_user("carol@example.com", name="Carol")
    for organization in (acme, globex):
        with tenancy.scope(organization):
            Membership.objects.create(user=carol)
    return carol


@pytest.fixture
def as_carol(carol: User) -> Client:
    """A browser in which carol is signed in."""
    client = Client()
    client.force_login(carol)
    return client


def test_member_of_two_is_asked_to_choose(as_carol: Client, ours: Task) -> None:
    """With two organizations and no choice, a page leads to the choice."""
    response = as_carol.get(f"/tasks/{ours.pk}/", follow=True)

    content = response.content.decode()
    assert response.redirect_chain == [("/organizations/", 302)]
    assert "Acme" in content and "Globex" in content


def test_switch_changes_what_is_seen(
    as_carol: Client, globex: Organization, acme: Organization, ours: Task, theirs: Task
) -> None:
    """After each switch the rows of the chosen organization are there, alone."""
    for organization, own, other in ((acme, ours, theirs), (globex, theirs, ours)):
        as_carol.post(PATH, {"organization": organization.pk})

        assert as_carol.get(f"/tasks/{own.pk}/").status_code == 200
        assert as_carol.get(f"/tasks/{other.pk}/").status_code == 404


def test_switch_refuses_all_strangers_alike(
    as_alice: Client, globex: Organization
) -> None:
    """An organization of others, one that does not exist and no key are one 404."""
    keys = (globex.pk, uuid.uuid4(), "no key", "")

    pages = [as_alice.post(PATH, {"organization": key}) for key in keys]

    assert {page.status_code for page in pages} == {404}
    assert len({page.content for page in pages}) == 1
    assert as_alice.get("/projects/").status_code == 200


def test_switch_is_post_with_token(carol: User, acme: Organization) -> None:
    """A GET does not switch, and a POST without a token is refused."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(carol)

    assert client.get(PATH).headers["Location"] == "/organizations/"
    assert client.post(PATH, {"organization": acme.pk}).status_code == 403
    assert client.get("/projects/").headers["Location"] == "/organizations/"


def test_removed_member_is_out_at_next_request(
    as_carol: Client, carol: User, acme: Organization, ours: Task
) -> None:
    """A member whose membership ends does not reach the organization again."""
    as_carol.post(PATH, {"organization": acme.pk})
    with tenancy.scope(acme):
        Membership.objects.filter(user=carol).update(ended_at=timezone.now())

    page = as_carol.get(f"/tasks/{ours.pk}/")
    again = as_carol.post(PATH, {"organization": acme.pk})

    assert page.headers["Location"] == "/organizations/"
    assert again.status_code == 404


@pytest.mark.parametrize("status", ["suspended", "archived"])
def test_inactive_organization_cannot_be_entered(
    status: str, as_carol: Client, acme: Organization
) -> None:
    """An organization that is not active is like one that does not exist."""
    with tenancy.unscoped("an organization is closed"):
        Organization.objects.filter(pk=acme.pk).update(status=status)

    assert as_carol.post(PATH, {"organization": acme.pk}).status_code == 404
    assert "Globex" in as_carol.get("/projects/").content.decode()


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("/projects/new/", {"name": "Twins"}),
        ("/teams/new/", {"name": "Twins"}),
    ],
)
def test_form_when_made_before_a_switch_is_not_taken(
    address: str,
    values: dict[str, str],
    as_carol: Client,
    acme: Organization,
    globex: Organization,
) -> None:
    """A form of one organization, sent in another, is answered with 409 and a way."""
    with tenancy.unscoped("what may carol do"):
        for membership in Membership.objects.filter(user__email="carol@example.com"):
            membership.change_role("admin")
    as_carol.post(PATH, {"organization": acme.pk})
    page = as_carol.get(address).content.decode()
    (carried,) = set(re.findall(r'name="tenancy_organization" value="([^"]+)"', page))

    as_carol.post(PATH, {"organization": globex.pk})
    refused = as_carol.post(address, {**values, "tenancy_organization": carried})
    as_carol.post(PATH, {"organization": acme.pk})
    taken = as_carol.post(address, {**values, "tenancy_organization": carried})

    assert (refused.status_code, taken.status_code) == (409, 302)
    with tenancy.unscoped("both organizations"):
        assert Project.objects.count() + Team.objects.count() == 1
