from __future__ import annotations

import uuid

import pytest
from django.test import Client
from pytest_django import Settings

import tenancy
from tenancy.models import Membership, Organization, User
from tenancy.provenance import FIELD_NAME, sign_organization
from tests.views.conftest import membership_of, sign_in

pytestmark = pytest.mark.django_db


def test_user_of_none_makes_one(dora: User) -> None:
    """Dora reads that she is in none, makes one, and works in it."""
    client = sign_in(dora)

    before = client.get("/members/", follow=True)
    after = client.post("/organizations/new/", {"name": "Initech"}, follow=True)

    assert "You are a member of none." in before.content.decode()
    assert "You are in Initech now." in after.content.decode()
    assert client.get("/members/").status_code == 200


def test_refused_organization_is_told(as_alice: Client, settings: Settings) -> None:
    """A limit is an error of the form."""
    settings.TENANCY_LIMITS = {"organizations": 1}

    response = as_alice.post("/organizations/new/", {"name": "Initech"})

    assert "as many organizations as you may be" in response.content.decode()


def test_switch_chooses_own_organizations_only(
    as_alice: Client, alice: User, acme: Organization, globex: Organization
) -> None:
    """Globex, a random key and no key are one 404, until alice is a member of it."""
    keys = (globex.pk, uuid.uuid4(), "no key", "")

    pages = [
        as_alice.post("/organizations/switch/", {"organization": key}) for key in keys
    ]
    with tenancy.scope(globex):
        Membership.objects.add(user=alice)
    response = as_alice.post(
        "/organizations/switch/", {"organization": globex.pk}, follow=True
    )

    assert {(page.status_code, page.content) for page in pages} == {
        (404, pages[0].content)
    }
    assert "You are in Globex now." in response.content.decode()


def test_header_leads_to_the_projects_own_pages(
    as_alice: Client, dora: User, settings: Settings
) -> None:
    """The organization's name, or a word where there is none, is the way back."""
    settings.LOGIN_REDIRECT_URL = "/work/"

    pages = [
        client.get("/organizations/").content.decode()
        for client in (as_alice, sign_in(dora))
    ]

    for page, word in zip(pages, ("Acme", "To the start"), strict=True):
        link = page.partition('href="/work/">')[2].partition("</a>")[0]
        assert link.strip() == word


def test_settings_are_saved(as_alice: Client, acme: Organization) -> None:
    """Name, slug and logo are changed, and nothing else."""
    data = {"name": "Acme Corp", "slug": "acme-corp", "logo": "https://acme.example/l"}

    response = as_alice.post("/organization/", data, follow=True)

    assert "The organization is saved." in response.content.decode()
    with tenancy.scope(acme):
        acme.refresh_from_db()
    assert (acme.name, acme.slug, acme.logo) == tuple(data.values())


def test_refused_settings_are_told(
    as_alice: Client, acme: Organization, globex: Organization
) -> None:
    """A taken slug, an empty name and a logo that is no address are errors."""
    data = {"name": "Acme", "slug": "acme", "logo": ""}
    cases = {
        "slug": ("globex", "This slug is taken."),
        "name": ("", "This field is required."),
        "logo": ("javascript:alert(1)", "Enter a valid URL."),
    }
    for name, (value, words) in cases.items():
        page = as_alice.post("/organization/", data | {name: value}).content.decode()

        assert words in page
    with tenancy.scope(acme):
        acme.refresh_from_db()
    assert (acme.name, acme.slug, acme.logo) == ("Acme", "acme", "")


def test_plain_member_changes_no_settings(carol: User) -> None:
    """Carol reaches neither the settings nor the danger zone."""
    client = sign_in(carol)
    paths = ("", "danger/", "transfer/", "archive/")

    statuses = {client.post(f"/organization/{path}").status_code for path in paths}

    assert statuses == {403}


def test_admin_stays_out_of_danger_zone(acme: Organization, carol: User) -> None:
    """An admin changes settings, and only an owner does the rest."""
    with tenancy.scope(acme):
        Membership.objects.get(user=carol).change_role("admin")
    client = sign_in(carol)

    page = client.get("/organization/").content.decode()

    assert "Save" in page and "danger zone" not in page
    assert client.get("/organization/danger/").status_code == 403


def test_ownership_is_transferred(
    as_alice: Client, alice: User, acme: Organization, carol: User
) -> None:
    """Carol owns acme, and alice is an admin."""
    data = {"to": membership_of(acme, carol).pk}

    response = as_alice.post("/organization/transfer/", data, follow=True)

    assert "Carol owns the organization now." in response.content.decode()
    assert membership_of(acme, carol).is_owner
    assert membership_of(acme, alice).role.key == "admin"


def test_ownership_goes_to_members_only(
    as_alice: Client, alice: User, acme: Organization, globex: Organization, bob: User
) -> None:
    """Neither bob of globex, nor alice herself, nor nobody is a choice."""
    keys = (membership_of(globex, bob).pk, membership_of(acme, alice).pk, uuid.uuid4())

    pages = [as_alice.post("/organization/transfer/", {"to": key}) for key in keys]

    for page in pages:
        assert "Select a valid choice" in page.content.decode()
        assert "bob" not in page.content.decode()
    assert membership_of(acme, alice).is_owner


def test_archived_organization_is_left(as_alice: Client, acme: Organization) -> None:
    """Nobody enters acme any more."""
    response = as_alice.post("/organization/archive/", follow=True)

    assert "Acme is archived." in response.content.decode()
    assert response.redirect_chain == [("/organizations/", 302)]
    assert as_alice.get("/members/").status_code == 302


def archive(organization: Organization) -> str:
    """Archive an organization, and return the address at which it is restored."""
    with tenancy.scope(organization):
        organization.archive()
    return f"/organizations/{organization.pk}/restore/"


def test_archived_organization_is_restored(
    alice: User, acme: Organization, globex: Organization
) -> None:
    """Alice, at work in globex, finds acme among the archived, and enters it again."""
    with tenancy.scope(globex):
        Membership.objects.add(user=alice)
    path = archive(acme)
    client = sign_in(alice)

    before = client.get("/organizations/").content.decode()
    asked = client.get(path).content.decode()
    response = client.post(path, {"slug": "acme"}, follow=True)

    assert path in before and "Restore Acme" in asked
    assert "Acme is restored. You are in it now." in response.content.decode()
    assert client.get("/members/").status_code == 200
    assert client.post(path, {"slug": "acme"}).status_code == 404


def test_archived_organization_is_for_its_owners(
    as_bob: Client, carol: User, acme: Organization
) -> None:
    """A member, another organization's owner and a made-up key: one 404, no trace."""
    path = archive(acme)
    made_up = f"/organizations/{uuid.uuid4()}/restore/"
    as_carol = sign_in(carol)

    pages = [
        client.post(one, {"slug": "acme"})
        for client in (as_bob, as_carol)
        for one in (path, made_up)
    ]

    assert {page.status_code for page in pages} == {404}
    assert pages[0].content == pages[1].content and pages[2].content == pages[3].content
    for client in (as_bob, as_carol):
        assert "Acme" not in client.get("/organizations/").content.decode()


def test_taken_slug_of_archived_organization_is_told(
    as_alice: Client, acme: Organization, bob: User, settings: Settings
) -> None:
    """Where another organization has the slug by now, alice gives another one."""
    settings.TENANCY_REUSE_SLUGS = True
    path = archive(acme)
    Organization.objects.create_with_owner(name="Acme", owner=bob, slug="acme")

    refused = as_alice.post(path, {"slug": "acme"})
    response = as_alice.post(path, {"slug": "acme-corp"}, follow=True)

    assert "This slug is taken." in refused.content.decode()
    assert "Acme is restored." in response.content.decode()


def test_impersonator_restores_nothing(
    alice: User, acme: Organization, dora: User
) -> None:
    """Who acts in alice's name sees what she sees, and restores nothing."""
    client = sign_in(User.objects.create_superuser("admin@example.com", "demo"))
    client.get(f"/impersonate/{alice.email}/")
    path = archive(acme)

    page = client.post(path, {"slug": "acme"})

    assert "Nobody does this in another person" in page.content.decode()
    with tenancy.scope(user=alice):
        assert Organization.objects.get().status == "archived"


def test_organization_that_is_archived_meanwhile_is_told(
    as_alice: Client, carol: User, acme: Organization
) -> None:
    """Carol, at work in acme, reads what became of it, on pages and on a form."""
    client = sign_in(carol)
    client.post("/organizations/switch/", {"organization": acme.pk})
    with tenancy.scope(acme):
        form = {"name": "Initech", FIELD_NAME: sign_organization()}
    archive(acme)

    page = client.get("/members/", follow=True)
    posted = client.post("/organizations/new/", form)

    assert page.redirect_chain == [("/organizations/", 302)]
    assert "Acme was archived. Nobody can work in it" in page.content.decode()
    assert "Restore" not in page.content.decode()
    assert posted.status_code == 409
    assert "Acme is archived" in posted.content.decode()


def test_organization_that_is_suspended_meanwhile_is_told(
    as_alice: Client, acme: Organization
) -> None:
    """The page on which another organization is chosen says why."""
    as_alice.post("/organizations/switch/", {"organization": acme.pk})
    with tenancy.scope(acme):
        acme.suspend(reason="a test")

    page = as_alice.get("/members/", follow=True).content.decode()

    assert "Acme is suspended. Nobody can work in it" in page


def test_deletion_asks_for_slug(as_alice: Client, acme: Organization) -> None:
    """Another word deletes nothing; the slug deletes everything of acme."""
    refused = as_alice.post("/organization/danger/", {"slug": "Acme"})
    with tenancy.scope(acme):
        was_there = Organization.objects.exists()
    response = as_alice.post("/organization/danger/", {"slug": "acme"}, follow=True)

    assert "This is not the organization" in refused.content.decode() and was_there
    assert "Acme is deleted." in response.content.decode()
    with tenancy.unscoped("what is left"):
        assert not Organization.objects.filter(pk=acme.pk).exists()


def test_double_submit_is_told(as_alice: Client, acme: Organization) -> None:
    """A second click on what is done leads to a page that exists."""
    as_alice.post("/organization/archive/")

    response = as_alice.post("/organization/archive/", follow=True)

    assert response.redirect_chain == [("/organizations/", 302)]
    assert response.status_code == 200
