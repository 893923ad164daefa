"""Secrets that wait in a session, and are unreadable where sessions are stored.

The link of a mail brings a token, which waits in the browser's session for the form
that follows. Whoever reads the sessions' table, a dump or a cache must not find it.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

Session = MutableMapping[str, Any] | Any  # A SessionBase, or a dict in its stead.


@sensitive_variables()
def seal(session: Session, name: str, secret: str) -> None:
    """Keep a secret in a session, encrypted by a key that follows from SECRET_KEY.

    Args:
        session (SessionBase): the request's, with any SESSION_ENGINE.
        name (str): the key under which it is kept.
        secret (str): such as a token; it has no limit.
    """
    session[name] = _load_cipher().encrypt(f"{name}\0{secret}".encode()).decode()


@sensitive_variables()
def unseal(session: Session, name: str) -> str | None:
    """Return the secret that a session keeps under a name.

    Args:
        session (SessionBase): the request's.
        name (str): what seal() was given.
    Returns:
        str | None: None where there is none, or SECRET_KEY and its fallbacks are
            others by now.
    """
    sealed = session.get(name)
    if not isinstance(sealed, str):
        return None
    try:
        text = _load_cipher().decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None
    # What was sealed under another name is of another use.
    sealed_as, _separator, secret = text.partition("\0")
    return secret if sealed_as == name else None


def _load_cipher() -> MultiFernet:
    return _make_cipher((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=4)
def _make_cipher(keys: tuple[str | bytes, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(key: str | bytes) -> bytes:
    digest = salted_hmac("tenancy.seals", b"", secret=key, algorithm="sha256").digest()
    return urlsafe_b64encode(digest)
