from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import django
import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.models import Invitation, Membership, Organization, Role, User
from tests.views.conftest import invite, membership_of, sign_in

ANSWER = "/invitations/answer/"

pytestmark = pytest.mark.django_db


def find_role(organization: Organization, key: str = "member") -> Role:
    """Return a built-in role."""
    with tenancy.scope(organization):
        role: Role = Role.objects.get(key=key)
    return role


def find_invitation(organization: Organization) -> Invitation:
    """Return the only invitation."""
    with tenancy.scope(organization):
        invitation: Invitation = Invitation.objects.get()
    return invitation


def open_link(client: Client, token: str) -> Any:
    """Follow a link, as a browser does."""
    return client.get(f"/invitations/{token}/", follow=True)


# Those who invite


def test_invitation_by_mail_is_sent(
    as_alice: Client,
    acme: Organization,
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """The mail has a text and a page, and both hold the link, which works."""
    data = {"email": "Dora@Example.com", "role": find_role(acme).pk}

    with django_capture_on_commit_callbacks(execute=True):
        response = as_alice.post("/invitations/", data)

    (message,) = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    (page, kind) = message.alternatives[0]
    (link,) = set(
        re.findall(r"http://testserver(/invitations/\S+/)", str(message.body))
    )
    assert response.headers["Location"] == "/invitations/"
    assert (message.to, message.subject) == (
        ["dora@example.com"],
        "Your invitation to Acme",
    )
    assert "Alice invites you to Acme" in message.body
    assert kind == "text/html" and f"http://testserver{link}" in str(page)
    assert "Join Acme" in Client().get(link, follow=True).content.decode()
    assert "dora@example.com" in as_alice.get("/invitations/").content.decode()


def test_mail_is_not_sent_where_change_is_undone(
    as_alice: Client, acme: Organization
) -> None:
    """In a transaction that has not committed, nothing is sent."""
    data = {"email": "dora@example.com", "role": find_role(acme).pk}

    as_alice.post("/invitations/", data)

    assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_mail_that_fails_is_told(
    as_alice: Client, acme: Organization, settings: Settings
) -> None:
    """A server that cannot be reached leaves the invitation, and is told of."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        where = {"host": "127.0.0.1", "port": 1}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": where}}
    else:
        settings.EMAIL_BACKEND = backend
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    data = {"email": "dora@example.com", "role": find_role(acme).pk}

    response = as_alice.post("/invitations/", data, follow=True)

    assert "The mail could not be sent." in response.content.decode()
    assert find_invitation(acme).is_live


def test_link_is_shown_once(as_alice: Client, acme: Organization) -> None:
    """The page after the change shows the link, and the next one does not."""
    response = as_alice.post(
        "/invitations/link/", {"role": find_role(acme).pk}, follow=True
    )
    again = as_alice.get("/invitations/")

    pattern = r"http://testserver/invitations/[\w-]{43}/"
    assert re.search(pattern, response.content.decode())
    assert not re.search(pattern, again.content.decode())


def test_link_is_not_shown_in_another_organization(
    as_alice: Client, alice: User, acme: Organization, globex: Organization
) -> None:
    """Who switches before the link is shown does not see it elsewhere."""
    with tenancy.scope(globex):
        Membership.objects.add(user=alice, role="admin")
    as_alice.post("/organizations/switch/", {"organization": acme.pk})
    as_alice.post("/invitations/link/", {"role": find_role(acme).pk})
    as_alice.post("/organizations/switch/", {"organization": globex.pk})

    page = as_alice.get("/invitations/").content.decode()

    assert "http://testserver" not in page and "Pending" in page


def test_link_gives_no_role_that_rules(as_alice: Client, acme: Organization) -> None:
    """A link with the role of admins or owners is no valid choice."""
    for key in ("owner", "admin"):
        response = as_alice.post(
            "/invitations/link/", {"role": find_role(acme, key).pk}
        )

        assert "Select a valid choice" in response.content.decode()


def test_refused_invitation_is_told_in_form(
    as_alice: Client, acme: Organization, carol: User, settings: Settings
) -> None:
    """A member's address and a full organization are errors of the form."""
    settings.TENANCY_LIMITS = {"invitations": 0}
    role = find_role(acme).pk

    member, full, malformed = (
        as_alice.post("/invitations/", {"email": email, "role": role})
        for email in (carol.email, "dora@example.com", "dora")
    )

    assert "This person is a member already." in member.content.decode()
    assert "No more invitations can be pending." in full.content.decode()
    assert "Enter a valid email address." in malformed.content.decode()


def test_renewal_sends_another_link(
    as_alice: Client,
    acme: Organization,
    django_capture_on_commit_callbacks: Any,  # A context manager.
) -> None:
    """The renewed link works, and the former one is unknown."""
    token = invite(acme, "dora@example.com")
    key = find_invitation(acme).pk

    with django_capture_on_commit_callbacks(execute=True):
        response = as_alice.post(f"/invitations/{key}/renew/", follow=True)

    (link,) = re.findall(
        r"http://testserver(/invitations/\S+/)", str(mail.outbox[0].body)
    )
    assert "was sent again" in response.content.decode()
    assert open_link(Client(), token).status_code == 404
    assert Client().get(link, follow=True).status_code == 200


def test_renewed_link_is_shown(as_alice: Client, acme: Organization) -> None:
    """A link has no address, so that the next page shows the new one."""
    invite(acme)

    response = as_alice.post(
        f"/invitations/{find_invitation(acme).pk}/renew/", follow=True
    )

    assert "http://testserver/invitations/" in response.content.decode()


def test_revoked_invitation_is_used(as_alice: Client, acme: Organization) -> None:
    """Who follows the link of a revoked one reads so, and so does who revokes again."""
    token = invite(acme, "dora@example.com")
    path = f"/invitations/{find_invitation(acme).pk}/revoke/"

    as_alice.post(path)
    again = as_alice.post(path, follow=True)

    assert open_link(Client(), token).status_code == 410
    assert "answered or revoked before" in again.content.decode()


def test_plain_member_does_not_invite(acme: Organization, carol: User) -> None:
    """A member without the permission gets the same refusal for each address."""
    invite(acme, "dora@example.com")
    client = sign_in(carol)
    keys = (find_invitation(acme).pk, uuid.uuid4())

    answers = [client.get("/invitations/"), client.post("/invitations/link/")]
    answers += [client.post(f"/invitations/{key}/revoke/") for key in keys]

    assert {answer.status_code for answer in answers} == {403}
    assert find_invitation(acme).is_live


# Those who are invited


def test_scanner_accepts_nothing(acme: Organization) -> None:
    """A GET moves the token into the session, and changes no invitation."""
    token = invite(acme, "dora@example.com")
    client = Client()

    response = client.get(f"/invitations/{token}/")
    page = client.get(ANSWER)

    assert response.headers["Location"] == ANSWER and token not in page.content.decode()
    assert response.headers["Referrer-Policy"] == "no-referrer"
    # In "no-referrer" browsers send no origin with the form, which is then refused.
    assert page.headers["Referrer-Policy"] == "same-origin"
    for answer in (response, page):
        assert "no-store" in answer.headers["Cache-Control"]
    assert find_invitation(acme).is_live


def test_page_tells_of_invitation(as_alice: Client, acme: Organization) -> None:
    """It shows organization, role and who invites, and of the address its mask."""
    as_alice.post(
        "/invitations/",
        {"email": "dora@example.com", "role": find_role(acme, "admin").pk},
    )
    with tenancy.scope(acme):
        token = Invitation.objects.get().renew()

    page = open_link(Client(), token).content.decode()

    for words in ("Acme", "Admin", "Alice", "d***@example.com", "Sign up to accept"):
        assert words in page
    assert "dora@example.com" not in page


def test_accepted_invitation_makes_member(acme: Organization, dora: User) -> None:
    """Dora is a member, in the organization now, and the link is used."""
    token = invite(acme, dora.email)
    client = sign_in(dora)
    open_link(client, token)

    response = client.post(ANSWER, {"answer": "accept"}, follow=True)

    assert "You are a member of Acme now." in response.content.decode()
    assert client.get("/members/").status_code == 200
    assert membership_of(acme, dora).is_live
    other = sign_in(User.objects.create_user("dan@example.com"))
    assert open_link(other, token).status_code == 410


def test_accepted_from_another_organization(
    as_bob: Client, bob: User, acme: Organization
) -> None:
    """Bob, at work in globex, accepts a link of acme and goes on there."""
    open_link(as_bob, invite(acme))

    as_bob.post(ANSWER, {"answer": "accept"})

    assert "alice@acme.example" in as_bob.get("/members/").content.decode()


def test_stranger_with_wrong_address_is_told(acme: Organization, dora: User) -> None:
    """Neither a plainly other address nor one of the same mask gets in."""
    token = invite(acme, "dan@example.com")
    for user in (dora, User.objects.create_user("eve@example.com")):
        client = sign_in(user)

        page = open_link(client, token)
        answer = client.post(ANSWER, {"answer": "accept"})

        assert answer.status_code == 403
        assert "sent to another e-mail address" in answer.content.decode()
        assert page.status_code == (200 if user == dora else 403)
    assert find_invitation(acme).is_live


def test_stranger_signs_in_as_recipient(
    as_bob: Client, acme: Organization, dora: User
) -> None:
    """The invitation waits while bob signs out and dora signs in."""
    open_link(as_bob, invite(acme, dora.email))

    out = as_bob.post("/sign-out/", {"keep": "invitation"})
    back = as_bob.post("/sign-in/", {"username": dora.email, "password": "demo"})

    assert out.headers["Location"] == "/sign-in/"
    assert back.headers["Location"] == ANSWER
    as_bob.post(ANSWER, {"answer": "accept"})
    assert membership_of(acme, dora).is_live


def test_sign_out_forgets_invitation(as_bob: Client, acme: Organization) -> None:
    """Unless it is asked to keep it."""
    open_link(as_bob, invite(acme))

    as_bob.post("/sign-out/")

    assert as_bob.get(ANSWER).status_code == 404


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_declined_invitation_is_used(
    is_signed_in: bool, acme: Organization, dora: User
) -> None:
    """Whoever has the token declines, signed in or not."""
    token = invite(acme, dora.email)
    client = sign_in(dora) if is_signed_in else Client()
    open_link(client, token)

    response = client.post(ANSWER, {"answer": "decline"}, follow=True)

    assert "You have declined the invitation." in response.content.decode()
    assert find_invitation(acme).status == "declined"


def test_signed_out_person_does_not_accept(acme: Organization) -> None:
    """A POST of somebody who is signed out leads back to the page."""
    client = Client()
    open_link(client, invite(acme))

    response = client.post(ANSWER, {"answer": "accept"})

    assert response.headers["Location"] == ANSWER
    assert find_invitation(acme).is_live


def test_expired_invitation_is_told(acme: Organization, dora: User) -> None:
    """Both its page and its answer say so, with status 410."""
    token = invite(acme, dora.email)
    client = sign_in(dora)
    open_link(client, token)
    with tenancy.scope(acme):
        Invitation.objects.update(
            created_at=timezone.now() - timedelta(days=9),
            expires_at=timezone.now() - timedelta(days=1),
        )

    answer = client.post(ANSWER, {"answer": "accept"})
    page = open_link(client, token)

    assert (answer.status_code, page.status_code) == (410, 410)
    assert (
        "has expired" in page.content.decode() and "Acme" not in page.content.decode()
    )


def test_unknown_links_are_alike(acme: Organization) -> None:
    """No token, a random one and one of odd characters are one page."""
    client = Client()

    pages = [client.get(ANSWER)]
    pages += [open_link(client, token) for token in ("x" * 43, "%C3%A9", "%00")]

    assert {page.status_code for page in pages} == {404}
    assert len({page.content for page in pages}) == 1


def test_archived_organization_is_told(acme: Organization, dora: User) -> None:
    """An invitation into an organization that is closed cannot be accepted."""
    token = invite(acme, dora.email)
    with tenancy.scope(acme):
        acme.archive()

    page = open_link(sign_in(dora), token)

    assert page.status_code == 410
    assert "The organization is not active." in page.content.decode()


def test_unverified_recipient_is_led_to_verification(
    acme: Organization, dora: User, settings: Settings
) -> None:
    """Where the setting asks for it, the address is verified first."""
    settings.TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL = True
    client = sign_in(dora)
    open_link(client, invite(acme, dora.email))

    response = client.post(ANSWER, {"answer": "accept"}, follow=True)

    assert response.redirect_chain == [("/account/", 302)]
    assert "Verify your e-mail address first." in response.content.decode()


def test_member_and_full_organization_are_told(
    as_alice: Client, acme: Organization, dora: User, settings: Settings
) -> None:
    """A member who follows a link reads so, and so does who finds no seat."""
    token = invite(acme)
    open_link(as_alice, token)
    client = sign_in(dora)
    open_link(client, token)

    member = as_alice.post(ANSWER, {"answer": "accept"}, follow=True)
    settings.TENANCY_LIMITS = {"members": 1}
    full = client.post(ANSWER, {"answer": "accept"}, follow=True)

    assert "This person is a member already." in member.content.decode()
    assert "Every seat is taken." in full.content.decode()


def test_changes_need_token_of_form(alice: User, acme: Organization) -> None:
    """A POST without the CSRF token changes nothing."""
    invite(acme, "dora@example.com")
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    response = client.post(f"/invitations/{find_invitation(acme).pk}/revoke/")

    assert response.status_code == 403
    assert find_invitation(acme).is_live
