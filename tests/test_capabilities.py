from __future__ import annotations

import django
import pytest
from django.db import connection

from tests.capabilities import CAPABILITIES, find_missing, find_needs

OF_DATABASES = set(CAPABILITIES) - {"browser", "axe"}


def list_capabilities() -> set[str]:
    """Return what a database of this kind and version is known to have."""
    known = {
        "sqlite": {"one run a lane"},
        "postgresql": {"nested unions"},
        "mysql": {"nested unions"},
    }[connection.vendor]
    if django.VERSION >= (6, 0):
        known |= {"content security policy"}
    if django.VERSION >= (6, 1):
        known |= {"deletion by the database"}
    return known


def test_capabilities_are_judged_rightly(db: None) -> None:
    """What is found missing is what a database of this kind is known to lack."""
    assert find_missing() & OF_DATABASES == OF_DATABASES - list_capabilities()


@pytest.mark.parametrize("name", CAPABILITIES)
def test_reason_is_a_sentence_about_what_is_missing(name: str) -> None:
    """The closing lines of a run read it."""
    assert CAPABILITIES[name].reason.endswith(".")


def test_need_of_what_is_unknown_is_an_error(request: pytest.FixtureRequest) -> None:
    """A name that is spelt wrongly does not leave a test out, or in."""
    request.node.add_marker(pytest.mark.needs("nestedunions"))

    with pytest.raises(pytest.UsageError, match="knows nothing. Describe it there"):
        find_needs(request.node)
