"""Sign-up that does not tell who has an account; test_people.py has the other one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import tenancy
from tenancy.models import Organization, User, Verification
from tests.views.conftest import invite, membership_of
from tests.views.test_passwords import describe

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _asks_for_proof(settings: Settings) -> None:
    settings.TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL = True


def give(email: str, client: Client | None = None) -> Any:
    """Give the address, to which the commit sends the mail, and return the answer."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        return (client or Client()).post("/sign-up/", {"email": email}, follow=True)


def take_link() -> str:
    """Return the link of the last mail."""
    (link,) = re.findall(
        r"http://testserver(/sign-up/\S{43}/)", str(mail.outbox[-1].body)
    )
    return str(link)


def finish(client: Client, **values: str) -> Any:
    """Fill the rest in, and send it."""
    data = {
        "name": "Dora",
        "organization_name": "Initech",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    with TestCase.captureOnCommitCallbacks(execute=True):
        return client.post("/sign-up/", data | values, follow=True)


def test_link_leads_to_account() -> None:
    """Dora gives her address, follows the link, and owns Initech; no mail follows."""
    client = Client()
    give("Dora@example.com", client)

    opened = client.get(take_link())
    form = client.get("/sign-up/").content.decode()
    done = finish(client, email="alice@acme.example")

    dora = User.objects.get()
    assert opened.headers["Location"] == "/sign-up/"
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    assert "dora@example.com" in form and 'name="email"' not in form
    assert "Welcome, Dora." in done.content.decode()
    assert dora.email == "dora@example.com" and dora.email_verified_at is not None
    with tenancy.scope(user=dora):
        assert membership_of(Organization.objects.get(), dora).is_owner
    assert len(mail.outbox) == 1 and not Verification.objects.exists()


def test_address_of_account_is_answered_as_new_one(alice: User) -> None:
    """Page, headers and queries are the same; alice's mail alone tells of her account.

    The password that somebody would set is not asked for.
    """
    answers, counts = [], []
    for address in ("dora@example.com", "ALICE@acme.example"):
        with CaptureQueriesContext(connection) as queries:
            answers.append(describe(give(address)))
        counts.append(len(queries))

    assert answers[0] == answers[1] and counts[0] == counts[1]
    assert [message.to for message in mail.outbox] == [
        ["dora@example.com"],
        ["alice@acme.example"],
    ]
    told: Any = mail.outbox[1]
    for text in (told.body, told.alternatives[0][0]):
        assert "has an account already" in text
        assert "testserver/sign-in/" in text and "testserver/password/reset/" in text
        assert "/sign-up/" not in text
    assert User.objects.get() == alice


def test_nothing_is_made_without_link() -> None:
    """The whole form, posted before the address is verified, makes nobody."""
    response = finish(Client(), email="dora@example.com")

    assert response.redirect_chain == [("/sign-up/sent/", 302)]
    assert not User.objects.exists()


def test_used_link_is_told(settings: Settings) -> None:
    """A used link, one of another purpose and a made-up one lead to the same page."""
    client = Client()
    give("dora@example.com", client)
    link = take_link()
    client.get(link)
    finish(client)
    _verification, other = User.objects.get().issue_email_verification()

    stranger = Client()
    for path in (link, f"/sign-up/{other}/", "/sign-up/made-up/"):
        page = stranger.get(path, follow=True)

        assert page.status_code == 410
        assert "Ask for a new link" in page.content.decode()
        assert stranger.get("/sign-up/").status_code == 200
    settings.TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL = False
    assert stranger.get(link, follow=True).status_code == 200


def test_link_that_is_used_meanwhile_makes_nobody() -> None:
    """Of two who use a link at once, one makes an account."""
    client = Client()
    give("dora@example.com", client)
    client.get(take_link())

    def use(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT") and "tenancy_verification" in sql:
            looks.append(sql)
            if len(looks) == 2:
                verification.delete()
        return execute(sql, *rest)

    looks: list[str] = []
    verification = Verification.objects.get()
    with connection.execute_wrapper(use):
        response = finish(client)

    assert "wrong, used or expired" in response.content.decode()
    assert not User.objects.exists()


def test_account_that_is_made_meanwhile_is_told() -> None:
    """Whoever reads the mail may know that the address has an account by now."""
    client = Client()
    give("dora@example.com", client)
    client.get(take_link())
    User.objects.create_user("dora@example.com")

    response = finish(client)

    assert "A user with that e-mail address exists." in response.content.decode()


def test_invitation_waits_for_link(acme: Organization) -> None:
    """Who is invited verifies the address first, and then is a member."""
    client = Client()
    client.get(f"/invitations/{invite(acme, 'dora@example.com')}/")

    form = client.get("/sign-up/").content.decode()
    give("dora@example.com", client)
    client.get(take_link())
    finish(client)

    dora = User.objects.get(email="dora@example.com")
    assert "invited to Acme" in form and membership_of(acme, dora).is_live


def test_invitation_to_another_address_is_refused(acme: Organization) -> None:
    """A verified address that was not invited is told so, and makes nobody."""
    client = Client()
    client.get(f"/invitations/{invite(acme, 'dan@example.com')}/")
    give("dora@example.com", client)
    client.get(take_link())

    response = finish(client)

    assert "sent to another e-mail address" in response.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()


def test_mails_of_sign_up_are_limited(settings: Settings) -> None:
    """Nobody's mailbox is filled."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    statuses = [give("dora@example.com").status_code for _ in range(2)]

    assert statuses == [200, 429] and len(mail.outbox) == 1
