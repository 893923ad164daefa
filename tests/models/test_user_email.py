"""A user's e-mail address: changed, verified, and protected with the rest."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import ValidationError
from django.db import connection, connections, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tenancy.exceptions import (
    ImpersonationRefused,
    TransactionOpen,
    VerificationFailed,
)
from tenancy.models import AbstractUser, SystemEvent, User, Verification
from tenancy.origin import Origin, acting_from
from tenancy.signals import email_changed, email_verified

pytestmark = pytest.mark.django_db


@pytest.fixture
def verified(alice: User) -> User:
    """Alice, whose address is verified."""
    User.objects.filter(pk=alice.pk).update(email_verified_at=timezone.now())
    return User.objects.get(pk=alice.pk)


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A form for the user's own hands."""

    class Meta:
        model = User
        exclude = (*AbstractUser.PROTECTED_FIELDS, "password", "last_login")  # noqa: DJ006 - what is tested


# Verbs


def test_change_email_asks_for_verification(
    verified: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """A new address is stored in lower case, is not verified, and is told of."""
    sent: list[Any] = []
    receiver: Any = lambda user, previous, **_: sent.append((user, previous))  # noqa: E731 - kept alive
    email_changed.connect(receiver)
    _verification, old = verified.issue_email_verification()

    with django_capture_on_commit_callbacks(execute=True):
        verified.change_email("  Alice@New.example ")

    stored = User.objects.get(pk=verified.pk)
    for user in (verified, stored):
        assert (user.email, user.email_verified_at) == ("alice@new.example", None)
    assert sent == [(verified, "alice@acme.example")]
    with pytest.raises(VerificationFailed):
        verified.verify_email(old)
    email_changed.disconnect(receiver)


def test_change_email_when_same_keeps_verification(verified: User) -> None:
    """The same address in other letters is no change."""
    verified.change_email("ALICE@acme.example")

    verified.refresh_from_db()
    assert verified.email_verified_at is not None


@pytest.mark.parametrize(
    ("email", "message"),
    [
        ("Bob@globex.example", "A user with that e-mail address exists."),
        ("nonsense", "Enter a valid email address."),
        ("", "This field cannot be blank."),
    ],
)
def test_change_email_when_refused_names_the_field(
    verified: User, bob: User, email: str, message: str
) -> None:
    """An address that is taken or malformed is refused, and nothing has changed."""
    with transaction.atomic():
        with pytest.raises(ValidationError) as caught:
            verified.change_email(email)
        stored = User.objects.get(pk=verified.pk)

    assert caught.value.message_dict == {"email": [message]}
    for user in (verified, stored):
        assert user.email == "alice@acme.example"
        assert user.email_verified_at is not None


def test_verify_email_takes_the_value_once(
    alice: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """The value that was sent verifies the address."""
    sent: list[User] = []
    receiver: Any = lambda user, **_: sent.append(user)  # noqa: E731 - kept alive
    email_verified.connect(receiver)
    verification, value = alice.issue_email_verification()
    assert (verification.purpose, verification.identifier) == (
        "verify-email",
        "alice@acme.example",
    )

    with django_capture_on_commit_callbacks(execute=True):
        alice.verify_email(value)

    assert alice.email_verified_at is not None
    assert User.objects.get(pk=alice.pk).email_verified_at == alice.email_verified_at
    assert sent == [alice]
    with pytest.raises(VerificationFailed):
        alice.verify_email(value)
    email_verified.disconnect(receiver)


def test_verify_email_when_value_is_of_another_is_refused(
    alice: User, bob: User
) -> None:
    """Bob's value says nothing of Alice's address."""
    _verification, value = bob.issue_email_verification()

    with pytest.raises(VerificationFailed):
        alice.verify_email(value)

    alice.refresh_from_db()
    assert alice.email_verified_at is None


def test_verify_email_when_address_is_saved_meanwhile_is_refused(alice: User) -> None:
    """The proof of one address verifies no other, which a form saves meanwhile."""
    _verification, value = alice.issue_email_verification()
    form = User.objects.get(pk=alice.pk)
    form.email = "victim@example.com"

    def save_first(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and form.email_verified_at is None and waiting:
            waiting.pop().save()
        return execute(sql, *rest)

    waiting = [form]
    with (
        connection.execute_wrapper(save_first),
        pytest.raises(VerificationFailed),
    ):
        alice.verify_email(value)

    stored = User.objects.get(pk=alice.pk)
    assert (stored.email, stored.email_verified_at) == ("victim@example.com", None)


def test_verify_email_by_code_counts_tries(alice: User) -> None:
    """A wrong code counts although it raises, and is refused in a transaction."""
    _verification, code = alice.issue_email_verification(is_code=True)
    wrong = str((int(code[0]) + 1) % 10) + code[1:]

    with pytest.raises(VerificationFailed):
        alice.verify_email(wrong)
    with transaction.atomic(), pytest.raises(TransactionOpen):
        alice.verify_email(code)

    assert Verification.objects.get().attempts == 1
    alice.verify_email(code)
    assert alice.email_verified_at is not None


def test_email_when_impersonating_is_refused(verified: User, bob: User) -> None:
    """Nobody changes or verifies the address of whom they impersonate."""
    _verification, value = verified.issue_email_verification()
    changed = User.objects.get(pk=verified.pk)
    changed.email = "mallory@example.com"

    with acting_from(Origin(impersonator_id=bob.pk)):
        with pytest.raises(ImpersonationRefused, match="The e-mail address"):
            verified.change_email("mallory@example.com")
        with pytest.raises(ImpersonationRefused, match="The e-mail address"):
            verified.verify_email(value)
        with pytest.raises(ImpersonationRefused, match="The e-mail address"):
            changed.save()
        verified.name = "Alice A."
        verified.save()

    assert User.objects.get(pk=verified.pk).email == "alice@acme.example"


def test_verbs_when_awaited_do_the_same(alice: User) -> None:
    """Each verb has an async twin."""

    async def act() -> None:
        await alice.achange_email("alice@new.example")
        _verification, value = await alice.aissue_email_verification()
        await alice.averify_email(value)

    async_to_sync(act)()

    assert alice.email == "alice@new.example"
    assert alice.email_verified_at is not None


@pytest.mark.django_db(transaction=True)
def test_change_email_at_once_to_one_address_lets_one_have_it() -> None:
    """Of several users who take an address at once, one has it."""
    users = [User.objects.create_user(f"u{n}@example.com") for n in range(8)]
    barrier = threading.Barrier(len(users))

    def change(user: User) -> list[str]:
        try:
            barrier.wait(timeout=20)
            user.change_email("wanted@example.com")
        except ValidationError as error:
            return list(error.message_dict)
        finally:
            connections.close_all()
        return []

    with ThreadPoolExecutor(len(users)) as pool:
        results = list(pool.map(change, users))

    assert sorted(results) == [[], *[["email"]] * (len(users) - 1)]
    assert User.objects.filter(email="wanted@example.com").count() == 1


# Saving


def test_email_when_saved_by_form_is_not_verified(verified: User) -> None:
    """A form of the user's own resets the verification with the address."""
    data = {"email": "Alice@New.example", "name": "Alice", "is_active": "on"}
    form = ProfileForm(data, instance=verified)

    form.save()

    stored = User.objects.get(pk=verified.pk)
    assert (stored.email, stored.email_verified_at) == ("alice@new.example", None)


@pytest.mark.parametrize("fields", [None, ["email"], ["email", "name"]])
def test_email_when_assigned_is_not_verified(
    verified: User, fields: list[str] | None
) -> None:
    """A save of another address resets the verification, whatever fields are named."""
    verified.email = "alice@new.example"

    verified.save(update_fields=fields)

    stored = User.objects.get(pk=verified.pk)
    assert (stored.email, stored.email_verified_at) == ("alice@new.example", None)
    assert verified.email_verified_at is None


def test_email_when_saved_from_stale_instance_is_not_verified(verified: User) -> None:
    """An older address that is written over a newer takes no verification from it."""
    User.objects.filter(pk=verified.pk).update(email_verified_at=None)
    stale = User.objects.get(pk=verified.pk)
    verified.change_email("alice@new.example")
    User.objects.filter(pk=verified.pk).update(email_verified_at=timezone.now())

    stale.save(update_fields=["email"])

    stored = User.objects.get(pk=verified.pk)
    assert (stored.email, stored.email_verified_at) == ("alice@acme.example", None)


def test_email_when_not_saved_stays_verified(verified: User) -> None:
    """A save of other fields, or of the same address, changes nothing of it."""
    before = verified.email_verified_at
    verified.email = "alice@new.example"
    verified.save(update_fields=["name"])
    verified.refresh_from_db(fields=["name"])
    assert User.objects.get(pk=verified.pk).email_verified_at == before
    verified.email = " Alice@ACME.example"
    verified.save()

    assert User.objects.get(pk=verified.pk).email_verified_at == before
    verified.refresh_from_db(fields=["name"])
    verified.email = "alice@new.example"
    verified.save()
    assert User.objects.get(pk=verified.pk).email_verified_at is None


def test_email_when_verified_deliberately_keeps_it(verified: User) -> None:
    """Code that sets both fields means both."""
    at = timezone.now()
    verified.email, verified.email_verified_at = "alice@new.example", at

    verified.save()
    verified.save()

    assert User.objects.get(pk=verified.pk).email_verified_at == at


@pytest.mark.parametrize("names", [("pk",), ("pk", "email"), ("pk", "name")])
def test_email_when_deferred_is_not_verified(
    verified: User, names: tuple[str, ...]
) -> None:
    """An instance of which a part was loaded resets the verification too."""
    partial = User.objects.only(*names).get(pk=verified.pk)
    partial.email = "alice@new.example"

    partial.save()

    assert User.objects.get(pk=verified.pk).email_verified_at is None


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda user: pickle.loads(pickle.dumps(user))]
)
def test_email_when_instance_is_copied_is_not_verified(
    verified: User, twin: Any
) -> None:
    """A copy remembers the address by itself."""
    other = twin(verified)
    other.email = "alice@new.example"
    other.save()
    verified.email = "alice@newer.example"
    verified.email_verified_at = timezone.now()
    verified.save()
    verified.email = "alice@new.example"
    verified.save()

    assert User.objects.get(pk=verified.pk).email_verified_at is None


def test_user_when_new_may_be_verified() -> None:
    """A first save keeps what it is given, and later ones compare with it."""
    user = User(email="carol@acme.example", email_verified_at=timezone.now())
    user.save()
    assert User.objects.get(pk=user.pk).email_verified_at is not None

    user.email = "carol@new.example"
    user.save()

    assert User.objects.get(pk=user.pk).email_verified_at is None


# Protected fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_superuser", True),
        ("is_staff", True),
        ("email_verified_at", timezone.now()),
        ("banned_at", None),
        ("banned_until", None),
        ("ban_reason", ""),
    ],
)
def test_protected_field_is_refused_by_create_user(field: str, value: Any) -> None:
    """No caller of create_user() makes a user more than a user."""
    assert field in User.PROTECTED_FIELDS

    with pytest.raises(ValueError, match=field):
        User.objects.create_user("carol@acme.example", **{field: value})

    assert not User.objects.filter(email="carol@acme.example").exists()


def test_protected_field_is_in_no_form_of_the_user(alice: User) -> None:
    """What a form's sender adds is left alone; most of it no form can have."""
    now = timezone.now().isoformat()
    sent = dict.fromkeys(User.PROTECTED_FIELDS, "on") | {
        "email": alice.email,
        "is_active": "on",
        "email_verified_at": now,
        "banned_at": now,
    }
    form = ProfileForm(sent, instance=alice)

    form.save()

    alice.refresh_from_db()
    assert not alice.is_superuser
    assert not alice.is_staff
    assert (alice.email_verified_at, alice.banned_at) == (None, None)
    for field in ("email_verified_at", "banned_at", "banned_until", "ban_reason"):
        assert not User._meta.get_field(field).editable


def test_trail_tells_of_address_and_password(alice: User, settings: Settings) -> None:
    """Each change stands in the trail by the user's key; another hash is no change."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert alice.check_password("demo") and alice.password.startswith("pbkdf2")

    _verification, value = alice.issue_email_verification()
    alice.verify_email(value)
    alice.change_email("alice@new.example")
    alice.set_password("another one")
    alice.save()

    events = SystemEvent.objects.order_by("occurred_at")
    assert [event.action for event in events] == [
        "user.email_verified",
        "user.email_changed",
        "user.password_changed",
    ]
    assert {event.subject_key for event in events} == {str(alice.pk)}
    assert all(event.details == {} for event in events)
