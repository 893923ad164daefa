from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from tenancy.browsers import name_browser
from tenancy.models import Organization, Session, User
from tests.views.conftest import sign_in

pytestmark = pytest.mark.django_db


def test_list_shows_own_devices_only(
    alice: User, acme: Organization, as_bob: Client
) -> None:
    """Alice sees this device and her other one, and none of bob's."""
    this, other = sign_in(alice), sign_in(alice)
    other.get("/devices/", headers={"user-agent": "Telephone"})
    as_bob.get("/devices/", headers={"user-agent": "Bob's"})

    page = this.get("/devices/").content.decode()

    assert page.count("this device") == 1 and page.count("last seen") == 1
    assert "Bob" not in page


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux) Chrome/1 Safari/1", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT) Chrome/1 Safari/1 Edg/1", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone) Version/1 Safari/1", "Safari on iPhone"),
        ("curl/8.0", "curl/8.0"),
        ("", "unknown browser"),
    ],
)
def test_browser_is_called_what_people_call_it(user_agent: str, name: str) -> None:
    """A browser that is not known is shown by its own words."""
    assert name_browser(user_agent) == name


def test_other_device_is_ended(alice: User, acme: Organization) -> None:
    """The other browser is signed out, and this one is not."""
    this, other = sign_in(alice), sign_in(alice)
    key = Session.objects.with_key(other.cookies["sessionid"].value).get().pk

    response = this.post(f"/devices/{key}/end/", follow=True)

    assert "The device is signed out." in response.content.decode()
    assert other.get("/devices/").status_code == 302
    assert this.post(f"/devices/{key}/end/").status_code == 404


def test_this_device_is_signed_out(alice: User, acme: Organization) -> None:
    """Ending this one is signing out."""
    client = sign_in(alice)
    key = Session.objects.for_user(alice).get().pk

    client.post(f"/devices/{key}/end/")

    assert client.get("/devices/").headers["Location"].startswith("/sign-in/")


def test_all_other_devices_are_ended(
    alice: User, acme: Organization, as_bob: Client
) -> None:
    """Alice's other browsers are signed out, and bob's is not."""
    this, *others = (sign_in(alice) for _ in range(3))

    this.post("/devices/end-others/")

    assert {other.get("/devices/").status_code for other in others} == {302}
    assert this.get("/devices/").status_code == 200
    assert as_bob.get("/devices/").status_code == 200


def test_other_engine_has_no_devices(alice: User, settings: Settings) -> None:
    """Where another engine keeps the sessions, there is no such page."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"

    assert sign_in(alice).get("/devices/").status_code == 404
