"""Primary keys: UUIDs of version 7 (RFC 9562, section 5.7)."""

from __future__ import annotations

import secrets
import sys
import time
import uuid

if sys.version_info >= (3, 14):
    from uuid import uuid7 as make_id
else:

    def make_id() -> uuid.UUID:
        """Return a UUID that sorts by its time and cannot be guessed.

        The twelve bits behind the milliseconds hold their fraction (method 3 of
        RFC 9562, section 6.2), the last 62 are random.

        Returns:
            uuid.UUID: of version 7.
        """
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        fraction = (rest << 12) // 1_000_000
        value = (milliseconds & 0xFFFFFFFFFFFF) << 80
        value |= 0x7 << 76 | fraction << 64
        value |= 0b10 << 62 | secrets.randbits(62)
        return uuid.UUID(int=value)


__all__ = ["make_id"]
