"""Secrets that are handed out once, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets

TOKEN_BYTES = 32


def make_token() -> str:
    """Return a secret of 256 random bits, fit for an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest_token(token: str) -> str:
    """Return what is stored of a random secret: its SHA-256, in hexadecimal.

    A random secret of 256 bits needs no salt and no slow hash (OWASP, "Session
    Management"): there is nothing to guess from. Short codes do: see Verification.
    """
    return hashlib.sha256(token.encode()).hexdigest()
