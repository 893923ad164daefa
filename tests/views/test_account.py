from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from tenancy.models import Organization, User
from tenancy.views.account import VerificationView
from tests.views.conftest import sign_in

pytestmark = pytest.mark.django_db


def test_address_is_verified_by_button(
    as_alice: Client,
    alice: User,
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """The link verifies nothing; the button on the page that it leads to does."""
    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post("/account/email/send/")
    (link,) = re.findall(
        r"http://testserver(/account/email/\S+/)", str(mail.outbox[0].body)
    )

    response = as_alice.get(link)
    alice.refresh_from_db()
    before = alice.email_verified_at
    page = as_alice.get("/account/")
    after = as_alice.post("/account/email/", follow=True)

    alice.refresh_from_db()
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert before is None and "Verify this address" in page.content.decode()
    assert "Your e-mail address is verified." in after.content.decode()
    assert alice.email_verified_at is not None
    again = as_alice.post("/account/email/send/", follow=True)
    assert "is verified" in again.content.decode() and len(mail.outbox) == 1


def test_address_is_not_verified_by_others(
    alice: User, as_bob: Client, bob: User
) -> None:
    """A link that was sent to alice is of no use to bob, as a made-up one is."""
    _verification, token = alice.issue_email_verification()

    pages = []
    for path in (f"/account/email/{token}/", "/account/email/made-up/"):
        as_bob.get(path)
        pages.append(as_bob.post("/account/email/", follow=True).content.decode())

    bob.refresh_from_db()
    assert bob.email_verified_at is None
    assert all("wrong, used or expired" in page for page in pages)


def test_link_waits_for_sign_in(alice: User) -> None:
    """Who is signed out signs in first, and then finds the button."""
    _verification, token = alice.issue_email_verification()
    client = Client()

    response = client.get(f"/account/email/{token}/", follow=True)
    client.post("/sign-in/", {"username": alice.email, "password": "demo"})
    client.post("/account/email/")

    alice.refresh_from_db()
    assert response.redirect_chain[-1][0] == "/sign-in/?next=/account/"
    assert alice.email_verified_at is not None


def test_other_user_models_have_nothing_to_verify() -> None:
    """A user without verify_email() reads so."""
    view = VerificationView()
    view.request = SimpleNamespace(user=SimpleNamespace(), session={})

    assert view.change() == "There is nothing to verify."


def test_mails_are_limited(as_alice: Client, settings: Settings) -> None:
    """Nobody has a mailbox filled."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1
    as_alice.post("/account/email/send/")

    response = as_alice.post("/account/email/send/", follow=True)

    assert "Too many mails were asked for." in response.content.decode()


def test_name_is_changed(as_alice: Client, alice: User, acme: Organization) -> None:
    """The page leads to the form, and what the user is called changes alone."""
    password = alice.password

    page = as_alice.get("/account/").content.decode()
    response = as_alice.post("/account/name/", {"name": "Alicia"}, follow=True)

    alice.refresh_from_db()
    assert 'href="/account/name/"' in page
    assert "Your name is changed." in response.content.decode()
    assert "<strong>Alicia</strong>" in response.content.decode()
    assert (alice.name, alice.password) == ("Alicia", password)


def test_name_may_be_none(as_alice: Client, alice: User) -> None:
    """Who takes the name back is called by the address, and reads so."""
    response = as_alice.post("/account/name/", {"name": ""}, follow=True)

    alice.refresh_from_db()
    assert "You gave none." in response.content.decode()
    assert alice.get_full_name() == alice.email


def test_user_model_without_name_has_no_form(
    as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where users have no name the page offers none, and the form is missing."""
    fields = [User._meta.get_field(name) for name in ("id", "email", "password")]
    monkeypatch.setattr(User._meta, "get_fields", lambda: fields)

    page = as_alice.get("/account/").content.decode()

    assert "Change name" not in page
    assert as_alice.get("/account/name/").status_code == 404


def test_address_is_changed_and_to_be_verified(
    as_alice: Client,
    alice: User,
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """The new address signs in, is not verified, and gets the mail that verifies it."""
    data = {"email": "Alicia@acme.example", "password": "demo"}

    page = as_alice.get("/account/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        response = as_alice.post("/account/email/change/", data, follow=True)

    alice.refresh_from_db()
    assert 'href="/account/email/change/"' in page
    assert "Your e-mail address is alicia@acme.example." in response.content.decode()
    assert (alice.email, alice.email_verified_at) == ("alicia@acme.example", None)
    assert mail.outbox[0].to == ["alicia@acme.example"]
    assert Client().login(username="alicia@acme.example", password="demo")


def test_same_address_stays_verified(as_alice: Client, alice: User) -> None:
    """Who gives the address that they have changes nothing, and gets no mail."""
    alice.verify_email(alice.issue_email_verification()[1])
    data = {"email": alice.email, "password": "demo"}

    as_alice.post("/account/email/change/", data)

    alice.refresh_from_db()
    assert alice.email_verified_at is not None
    assert mail.outbox == []


def test_refused_address_is_told(as_alice: Client, alice: User, bob: User) -> None:
    """A wrong password, another's address and none are errors of the form."""
    cases = {
        "This is not your password.": ("alicia@acme.example", "no"),
        "A user with that e-mail address exists.": (bob.email, "demo"),
        "Enter a valid email address.": ("alicia", "demo"),
    }
    for words, (email, password) in cases.items():
        data = {"email": email, "password": password}
        page = as_alice.post("/account/email/change/", data).content.decode()

        assert words in page
    alice.refresh_from_db()
    assert alice.email == "alice@acme.example"


def test_changes_of_address_are_limited(as_alice: Client, settings: Settings) -> None:
    """Nobody guesses the password, or asks for address after address."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1
    data = {"email": "alicia@acme.example", "password": "no"}
    as_alice.post("/account/email/change/", data)

    response = as_alice.post("/account/email/change/", data | {"password": "demo"})

    assert response.status_code == 429
    assert "Too many tries." in response.content.decode()


def test_address_without_password_asks_for_none(alice: User) -> None:
    """Who signs in in another way has no password to give."""
    alice.set_unusable_password()
    alice.save()
    client = sign_in(alice)

    client.post("/account/email/change/", {"email": "alicia@acme.example"})

    alice.refresh_from_db()
    assert alice.email == "alicia@acme.example"


def test_address_is_not_changed_where_sign_up_verifies(
    as_alice: Client, settings: Settings
) -> None:
    """Where no form tells of a taken address, this one is not offered."""
    settings.TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL = True

    page = as_alice.get("/account/").content.decode()

    assert "Change e-mail address" not in page
    assert as_alice.get("/account/email/change/").status_code == 404


def test_password_is_changed(as_alice: Client, alice: User) -> None:
    """The new one is good, this device goes on, and others are signed out."""
    other = sign_in(alice)
    data = {
        "old_password": "demo",
        "new_password1": "x9-yard",
        "new_password2": "x9-yard",
    }

    response = as_alice.post("/account/password/", data, follow=True)

    alice.refresh_from_db()
    assert "The password is changed." in response.content.decode()
    assert alice.check_password("x9-yard")
    assert other.get("/account/").status_code == 302


def test_password_needs_the_old_one(as_alice: Client) -> None:
    """A wrong old password is told in the form."""
    data = {
        "old_password": "no",
        "new_password1": "x9-yard",
        "new_password2": "x9-yard",
    }

    response = as_alice.post("/account/password/", data)

    assert "Your old password was entered incorrectly" in response.content.decode()


def test_impersonator_changes_nothing_of_the_person(
    alice: User, acme: Organization
) -> None:
    """Who acts in alice's name reads that nobody does this, and alters no device."""
    client = sign_in(User.objects.create_superuser("admin@example.com", "demo"))
    client.get(f"/impersonate/{alice.email}/")
    data = {
        "old_password": "demo",
        "new_password1": "x9-yard",
        "new_password2": "x9-yard",
    }

    pages = [client.post("/account/password/", data)]
    pages.append(client.post("/account/name/", {"name": "Eve"}))
    address = {"email": "eve@example.com", "password": "demo"}
    pages.append(client.post("/account/email/change/", address))
    pages.append(client.post("/devices/end-others/", follow=True))
    pages.append(client.post("/organization/archive/", follow=True))

    for page in pages:
        assert "Nobody does this in another person" in page.content.decode()
    assert client.get("/members/").status_code == 200
