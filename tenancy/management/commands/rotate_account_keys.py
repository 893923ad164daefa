from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    OutputWrapper,
)
from django.db import DEFAULT_DB_ALIAS, connections

from tenancy import encryption
from tenancy.exceptions import DecryptionFailed
from tenancy.models.account import TOKENS, Account

BAR_WIDTH = 40


class Command(BaseCommand):
    """Encrypt the tokens of accounts anew, with the first key."""

    help = (
        "Encrypts every account's tokens with the first of TENANCY_ENCRYPTION_KEYS. "
        "The site may go on meanwhile. What has the first key already is left alone, "
        "so that a run that was stopped is taken up by the next."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database and --batch-size."""
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The alias of the database. Defaults to "default".',
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=500,
            help="How many accounts are read at once. Defaults to 500.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate each account's tokens, and name those that no key opens.

        Raises:
            CommandError: there is no key, the batches are empty, or a token cannot be
                opened; the others are done then.
        """
        alias, size = options["database"], options["batch_size"]
        if size < 1:
            raise CommandError(f"'--batch-size' is {size!r}. Pass 1 or more.")
        try:
            encryption.load_keys()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        bar = _ProgressBar(self.stderr, Account.objects.using(alias).count())
        lost, rotated = [], 0
        for account in _read_accounts(alias, size):
            for token in TOKENS:
                try:
                    rotated += _rotate(account, token, alias)
                except DecryptionFailed:
                    lost.append(f"{account.pk}: {token}")
            bar.advance()
        bar.end()
        self.stdout.write(f"{rotated} tokens were encrypted with the first key.")
        if lost:
            raise CommandError(
                f"{len(lost)} tokens cannot be opened. Add the lost key to the end of "
                "TENANCY_ENCRYPTION_KEYS and run 'rotate_account_keys' again, or let "
                "the users link these accounts anew:\n" + "\n".join(lost)
            )


def _read_accounts(alias: str, size: int) -> Iterator[Account]:
    """Yield the accounts in the order of their keys, a batch at a time."""
    rows = Account.objects.using(alias).order_by("pk")
    batch = list(rows[:size])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:size])


def _rotate(account: Account, token: str, alias: str) -> bool:
    """Encrypt a token anew, and return whether it was; a newer one is met again."""
    column, context = f"{token}_encrypted", account.get_context(token)
    rows = Account.objects.using(alias).filter(pk=account.pk)
    ciphertext = getattr(account, column)
    while ciphertext and not encryption.is_current(ciphertext, context=context):
        anew = encryption.rotate(ciphertext, context=context)
        if rows.filter(**{column: ciphertext}).update(**{column: anew}):
            return True
        # The site wrote another one meanwhile, or removed the account.
        ciphertext = rows.values_list(column, flat=True).first()
    return False


class _ProgressBar:
    """A line on a terminal that fills; nothing elsewhere."""

    def __init__(self, stream: OutputWrapper, total: int) -> None:
        self._stream = stream if stream.isatty() else None
        self._total = total
        self._done = 0

    def advance(self) -> None:
        """Show that one more is done."""
        self._done += 1
        if self._stream is None:
            return
        # Rows that were added meanwhile are more than all.
        part = min(1.0, self._done / max(self._total, 1))
        bar = "#" * int(part * BAR_WIDTH)
        self._stream.write(
            f"\r[{bar:<{BAR_WIDTH}}] {part:4.0%} {self._done}", str, ending=""
        )
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._stream is not None and self._done:
            self._stream.write("", str)
