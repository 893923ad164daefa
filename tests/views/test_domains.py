from __future__ import annotations

import re

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

import tenancy
from tenancy.models import Domain, Membership, Organization, Role, User
from tenancy.testing import DomainFactory
from tests.domains import sign_in_at
from tests.nameserver import NameServer
from tests.views.conftest import sign_in

pytestmark = pytest.mark.django_db

PAGE = "/organization/domains/"
HOST = "tasks.acme.test"


@pytest.fixture
def domain(acme: Organization, settings: Settings) -> Domain:
    """The domain at which acme is reached, at a site that lets it be."""
    settings.TENANCY_BASE_DOMAIN = "example.com"
    settings.TENANCY_RESOLVERS = [
        f"tenancy.resolvers.{name}" for name in ("DomainResolver", "SessionResolver")
    ]
    made: Domain = DomainFactory(organization=acme, host=HOST, is_verified=True)
    return made


def test_owner_adds_verifies_and_removes(
    as_alice: Client, acme: Organization, name_server: NameServer
) -> None:
    """The page shows the record to set, then that it is found, then no more."""

    def post(path: str, **data: str) -> str:
        return str(as_alice.post(f"{PAGE}{path}", data, follow=True).content.decode())

    added = post("new/", host="Tasks.Acme.test")
    with tenancy.scope(acme):
        domain = Domain.objects.get()
    missing = post(f"{domain.pk}/verify/")
    name_server.publish(HOST, domain.token)
    verified = post(f"{domain.pk}/verify/")
    removed = post(f"{domain.pk}/remove/")

    assert "Set the record of tasks.acme.test" in added
    assert f"_tenancy-challenge.{HOST}" in added and domain.token in added
    assert "The record was not found" in missing and "no record" in missing
    assert f"{HOST} is verified" in verified and f'href="//{HOST}/"' in verified
    assert f"{HOST} is removed" in removed and "no domain of its own" in removed


def test_refused_domain_is_told_at_its_field(
    as_alice: Client, domain: Domain, settings: Settings
) -> None:
    """What is malformed, the site's own, or there already is an error of the form."""
    client = sign_in(User.objects.get(email="alice@acme.example"))
    for host, words in (
        ("https://acme.test/", "Give a domain alone"),
        ("x.example.com", "own. Choose one of your own"),
        (HOST, "The organization has this domain"),
    ):
        response = client.post(f"{PAGE}new/", {"host": host}, HTTP_HOST="example.com")
        assert words in response.content.decode()
    settings.TENANCY_LIMITS = {"domains": 1}
    response = client.post(f"{PAGE}new/", {"host": "b.test"}, HTTP_HOST="example.com")
    assert "as many domains as it may" in response.content.decode()


def test_taken_domain_is_told_without_its_owner(
    as_alice: Client, acme: Organization, globex: Organization, name_server: NameServer
) -> None:
    """Who proves a domain that globex has verified learns that it is taken."""
    DomainFactory(organization=globex, host=HOST, is_verified=True)
    domain = DomainFactory(organization=acme, host=HOST)
    name_server.publish(HOST, domain.token)

    response = as_alice.post(f"{PAGE}{domain.pk}/verify/", follow=True)

    content = response.content.decode()
    assert "is verified for another organization" in content
    assert "Globex" not in content


def test_verifying_is_let_pass_so_often(
    as_alice: Client, acme: Organization, name_server: NameServer, settings: Settings
) -> None:
    """DNS is asked a few times, and not for whoever goes on."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 0
    domain = DomainFactory(organization=acme)

    response = as_alice.post(f"{PAGE}{domain.pk}/verify/", follow=True)

    assert "Too many tries" in response.content.decode()
    assert name_server.asked == []


def test_members_without_the_permission_are_refused(
    carol: User, acme: Organization
) -> None:
    """A plain member sees nothing; a role for one thing does that alone."""
    domain = DomainFactory(organization=acme)
    client = sign_in(carol)

    def list_statuses() -> list[int]:
        return [
            client.get(PAGE).status_code,
            client.post(f"{PAGE}new/", {"host": "b.test"}).status_code,
            client.post(f"{PAGE}{domain.pk}/remove/").status_code,
            client.post(PAGE, {"host": "c.test"}).status_code,
        ]

    def give(permission: str) -> None:
        with tenancy.scope(acme):
            role = Role.objects.create_role(name=permission, permissions=[permission])
            Membership.objects.get(user=carol).change_role(role)

    before = list_statuses()
    give("tenancy.change_domain")
    changing = list_statuses()
    give("tenancy.delete_domain")
    removing = list_statuses()

    assert before == [403, 403, 403, 403]
    assert changing == [200, 403, 403, 405]
    assert removing == [403, 403, 302, 403]
    with tenancy.scope(acme):
        assert not Domain.objects.exists()


def test_settings_lead_to_domains_where_they_are_used(
    as_alice: Client, alice: User, domain: Domain, settings: Settings
) -> None:
    """The link to the page is there where a resolver asks for domains."""
    client = sign_in(alice)
    sign_in_at(HOST, client)

    assert PAGE in client.get("/organization/", HTTP_HOST=HOST).content.decode()
    settings.TENANCY_RESOLVERS = ["tenancy.resolvers.SessionResolver"]
    assert PAGE not in sign_in(alice).get("/organization/").content.decode()


def test_sign_in_at_a_domain_is_for_its_members(
    domain: Domain, alice: User, bob: User, globex: Organization
) -> None:
    """Alice comes in where she wanted; bob reads that he is no member of it."""
    browser = Client(headers={"host": HOST})
    cache.clear()

    def sign_in_as(email: str) -> str:
        data = {"username": email, "password": "demo"}
        page = browser.post("/sign-in/?next=/members/", data, follow=True)
        return str(page.content.decode())

    assert browser.get("/sign-up/").headers["Location"] == "http://example.com/sign-up/"
    assert "You are no member of the organization" in sign_in_as(bob.email)
    assert "_auth_user_id" not in browser.session
    assert "alice@acme.example" in sign_in_as(alice.email)


def test_switch_at_a_domain_leads_to_another_host(
    domain: Domain, alice: User, globex: Organization
) -> None:
    """Who switches or makes another organization works there at the site's host."""
    with tenancy.scope(globex):
        Membership.objects.add(user=alice)
    browser = Client(headers={"host": HOST})
    browser.force_login(alice)
    sign_in_at(HOST, browser)

    switched = browser.post("/organizations/switch/", {"organization": globex.pk})
    made = browser.post("/organizations/new/", {"name": "Initech"})
    own = browser.post(
        "/organizations/switch/", {"organization": domain.organization_id}
    )

    elsewhere = "http://example.com/organizations/"
    assert switched.headers["Location"] == made.headers["Location"] == elsewhere
    assert own.headers["Location"] == "/organizations/"
    assert browser.get("/members/").status_code == 200


def test_mails_never_name_a_domain(
    domain: Domain, alice: User, django_capture_on_commit_callbacks: object
) -> None:
    """Links with secrets lead to the site's own host, whichever was asked."""
    client = sign_in(alice)
    sign_in_at(HOST, client)
    data = {"email": "eve@example.org", "role": _member_role(domain)}

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # pytest-django's fixture
        client.post("/invitations/", data, HTTP_HOST=HOST)
        client.post("/account/email/send/", HTTP_HOST=HOST)

    links = [re.findall(r"https?://\S+", str(one.body)) for one in mail.outbox]
    assert len(links) == 2
    assert all(link.startswith("http://example.com/") for (link, *_) in links)
    assert HOST not in "".join(str(one.message()) for one in mail.outbox)


def _member_role(domain: Domain) -> str:
    with tenancy.scope(domain.organization_id):
        return str(Role.objects.get(key="member").pk)
