from __future__ import annotations

import pytest
from django.test import Client

import tenancy
from tenancy.models import Membership, Organization, Role, User
from tests.views.conftest import membership_of, sign_in

pytestmark = pytest.mark.django_db


def find_role(organization: Organization, key: str) -> Role:
    """Return a built-in role."""
    with tenancy.scope(organization):
        role: Role = Role.objects.get(key=key)
    return role


def test_list_shows_members_of_acme_alone(
    as_alice: Client, carol: User, globex: Organization
) -> None:
    """Alice sees carol with her role, and nobody of globex."""
    page = as_alice.get("/members/").content.decode()

    assert "carol@acme.example" in page and "Remove" in page
    assert "bob@globex.example" not in page


def test_plain_member_sees_no_changes(acme: Organization, carol: User) -> None:
    """Carol sees who is there, and may leave, and no more."""
    page = sign_in(carol).get("/members/").content.decode()

    assert "alice@acme.example" in page and "Yes, leave Acme" in page
    assert "Yes, remove" not in page and "<select" not in page
    assert "Invite somebody" not in page


def test_role_is_changed(as_alice: Client, acme: Organization, carol: User) -> None:
    """Carol is an admin, and the next page says so."""
    path = f"/members/{membership_of(acme, carol).pk}/role/"

    response = as_alice.post(path, {"role": find_role(acme, "admin").pk}, follow=True)

    assert "Carol has the role “admin” now." in response.content.decode()
    assert membership_of(acme, carol).role.key == "admin"


def test_last_owner_stays(as_alice: Client, alice: User, acme: Organization) -> None:
    """Alice neither becomes an admin nor leaves while nobody else owns acme."""
    path = f"/members/{membership_of(acme, alice).pk}"
    role = {"role": find_role(acme, "admin").pk}

    pages = [as_alice.post(f"{path}/role/", role, follow=True)]
    pages.append(as_alice.post("/members/leave/", follow=True))

    for page in pages:
        assert "The organization needs an owner." in page.content.decode()
        assert page.redirect_chain == [("/members/", 302)]
    assert membership_of(acme, alice).is_owner


def test_admin_makes_no_owner_and_removes_none(
    alice: User, acme: Organization, carol: User
) -> None:
    """The owner's role is no choice of an admin's, nor is the owner theirs to end."""
    with tenancy.scope(acme):
        Membership.objects.get(user=carol).change_role("admin")
    client = sign_in(carol)
    owner, own = (membership_of(acme, user).pk for user in (alice, carol))

    choice = client.post(
        f"/members/{own}/role/", {"role": find_role(acme, "owner").pk}, follow=True
    )
    taken = client.post(
        f"/members/{owner}/role/", {"role": find_role(acme, "member").pk}, follow=True
    )
    removed = client.post(f"/members/{owner}/remove/", follow=True)

    assert "Select a valid choice" in choice.content.decode()
    for page in (taken, removed):
        assert "Your role does not allow this." in page.content.decode()
    assert membership_of(acme, alice).is_owner


def test_member_is_removed(as_alice: Client, acme: Organization, carol: User) -> None:
    """Carol is out at her next request, and removed once."""
    path = f"/members/{membership_of(acme, carol).pk}/remove/"

    response = as_alice.post(path, follow=True)

    assert "Carol is no member any more." in response.content.decode()
    assert sign_in(carol).get("/members/").headers["Location"] == "/organizations/"
    assert as_alice.post(path).status_code == 404


def test_nobody_removes_themselves(
    as_alice: Client, alice: User, acme: Organization
) -> None:
    """One's own membership is left, by a page that leads out."""
    path = f"/members/{membership_of(acme, alice).pk}/remove/"

    assert as_alice.post(path).status_code == 404


def test_member_leaves(acme: Organization, carol: User) -> None:
    """Carol leaves, and is led to her other organizations."""
    response = sign_in(carol).post("/members/leave/", follow=True)

    assert response.redirect_chain == [("/organizations/", 302)]
    assert "You have left Acme." in response.content.decode()
    assert not membership_of(acme, carol).is_live


def test_plain_member_changes_nobody(
    alice: User, acme: Organization, carol: User
) -> None:
    """Without the permission each change is refused, of one's own role too."""
    client = sign_in(carol)
    role = {"role": find_role(acme, "admin").pk}

    for user in (alice, carol):
        path = f"/members/{membership_of(acme, user).pk}"
        assert client.post(f"{path}/role/", role).status_code == 403
        assert client.post(f"{path}/remove/").status_code == 403
