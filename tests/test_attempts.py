from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from pytest_django import Settings

from tenancy.attempts import return_attempt, sign_in_limits, take_attempt


@pytest.fixture(autouse=True)
def _empty() -> None:
    cache.clear()


def test_attempts_when_limit_is_passed_are_refused() -> None:
    """The third of two is refused, and another subject's first is not."""
    taken = [take_attempt({"a": 2}) for _ in range(3)]

    assert taken == [True, True, False]
    assert take_attempt({"b": 2})


def test_attempt_when_one_subject_is_full_is_refused() -> None:
    """Each subject is counted, and each must have room."""
    take_attempt({"a": 1})

    assert not take_attempt({"a": 1, "b": 1})
    assert not take_attempt({"b": 1})


def test_returned_attempt_does_not_count() -> None:
    """What is returned can be taken again; what was never taken changes nothing."""
    return_attempt({"a": 1})

    for _ in range(3):
        assert take_attempt({"a": 1})
        return_attempt({"a": 1})


def test_attempts_are_forgotten_after_period(settings: Settings) -> None:
    """TENANCY_SIGN_IN_PERIOD after the first, all is as before."""
    settings.TENANCY_SIGN_IN_PERIOD = timedelta(minutes=1)
    with time_machine.travel("2026-11-23T10:00:00Z", tick=False) as traveller:
        assert [take_attempt({"a": 1}) for _ in range(2)] == [True, False]
        traveller.shift(timedelta(seconds=61))

        assert take_attempt({"a": 1})


def test_sign_in_limits_do_not_tell_case_apart() -> None:
    """An address counts as itself, however it is written."""
    assert sign_in_limits(" Alice@Acme.example", "::1") == sign_in_limits(
        "alice@acme.example", "::1"
    )


def test_attempts_without_a_cache_are_not_limited(settings: Settings) -> None:
    """A cache that keeps nothing counts nothing, and fails nowhere."""
    backend = "django.core.cache.backends.dummy.DummyCache"
    settings.CACHES = {"default": {"BACKEND": backend}}

    assert all(take_attempt({"a": 1}) for _ in range(3))
