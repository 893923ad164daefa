"""Known secrets are planted, and looked for wherever something is kept or written."""

from __future__ import annotations

import base64
import io
import logging
import pickle
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.exceptions import VerificationFailed
from tenancy.models import (
    Account,
    Invitation,
    Organization,
    Role,
    Session,
    User,
    Verification,
)
from tenancy.tokens import digest_token, make_token

pytestmark = pytest.mark.django_db

TOKENS = {
    name: f"{name}-{make_token()}"
    for name in ("access_token", "refresh_token", "id_token")
}


class Planted:
    """What was planted: the secrets, and whatever was told of them meanwhile."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.rows: list[Any] = []
        self.log = ""


@pytest.fixture
def planted(
    alice: User,
    acme: Organization,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> Planted:
    """Each kind of secret, through its verb, with every statement logged."""
    settings.TENANCY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    # Six digits stand in some time or key by chance.
    settings.TENANCY_CODE_LENGTH = 24
    found = Planted()
    caplog.set_level(logging.DEBUG)
    with CaptureQueriesContext(connection) as queries:
        _plant_account(found, alice)
        _plant_verifications(found, alice)
        _plant_session(found, alice)
        _plant_invitation(found, acme)
        call_command("rotate_account_keys", stdout=io.StringIO())
    found.log = f"{caplog.text} {list(queries)}"
    # The log has what it is searched for: statements, with their parameters.
    assert digest_token(found.secrets["session key"]) in found.log
    assert (
        'INSERT INTO "tenancy_account"'.replace('"', connection.ops.quote_name("x")[0])
        in found.log
    )
    return found


def _plant_account(found: Planted, user: User) -> None:
    found.secrets |= TOKENS
    for _ in range(2):
        account = Account.objects.link(
            user=user,
            provider="github",
            provider_account_id="1",
            **TOKENS,  # type: ignore[arg-type]  # the tokens' names only
        )
        found.rows.append(account)
    found.rows.append(Account.objects.get())


def _plant_verifications(found: Planted, user: User) -> None:
    for is_code in (False, True):
        name = f"verification, is_code={is_code}"
        for identifier in ("alice", "kept"):
            row, value = Verification.objects.issue(
                purpose="sign-in", identifier=f"{identifier}-{name}", is_code=is_code
            )
            found.secrets[f"{identifier} {name}"] = value
            found.rows.append(row)
            with pytest.raises(VerificationFailed) as caught:
                Verification.objects.consume(
                    purpose="sign-in", identifier=name, value=value
                )
            found.rows.append(caught.value)
        found.rows.append(
            Verification.objects.consume(
                purpose="sign-in",
                identifier=f"alice-{name}",
                value=found.secrets[f"alice {name}"],
            )
        )
    row, value = user.issue_email_verification()
    found.secrets["e-mail verification"] = value
    user.verify_email(value)
    found.rows += [row, user]


def _plant_session(found: Planted, user: User) -> None:
    key = found.secrets["session key"] = make_token()
    found.rows.append(
        Session.objects.create(
            key_digest=digest_token(key),
            user=user,
            expires_at=timezone.now() + timedelta(days=1),
        )
    )


def _plant_invitation(found: Planted, organization: Organization) -> None:
    token = found.secrets["invitation token"] = make_token()
    with tenancy.scope(organization):
        found.rows.append(
            Invitation.objects.create(
                email="carol@example.com",
                role=Role.objects.get(key="member"),
                token_digest=digest_token(token),
                expires_at=timezone.now() + timedelta(days=7),
            )
        )


def write_forms(secret: str) -> Iterator[str]:
    """Yield a secret in clear, hexadecimal and base64, wherever in a text it stands."""
    raw = [secret.encode()]
    padded = secret + "=" * (-len(secret) % 4)
    # A random token is base64 of its bytes.
    if len(secret) == 43:
        raw.append(base64.urlsafe_b64decode(padded))
    yield secret
    for value in raw:
        yield value.hex()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for shift in range(3):
                # The first and last characters hold bits of the neighbours too.
                yield encode(b"\0" * shift + value).decode().rstrip("=")[4:-1]


def find_secrets(text: str, secrets: dict[str, str]) -> list[str]:
    """Return the names of the secrets of which some form stands in a text."""
    low = text.lower()
    return [
        name
        for name, secret in secrets.items()
        # Hexadecimal is written in either case.
        if any(form in text or form.lower() in low for form in write_forms(secret))
    ]


def read_tables() -> str:
    """Return every column of every row of every table, by raw SQL."""
    read = []
    with tenancy.unscoped("sweep for secrets"), connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                read += [_as_text(value) for value in row]
    return "\n".join(read)


def _as_text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        return f"{raw.hex()} {raw!r}"
    return str(value)


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: f"x{secret.encode().hex().upper()}",
        lambda secret: base64.b64encode(b"a" + secret.encode()).decode(),
        lambda secret: base64.b64encode(b"ab" + secret.encode() + b"c").decode(),
        lambda secret: base64.urlsafe_b64decode(secret + "=").hex(),
        lambda secret: base64.b64encode(
            base64.urlsafe_b64decode(secret + "=")
        ).decode(),
    ],
    ids=["clear", "hex", "base64", "base64 inside", "bytes' hex", "bytes' base64"],
)
def test_search_finds_each_form(form: Any) -> None:
    """The sweep would find a secret in each of its forms."""
    secret = make_token()

    assert find_secrets(f"before {form(secret)} after", {"it": secret}) == ["it"]
    assert find_secrets(f"before {form(make_token())} after", {"it": secret}) == []


def test_secrets_are_in_no_table(planted: Planted) -> None:
    """No column of any table holds a secret."""
    tables = read_tables()

    assert find_secrets(tables, planted.secrets) == []
    # What is kept of them was read.
    assert digest_token(planted.secrets["session key"]) in tables
    assert Account.objects.get().access_token_encrypted in tables


def test_secrets_are_in_no_dump(planted: Planted) -> None:
    """No fixture of all models holds a secret."""
    output = io.StringIO()

    call_command("dumpdata", all_organizations=True, stdout=output)

    assert find_secrets(output.getvalue(), planted.secrets) == []
    assert Account.objects.get().access_token_encrypted in output.getvalue()


def test_secrets_are_in_no_log(planted: Planted) -> None:
    """No log holds a secret, at DEBUG and with every statement."""
    assert find_secrets(planted.log, planted.secrets) == []


def test_secrets_are_in_no_instance(planted: Planted) -> None:
    """No row in memory shows a secret, or carries one into a cache."""
    shown = "\n".join(
        f"{row!r} {row} {vars(row)} {pickle.dumps(row).hex()} {pickle.dumps(row)!r}"
        for row in planted.rows
    )

    assert len(planted.rows) > 10
    assert find_secrets(shown, planted.secrets) == []
