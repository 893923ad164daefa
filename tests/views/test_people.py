from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.models import Invitation, Organization, User
from tests.views.conftest import invite, membership_of

PASSWORD = "correct horse battery"
VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "UserAttributeSimilarityValidator")
]

pytestmark = pytest.mark.django_db


def sign_up(client: Client, **values: str) -> Any:
    """Fill the form in, and send it."""
    data = {
        "name": "Dora",
        "email": "Dora@example.com",
        "organization_name": "Initech",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    return client.post("/sign-up/", data | values, follow=True)


def count_users() -> int:
    """Return how many users there are."""
    return User.objects.count()


# Sign-up


def test_sign_up_makes_user_and_organization(
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """Dora is signed in, owns Initech, and has a mail to verify her address."""
    client = Client()

    with django_capture_on_commit_callbacks(execute=True):
        page = sign_up(client).content.decode()

    dora = User.objects.get(email="dora@example.com")
    assert "Welcome, Dora." in page and "Initech" in page
    with tenancy.scope(user=dora):
        initech = Organization.objects.get()
    assert membership_of(initech, dora).is_owner
    assert mail.outbox[0].to == ["dora@example.com"]


def test_sign_up_joins_invitation(acme: Organization) -> None:
    """Who is invited makes no organization, and is a member of the one."""
    client = Client()
    client.get(f"/invitations/{invite(acme, 'dora@example.com')}/")

    form = client.get("/sign-up/").content.decode()
    sign_up(client)

    dora = User.objects.get(email="dora@example.com")
    assert "invited to Acme" in form and "organization_name" not in form
    assert membership_of(acme, dora).is_live
    assert client.get("/members/").status_code == 200
    assert client.get("/invitations/answer/").status_code == 404


def test_sign_up_with_other_address_makes_nothing(acme: Organization) -> None:
    """An invitation to another address is an error of the address."""
    client = Client()
    client.get(f"/invitations/{invite(acme, 'dan@example.com')}/")

    page = sign_up(client).content.decode()

    assert "sent to another e-mail address" in page
    assert not User.objects.filter(email="dora@example.com").exists()


def test_sign_up_when_address_is_to_be_verified_waits(
    acme: Organization, settings: Settings
) -> None:
    """Where the setting asks for it, the invitation waits for the verification."""
    settings.TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL = True
    client = Client()
    client.get(f"/invitations/{invite(acme, 'dora@example.com')}/")

    response = sign_up(client)

    assert response.redirect_chain == [("/account/", 302)]
    with tenancy.scope(acme):
        assert Invitation.objects.get().is_live
    assert client.get("/invitations/answer/").status_code == 200


def test_sign_up_after_invitation_was_revoked_asks_for_organization(
    acme: Organization,
) -> None:
    """An invitation that cannot be answered any more is none."""
    client = Client()
    client.get(f"/invitations/{invite(acme)}/")
    with tenancy.scope(acme):
        Invitation.objects.get().revoke()

    assert "organization_name" in client.get("/sign-up/").content.decode()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"email": "alice@acme.example"}, "A user with that e-mail address exists."),
        ({"email": "dora"}, "Enter a valid email address."),
        ({"password2": "another one"}, "The two passwords are not the same."),
        ({"password1": "short", "password2": "short"}, "This password is too short"),
        (
            {"password1": "dora@example.com", "password2": "dora@example.com"},
            "too similar to the e-mail address",
        ),
        ({"organization_name": " "}, "This field is required."),
        ({"name": ""}, "This field is required."),
        ({"password1": "", "password2": ""}, "This field is required."),
    ],
)
def test_refused_sign_up_makes_nothing(
    values: dict[str, str], words: str, alice: User, settings: Settings
) -> None:
    """What is wrong is told in the form, and neither user nor organization is made."""
    settings.AUTH_PASSWORD_VALIDATORS = VALIDATORS

    response = sign_up(Client(), **values)

    assert words in response.content.decode()
    assert count_users() == 1
    with tenancy.unscoped("count"):
        assert not Organization.objects.exists()


def test_organization_that_cannot_be_made_leaves_no_user(settings: Settings) -> None:
    """A refusal of the organization takes the user back."""
    settings.TENANCY_LIMITS = {"organizations": 0}

    response = sign_up(Client())

    assert "as many organizations as you may be" in response.content.decode()
    assert count_users() == 0


def test_address_that_is_taken_meanwhile_is_told() -> None:
    """Somebody who takes the address after the look is met by the database."""

    def take(instance: User, **kwargs: Any) -> None:
        User.objects.bulk_create([User(email=instance.email, password="!")])

    pre_save.connect(take, sender=User)
    try:
        response = sign_up(Client())
    finally:
        pre_save.disconnect(take, sender=User)

    assert "A user with that e-mail address exists." in response.content.decode()


def test_verified_newcomer_gets_no_mail(
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """A project that verifies addresses by a way of its own is left to it."""

    def verify(instance: User, **kwargs: Any) -> None:
        instance.email_verified_at = timezone.now()

    pre_save.connect(verify, sender=User)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            sign_up(Client())
    finally:
        pre_save.disconnect(verify, sender=User)

    assert mail.outbox == []


def test_sign_up_is_limited_by_ip_address(settings: Settings) -> None:
    """Whoever asks which addresses exist is stopped after a while."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1
    statuses = [sign_up(Client(), email="x").status_code for _ in range(5)]

    response = sign_up(Client())

    assert (set(statuses), response.status_code) == ({200}, 429)
    assert count_users() == 0


def test_who_is_signed_in_does_not_sign_up(as_alice: Client) -> None:
    """They are led to where another organization is made."""
    assert as_alice.get("/sign-up/").headers["Location"] == "/organizations/"


def test_sign_up_when_no_backend_knows_leads_to_sign_in(settings: Settings) -> None:
    """Where the backends take no password, the user signs in by their way."""
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.RemoteUserBackend"
    ]

    response = sign_up(Client())

    assert response.redirect_chain == [("/sign-in/", 302)]
    assert count_users() == 1


# Sign-in and sign-out


def post_sign_in(
    email: str = "alice@acme.example", password: str = "wrong", ip: str = "10.0.0.1"
) -> int:
    """Try to sign in, and return the status."""
    data = {"username": email, "password": password}
    return Client(REMOTE_ADDR=ip).post("/sign-in/", data).status_code


def test_sign_in_leads_back(alice: User, acme: Organization) -> None:
    """Somebody who is signed out comes back to the page that they asked for."""
    client = Client()
    asked = client.get("/members/")
    where = asked.headers["Location"]

    response = client.post(where, {"username": alice.email, "password": "demo"})

    assert where == "/sign-in/?next=/members/"
    assert response.headers["Location"] == "/members/"


def test_sign_in_does_not_lead_elsewhere(alice: User, acme: Organization) -> None:
    """An address of another site is not followed."""
    data = {"username": alice.email, "password": "demo", "next": "https://evil.example"}

    response = Client().post("/sign-in/", data)

    assert response.headers["Location"] == "/organizations/"


def test_failed_sign_ins_are_limited(alice: User, settings: Settings) -> None:
    """After as many as TENANCY_SIGN_IN_ATTEMPTS, the right password is refused too."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 2

    failed = [post_sign_in() for _ in range(2)]

    assert failed == [200, 200]
    assert post_sign_in(password="demo") == 429
    assert post_sign_in(email="ALICE@acme.example", password="demo") == 429
    assert post_sign_in(password="demo", ip="10.0.0.2") == 302
    assert post_sign_in(email="bob@globex.example") == 200


def test_sign_ins_of_nobody_are_limited_alike(settings: Settings) -> None:
    """An address that nobody has is answered as one that somebody has."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    statuses = [post_sign_in("nobody@example.com") for _ in range(2)]

    assert statuses == [200, 429]


def test_sign_ins_from_many_addresses_are_limited(
    alice: User, settings: Settings
) -> None:
    """One address is guessed at by many clients, and many addresses by one."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1
    for number in range(5):
        post_sign_in(ip=f"10.0.1.{number}")
        post_sign_in(email=f"user{number}@example.com", ip="10.0.2.1")

    assert post_sign_in(password="demo", ip="10.0.3.1") == 429
    assert post_sign_in(email="other@example.com", ip="10.0.2.1") == 429


def test_successful_sign_ins_do_not_count(alice: User, settings: Settings) -> None:
    """Who knows the password signs in as often as they like."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    assert [post_sign_in(password="demo") for _ in range(7)] == [302] * 7


def test_empty_sign_in_does_not_count(alice: User, settings: Settings) -> None:
    """A form that was not filled in is no try."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1

    assert [post_sign_in(password="") for _ in range(3)] == [200] * 3
    assert post_sign_in(password="demo") == 302


def test_sign_out_is_by_post(as_alice: Client) -> None:
    """A GET signs nobody out."""
    refused = as_alice.get("/sign-out/")
    out = as_alice.post("/sign-out/")

    assert (refused.status_code, out.headers["Location"]) == (405, "/sign-in/")
    assert as_alice.get("/members/").status_code == 302
