from __future__ import annotations

import base64
import traceback

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tenancy.encryption import decrypt, encrypt, is_current, rotate
from tenancy.exceptions import DecryptionFailed

PLACE = "tenancy_account.access_token:1"


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> list[str]:
    """Two keys, of which the first encrypts."""
    made = [Fernet.generate_key().decode() for _ in range(2)]
    settings.TENANCY_ENCRYPTION_KEYS = made
    return made


@pytest.mark.parametrize("text", ["gho_secret", "", "naïve ✓", "a\0b"])
def test_text_when_encrypted_comes_back(text: str) -> None:
    """What was encrypted is decrypted at the same place."""
    ciphertext = encrypt(text, context=PLACE)

    assert decrypt(ciphertext, context=PLACE) == text
    assert ciphertext != encrypt(text, context=PLACE)


@pytest.mark.parametrize(
    "place",
    [
        "tenancy_account.access_token:2",
        "tenancy_account.refresh_token:1",
        "tenancy_account.access_token:11",
        "",
    ],
)
def test_ciphertext_when_moved_is_refused(place: str) -> None:
    """A ciphertext of another row or column opens nowhere else."""
    ciphertext = encrypt("gho_secret", context=PLACE)

    with pytest.raises(DecryptionFailed, match="moved from another row or column"):
        decrypt(ciphertext, context=place)


def test_ciphertext_when_changed_is_refused() -> None:
    """A change of any byte is found, and nothing is returned."""
    raw = bytearray(base64.urlsafe_b64decode(encrypt("gho_secret", context=PLACE)))

    for index in range(len(raw)):
        changed = bytearray(raw)
        changed[index] ^= 1
        with pytest.raises(DecryptionFailed):
            decrypt(base64.urlsafe_b64encode(changed).decode(), context=PLACE)


@pytest.mark.parametrize("text", ["", "gho_secret", "ß", "gAAAA"])
def test_ciphertext_when_none_is_refused(text: str) -> None:
    """What never was a ciphertext is no clear text either."""
    with pytest.raises(DecryptionFailed):
        decrypt(text, context=PLACE)


def test_key_when_lost_is_told(settings: Settings) -> None:
    """Without its key a value raises, with one message and no secret."""
    ciphertext = encrypt("gho_secret", context=PLACE)
    settings.TENANCY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(DecryptionFailed, match="its key is not among") as caught:
        decrypt(ciphertext, context=PLACE)

    assert "gho_secret" not in "".join(traceback.format_exception(caught.value))


def test_rotation_when_key_is_new_makes_current(
    settings: Settings, keys: list[str]
) -> None:
    """A rotated value needs the first key only."""
    ciphertext = encrypt("gho_secret", context=PLACE)
    new = Fernet.generate_key().decode()
    settings.TENANCY_ENCRYPTION_KEYS = [new, *keys]
    assert decrypt(ciphertext, context=PLACE) == "gho_secret"
    assert not is_current(ciphertext, context=PLACE)

    rotated = rotate(ciphertext, context=PLACE)

    settings.TENANCY_ENCRYPTION_KEYS = [new]
    assert is_current(rotated, context=PLACE)
    assert decrypt(rotated, context=PLACE) == "gho_secret"
    with pytest.raises(DecryptionFailed):
        rotate(ciphertext, context=PLACE)


@pytest.mark.parametrize("value", [None, [], "one-text", b"bytes"])
def test_setting_when_missing_says_how(settings: Settings, value: object) -> None:
    """There is no default key, and the error says how one is made."""
    settings.TENANCY_ENCRYPTION_KEYS = value

    for use in (encrypt, decrypt, rotate, is_current):
        with pytest.raises(ImproperlyConfigured, match=r"Fernet\.generate_key"):
            use("text", context=PLACE)


def test_setting_when_unset_says_how(settings: Settings) -> None:
    """Nothing is encrypted with a key that nobody chose."""
    del settings.TENANCY_ENCRYPTION_KEYS

    with pytest.raises(ImproperlyConfigured, match=r"manage\.py shell"):
        encrypt("text", context=PLACE)


@pytest.mark.parametrize("key", ["not-a-key-of-fernet", "ß"])
def test_setting_when_malformed_keeps_the_key_secret(
    settings: Settings, keys: list[str], key: object
) -> None:
    """A malformed key is told of, and not shown."""
    settings.TENANCY_ENCRYPTION_KEYS = [keys[0], key]

    with pytest.raises(ImproperlyConfigured, match="holds what is no key") as caught:
        encrypt("text", context=PLACE)

    assert str(key) not in "".join(traceback.format_exception(caught.value))
