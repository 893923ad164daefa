from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.contrib.admin import ModelAdmin, site
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error, IntegrityError, connection, transaction
from django.forms import modelform_factory
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from django.views.debug import ExceptionReporter
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

import tenancy
from tenancy.exceptions import (
    AccountTaken,
    DecryptionFailed,
    ImpersonationRefused,
    LastWayIn,
    UnverifiedEmail,
)
from tenancy.models import Account, SystemEvent, User
from tenancy.origin import Origin, acting_from
from tenancy.signals import account_linked, account_unlinked
from tests.concurrency import run_at_once

pytestmark = pytest.mark.django_db

MANY = 16


@pytest.fixture(autouse=True)
def key(settings: Settings) -> str:
    """The one key."""
    made = Fernet.generate_key().decode()
    settings.TENANCY_ENCRYPTION_KEYS = [made]
    return made


def link(user: User, **values: Any) -> Account:
    """Link a GitHub account to a user."""
    return Account.objects.link(
        user=user, **{"provider": "github", "provider_account_id": "1", **values}
    )


# Tokens


def test_tokens_when_given_are_kept_encrypted(alice: User) -> None:
    """Each token comes back from the database, which holds none in clear."""
    # The types know the columns, and not the properties.
    tokens: dict[str, Any] = {
        "access_token": "gho_a",
        "refresh_token": "ghr_b",
        "id_token": "eyJ_c",
    }
    account = Account.objects.create(
        user=alice, provider="github", provider_account_id="1", **tokens
    )

    stored = Account.objects.get(pk=account.pk)

    assert stored.access_token == "gho_a"
    assert stored.refresh_token == "ghr_b"
    assert stored.id_token == "eyJ_c"
    row = Account.objects.filter(pk=account.pk).values().get()
    assert not {"gho_a", "ghr_b", "eyJ_c"} & {str(value) for value in row.values()}


def test_tokens_when_none_are_none(alice: User) -> None:
    """No token is None, and needs no key."""
    account = link(alice, access_token="gho_a")
    assert (account.refresh_token, account.id_token) == (None, None)

    account.access_token = None

    assert account.access_token is None
    assert account.access_token_encrypted == ""


def test_tokens_when_moved_are_refused(alice: User, bob: User) -> None:
    """A ciphertext copied into another row or column cannot be opened."""
    account, other = (
        link(alice, access_token="gho_a"),
        link(bob, provider_account_id="2"),
    )
    Account.objects.filter(pk=other.pk).update(
        access_token_encrypted=account.access_token_encrypted
    )
    Account.objects.filter(pk=account.pk).update(
        refresh_token_encrypted=account.access_token_encrypted
    )
    account.refresh_from_db()
    other.refresh_from_db()

    with pytest.raises(DecryptionFailed):
        _ = other.access_token
    with pytest.raises(DecryptionFailed):
        _ = account.refresh_token
    assert account.access_token == "gho_a"


def test_tokens_when_key_is_lost_raise(alice: User, settings: Settings) -> None:
    """A lost key is an error, and never looks like an account without a token."""
    account = link(alice, access_token="gho_a")
    settings.TENANCY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(DecryptionFailed):
        _ = Account.objects.get(pk=account.pk).access_token


def test_tokens_without_keys_are_refused(alice: User, settings: Settings) -> None:
    """No token is stored in clear for want of a key; an account without one is."""
    settings.TENANCY_ENCRYPTION_KEYS = []

    with pytest.raises(ImproperlyConfigured):
        link(alice, access_token="gho_a")

    assert Account.objects.count() == 0
    assert link(alice).access_token is None


def test_tokens_are_in_no_form_and_no_admin(alice: User) -> None:
    """Neither a form of all fields nor the admin shows a token or its ciphertext."""
    account = link(alice, access_token="gho_a")
    form = modelform_factory(Account, fields="__all__")(instance=account)
    request = HttpRequest()
    request.user = alice
    shown = ModelAdmin(Account, site).get_fields(request, account)

    assert set(form.fields) == {"user", "provider", "provider_account_id"}
    assert set(shown) == set(form.fields)
    assert "gho_a" not in f"{form.as_p()} {account!r} {account}"
    assert account.access_token_encrypted not in form.as_p()


def test_tokens_when_dumped_are_ciphertexts(alice: User) -> None:
    """A fixture holds ciphertexts, and loads again where the keys are the same."""
    account = link(alice, access_token="gho_a")

    dump = serializers.serialize("json", [account])
    Account.objects.all().delete()
    for row in serializers.deserialize("json", dump):
        row.save()

    assert "gho_a" not in dump
    assert "access_token" not in json.loads(dump)[0]["fields"]
    assert Account.objects.get().access_token == "gho_a"


def test_tokens_are_in_no_error_report(alice: User, bob: User) -> None:
    """The report of a failed link shows no token in any frame."""
    link(alice)
    with pytest.raises(AccountTaken) as caught:
        link(bob, access_token="gho_a", id_token="eyJ_c")
    raised = (caught.type, caught.value, caught.tb)

    reporter = ExceptionReporter(RequestFactory().get("/"), *raised)
    frames = [frame for frame in reporter.get_traceback_frames() if frame["vars"]]

    inside = [frame for frame in frames if "/tenancy/" in str(frame["filename"])]
    assert len(inside) >= 2
    assert "gho_a" not in str([frame["vars"] for frame in inside])
    assert "eyJ_c" not in str([frame["vars"] for frame in inside])


# Links


def test_link_when_new_belongs_to_user(
    alice: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """A link is stored with what the provider grants, and is told of on commit."""
    sent: list[dict[str, Any]] = []
    receiver: Any = lambda **values: sent.append(values)  # noqa: E731 - kept alive
    account_linked.connect(receiver)
    at = timezone.now() + timedelta(hours=1)

    with django_capture_on_commit_callbacks(execute=True):
        account = link(
            alice,
            access_token="gho_a",
            access_token_expires_at=at,
            scopes=["email", "repo"],
        )

    account.refresh_from_db()
    assert (account.user, account.access_token_expires_at) == (alice, at)
    assert account.scopes == ["email", "repo"]
    assert [(s["account"], s["is_new"]) for s in sent] == [(account, True)]
    account_linked.disconnect(receiver)


def test_link_when_repeated_updates_tokens(alice: User) -> None:
    """The owner's second link keeps the row, renews tokens and adds scopes."""
    at = timezone.now() + timedelta(hours=1)
    first = link(
        alice,
        access_token="gho_a",
        access_token_expires_at=at,
        refresh_token="ghr_b",
        scopes=["email", "repo"],
    )

    second = link(alice, access_token="gho_c", scopes=["gist", "email"])

    stored = Account.objects.get()
    assert second.pk == first.pk == stored.pk
    assert (stored.access_token, stored.refresh_token) == ("gho_c", "ghr_b")
    assert stored.access_token_expires_at is None
    assert stored.scopes == ["email", "repo", "gist"]


def test_link_when_taken_is_refused(alice: User, bob: User) -> None:
    """Another user's account is not taken over, and the transaction stays usable."""
    link(alice, access_token="gho_a")

    with transaction.atomic():
        with pytest.raises(AccountTaken, match="linked to another user"):
            link(bob, access_token="gho_b")
        account = Account.objects.get()

    assert (account.user, account.access_token) == (alice, "gho_a")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", "Git Hub"),
        ("provider", ""),
        ("provider_account_id", ""),
        ("provider_account_id", "1" * 256),
    ],
)
def test_link_when_malformed_names_the_field(
    alice: User, field: str, value: str
) -> None:
    """A malformed provider or key is refused on its field."""
    with pytest.raises(ValidationError) as caught:
        link(alice, **{field: value})

    assert set(caught.value.message_dict) == {field}


def test_link_when_scopes_are_a_text_is_refused(alice: User) -> None:
    """A text of scopes is not taken for a list of letters."""
    with pytest.raises(TypeError, match=r"scopes\.split\(\)"):
        link(alice, scopes="email repo")


def test_link_when_unknown_field_is_refused(alice: User) -> None:
    """What is no argument is refused."""
    with pytest.raises(TypeError, match="is_admin"):
        link(alice, is_admin=True)


def test_link_when_user_is_gone_raises(alice: User) -> None:
    """A user who was deleted meanwhile gets no account."""
    gone = User.objects.get(pk=alice.pk)
    with tenancy.unscoped("deletion of a user"):
        alice.delete()

    with pytest.raises(User.DoesNotExist):
        link(gone)


def test_link_when_impersonating_is_refused(alice: User, bob: User) -> None:
    """Nobody gives themselves a way in to the user whom they impersonate."""
    account = link(alice)
    link(alice, provider="google")

    with acting_from(Origin(impersonator_id=bob.pk)):
        with pytest.raises(ImpersonationRefused, match="A linked account"):
            link(alice, provider_account_id="2")
        with pytest.raises(ImpersonationRefused, match="A linked account"):
            account.unlink()

    assert Account.objects.count() == 2


@pytest.mark.parametrize(
    ("local", "email", "verified", "is_linked"),
    [
        (True, "Alice@Acme.example", True, True),
        (False, "alice@acme.example", True, False),
        (True, "alice@acme.example", False, False),
        (True, "alice@acme.example", "false", False),
        (True, "bob@globex.example", True, False),
    ],
)
def test_link_by_email_needs_both_sides_verified(
    alice: User, bob: User, local: bool, email: str, verified: Any, is_linked: bool
) -> None:
    """A user is found and linked by an address that both sides verified, only."""
    User.objects.filter(pk=alice.pk).update(
        email_verified_at=timezone.now() if local else None
    )
    claims: dict[str, Any] = {"email": email, "email_verified": verified}

    found = Account.objects.find_user(
        provider="google", provider_account_id="7", **claims
    )

    assert found == (alice if is_linked else None)
    if is_linked:
        assert link(alice, **claims).user == alice
    else:
        with pytest.raises(UnverifiedEmail, match="not verified on both sides"):
            link(alice, **claims)
        assert not Account.objects.exists()


def test_user_of_another_mailbox_is_not_found(alice: User) -> None:
    """An address that is like the user's in lower case only is somebody else's."""
    User.objects.filter(pk=alice.pk).update(
        email="sky@acme.example", email_verified_at=timezone.now()
    )
    email = "s\N{KELVIN SIGN}y@acme.example"
    claims: dict[str, Any] = {"email": email, "email_verified": True}

    found = Account.objects.find_user(
        provider="google", provider_account_id="7", **claims
    )

    assert found is None
    with pytest.raises(UnverifiedEmail):
        link(alice, **claims)


def test_user_when_linked_is_found_by_key(alice: User, bob: User) -> None:
    """A linked account leads to its owner, whatever address the provider gives."""
    User.objects.update(email_verified_at=timezone.now())
    link(alice)

    found = Account.objects.find_user(
        provider="github",
        provider_account_id="1",
        email=bob.email,
        email_verified=True,
    )

    assert found == alice
    for provider, key in (("github", "2"), ("google", "1")):
        assert (
            Account.objects.find_user(provider=provider, provider_account_id=key)
            is None
        )


# Unlinking


def test_unlink_when_last_way_in_is_refused(
    alice: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """A user without a password keeps one account."""
    sent: list[Account] = []
    receiver: Any = lambda account, **_: sent.append(account)  # noqa: E731 - kept alive
    account_unlinked.connect(receiver)
    alice.set_unusable_password()
    alice.save()
    first, second = link(alice), link(alice, provider="google")

    with django_capture_on_commit_callbacks(execute=True):
        first.unlink()
        first.unlink()
    with transaction.atomic():
        with pytest.raises(LastWayIn, match="only way in"):
            second.unlink()
        assert Account.objects.get() == second

    assert sent == [first]
    account_unlinked.disconnect(receiver)


def test_unlink_when_password_is_empty_is_refused(alice: User) -> None:
    """An empty password opens nothing, and is no way in."""
    User.objects.filter(pk=alice.pk).update(password="")

    with pytest.raises(LastWayIn):
        link(alice).unlink()


def test_unlink_when_password_is_usable_removes(alice: User) -> None:
    """Whoever has a password may unlink every account."""
    link(alice).unlink()

    assert not Account.objects.exists()
    alice.set_unusable_password()
    alice.save()
    link(alice)
    with tenancy.unscoped("deletion of a user"):
        alice.delete()
    assert not Account.objects.exists()


def test_account_when_stored_twice_is_refused(alice: User, bob: User) -> None:
    """The database keeps one row for each provider's account."""
    link(alice)

    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.create(user=bob, provider="github", provider_account_id="1")

    assert Account.objects.get().user == alice


def test_verbs_when_awaited_do_the_same(alice: User) -> None:
    """Each verb has an async twin."""

    async def act() -> Any:
        account = await Account.objects.alink(
            user=alice, provider="github", provider_account_id="1"
        )
        found = await Account.objects.afind_user(
            provider="github", provider_account_id="1"
        )
        await account.aunlink()
        return found

    assert async_to_sync(act)() == alice
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("provider", ""),
        ("provider", "GitHub"),
        ("provider", "git hub"),
        ("provider", "-github"),
        ("provider_account_id", ""),
        ("provider_account_id", "2"),
        ("user_id", None),
        ("scopes", "not json"),
    ],
)
def test_row_when_malformed_is_refused_by_database(
    alice: User, column: str, value: str | None
) -> None:
    """A client that bypasses the models stores no malformed account."""
    link(alice)
    link(alice, provider_account_id="2")

    with (
        pytest.raises(Error),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"UPDATE tenancy_account SET {column} = %s WHERE provider_account_id = '1'",
            [value],
        )

    assert Account.objects.filter(provider="github").count() == 2


# Many at once


@pytest.mark.django_db(transaction=True)
def test_links_at_once_leave_one_owner() -> None:
    """Of sixteen users who link an account, one gets it and the others are told."""
    users = [User.objects.create_user(f"u{n}@example.com") for n in range(MANY)]

    results = run_at_once(
        [lambda user=user: link(user, access_token="t") for user in users]  # type: ignore[misc]  # a lambda's default
    )

    owners = [result for result in results if isinstance(result, Account)]
    assert [type(result) for result in results].count(AccountTaken) == MANY - 1
    assert [owner.pk for owner in owners] == [Account.objects.get().pk]


@pytest.mark.django_db(transaction=True)
def test_links_at_once_in_transactions_leave_them_usable() -> None:
    """Whoever loses inside a transaction of their own may go on with it."""
    users = [User.objects.create_user(f"u{n}@example.com") for n in range(4)]

    def link_inside(user: User) -> Account | AccountTaken:
        with transaction.atomic():
            try:
                result: Account | AccountTaken = link(user)
            except AccountTaken as error:
                result = error
            User.objects.filter(pk=user.pk).update(name="went on")
        return result

    results = run_at_once(
        [lambda user=user: link_inside(user) for user in users]  # type: ignore[misc]  # a lambda's default
    )

    assert [type(result) for result in results].count(AccountTaken) == 3
    assert User.objects.filter(name="went on").count() == 4


@pytest.mark.django_db(transaction=True)
def test_links_at_once_by_owner_are_idempotent() -> None:
    """Sixteen links by one user give one account with every scope."""
    user = User.objects.create_user("alice@acme.example")

    results = run_at_once(
        [lambda n=n: link(user, scopes=[f"scope-{n}"]) for n in range(MANY)]  # type: ignore[misc]  # a lambda's default
    )

    account = Account.objects.get()
    assert {result.pk for result in results} == {account.pk}
    assert sorted(account.scopes) == sorted(f"scope-{n}" for n in range(MANY))


@pytest.mark.django_db(transaction=True)
def test_unlinks_at_once_leave_one_account() -> None:
    """Of a user's accounts that are all unlinked at once, one stays."""
    user = User.objects.create_user("alice@acme.example")
    accounts = [link(user, provider_account_id=str(n)) for n in range(MANY)]

    results = run_at_once([account.unlink for account in accounts])

    assert Account.objects.count() == 1
    assert [type(r) for r in results].count(LastWayIn) == 1
    assert results.count(None) == MANY - 1


@pytest.mark.django_db(transaction=True)
def test_unlinks_at_once_of_one_account_are_told_once() -> None:
    """An account that several requests unlink at once is unlinked by one."""
    sent: list[Account] = []
    receiver: Any = lambda account, **_: sent.append(account)  # noqa: E731 - kept alive
    account_unlinked.connect(receiver)
    user = User.objects.create_user("alice@acme.example", "demo")
    account = link(user)

    results = run_at_once([account.unlink] * 8)

    assert results == [None] * 8
    assert sent == [account]
    account_unlinked.disconnect(receiver)


def test_trail_tells_of_links_once(alice: User) -> None:
    """The first link and the end stand in the trail; the account's key does not."""
    alice.set_password("demo")
    account = link(alice)
    link(alice)

    account.unlink()

    events = SystemEvent.objects.order_by("occurred_at")
    assert [event.action for event in events] == ["account.linked", "account.unlinked"]
    for event in events:
        assert event.subject_key == str(account.pk)
        assert event.details == {"provider": "github", "user": str(alice.pk)}
