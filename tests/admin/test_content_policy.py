"""Pages under a content security policy: nothing is inline, all is the site's own."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

import tenancy
from tenancy.models import Invitation, Membership, Organization, Team, User
from tenancy.testing import MembershipFactory
from tenancy.urls import urlpatterns
from tests.admin.conftest import make_task, sign_in

pytestmark = pytest.mark.django_db

NO_PAGES = {"sign-out", "invitation-answer"}
"""The addresses without arguments that end the session, or need what it holds."""


class Inline(HTMLParser):
    """Collects what a policy without 'unsafe-inline' would stop, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.loaded: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        text = self.get_starttag_text() or tag
        is_data = names.get("type") == "application/json"
        if (
            tag == "style"
            or (tag == "script" and "src" not in names and not is_data)
            or "style" in names
            or any(name.startswith("on") for name in names)
            or any((value or "").startswith("javascript:") for value in names.values())
        ):
            self.faults.append(text)
        is_sheet = tag == "link" and names.get("rel") == "stylesheet"
        if is_sheet or tag in {"script", "img", "iframe", "object", "embed", "use"}:
            self.loaded.append((tag, names))


def read(page: str) -> Inline:
    """Return what a page has inline, and what it loads."""
    parser = Inline()
    parser.feed(page)
    return parser


@pytest.fixture(autouse=True)
def _whole_site(settings: Settings, _site: None) -> None:
    settings.ROOT_URLCONF = "tests.admin.whole_urls"
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.LOGIN_URL = "tenancy:sign-in"
    settings.LOGIN_REDIRECT_URL = "tenancy:organization-list"
    cache.clear()


@pytest.fixture
def addresses(acme: Organization, bob: User) -> list[str]:
    """Every kind of page of the admin, and every page of the app."""
    with tenancy.scope(acme):
        team = Team.objects.create_team(name="Pilots")
        membership = MembershipFactory(user=bob)
        invitation, token = Invitation.objects.invite(email="dan@example.com")
        owner = Membership.objects.owners().get()
    task = make_task(acme, "Rocket skates stop")
    own = f"/admin/tenancy/organization/{acme.pk}"
    member = f"/admin/tenancy/membership/{membership.pk}"
    pages = [
        "/admin/",
        f"{own}/overview/",
        f"{own}/change/",
        f"{own}/history/",
        "/admin/tenancy/membership/",
        "/admin/tenancy/auditevent/",
        "/admin/tracker/task/",
        f"/admin/tracker/task/{task.pk}/change/",
        f"/admin/tracker/task/{task.pk}/delete/",
        f"{member}/change/",
        f"{member}/act/end/",
        f"/admin/tenancy/membership/{owner.pk}/act/transfer/",
        f"/admin/tenancy/invitation/{invitation.pk}/act/revoke/",
        "/admin/tenancy/invitation/add/",
        "/admin/tenancy/subscription/",
        f"/admin/tenancy/team/{team.pk}/change/",
        reverse("tenancy:team-detail", args=[team.pk]),
        reverse("tenancy:team-delete", args=[team.pk]),
        reverse("tenancy:member-remove", args=[membership.pk]),
    ]
    names = [pattern.name for pattern in urlpatterns if "<" not in str(pattern.pattern)]
    pages += [reverse(f"tenancy:{name}") for name in names if name not in NO_PAGES]
    return [*pages, reverse("tenancy:invitation-open", args=[token])]


def visit(client: Client, addresses: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the answer of each address, the last after a redirect to it."""
    for address in addresses:
        yield address, client.get(address, follow=True)


@pytest.fixture
def owner(alice: User, acme: Organization) -> Client:
    """A browser of alice, who may do everything in acme, on the site and the admin."""
    alice.is_staff = True
    alice.save()
    alice.user_permissions.set(Permission.objects.all())
    return sign_in(alice)


def test_pages_have_nothing_inline(
    owner: Client, superuser: Client, addresses: list[str]
) -> None:
    """No page has a style, script or handler inline, nor loads from elsewhere."""
    seen = set()
    for client in (owner, superuser, Client()):
        for address, answer in visit(client, addresses):
            page = answer.content.decode()
            found = read(page)
            seen.add((answer.status_code, "<h1" in page))
            assert found.faults == [], address
            for tag, names in found.loaded:
                source = names.get("src") or names.get("href")
                source = source or names.get("xlink:href") or "#"
                is_own = source.startswith("/") and not source.startswith("//")
                assert is_own or source.startswith(("#", "data:")), (address, tag)

    assert (200, True) in seen


def test_owner_opens_every_page(owner: Client, addresses: list[str]) -> None:
    """The pages that are looked at are pages, and not refusals."""
    *answers, last = [answer.status_code for _, answer in visit(owner, addresses)]

    # What takes a POST leads to the page that asks, no mail's link was followed, and
    # the invitation is somebody else's.
    assert (set(answers), last) == ({200, 410}, 403)
    assert answers.count(200) >= 30


@pytest.mark.needs("content security policy")
def test_policy_is_sent_and_kept(
    owner: Client, addresses: list[str], settings: Settings
) -> None:
    """Where styles need a nonce, the files of the app's own pages carry it."""
    from django.utils.csp import CSP

    settings.MIDDLEWARE = [
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        *settings.MIDDLEWARE,
    ]
    settings.SECURE_CSP = {"default-src": [CSP.SELF], "style-src": [CSP.NONCE]}
    settings.TEMPLATES = add_processor(settings.TEMPLATES)

    for address, answer in visit(owner, addresses):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        if address.startswith("/admin/"):
            # Django's own templates carry a nonce where the project has asked for it.
            continue
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        for tag, names in read(answer.content.decode()).loaded:
            assert tag != "link" or nonce and names.get("nonce") == nonce, address


def add_processor(templates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of templates that know the nonce."""
    (only,) = templates
    options = only["OPTIONS"]
    processors = [
        *options["context_processors"],
        "django.template.context_processors.csp",
    ]
    return [{**only, "OPTIONS": {**options, "context_processors": processors}}]
