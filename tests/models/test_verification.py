from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from tenancy.exceptions import TransactionOpen, VerificationFailed
from tenancy.models import Verification
from tests.concurrency import run_at_once

pytestmark = pytest.mark.django_db

MANY = 16
RESET: dict[str, Any] = {
    "purpose": "reset-password",
    "identifier": "alice@acme.example",
}


def issue(**values: Any) -> tuple[Verification, str]:
    """Issue a verification of Alice's address."""
    return Verification.objects.issue(**{**RESET, **values})


def consume(value: str, **values: Any) -> Verification:
    """Consume a verification of Alice's address."""
    return Verification.objects.consume(**{**RESET, **values}, value=value)


def find_wrong(code: str) -> str:
    """Return a code that is another one."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


@pytest.mark.parametrize("is_code", [False, True])
def test_value_when_consumed_is_used_up(is_code: bool) -> None:
    """The right value is taken once, and its row is gone."""
    issued, value = issue(is_code=is_code)

    taken = consume(value)

    assert (taken.pk, taken.purpose) == (issued.pk, "reset-password")
    assert not Verification.objects.exists()
    with pytest.raises(VerificationFailed, match="wrong, used or expired"):
        consume(value)


@pytest.mark.parametrize("is_code", [False, True])
def test_value_when_of_another_is_refused(is_code: bool) -> None:
    """A value is good for its own purpose and identifier only."""
    _issued, value = issue(is_code=is_code)
    issue(identifier="bob@globex.example", is_code=is_code)
    issue(purpose="verify-email", is_code=is_code)

    for other in ({"identifier": "bob@globex.example"}, {"purpose": "verify-email"}):
        with pytest.raises(VerificationFailed):
            consume(value, **other)

    assert consume(value)


@pytest.mark.parametrize("value", ["", "x", "ß", "\ud800", "000000\0", "1" * 9999])
@pytest.mark.parametrize("is_code", [False, True])
def test_value_when_malformed_is_refused(value: str, is_code: bool) -> None:
    """Whatever is typed, the answer is the same."""
    issue(is_code=is_code)

    with pytest.raises(VerificationFailed, match="wrong, used or expired"):
        consume(value)


@pytest.mark.parametrize(
    ("is_code", "lasts"),
    [(False, timedelta(days=1)), (True, timedelta(minutes=10))],
)
def test_value_when_expired_is_refused(is_code: bool, lasts: timedelta) -> None:
    """A token is valid for a day and a code for ten minutes, where nothing is set."""
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        _issued, value = issue(is_code=is_code)

    with (
        time_machine.travel(start + lasts, tick=False),
        pytest.raises(VerificationFailed),
    ):
        consume(value)
    with time_machine.travel(start + lasts - timedelta(seconds=1), tick=False):
        assert consume(value)


def test_lifetime_when_set_is_kept(settings: Settings) -> None:
    """TENANCY_VERIFICATION_AGE, TENANCY_CODE_AGE and the caller say how long."""
    settings.TENANCY_VERIFICATION_AGE = timedelta(hours=2)
    settings.TENANCY_CODE_AGE = timedelta(minutes=3)

    lifetimes = [
        verification.expires_at - verification.created_at
        for verification, _value in (
            issue(),
            issue(is_code=True),
            issue(lifetime=timedelta(seconds=5)),
        )
    ]

    assert lifetimes == [
        timedelta(hours=2),
        timedelta(minutes=3),
        timedelta(seconds=5),
    ]


@pytest.mark.parametrize("seconds", [0, -1])
def test_lifetime_when_not_positive_is_refused(seconds: int) -> None:
    """A verification that has expired is not issued."""
    with pytest.raises(ValueError, match="positive lifetime"):
        issue(lifetime=timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", "Reset Password"),
        ("purpose", ""),
        ("identifier", ""),
        ("identifier", "a" * 255),
    ],
)
def test_issue_when_malformed_names_the_field(field: str, value: str) -> None:
    """A purpose is a slug, and an identifier is not empty."""
    with pytest.raises(ValidationError) as caught:
        issue(**{field: value})

    assert set(caught.value.message_dict) == {field}


def test_issue_when_repeated_voids_the_old() -> None:
    """A new value takes the place of the old, whose tries are forgotten."""
    _issued, old = issue(is_code=True)
    for _ in range(5):
        with pytest.raises(VerificationFailed):
            consume(find_wrong(old))

    verification, new = issue()

    with pytest.raises(VerificationFailed):
        consume(old)
    assert Verification.objects.get() == verification
    assert (verification.attempts, verification.is_code) == (0, False)
    assert consume(new)


def test_value_is_not_stored(settings: Settings) -> None:
    """A token is kept as its digest, and a code as no digest that can be guessed."""
    token, value = issue()
    code, digits = issue(identifier="bob@globex.example", is_code=True)

    assert len(value) == 43
    assert re.fullmatch(r"\d{6}", digits)
    for verification, secret in ((token, value), (code, digits)):
        shown = f"{verification!r} {verification} {vars(verification)}"
        if verification.is_code:
            shown = f"{verification!r} {verification} {verification.value_digest}"
        assert secret not in shown
    settings.SECRET_KEY = "another one"
    assert not code._matches(digits)


def test_code_length_when_set_is_kept(settings: Settings) -> None:
    """TENANCY_CODE_LENGTH says how many digits, and too few are refused."""
    settings.TENANCY_CODE_LENGTH = 8
    _issued, code = issue(is_code=True)
    assert re.fullmatch(r"\d{8}", code)

    settings.TENANCY_CODE_LENGTH = 3
    with pytest.raises(ImproperlyConfigured, match="TENANCY_CODE_LENGTH is 3"):
        issue(is_code=True)


def test_code_when_secret_key_is_rotated_is_taken(settings: Settings) -> None:
    """A code that was made with a key of SECRET_KEY_FALLBACKS is still good."""
    _issued, code = issue(is_code=True)
    settings.SECRET_KEY_FALLBACKS = ["older", settings.SECRET_KEY]
    settings.SECRET_KEY = "new"

    assert consume(code)


@pytest.mark.parametrize("tries", [4, 5])
def test_code_when_guessed_five_times_is_void(tries: int) -> None:
    """After five wrong codes the right one is refused too."""
    _issued, code = issue(is_code=True)
    for _ in range(tries):
        with pytest.raises(VerificationFailed):
            consume(find_wrong(code))
    assert Verification.objects.get().attempts == tries

    if tries < 5:
        assert consume(code)
    else:
        with pytest.raises(VerificationFailed, match="wrong, used or expired"):
            consume(code)


def test_token_when_wrong_in_transaction_leaves_it_usable() -> None:
    """The exception ends no caller's transaction."""
    _issued, value = issue()

    with transaction.atomic():
        with pytest.raises(VerificationFailed):
            consume("wrong")
        assert Verification.objects.exists()
        assert consume(value)


def test_token_when_transaction_fails_is_not_used_up() -> None:
    """A token is consumed together with what it allows, or not at all."""
    _issued, value = issue()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        consume(value)
        raise ZeroDivisionError

    assert consume(value)


@pytest.mark.django_db(transaction=True)
def test_code_when_wrong_is_counted_although_it_raises() -> None:
    """The try is committed before the exception leaves."""
    _issued, code = issue(is_code=True)

    with pytest.raises(VerificationFailed):
        consume(find_wrong(code))

    (attempts,) = run_at_once([lambda: Verification.objects.get().attempts])
    assert attempts == 1


def test_code_in_transaction_is_refused_untried() -> None:
    """Where the exception would undo the counting, a code is not compared at all."""
    _issued, code = issue(is_code=True)

    with transaction.atomic():
        with pytest.raises(TransactionOpen, match="try_consume"):
            consume(code)
        assert Verification.objects.get().attempts == 0
        wrong = Verification.objects.try_consume(**RESET, value=find_wrong(code))

    assert wrong is None
    assert Verification.objects.get().attempts == 1
    with transaction.atomic():
        assert Verification.objects.try_consume(**RESET, value=code)


def test_verbs_when_awaited_do_the_same() -> None:
    """Each verb has an async twin."""

    async def act() -> list[Any]:
        _issued, first = await Verification.objects.aissue(**RESET)
        taken = await Verification.objects.aconsume(**RESET, value=first)
        _issued, second = await Verification.objects.aissue(**RESET)
        return [
            taken.purpose,
            await Verification.objects.atry_consume(**RESET, value=first),
            await Verification.objects.atry_consume(**RESET, value=second) is None,
        ]

    assert async_to_sync(act)() == ["reset-password", None, False]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("purpose", ""),
        ("purpose", "Reset Password"),
        ("purpose", "sign-in"),
        ("identifier", ""),
        ("identifier", None),
        ("value_digest", "secret"),
        ("value_digest", "G" * 64),
        ("value_digest", "a" * 63),
        ("attempts", 6),
        ("attempts", -1),
        ("expires_at", "2000-01-01 00:00:00"),
    ],
)
def test_row_when_malformed_is_refused_by_database(
    column: str, value: str | int | None
) -> None:
    """A client that bypasses the models stores no malformed verification."""
    issue()
    issue(purpose="sign-in")

    with (
        pytest.raises(Error),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"UPDATE tenancy_verification SET {column} = %s"
            " WHERE purpose = 'reset-password'",
            [value],
        )

    assert Verification.objects.count() == 2


# Many at once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_code", [False, True])
def test_value_when_consumed_at_once_is_taken_once(is_code: bool) -> None:
    """Of sixteen who bring the value, one gets in."""
    _issued, value = issue(is_code=is_code)

    results = run_at_once([lambda: consume(value)] * MANY)

    kinds = [type(result) for result in results]
    assert kinds.count(Verification) == 1
    assert kinds.count(VerificationFailed) == MANY - 1


@pytest.mark.django_db(transaction=True)
def test_code_when_guessed_at_once_has_five_tries() -> None:
    """Sixteen guesses at once are five, and then the code is void."""
    _issued, code = issue(is_code=True)

    results = run_at_once([lambda: consume(find_wrong(code))] * MANY)

    assert {type(result) for result in results} == {VerificationFailed}
    assert Verification.objects.get().attempts == 5
    with pytest.raises(VerificationFailed):
        consume(code)


@pytest.mark.django_db(transaction=True)
def test_values_when_issued_at_once_leave_one() -> None:
    """Of sixteen values that are issued at once, the last is good."""
    results = run_at_once([issue] * MANY)

    taken = 0
    for _issued, value in results:
        try:
            taken += bool(consume(value))
        except VerificationFailed:
            continue
    assert taken == 1


def test_token_finds_its_row_without_using_it_up() -> None:
    """A live token finds whose it is; a code, a wrong purpose and an old one do not."""
    issued, token = issue()
    _code, digits = issue(identifier="bob@globex.example", is_code=True)
    find = Verification.objects.find_by_token

    found = find(purpose="reset-password", token=token)

    assert found == issued and found is not None
    assert (
        async_to_sync(Verification.objects.afind_by_token)(
            purpose="verify-email", token=token
        )
        is None
    )
    assert find(purpose="reset-password", token=digits) is None
    assert find(purpose="reset-password", token="\ud800") is None
    with time_machine.travel(issued.expires_at):
        assert find(purpose="reset-password", token=token) is None
    assert consume(token).pk == issued.pk
