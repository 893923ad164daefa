"""The command that encrypts accounts' tokens anew."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from tenancy import encryption
from tenancy.models import Account, User
from tenancy.models.account import TOKENS

pytestmark = pytest.mark.django_db

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
LINKS = 5


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Cut(Terminal):
    """A terminal at which somebody breaks the command off at the third line."""

    lines = 0

    def write(self, text: str) -> int:
        self.lines += 1
        if self.lines == 3:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture
def accounts(alice: User, settings: Settings) -> list[Account]:
    """Accounts whose tokens have the old key, while the new one is the first."""
    settings.TENANCY_ENCRYPTION_KEYS = [OLD]
    made = [
        Account.objects.link(
            user=alice,
            provider="github",
            provider_account_id=str(number),
            access_token=f"access-{number}",
            refresh_token=f"refresh-{number}",
        )
        for number in range(LINKS)
    ]
    settings.TENANCY_ENCRYPTION_KEYS = [NEW, OLD]
    return made


def run(**options: Any) -> tuple[str, str]:
    """Return what the command prints, and what it shows meanwhile."""
    output, errors = io.StringIO(), options.pop("stderr", io.StringIO())
    call_command("rotate_account_keys", stdout=output, stderr=errors, **options)
    return output.getvalue(), errors.getvalue()


def count_current() -> int:
    """Return how many tokens have the first key."""
    return sum(
        encryption.is_current(
            getattr(account, f"{token}_encrypted"), context=account.get_context(token)
        )
        for account in Account.objects.all()
        for token in TOKENS
    )


@pytest.mark.parametrize("size", [1, 2, 500])
def test_rotation_needs_the_old_key_no_more(
    accounts: list[Account], settings: Settings, size: int
) -> None:
    """After a run the first key opens each token, and a second run finds nothing."""
    output, _errors = run(batch_size=size)

    settings.TENANCY_ENCRYPTION_KEYS = [NEW]
    stored = Account.objects.order_by("pk")
    assert output == "10 tokens were encrypted with the first key.\n"
    assert [a.access_token for a in stored] == [f"access-{n}" for n in range(LINKS)]
    assert [a.refresh_token for a in stored] == [f"refresh-{n}" for n in range(LINKS)]
    assert {a.id_token for a in stored} == {None}
    assert run()[0].startswith("0 tokens")


def test_rotation_when_cut_off_goes_on(accounts: list[Account]) -> None:
    """What is done stays done, and the next run does the rest."""
    with pytest.raises(KeyboardInterrupt):
        run(stderr=Cut(), batch_size=2)
    done = count_current()
    assert 0 < done < 2 * LINKS

    output, _errors = run()

    assert output.startswith(f"{2 * LINKS - done} tokens")
    assert count_current() == 2 * LINKS


def test_rotation_shows_progress_on_terminals_only(accounts: list[Account]) -> None:
    """A terminal has a bar, and a log has none."""
    assert run()[1] == ""

    _output, shown = run(stderr=Terminal())

    assert shown.count("\r") == LINKS
    assert f"[{'#' * 40}] 100% {LINKS}\n" in shown


def test_rotation_when_lost_key_goes_on_and_names_row(
    accounts: list[Account], settings: Settings
) -> None:
    """A token that no key opens is named at the end, and the others are done."""
    lost, moved = accounts[1], accounts[3]
    settings.TENANCY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lost.access_token = "lost"
    lost.save()
    settings.TENANCY_ENCRYPTION_KEYS = [NEW, OLD]
    moved.access_token = "moved"
    Account.objects.filter(pk=moved.pk).update(
        refresh_token_encrypted=moved.access_token_encrypted
    )

    with pytest.raises(CommandError, match="2 tokens cannot be opened") as caught:
        run(batch_size=2)

    assert caught.value.returncode == 1
    assert str(caught.value).splitlines()[1:] == [
        f"{lost.pk}: access_token",
        f"{moved.pk}: refresh_token",
    ]
    assert count_current() == 2 * LINKS - 2


@pytest.mark.parametrize("written", ["newer", None])
def test_rotation_when_site_writes_meanwhile_keeps_it(
    accounts: list[Account], settings: Settings, written: str | None
) -> None:
    """A token that the site writes after it was read is not overwritten."""
    (account, *_others) = accounts
    settings.TENANCY_ENCRYPTION_KEYS = [OLD]
    account.access_token = written
    settings.TENANCY_ENCRYPTION_KEYS = [NEW, OLD]
    newer = account.access_token_encrypted

    def write_first(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and writes:
            writes.pop()
            Account.objects.filter(pk=account.pk).update(access_token_encrypted=newer)
        return execute(sql, *rest)

    writes = [1]
    with connection.execute_wrapper(write_first):
        run()

    account.refresh_from_db()
    assert account.access_token == written
    assert count_current() == (2 * LINKS if written else 2 * LINKS - 1)


def test_rotation_when_account_goes_meanwhile_goes_on(accounts: list[Account]) -> None:
    """An account that is unlinked after it was read is passed by."""

    def delete_first(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            Account.objects.all().delete()
        return execute(sql, *rest)

    with connection.execute_wrapper(delete_first):
        output, _errors = run()

    assert output.startswith("0 tokens")


def test_rotation_without_key_is_refused(settings: Settings) -> None:
    """Without a key the command says how one is made."""
    settings.TENANCY_ENCRYPTION_KEYS = []

    with pytest.raises(CommandError, match=r"Fernet\.generate_key"):
        run()


def test_rotation_of_empty_batches_is_refused(settings: Settings) -> None:
    """A batch has at least one account."""
    with pytest.raises(CommandError, match="'--batch-size' is 0"):
        run(batch_size=0)
