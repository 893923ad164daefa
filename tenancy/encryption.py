"""Secrets that the site needs back: encrypted, each bound to its row and column."""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from tenancy import conf
from tenancy.exceptions import DecryptionFailed

_SEPARATOR = "\0"


@sensitive_variables()
def encrypt(text: str, *, context: str) -> str:
    """Return a text encrypted with the first key, and bound to a place.

    Args:
        text (str): the secret.
        context (str): where it is kept: the table, the column and the row's key. It
            is no secret, and has no NUL character.
    Raises:
        ImproperlyConfigured: TENANCY_ENCRYPTION_KEYS is missing or malformed.
    """
    bound = f"{context}{_SEPARATOR}{text}"
    return load_keys().encrypt(bound.encode()).decode()


@sensitive_variables()
def decrypt(ciphertext: str, *, context: str) -> str:
    """Return the text of a ciphertext, whichever of the keys it was made with.

    Args:
        ciphertext (str): what encrypt() returned.
        context (str): where it was found.
    Raises:
        DecryptionFailed: no key opens it, it was changed, or it was made for another
            place.
        ImproperlyConfigured: TENANCY_ENCRYPTION_KEYS is missing or malformed.
    """
    return _open(load_keys(), ciphertext, context)


@sensitive_variables()
def rotate(ciphertext: str, *, context: str) -> str:
    """Return a ciphertext of the same text, made with the first key.

    Args:
        ciphertext (str): what encrypt() returned.
        context (str): where it was found.
    Raises:
        DecryptionFailed: as for decrypt().
        ImproperlyConfigured: TENANCY_ENCRYPTION_KEYS is missing or malformed.
    """
    return encrypt(decrypt(ciphertext, context=context), context=context)


def is_current(ciphertext: str, *, context: str) -> bool:
    """Return whether the first key opens a ciphertext at its place.

    Args:
        ciphertext (str): what encrypt() returned.
        context (str): where it was found.
    Raises:
        ImproperlyConfigured: TENANCY_ENCRYPTION_KEYS is missing or malformed.
    """
    load_keys()
    try:
        _open(_make_cipher(tuple(conf.encryption_keys())[:1]), ciphertext, context)
    except DecryptionFailed:
        return False
    return True


@sensitive_variables()
def load_keys() -> MultiFernet:
    """Return the cipher of TENANCY_ENCRYPTION_KEYS.

    Raises:
        ImproperlyConfigured: the setting is empty, a single text, or holds what is no
            key of Fernet.
    """
    keys = conf.encryption_keys()
    if not keys or isinstance(keys, (str, bytes)):
        raise ImproperlyConfigured(
            "TENANCY_ENCRYPTION_KEYS is no list of keys. Make a key in 'manage.py "
            "shell' with cryptography.fernet.Fernet.generate_key().decode(), keep it "
            "outside the code, and set the list to it."
        )
    try:
        return _make_cipher(tuple(keys))
    except (ValueError, TypeError):
        # The cause would show the key.
        raise ImproperlyConfigured(
            "TENANCY_ENCRYPTION_KEYS holds what is no key. Make each with "
            "cryptography.fernet.Fernet.generate_key().decode()."
        ) from None


@lru_cache(maxsize=8)
def _make_cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


@sensitive_variables()
def _open(cipher: MultiFernet, ciphertext: str, context: str) -> str:
    try:
        bound = cipher.decrypt(ciphertext.encode()).decode()
    except (InvalidToken, UnicodeError):
        bound = ""
    found, separator, text = bound.partition(_SEPARATOR)
    if not separator or found != context:
        raise DecryptionFailed(
            "An encrypted value cannot be opened: its key is not among "
            "TENANCY_ENCRYPTION_KEYS, or it was changed, or moved from another row or "
            "column. Add the lost key to the end of the list, or remove the value."
        )
    return text
