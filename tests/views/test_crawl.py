"""Each address of the pages, asked for with the keys of globex and with random ones."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse

import tenancy
from tenancy.models import Invitation, Organization, Session, Team, User
from tenancy.testing import DomainFactory
from tenancy.urls import urlpatterns
from tests.views.conftest import invite, membership_of

pytestmark = pytest.mark.django_db

WITH_KEYS = {
    "organization-restore": ("organization",),
    "device-end": ("session",),
    "member-role": ("membership",),
    "member-remove": ("membership",),
    "team-detail": ("team",),
    "team-delete": ("team",),
    "team-member-add": ("team",),
    "team-member-remove": ("team", "membership"),
    "domain-verify": ("domain",),
    "domain-remove": ("domain",),
    "invitation-renew": ("invitation",),
    "invitation-revoke": ("invitation",),
}
"""The addresses that name rows, and of which model, in the order of the arguments."""

WITH_TOKENS = {"email-open", "invitation-open", "password-reset-open", "sign-up-open"}
"""The addresses that name a secret, which is nobody's until it is answered."""

FOR_ALL = {
    "sign-up",
    "sign-up-sent",
    "sign-in",
    "sign-out",
    "password-reset",
    "password-reset-new",
    "password-reset-sent",
    "invitation-answer",
    "invitation-declined",
}
"""The addresses for whoever is not signed in."""


def list_patterns() -> dict[str, URLPattern]:
    """Return each pattern of the app, by its name."""
    return {str(pattern.name): pattern for pattern in urlpatterns}


@pytest.fixture
def keys(globex: Organization, bob: User, as_bob: Client) -> dict[str, Any]:
    """The keys of rows of globex, by model."""
    invite(globex, "dan@example.com")
    with tenancy.scope(globex):
        team = Team.objects.create_team(name="Turbines")
        membership = membership_of(globex, bob)
        team.add(membership)
        invitation = Invitation.objects.get()
    return {
        "organization": globex.pk,
        "session": Session.objects.for_user(bob).get().pk,
        "membership": membership.pk,
        "team": team.pk,
        "invitation": invitation.pk,
        "domain": DomainFactory(organization=globex, host="globex.test").pk,
    }


def ask(client: Client, method: str, path: str, data: dict[str, Any]) -> Any:
    """Return all that can be seen of an answer, and how many queries it took."""
    with CaptureQueriesContext(connection) as queries:
        response = getattr(client, method)(path, data)
    headers = {
        name: value for name, value in response.headers.items() if name != "Expires"
    }
    return response.status_code, response.content, headers, len(queries)


def test_every_address_is_visited() -> None:
    """A new address that names a row is put into WITH_KEYS, or this fails."""
    named = {
        name for name, pattern in list_patterns().items() if "<" in str(pattern.pattern)
    }

    assert named == WITH_KEYS.keys() | WITH_TOKENS
    assert len(list_patterns()) == len(urlpatterns)


def test_key_of_other_member_is_refused_within_own_team(
    as_alice: Client, acme: Organization, keys: dict[str, Any]
) -> None:
    """The second key of an address is looked for in the scope, too."""
    with tenancy.scope(acme):
        team = Team.objects.create_team(name="Pilots")

    answers = [
        ask(as_alice, "post", f"/teams/{team.pk}/members/{key}/remove/", {})
        for key in (keys["membership"], uuid.uuid4())
    ]

    assert answers[0][0] == 404 and answers[0] == answers[1]


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_address_asks_strangers_to_sign_in(
    method: str, keys: dict[str, Any]
) -> None:
    """Whoever is not signed in is led to the sign-in page, whatever the key."""
    for name, pattern in list_patterns().items():
        if name in FOR_ALL | WITH_TOKENS:
            continue
        models = WITH_KEYS.get(name, ())
        kwargs = dict(
            zip(pattern.pattern.converters, map(keys.get, models), strict=True)
        )
        path = reverse(f"tenancy:{name}", kwargs=kwargs)

        response = getattr(Client(), method)(path)

        assert response.status_code == 302, name
        assert response.headers["Location"].startswith("/sign-in/?next=/"), name


FORMS = {
    "email-verify": "/account/",
    "email-send": "/account/",
    "device-end": "/devices/",
    "device-end-others": "/devices/",
    "switch": "/organizations/",
    "organization-transfer": "/organization/danger/",
    "organization-archive": "/organization/danger/",
    "domain-add": "/organization/domains/",
    "domain-verify": "/organization/domains/",
    "domain-remove": "/organization/domains/",
    "leave": "/members/",
    "member-role": "/members/",
    "member-remove": "/members/",
    "team-delete": "/teams/",
    "invitation-link": "/invitations/",
    "invitation-renew": "/invitations/",
    "invitation-revoke": "/invitations/",
}
"""The pages on which the forms stand that other addresses take."""


def test_get_leads_to_the_page_of_the_form(
    as_alice: Client, acme: Organization, keys: dict[str, Any]
) -> None:
    """What takes a POST changes nothing by GET, and shows the page that asks."""
    for name, page in FORMS.items():
        values = [keys[model] for model in WITH_KEYS.get(name, ())]
        pattern = list_patterns()[name].pattern
        kwargs = dict(zip(pattern.converters, values, strict=True))

        response = as_alice.get(reverse(f"tenancy:{name}", kwargs=kwargs))

        assert (response.status_code, response.headers["Location"]) == (302, page), name
    assert as_alice.get("/members/").status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_address_fails_or_tells_of_others(
    method: str, as_alice: Client, carol: User, keys: dict[str, Any]
) -> None:
    """Visited by alice with nothing filled in, no page fails or shows globex's."""
    for name, pattern in list_patterns().items():
        # One that signs out, leaves or archives ends the round.
        if name in ("sign-out", "organization-archive", "device-end-others"):
            continue
        models = WITH_KEYS.get(name, ("token",) if name in WITH_TOKENS else ())
        values = [keys.get(model, "made-up") for model in models]
        kwargs = dict(zip(pattern.pattern.converters, values, strict=True))
        cache.clear()

        response = getattr(as_alice, method)(reverse(f"tenancy:{name}", kwargs=kwargs))

        assert response.status_code in (200, 302, 404, 405, 410), name
        content = response.content.decode()
        for word in ("Globex", "bob@", "Turbines", "dan@", "globex.test"):
            assert word not in content, name
        if response.status_code == 200:
            assert "no-store" in response.headers["Cache-Control"] or name in (
                "invitation-declined",
            ), name
