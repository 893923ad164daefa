from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from tenancy.models import Account, Organization, SystemEvent, User, Verification
from tests.views.conftest import sign_in

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db


def ask(email: str, client: Client | None = None) -> Any:
    """Ask for the mail, which the commit sends, and return the answer."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        return (client or Client()).post(
            "/password/reset/", {"email": email}, follow=True
        )


def take_link() -> str:
    """Return the link of the last mail, which is in the text and in the HTML."""
    message: Any = mail.outbox[-1]
    (link,) = re.findall(r"http://testserver(/password/reset/\S{43}/)", message.body)
    assert link in message.alternatives[0][0]
    return str(link)


def set_password(client: Client, password: str = PASSWORD) -> Any:
    """Fill in the form of the new password, and send it."""
    data = {"new_password1": password, "new_password2": password}
    return client.post("/password/reset/new/", data, follow=True)


def describe(response: Any) -> Any:
    """Return all that can be seen of an answer."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("Expires", "Set-Cookie")
    }
    return response.status_code, response.redirect_chain, response.content, headers


def test_forgotten_password_is_set_by_link(alice: User, acme: Organization) -> None:
    """The link leads to the form, whose password is the one that signs in."""
    client = Client()
    ask("ALICE@acme.example")
    link = take_link()

    opened = client.get(link)
    form = client.get("/password/reset/new/")
    done = set_password(client)

    alice.refresh_from_db()
    assert mail.outbox[0].to == ["alice@acme.example"]
    assert opened.headers["Location"] == "/password/reset/new/"
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    assert "alice@acme.example" in form.content.decode()
    assert form.headers["Referrer-Policy"] == "same-origin"
    assert done.redirect_chain == [("/sign-in/", 302)]
    assert "Your password is set." in done.content.decode()
    assert client.get("/account/").status_code == 302
    assert alice.check_password(PASSWORD) and alice.email_verified_at is not None
    actions = SystemEvent.objects.values_list("action", flat=True)
    assert {*actions} == {"user.password_changed", "user.password_reset"}


def test_link_is_good_once(alice: User) -> None:
    """A used link, one that a newer voided, one of another purpose and none are one."""
    client = Client()
    ask(alice.email)
    older = take_link()
    ask(alice.email)
    newer = take_link()
    _verification, other = alice.issue_email_verification()

    client.get(newer)
    set_password(client)
    pages = []
    for link in (older, newer, f"/password/reset/{other}/", "/password/reset/x/"):
        pages.append(client.get(link, follow=True))
        assert set_password(client, "another horse").status_code == 410
    pages.append(Client().get("/password/reset/new/"))

    assert {page.status_code for page in pages} == {410}
    assert all("Ask for a new link" in page.content.decode() for page in pages)
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_link_expires(alice: User, settings: Settings) -> None:
    """After TENANCY_PASSWORD_RESET_AGE the form is gone, and the password stays."""
    client = Client()
    settings.TENANCY_PASSWORD_RESET_AGE = timedelta(minutes=5)
    ask(alice.email)
    client.get(take_link())

    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        response = set_password(client)

    alice.refresh_from_db()
    assert response.status_code == 410 and alice.check_password("demo")


@pytest.mark.parametrize("change", ["password", "address"])
def test_link_is_void_after_change(alice: User, change: str) -> None:
    """A password that was changed meanwhile is not set anew, nor another's address."""
    client = Client()
    ask(alice.email)
    client.get(take_link())
    if change == "password":
        alice.set_password("changed meanwhile")
        alice.save()
    else:
        alice.change_email("alice@new.example")

    assert set_password(client).status_code == 410
    assert not Verification.objects.filter(identifier=alice.email).exists()


def test_every_address_is_answered_alike(
    alice: User, bob: User, carol: User, dora: User
) -> None:
    """Alice, nobody, a banned, an inactive and a user of a provider: one answer.

    It takes as many queries, and one mail, which alone tells.
    """
    carol.ban(reason="spam")
    User.objects.filter(pk=dora.pk).update(is_active=False)
    erin = User.objects.create_user("erin@example.com")
    Account.objects.link(user=erin, provider="github", provider_account_id="1")
    people = (alice.email, "no@example.com", carol.email, dora.email, erin.email)

    answers, counts = [], []
    for address in people:
        with CaptureQueriesContext(connection) as queries:
            answers.append(describe(ask(address)))
        counts.append(len(queries))

    assert answers == [answers[0]] * len(people)
    assert counts == [counts[0]] * len(people)
    assert [message.to for message in mail.outbox] == [[one] for one in people]
    words = [
        "set a new password for your account:",
        "No account has this address.",
        "Your account is not active",
        "Your account is not active",
        "Your account has no password.",
    ]
    for message, expected in zip(mail.outbox, words, strict=True):
        html: Any = message
        assert expected in message.body and expected in html.alternatives[0][0]
    assert Verification.objects.count() == 2


def test_mails_to_one_address_are_limited(settings: Settings) -> None:
    """Nobody's mailbox is filled, an account's or not, by whichever letters."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    statuses = [ask("no@example.com").status_code, ask(" NO@example.com").status_code]
    response = ask("other@example.com")

    assert (statuses, response.status_code) == ([200, 429], 200)
    assert len(mail.outbox) == 2


def test_requests_of_one_client_are_limited(settings: Settings) -> None:
    """One client does not write to everybody."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    statuses = [ask(f"user{number}@example.com").status_code for number in range(6)]

    assert statuses == [200] * 5 + [429]


def test_malformed_address_is_told() -> None:
    """What is no address is an error of the form, and sends nothing."""
    response = ask("no address")

    assert "Enter a valid email address." in response.content.decode()
    assert mail.outbox == []


def test_reset_signs_out_everywhere(
    alice: User, as_alice: Client, as_bob: Client
) -> None:
    """Alice's devices end, the one that has set it too; bob's stays his."""
    other = sign_in(alice)
    ask(alice.email, as_alice)
    link = take_link()
    as_alice.get(link)
    as_bob.get(link)

    done = set_password(as_alice)
    late = set_password(as_bob)

    assert done.redirect_chain == [("/sign-in/", 302)] and late.status_code == 410
    for client, status in ((as_alice, 302), (other, 302), (as_bob, 200)):
        assert client.get("/account/").status_code == status


def test_weak_password_is_told(alice: User, settings: Settings) -> None:
    """The validators speak in the form, and the link stays good."""
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}
    ]
    client = Client()
    ask(alice.email)
    client.get(take_link())

    weak = set_password(client, "short")

    assert "This password is too short" in weak.content.decode()
    assert set_password(client).status_code == 200


def test_banned_user_sets_no_password(alice: User) -> None:
    """A ban that comes between the mail and the form is told, and holds."""
    client = Client()
    ask(alice.email)
    client.get(take_link())
    alice.ban(reason="spam")

    response = set_password(client)

    alice.refresh_from_db()
    assert response.status_code == 403
    assert "This account is not active." in response.content.decode()
    assert alice.check_password("demo")


def test_impersonator_sets_no_password(alice: User, acme: Organization) -> None:
    """Who acts in alice's name neither asks for the mail nor uses a link."""
    client = sign_in(User.objects.create_superuser("admin@example.com", "demo"))
    ask(alice.email)
    client.get(take_link())
    client.get(f"/impersonate/{alice.email}/")
    client.get(take_link())

    pages = [ask(alice.email, client), set_password(client)]

    alice.refresh_from_db()
    for page in pages:
        assert "Nobody does this in another person" in page.content.decode()
    assert alice.check_password("demo") and len(mail.outbox) == 1


def test_user_of_provider_gets_first_password_when_signed_in(dora: User) -> None:
    """Without a password, dora is led to the mail; her account stays linked."""
    dora.set_unusable_password()
    dora.email_verified_at = timezone.now()
    dora.save()
    account = Account.objects.link(
        user=dora, provider="github", provider_account_id="1"
    )
    client = sign_in(dora)

    page = client.get("/account/").content.decode()
    form = client.get("/account/password/", follow=True)
    ask(dora.email, client)
    client.get(take_link())
    set_password(client)

    dora.refresh_from_db()
    assert "Set one by mail" in page and dora.email in form.content.decode()
    assert dora.check_password(PASSWORD)
    assert Account.objects.get() == account


def test_reset_unlinks_accounts_of_who_was_here_before(alice: User) -> None:
    """Whoever signed up with alice's address first keeps no way in by an account."""
    Account.objects.link(user=alice, provider="github", provider_account_id="mallory")
    client = Client()
    ask(alice.email)
    client.get(take_link())

    set_password(client)

    assert not Account.objects.exists()
    assert SystemEvent.objects.filter(action="account.unlinked").exists()


def test_user_of_nothing_gets_no_password_by_mail(dora: User) -> None:
    """Who has neither password nor account was locked so by somebody: it stays so."""
    dora.set_unusable_password()
    dora.save()

    ask(dora.email, sign_in(dora))

    assert "Your account has no password." in mail.outbox[0].body
