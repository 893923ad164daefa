"""How often somebody may try: failed sign-ins, sign-ups, mails that are asked for.

The counts stand in Django's cache "default", for TENANCY_SIGN_IN_PERIOD from the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from django.core.cache import cache

from tenancy import conf
from tenancy.tokens import digest_token

FACTOR = 5
"""How many times as much is let pass by one address alone, of whichever kind."""


def take_attempt(limits: Mapping[str, int]) -> bool:
    """Count one try for each subject, before it is made.

    Args:
        limits (Mapping[str, int]): how many are allowed, by subject.
    Returns:
        bool: whether no subject has had more than allowed.
    """
    counts = {subject: _count(subject) for subject in limits}
    return all(counts[subject] <= limit for subject, limit in limits.items())


def return_attempt(limits: Mapping[str, int]) -> None:
    """Take a try back that went well; it does not count."""
    for subject in limits:
        # One that the cache has forgotten meanwhile is none.
        with contextlib.suppress(ValueError):
            cache.decr(_key(subject))


def sign_in_limits(address: str, ip_address: str | None) -> dict[str, int]:
    """Return what a sign-in counts for: the two addresses together, and each alone.

    The pair's limit keeps one client from guessing; those of each alone keep many
    clients from it, and one from trying many people.
    """
    limit, address = conf.sign_in_attempts(), address.strip().lower()
    return {
        f"sign-in:pair:{ip_address}:{address}": limit,
        f"sign-in:e-mail:{address}": limit * FACTOR,
        f"sign-in:ip:{ip_address}": limit * FACTOR,
    }


def _count(subject: str) -> int:
    key, seconds = _key(subject), int(conf.sign_in_period().total_seconds())
    cache.add(key, 0, seconds)
    try:
        return cache.incr(key)
    except ValueError:  # It expired between the two calls.
        cache.set(key, 1, seconds)
        return 1


def _key(subject: str) -> str:
    # Not the subject itself: a cache's keys are shown in many places.
    return f"tenancy:attempts:{digest_token(subject)}"
