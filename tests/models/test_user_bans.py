"""Bans of users, and what nobody changes of a user in another's name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.contrib.auth import SESSION_KEY
from django.db import IntegrityError, transaction
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tenancy.exceptions import ImpersonationRefused
from tenancy.models import Organization, Session, User
from tenancy.origin import Origin, acting_from
from tenancy.sessions import SessionStore
from tenancy.signals import user_ban_lifted, user_banned

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

ENGINES = ["tenancy.sessions", "django.contrib.sessions.backends.db"]


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


async def show_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.auser()))


urlpatterns = [path("show/", show), path("show-async/", show_async)]


@pytest.fixture(autouse=True)
def _engine(settings: Settings) -> None:
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


def listen(signal: Any) -> list[Any]:
    received: list[Any] = []
    signal.connect(lambda **values: received.append(values["user"]), weak=False)
    return received


@pytest.fixture
def _silent() -> Any:
    yield
    for signal in (user_banned, user_ban_lifted):
        signal.receivers.clear()
        signal.sender_receivers_cache.clear()


@pytest.mark.usefixtures("_silent")
def test_ban_ends_every_session(
    alice: User,
    bob: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """A ban is written, signs out everywhere, and is told of on commit."""
    received = listen(user_banned)
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(alice)
    other = Client()
    other.force_login(bob)

    with django_capture_on_commit_callbacks(execute=True):
        alice.ban(reason="spam")
        assert received == []

    stored = User.objects.get(pk=alice.pk)
    assert (stored.is_banned, stored.ban_reason) == (True, "spam")
    assert alice.is_banned
    assert received == [alice]
    assert [c.get("/show/").content for c in clients] == [b"AnonymousUser"] * 2
    assert other.get("/show/").content == b"bob@globex.example"
    ended = Session.objects.for_user(alice)
    assert {session.end_reason for session in ended} == {"ban"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_async", [False, True])
def test_banned_user_is_refused_with_any_engine(
    alice: User, acme: Organization, settings: Settings, engine: str, is_async: bool
) -> None:
    """The middleware signs out whoever is banned, whatever let them in."""
    settings.SESSION_ENGINE = engine
    client: Any = AsyncClient() if is_async else Client()
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(banned_at=timezone.now())

    async def get() -> Any:
        return await client.get("/show-async/")

    response = async_to_sync(get)() if is_async else client.get("/show/")

    assert response.content == b"AnonymousUser"
    User.objects.filter(pk=alice.pk).update(banned_at=None)
    response = async_to_sync(get)() if is_async else client.get("/show/")
    if engine != "tenancy.sessions":
        assert response.content == b"AnonymousUser"


def test_session_made_for_a_banned_user_is_not_loaded(alice: User) -> None:
    """The engine itself refuses, with no middleware to help."""
    alice.ban()
    store = SessionStore()
    store[SESSION_KEY] = str(alice.pk)
    store.save()

    assert SESSION_KEY not in SessionStore(store.session_key)


@pytest.mark.usefixtures("_silent")
def test_lifted_ban_lets_in_again(
    alice: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """After it is lifted nothing is left of the ban, and the sign-in works."""
    received = listen(user_ban_lifted)
    alice.ban(reason="spam", until=timezone.now() + timedelta(days=1))

    with django_capture_on_commit_callbacks(execute=True):
        alice.lift_ban()

    stored = User.objects.get(pk=alice.pk)
    assert not stored.is_banned
    assert (stored.banned_at, stored.banned_until, stored.ban_reason) == (
        None,
        None,
        "",
    )
    assert received == [alice]
    client = Client()
    client.force_login(stored)
    assert client.get("/show/").content == b"alice@acme.example"


def test_lapsed_ban_no_longer_blocks(alice: User, bob: User) -> None:
    """A ban with an end holds until then, and banned() agrees."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        alice.ban(until=timezone.now() + timedelta(hours=1))
        bob.ban()
        assert set(User.objects.banned()) == {alice, bob}

        clock.shift(timedelta(hours=1))

        assert not alice.is_banned
        assert set(User.objects.banned()) == {bob}
        client = Client()
        client.force_login(alice)
        assert client.get("/show/").content == b"alice@acme.example"


def test_new_ban_takes_the_place_of_the_old(alice: User) -> None:
    """The last word counts."""
    alice.ban(reason="spam", until=timezone.now() + timedelta(hours=1))

    alice.ban(reason="fraud")

    stored = User.objects.get(pk=alice.pk)
    assert (stored.banned_until, stored.ban_reason) == (None, "fraud")


def test_ban_in_the_past_is_refused(alice: User) -> None:
    """An end that has passed is no end."""
    with pytest.raises(ValueError, match="which is past"):
        alice.ban(until=timezone.now())

    assert not alice.is_banned


def test_ban_with_a_long_reason_is_refused(alice: User) -> None:
    """A reason is not cut."""
    with pytest.raises(ValueError, match="501 characters. Pass 500 at most"):
        alice.ban(reason="x" * 501)


def test_async_ban_does_the_same(alice: User) -> None:
    """The twins ban and lift."""

    async def act() -> None:
        await alice.aban(reason="spam")
        assert await User.objects.banned().aexists()
        await alice.alift_ban()

    async_to_sync(act)()

    assert not User.objects.banned().exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"banned_at": None, "ban_reason": "spam"},
        {"banned_at": None, "banned_until": timezone.now()},
        {"banned_at": timezone.now(), "banned_until": timezone.now() - timedelta(1)},
    ],
)
def test_database_refuses_half_a_ban(alice: User, fields: dict[str, Any]) -> None:
    """A reason or an end without a ban is refused, and an end before its start."""
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=alice.pk).update(**fields)


@pytest.mark.parametrize("name", ["banned_at", "banned_until", "ban_reason"])
def test_nobody_bans_by_a_form(name: str) -> None:
    """The fields are in no form, and create_user() refuses them."""
    form = modelform_factory(User, fields="__all__")

    assert name not in form.base_fields
    with pytest.raises(ValueError, match=name):
        User.objects.create_user("eve@example.com", **{name: None})


def set_password(user: User) -> None:
    user.set_password("another")


CHANGES: dict[str, Callable[[User], None]] = {
    "The password": set_password,
    "The e-mail address": lambda user: setattr(user, "email", "eve@example.com"),
    "The right to the admin site": lambda user: setattr(user, "is_staff", True),
    "The right of a superuser": lambda user: setattr(user, "is_superuser", True),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_impersonator_changes_no_sensitive_field(
    alice: User, bob: User, what: str
) -> None:
    """Password, address and rights stay as they are while somebody impersonates."""
    user = User.objects.get(pk=alice.pk)
    CHANGES[what](user)

    with (
        acting_from(Origin(impersonator_id=bob.pk)),
        pytest.raises(ImpersonationRefused, match=f"{what} cannot be changed"),
    ):
        user.save()

    user.save()


def test_impersonator_changes_a_name(alice: User, bob: User) -> None:
    """What is not sensitive can be changed, whatever else is in memory."""
    user = User.objects.get(pk=alice.pk)
    user.name = "A."
    user.is_staff = True

    with acting_from(Origin(impersonator_id=bob.pk)):
        user.save(update_fields=["name"])

    assert User.objects.get(pk=alice.pk).name == "A."


def test_impersonator_makes_no_staff(bob: User) -> None:
    """A new user of the staff is a staff change too; a plain one is not."""
    with acting_from(Origin(impersonator_id=bob.pk)):
        User.objects.create_user("eve@example.com", "demo")
        with pytest.raises(ImpersonationRefused, match="The right"):
            User.objects.create_superuser("mallory@example.com", "demo")
