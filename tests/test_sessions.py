"""The session engine; Django's own tests of session stores run on it first."""

from __future__ import annotations

import base64
import importlib.util
import io
import logging
import os
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import django
import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth import (
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user,
    login,
    update_session_auth_hash,
)
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DjangoStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.models import Membership, Organization, Session, User
from tenancy.sessions import SessionStore
from tenancy.tokens import digest_token
from tests.concurrency import run_at_once

ROOT = Path(__file__).resolve().parent.parent


def load_django_tests() -> ModuleType | None:
    """Return Django's tests of sessions; None where there is no source of them."""
    fetched = ROOT / ".venvs" / f"django-tests-{django.__version__}"
    folder = Path(
        os.environ.get("TENANCY_TEST_DJANGO_TESTS", fetched), "sessions_tests"
    )
    if not (folder / "tests.py").exists():
        return None
    for name in ("sessions_tests", "sessions_tests.models"):
        sys.modules[name] = ModuleType(name)
    # Its model belongs to an app of Django's test run; no test of it runs here.
    vars(sys.modules["sessions_tests.models"])["SessionStore"] = DjangoStore
    name = "sessions_tests.tests"
    spec = importlib.util.spec_from_file_location(name, folder / "tests.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


DJANGO_TESTS: Any = load_django_tests()  # Any: a module that is found at run time.

if DJANGO_TESTS is not None:

    class DjangoStoreTests(DJANGO_TESTS.DatabaseSessionTests):  # type: ignore[misc]  # found at run time
        """What Django asks of its own database store, with three exceptions.

        Each looks a row up by the key in clear, which the table does not hold:
        the text of a row is to be the key; a row is to decode its data, found by the
        key; the manager is to save data under a key. A row of ours has neither.
        """

        backend = SessionStore
        session_engine = "tenancy.sessions"
        test_session_str = None
        test_session_get_decoded = None
        test_sessionmanager_save = None

    @override_settings(SESSION_ENGINE="tenancy.sessions")
    class DjangoMiddlewareTests(DJANGO_TESTS.SessionMiddlewareTests):  # type: ignore[misc]  # as above
        """What Django asks of its middleware, with one exception.

        It looks the row of an emptied session up by the key in clear.
        """

        test_empty_session_saved = None


def test_django_tests_are_run() -> None:
    """Django's own tests are collected from its source distribution."""
    if DJANGO_TESTS is None:
        pytest.skip("Django's tests are not at hand: python -m tests.run fetches them.")

    names = [name for name in dir(DjangoStoreTests) if name.startswith("test_")]

    assert len([name for name in names if getattr(DjangoStoreTests, name)]) > 60


Request = Any  # Its session is ours, and its user a User.


def sign_in(user: User, **meta: str) -> Request:
    """Return a request of a user who has just signed in on a new browser."""
    request: Request = RequestFactory().get("/", **meta)  # type: ignore[arg-type]  # of META
    request.session = SessionStore()
    request.user = AnonymousUser()
    login(request, user)
    request.session.save()
    return request


def ask(request: Request) -> Any:
    """Return who the next request of the same browser is signed in as."""
    following = RequestFactory().get("/")
    following.session = SessionStore(request.session.session_key)
    return get_user(following)


def row_of(request: Request) -> Session:
    return row_of_store(request.session)


def row_of_store(store: SessionStore) -> Session:
    assert store.session_key is not None
    return Session.objects.with_key(store.session_key).get()


def is_live(request: Request) -> bool:
    key = request.session.session_key
    return bool(key and Session.objects.live().with_key(key).exists())


@pytest.mark.django_db
def test_emptied_session_is_saved() -> None:
    """A session without data is written as any other."""
    store = SessionStore()
    store["a"] = 1
    store.save()
    del store["a"]

    store.save()

    assert dict(SessionStore(store.session_key).items()) == {}
    assert SessionStore(store.session_key).exists(store.session_key)


@pytest.mark.django_db
def test_row_says_who_and_where(alice: User) -> None:
    """The row carries user, address and browser from the sign-in on."""
    request = sign_in(
        alice, REMOTE_ADDR="2001:db8::1%eth0", HTTP_USER_AGENT="Browser\0" + "x" * 600
    )

    row = row_of(request)

    assert (row.user, row.ip_address) == (alice, "2001:db8::1")
    assert (len(row.user_agent), str(row)[:9]) == (500, "Browserxx")


@pytest.mark.django_db
def test_row_of_unknown_device_has_no_address(alice: User) -> None:
    """A server behind a socket tells no address, and a robot no name."""
    row = row_of(sign_in(alice, REMOTE_ADDR=""))

    assert (row.ip_address, str(row)) == (None, "unknown browser")


@pytest.mark.parametrize("has_request", [True, False])
def test_sign_in_by_token_begins_no_session(
    rf: RequestFactory, alice: User, has_request: bool
) -> None:
    """An API that signs in tells the signal's receivers, and needs no session."""
    request = rf.post("/")
    request.session = SessionStore()

    sent = request if has_request else None
    user_logged_in.send(User, request=sent, user=alice)

    assert request.session.is_empty()


@pytest.mark.django_db(transaction=True)
def test_key_stands_nowhere_but_in_the_cookie(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither table, dump, repr nor log holds the key, in any usual writing."""
    caplog.set_level(logging.DEBUG)
    request = sign_in(alice)
    key = request.session.session_key
    assert key is not None
    output = io.StringIO()
    call_command("dumpdata", "tenancy.Session", stdout=output)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy_session")
        rows = repr(cursor.fetchall())
    row = row_of(request)

    texts = [rows, output.getvalue(), repr(row), str(row), repr(request.session)]
    # The one statement that is logged with parameters looks up a digest.
    texts += [caplog.text]

    raw = key.encode()
    written = [key, raw.hex(), base64.b64encode(raw).decode().rstrip("=")]
    assert digest_token(key) in rows
    assert [one for one in written for text in texts if one in text] == []


@pytest.mark.django_db
@pytest.mark.parametrize("end", ["expire", "revoke", "delete"])
def test_ended_session_never_authenticates(alice: User, end: str) -> None:
    """Expired, revoked or deleted: nobody is signed in, and no save brings it back."""
    request = sign_in(alice)
    row = row_of(request)
    assert ask(request) == alice

    if end == "expire":
        Session.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    elif end == "revoke":
        row.end()
    else:
        row.delete()

    assert not ask(request).is_authenticated
    request.session["a"] = 1
    with pytest.raises(UpdateError, match="ended while the request"):
        request.session.save()
    with pytest.raises(SessionInterrupted):
        request.session.cycle_key()
    assert not ask(request).is_authenticated


@pytest.mark.django_db
def test_session_cleared_before_it_is_read_needs_its_row(alice: User) -> None:
    """What was never loaded is written to a live row only."""
    request = sign_in(alice)
    blind = SessionStore(request.session.session_key)
    blind.clear()
    blind["a"] = 1

    blind.save()

    assert row_of(request).user is None
    row_of(request).end()
    again = SessionStore(request.session.session_key)
    again.clear()
    with pytest.raises(UpdateError):
        again.save()


@pytest.mark.django_db
def test_session_cleared_before_it_is_read_gets_a_new_key(alice: User) -> None:
    """The row of the former key goes, as with Django's own stores."""
    request = sign_in(alice)
    blind = SessionStore(request.session.session_key)
    blind.clear()

    blind.cycle_key()

    (row,) = Session.objects.all()
    assert (row.user, row) == (None, row_of_store(blind))
    fresh = SessionStore()
    fresh.cycle_key()
    assert Session.objects.count() == 2


@pytest.mark.django_db
def test_taken_key_is_not_taken_twice(alice: User) -> None:
    """A key that another row has is refused, and create() tries the next."""
    request = sign_in(alice)
    taken = request.session.session_key

    class UnluckyStore(SessionStore):
        next_keys: ClassVar[list[str]] = ["b" * 32, taken]

        def _get_new_session_key(self) -> str:
            return self.next_keys.pop()

    with pytest.raises(CreateError):
        SessionStore(taken).save(must_create=True)
    store = UnluckyStore()
    store.save()

    assert store.session_key == "b" * 32
    assert ask(request) == alice


@pytest.mark.django_db
def test_session_is_not_written_to_another_user(
    alice: User, bob: User, acme: Organization
) -> None:
    """A row that has become another user's takes nothing of the former."""
    request = sign_in(alice)
    Session.objects.filter(pk=row_of(request).pk).update(user=bob)
    request.session["secret"] = "alice's"

    with pytest.raises(UpdateError):
        request.session.save()

    # The data still say alice: they sign in neither her nor bob.
    assert not ask(request).is_authenticated


@pytest.mark.django_db
def test_change_of_user_drops_the_membership(
    alice: User, bob: User, acme: Organization
) -> None:
    """A session that goes to another user has no active membership of the former."""
    with tenancy.scope(acme):
        membership = Membership.objects.get()
    request = sign_in(alice)
    request.session.membership_id = membership.pk
    request.session.save()
    assert row_of(request).membership_id == membership.pk

    request.session[SESSION_KEY] = str(bob.pk)
    request.session.save()

    assert row_of(request).user == bob
    assert row_of(request).membership_id is None


@pytest.mark.django_db
def test_membership_of_another_user_is_not_chosen(
    alice: User, bob: User, acme: Organization
) -> None:
    """Only a live membership of the session's own user becomes active."""
    with tenancy.scope(acme):
        membership = Membership.objects.get()
    request = sign_in(bob)

    request.session.membership_id = membership.pk
    request.session.save()

    assert row_of(request).membership_id is None


@pytest.mark.django_db
def test_ended_membership_is_not_chosen(
    alice: User, bob: User, acme: Organization
) -> None:
    """A membership that ends before the save does not become active."""
    request = sign_in(alice)
    with tenancy.scope(acme):
        membership = Membership.objects.get()
        request.session.membership_id = membership.pk
        Membership.objects.add(user=bob, role="owner")
        membership.end()

    request.session.save()

    assert row_of(request).membership_id is None


@pytest.mark.django_db
def test_clear_membership_reaches_all_sessions(alice: User, acme: Organization) -> None:
    """A membership that ends is active in no session, and no other save restores it."""
    with tenancy.scope(acme):
        membership = Membership.objects.get()
    requests = [sign_in(alice), sign_in(alice)]
    for request in requests:
        request.session.membership_id = membership.pk
        request.session.save()

    assert Session.objects.clear_membership(membership) == 2

    requests[0].session["a"] = 1
    requests[0].session.save()
    assert not Session.objects.filter(membership__isnull=False).exists()


@pytest.mark.django_db
def test_expiry_slides_once_a_day(alice: User, settings: Settings) -> None:
    """A use within the update age leaves the expiry; a later one prolongs it."""
    settings.SESSION_COOKIE_AGE = 7 * 24 * 3600
    with time_machine.travel(timezone.now(), tick=False) as clock:
        request = sign_in(alice)
        first = row_of(request).expires_at

        clock.shift(timedelta(hours=23))
        early = SessionStore(request.session.session_key)
        early["a"] = 1
        early.save()
        assert row_of(request).expires_at == first

        clock.shift(timedelta(hours=1))
        late = SessionStore(request.session.session_key)
        assert late["a"] == 1
        assert late.modified
        late.save()
        assert row_of(request).expires_at == first + timedelta(days=1)

        # Read again at once, there is nothing to save.
        again = SessionStore(request.session.session_key)
        assert (again["a"], again.modified) == (1, False)


@pytest.mark.django_db
def test_update_age_is_that_of_the_setting(alice: User, settings: Settings) -> None:
    """TENANCY_SESSION_UPDATE_AGE says how old the expiry is when it slides."""
    settings.TENANCY_SESSION_UPDATE_AGE = timedelta(minutes=1)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        request = sign_in(alice)
        first = row_of(request).expires_at
        clock.shift(timedelta(minutes=1))

        request.session.save()

        assert row_of(request).expires_at == first + timedelta(minutes=1)


@pytest.mark.django_db
def test_expiry_that_is_set_takes_effect(alice: User) -> None:
    """set_expiry() shortens and lengthens at the next save."""
    with time_machine.travel(timezone.now(), tick=False):
        request = sign_in(alice)
        for seconds in (60, 90, 30 * 24 * 3600):
            request.session.set_expiry(seconds)
            request.session.save()

            wanted = timezone.now() + timedelta(seconds=seconds)
            assert row_of(request).expires_at == wanted


@pytest.mark.django_db
def test_expiry_does_not_slide_past_revocation(alice: User) -> None:
    """A revoked session's expiry stays where it was."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        request = sign_in(alice)
        row_of(request).end()
        first = row_of(request).expires_at
        clock.shift(timedelta(days=2))

        with pytest.raises(UpdateError):
            request.session.save()

        assert row_of(request).expires_at == first


@pytest.mark.django_db
def test_clearsessions_deletes_ended_rows_in_time(
    alice: User, settings: Settings
) -> None:
    """The command deletes what has expired, revoked or not, and nothing else."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    ended, expired, live = (sign_in(alice) for _ in range(3))
    row_of(ended).end()
    row = row_of(expired)
    Session.objects.filter(pk=row.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )

    call_command("clearsessions")

    assert set(Session.objects.all()) == {row_of(ended), row_of(live)}


@pytest.mark.django_db
def test_cycled_key_keeps_the_row(alice: User) -> None:
    """A new key is the same device, and the old key opens nothing."""
    request = sign_in(alice)
    row, before = row_of(request), request.session.session_key

    request.session.cycle_key()

    assert row_of(request) == row
    assert not SessionStore(before).exists(before)
    assert ask(request) == alice
    # What follows is written to the row under its new key.
    request.session["a"] = 1
    request.session.save()
    assert SessionStore(request.session.session_key)["a"] == 1


@pytest.mark.django_db
def test_two_sign_ins_of_one_visitor_both_succeed(alice: User) -> None:
    """An anonymous session that another request has moved on begins anew."""
    visitor = SessionStore()
    visitor["basket"] = 1
    visitor.save()
    requests = []
    for _ in range(2):
        request = RequestFactory().get("/")
        request.session = SessionStore(visitor.session_key)
        assert request.session["basket"] == 1
        requests.append(request)

    for request in requests:
        login(request, alice)
        request.session.save()

    assert [ask(request) for request in requests] == [alice, alice]


@pytest.mark.django_db
def test_changed_password_ends_the_others(alice: User, bob: User) -> None:
    """The session that changed it goes on under a new key; bob's is untouched."""
    here, there, bobs = sign_in(alice), sign_in(alice), sign_in(bob)
    before = here.session.session_key
    here.user.set_password("another")
    here.user.save()
    update_session_auth_hash(here, here.user)
    here.session.save()

    assert ask(here) == alice
    assert not ask(there).is_authenticated
    assert here.session.session_key != before
    assert row_of(there).end_reason == Session.EndReason.PASSWORD
    assert (is_live(there), is_live(bobs)) == (False, True)
    assert Session.objects.for_user(alice).live().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("is_saved", [False, True])
def test_changed_password_keeps_the_active_membership(
    alice: User, acme: Organization, is_saved: bool
) -> None:
    """Who changes their password stays in their organization."""
    with tenancy.scope(acme):
        membership = Membership.objects.get()
    request = sign_in(alice)
    request.session.membership_id = membership.pk
    if is_saved:
        request.session.save()
    assert request.session.membership_id == membership.pk

    request.user.set_password("another")
    request.user.save()
    update_session_auth_hash(request, request.user)
    request.session.save()

    assert row_of(request).membership_id == membership.pk


@pytest.mark.django_db
def test_session_that_the_password_ended_is_worth_nothing(alice: User) -> None:
    """A request of a thief that cycles its key meanwhile is signed out all the same."""
    thief = sign_in(alice)
    user = User.objects.get(pk=alice.pk)
    user.set_password("another")
    user.save()

    thief.session.cycle_key()
    thief.session.save()

    assert not ask(thief).is_authenticated


@pytest.mark.django_db
def test_assigned_hash_ends_sessions_and_a_new_name_does_not(alice: User) -> None:
    """It is the stored hash that counts, however it was set."""
    request = sign_in(alice)
    user = User.objects.defer("password").get(pk=alice.pk)
    user.name = "Alice A."
    user.save()
    assert is_live(request)

    other = User()
    other.set_password("another")
    user.password = other.password
    user.save(update_fields=["password"])

    assert not is_live(request)


@pytest.mark.django_db
def test_refreshed_user_ends_nothing(alice: User) -> None:
    """A password that another request has changed is no change of this one."""
    mine, theirs = User.objects.get(pk=alice.pk), User.objects.get(pk=alice.pk)
    theirs.set_password("another")
    theirs.save()
    request = sign_in(theirs)

    mine.refresh_from_db()
    mine.save()

    assert is_live(request)


@pytest.mark.django_db
def test_password_changed_in_the_admin_ends_sessions(
    alice: User, bob: User, settings: Settings
) -> None:
    """The administrator's form ends the user's sessions, and not their own."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    root = User.objects.create_superuser("root@example.com", "root")
    client = Client()
    client.force_login(root)
    request = sign_in(alice)

    response = client.post(
        f"/admin/tenancy/user/{alice.pk}/password/",
        {
            "usable_password": "true",
            "password1": "a-long-one-9",
            "password2": "a-long-one-9",
        },
    )

    assert response.status_code == 302
    assert not is_live(request)
    assert client.get("/admin/").status_code == 200


@pytest.mark.django_db
def test_fallback_key_keeps_the_session(alice: User, settings: Settings) -> None:
    """A rotated SECRET_KEY signs nobody out while the former is a fallback."""
    request = sign_in(alice)
    row, before = row_of(request), request.session.session_key
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret: tests only"

    following = RequestFactory().get("/")
    following.session = SessionStore(before)
    assert get_user(following) == alice
    following.session.save()

    assert following.session.session_key != before
    assert row_of(following) == row
    assert following.session[HASH_SESSION_KEY] == alice.get_session_auth_hash()
    settings.SECRET_KEY_FALLBACKS = []
    assert ask(following) == alice


@pytest.mark.django_db
def test_lost_secret_key_signs_out(alice: User, settings: Settings) -> None:
    """Data that the key does not verify are no data."""
    request = sign_in(alice)
    settings.SECRET_KEY = "another secret: tests only"

    assert not ask(request).is_authenticated


@pytest.mark.django_db
def test_data_that_were_moved_sign_nobody_in(
    alice: User, bob: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Signed data of alice's, written into bob's row, are not hers nor his."""
    hers, his = sign_in(alice), sign_in(bob)
    Session.objects.filter(pk=row_of(his).pk).update(data=row_of(hers).data)

    assert not ask(his).is_authenticated
    assert "Session data of another user" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["nonsense", 7.5])
def test_session_of_no_user_key_is_anonymous(key: object) -> None:
    """A key that no user can have belongs to nobody."""
    store = SessionStore()
    store[SESSION_KEY] = key

    store.save()

    assert Session.objects.get().user is None


@pytest.mark.django_db
def test_client_signs_in(alice: User, settings: Settings) -> None:
    """Django's test client works with the engine, in and out."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    client = Client()

    assert client.login(email="alice@acme.example", password="demo")

    assert client.session[SESSION_KEY] == str(alice.pk)
    client.logout()
    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_sixteen_saves_at_once_all_succeed(alice: User) -> None:
    """Saves of one session wait for each other; the row is whole at the end."""
    request = sign_in(alice)
    key = request.session.session_key

    def save(number: int) -> None:
        store = SessionStore(key)
        store["number"] = number
        store.save()

    assert run_at_once([partial(save, number) for number in range(16)]) == [None] * 16

    assert SessionStore(key)["number"] in range(16)
    assert ask(request) == alice
    assert Session.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_revocation_holds_against_saves_at_once(alice: User) -> None:
    """Once it is revoked, no save that runs at the same time brings anything back."""
    request = sign_in(alice)
    key, row = request.session.session_key, row_of(request)

    def act(number: int) -> None:
        if number == 0:
            row.end()
            return
        store = SessionStore(key)
        if number == 1 and SESSION_KEY in store:
            store.cycle_key()
        store["number"] = number
        store.save()

    results = run_at_once([partial(act, number) for number in range(8)])

    assert all(one is None or isinstance(one, UpdateError) for one in results), results
    (ended,) = Session.objects.filter(user=alice)
    assert (ended.data, ended.end_reason) == ("", "ended")
    assert ended.revoked_at is not None


@pytest.mark.django_db(transaction=True)
def test_membership_that_ends_meanwhile_is_active_nowhere(
    alice: User, bob: User, acme: Organization
) -> None:
    """Whoever comes first, an ended membership is in no session afterwards."""
    request = sign_in(alice)
    key = request.session.session_key
    with tenancy.scope(acme):
        membership = Membership.objects.get()
        Membership.objects.add(user=bob, role="owner")

    def act(number: int) -> None:
        if number == 0:
            with tenancy.scope(acme):
                membership.end()
            return
        store = SessionStore(key)
        store.membership_id = membership.pk
        store.save()

    assert run_at_once([partial(act, number) for number in range(6)]) == [None] * 6

    assert row_of(request).membership_id is None


@pytest.mark.django_db(transaction=True)
def test_deleted_user_leaves_no_session(alice: User) -> None:
    """A save that meets the deletion of its user finds the session ended."""
    request = sign_in(alice)
    with tenancy.unscoped("the user goes"):
        User.objects.get(pk=alice.pk).delete()

    request.session["a"] = 1
    with pytest.raises(UpdateError):
        request.session.save()

    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_session_for_a_deleted_user_is_not_made(alice: User) -> None:
    """Who is gone by then gets no session, and no key is tried for ever."""
    store, saved = SessionStore(), SessionStore()
    saved.save()
    store[SESSION_KEY] = saved[SESSION_KEY] = str(Organization().pk)

    with pytest.raises(SessionInterrupted):
        store.save()
    with pytest.raises(UpdateError):
        saved.save()


@pytest.mark.django_db
def test_async_store_does_the_same() -> None:
    """Each async twin reads and writes what the sync one does."""

    async def act() -> None:
        store = SessionStore()
        await store.aset("a", 1)
        await store.asave()
        assert await store.aget_membership_id() is None
        assert await store.aget_impersonator_id() is None
        before = store.session_key

        await store.acycle_key()

        assert not await store.aexists(before)
        assert not await store.aexists(None)
        again = SessionStore(store.session_key)
        assert await again.aget("a") == 1
        await again.aflush()
        assert not await Session.objects.aexists()

    async_to_sync(act)()
