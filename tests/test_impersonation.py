from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.exceptions import ImpersonationRefused
from tenancy.impersonation import (
    aimpersonate,
    astop_impersonating,
    impersonate,
    stop_impersonating,
)
from tenancy.models import AuditEvent, Membership, Organization, Session, User
from tenancy.origin import current_origin
from tenancy.signals import impersonation_started, impersonation_stopped
from tenancy.testing import DomainFactory
from tests.domains import sign_in_at

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def show(request: HttpRequest) -> HttpResponse:
    origin = current_origin()
    return JsonResponse(
        {
            "user": str(request.user),
            "impersonator": origin.impersonator_id and str(origin.impersonator_id),
            "ip_address": origin.ip_address,
        }
    )


def start(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(email=request.GET["user"])
    impersonate(request, user, reason=request.GET.get("reason", "a support case"))
    return HttpResponse(str(request.user))


async def start_async(request: HttpRequest) -> HttpResponse:
    user = await User.objects.aget(email=request.GET["user"])
    await aimpersonate(request, user, reason="a support case")
    return HttpResponse(str(await request.auser()))


def stop(request: HttpRequest) -> HttpResponse:
    stop_impersonating(request)
    return HttpResponse(str(request.user))


async def stop_async(request: HttpRequest) -> HttpResponse:
    await astop_impersonating(request)
    return HttpResponse(str(await request.auser()))


def act(request: HttpRequest) -> HttpResponse:
    AuditEvent.objects.record("test.done")
    return HttpResponse()


def change_password(request: HttpRequest) -> HttpResponse:
    request.user.set_password("another")
    request.user.save()
    return HttpResponse()


urlpatterns = [
    path("show/", show),
    path("start/", start),
    path("start-async/", start_async),
    path("stop/", stop),
    path("stop-async/", stop_async),
    path("act/", act),
    path("password/", change_password),
]


@pytest.fixture(autouse=True)
def _engine(settings: Settings) -> None:
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


@pytest.fixture
def root(db: None) -> User:
    """A superuser, who is in no organization."""
    return User.objects.create_superuser("root@example.com", "root")


@pytest.fixture
def client(root: User) -> Client:
    """The superuser's browser."""
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(root)
    return client


def begin(client: Client, user: User) -> None:
    assert client.get("/start/", {"user": user.email}).content.decode() == str(user)


def who(client: Client) -> Any:
    return client.get("/show/").json()["user"]


def trail(organization: Organization) -> list[AuditEvent]:
    with tenancy.scope(organization):
        return list(AuditEvent.objects.order_by("occurred_at", "id"))


def test_impersonation_stays_at_the_domain(
    client: Client, root: User, alice: User, acme: Organization, settings: Settings
) -> None:
    """What begins at an organization's domain is nobody's elsewhere, and so it ends."""
    settings.TENANCY_BASE_DOMAIN = "example.com"
    settings.TENANCY_RESOLVERS = ["tenancy.resolvers.DomainResolver"]
    DomainFactory(organization=acme, host="tasks.acme.test", is_verified=True)
    with tenancy.scope(acme):
        Membership.objects.create(user=root)
    client.defaults["HTTP_HOST"] = "tasks.acme.test"
    sign_in_at("tasks.acme.test", client)

    def seen_elsewhere() -> Any:
        thief = Client(headers={"host": "example.com"})
        thief.cookies["sessionid"] = client.cookies["sessionid"].value
        return who(thief)

    begin(client, alice)
    assert (who(client), seen_elsewhere()) == (alice.email, "AnonymousUser")
    client.get("/stop/")
    assert (who(client), seen_elsewhere()) == (root.email, "AnonymousUser")


@pytest.mark.parametrize("mode", ["", "-async"])
def test_superuser_acts_in_another_name_and_returns(
    client: Client, root: User, alice: User, acme: Organization, mode: str
) -> None:
    """Both ways the key is fresh, and the row tells who impersonates."""
    first = client.cookies["sessionid"].value

    response = client.get(f"/start{mode}/", {"user": alice.email})

    assert response.content.decode() == alice.email
    second = client.cookies["sessionid"].value
    session = Session.objects.with_key(second).get()
    assert (session.user, session.impersonator) == (alice, root)
    assert client.get("/show/").json() == {
        "user": alice.email,
        "impersonator": str(root.pk),
        "ip_address": "192.0.2.7",
    }

    assert client.get(f"/stop{mode}/").content.decode() == root.email

    third = client.cookies["sessionid"].value
    assert client.get("/show/").json()["impersonator"] is None
    assert who(client) == root.email
    assert len({first, second, third}) == 3
    (session,) = Session.objects.all()
    assert (session.user, session.impersonator) == (root, None)


def test_trail_and_log_tell(
    client: Client,
    root: User,
    alice: User,
    acme: Organization,
    globex: Organization,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Start, stop and what is done between carry the impersonator, in acme only."""
    known = {event.pk for event in trail(acme)}
    begin(client, alice)
    client.get("/act/")
    client.get("/stop/")

    events = [event for event in trail(acme) if event.pk not in known]

    assert [event.action for event in events] == [
        "impersonation.started",
        "test.done",
        "impersonation.stopped",
    ]
    assert {event.impersonator_key for event in events} == {str(root.pk)}
    assert {event.actor_key for event in events} == {str(alice.pk)}
    assert {event.ip_address for event in events} == {"192.0.2.7"}
    assert events[0].details == {"reason": "a support case"}
    assert not [e for e in trail(globex) if e.action.startswith("impersonation")]
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines if "impersonation" in line] == [
        "impersonation started",
        "impersonation stopped",
    ]
    assert {r.levelname for r in caplog.records if "imperson" in r.msg} == {"WARNING"}


def test_signals_tell(client: Client, root: User, alice: User) -> None:
    """Who listens hears of the start and of the stop."""
    heard: list[tuple[str, User, User]] = []

    def hear_start(user: User, impersonator: User, **values: Any) -> None:
        heard.append((values["reason"], user, impersonator))

    def hear_stop(user: User, impersonator: User, **values: Any) -> None:
        heard.append(("stop", user, impersonator))

    impersonation_started.connect(hear_start)
    impersonation_stopped.connect(hear_stop)
    try:
        begin(client, alice)
        client.get("/stop/")
    finally:
        impersonation_started.disconnect(hear_start)
        impersonation_stopped.disconnect(hear_stop)

    assert heard == [("a support case", alice, root), ("stop", alice, root)]


def test_impersonation_lasts_an_hour(client: Client, alice: User) -> None:
    """It ends by the clock, however much it is used."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        begin(client, alice)
        clock.shift(timedelta(minutes=59))
        assert who(client) == alice.email

        clock.shift(timedelta(minutes=1))

        assert who(client) == "AnonymousUser"


def test_impersonation_cannot_be_prolonged(
    client: Client, alice: User, settings: Settings
) -> None:
    """TENANCY_IMPERSONATION_AGE holds against set_expiry()."""
    settings.TENANCY_IMPERSONATION_AGE = timedelta(minutes=5)
    with time_machine.travel(timezone.now(), tick=False):
        begin(client, alice)
        session = client.session
        session.set_expiry(timedelta(days=7))
        session.save()

        until = Session.objects.get().expires_at

        assert until == timezone.now() + timedelta(minutes=5)


def refuse(client: Client, user: User, message: str) -> None:
    """Require that the start is refused for a reason, and nothing changes."""
    before = who(client)
    request = HttpRequest()
    request.session = client.session
    request.user = User.objects.get(email=before)
    with pytest.raises(ImpersonationRefused, match=message):
        impersonate(request, user, reason="a try")
    assert who(client) == before


def test_no_superuser_no_staff_no_self(client: Client, root: User) -> None:
    """Nobody gains rights by it: staff and superusers are not impersonated."""
    refuse(client, root, "superuser or of the staff")
    staff = User.objects.create_user("staff@example.com", "demo")
    staff.is_staff = True
    staff.save()
    refuse(client, staff, "superuser or of the staff")
    # What the caller holds does not count, only what is stored.
    staff.is_staff = False
    refuse(client, staff, "superuser or of the staff")


@pytest.mark.parametrize(
    "fields", [{"is_active": False}, {"banned_at": datetime(2026, 1, 1, tzinfo=UTC)}]
)
def test_nobody_who_cannot_sign_in(
    client: Client, alice: User, fields: dict[str, Any]
) -> None:
    """Inactive and banned users are not impersonated."""
    User.objects.filter(pk=alice.pk).update(**fields)

    refuse(client, alice, "inactive or banned")


def test_user_who_is_not_stored_is_refused(client: Client) -> None:
    """A user of no row has no name to act in."""
    refuse(client, User(email="nobody@example.com"), "not stored")


def test_no_nesting(client: Client, alice: User, bob: User) -> None:
    """Who impersonates stops first, even where the user became a superuser."""
    begin(client, alice)
    User.objects.filter(pk=alice.pk).update(is_superuser=True)

    refuse(client, bob, "while impersonating")


@pytest.mark.parametrize("is_staff", [False, True])
def test_plain_users_do_not_impersonate(alice: User, bob: User, is_staff: bool) -> None:
    """Only superusers do; the staff does not."""
    User.objects.filter(pk=alice.pk).update(is_staff=is_staff)
    client = Client()
    client.force_login(alice)

    refuse(client, bob, "no active superuser")


def test_reason_is_required(client: Client, alice: User) -> None:
    """The trail wants words."""
    with pytest.raises(ValueError, match="Say why"):
        client.get("/start/", {"user": alice.email, "reason": " "})


def test_stop_without_start_is_refused(client: Client, root: User) -> None:
    """There is nothing to return from."""
    assert client.get("/stop/").status_code == 403
    assert who(client) == root.email


def test_other_engines_are_refused(alice: User, settings: Settings) -> None:
    """An engine that does not hold it is named."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    client = Client()
    client.force_login(alice)

    with pytest.raises(ImproperlyConfigured, match="backends.db', which cannot hold"):
        client.get("/start/", {"user": alice.email})


def test_password_is_not_changed_meanwhile(client: Client, alice: User) -> None:
    """The middleware tells the models who acts, and they refuse."""
    begin(client, alice)

    assert client.get("/password/").status_code == 403

    assert User.objects.get(pk=alice.pk).check_password("demo")
    assert who(client) == alice.email


def change_password_of(user: User) -> None:
    user.set_password("another")
    user.save()


def demote(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_superuser=False)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize(
    "change",
    [change_password_of, demote, deactivate, lambda user: user.ban()],
    ids=["password", "demoted", "inactive", "banned"],
)
def test_superuser_who_is_none_any_more_is_out(
    client: Client, root: User, alice: User, change: Callable[[User], None]
) -> None:
    """What would end the superuser's own session ends this one."""
    begin(client, alice)

    change(User.objects.get(pk=root.pk))

    assert who(client) == "AnonymousUser"


def test_key_is_not_cycled_after_the_password(
    client: Client, root: User, alice: User
) -> None:
    """A request that is under way brings nothing back: the hash in it is alice's."""
    begin(client, alice)
    session: Any = client.session
    assert session.impersonator_id == root.pk
    change_password_of(User.objects.get(pk=root.pk))

    with pytest.raises(SessionInterrupted):
        session.cycle_key()

    assert not Session.objects.live().exists()


@pytest.mark.parametrize("change", [demote, deactivate])
def test_stop_signs_out_who_is_no_superuser(
    client: Client, root: User, alice: User, change: Callable[[User], None]
) -> None:
    """One who loses the right while the request runs is signed out by the stop."""
    begin(client, alice)
    request: Any = HttpRequest()
    request.session = client.session
    assert request.session.impersonator_id == root.pk
    request.user = alice
    change(root)

    stop_impersonating(request)

    assert not request.user.is_authenticated
    assert request.session.is_empty()

    async def ask() -> bool:
        return bool((await request.auser()).is_authenticated)

    assert not async_to_sync(ask)()


def test_ban_of_the_user_ends_it(client: Client, alice: User) -> None:
    """A session in alice's name is hers: what ends hers ends it."""
    begin(client, alice)

    alice.ban()

    assert who(client) == "AnonymousUser"
