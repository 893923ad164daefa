"""Keys that follow from the seed."""

from __future__ import annotations

import random
import uuid


def make_id(source: random.Random) -> uuid.UUID:
    """Return a primary key."""
    return uuid.UUID(int=source.getrandbits(128), version=4)


def make_digest(source: random.Random) -> str:
    """Return what looks like a secret's digest, of which there is no secret."""
    return f"{source.getrandbits(256):064x}"
