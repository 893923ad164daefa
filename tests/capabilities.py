"""What a database must have for some tests, judged before any is run.

A test marked ``@pytest.mark.needs("nested unions")`` is no test of a database without
them: it is left out there, neither passed nor skipped. The run says how many were and
why, ``tests.run`` fails when no database of a whole run has what a test needs, and
``test_capabilities.py`` states what each database has, so that a wrong answer is found.

A browser is the only part of a machine that is treated so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import django
import pytest
from django.db import connection

from tests.run import find_axe


@dataclass(frozen=True)
class Capability:
    """What is needed, and the sentence that says why it is not there."""

    reason: str
    is_there: Callable[[], bool]


CAPABILITIES = {
    "nested unions": Capability(
        "The database does not take a SELECT of a union in parentheses.",
        lambda: connection.vendor != "sqlite",
    ),
    "content security policy": Capability(
        "Django 5.2 has no content security policy.",
        lambda: django.VERSION >= (6, 0),
    ),
    "deletion by the database": Capability(
        "Django 5.2 has no on_delete of the database's own.",
        lambda: django.VERSION >= (6, 1),
    ),
    "browser": Capability(
        "The machine has no chromium and chromium-driver.",
        lambda: bool(shutil.which("chromium") and shutil.which("chromedriver")),
    ),
    "axe": Capability(
        "The machine has no axe-core, which tests/run.py has from npm.",
        lambda: find_axe().exists(),
    ),
    # Chromium takes more time than the site, and is told nothing of the database. The
    # tests of pages by Django's client are run on each.
    "one run a lane": Capability(
        "A browser's tests are run on SQLite.",
        lambda: connection.vendor == "sqlite",
    ),
}

OF_FIXTURES = {
    "open_browser": {"browser", "one run a lane"},
}
"""What every test needs that asks for a fixture, by the fixture's name."""


def find_needs(item: pytest.Item) -> set[str]:
    """Return the capabilities that a test asks for.

    Raises:
        UsageError: one of them is not in the list.
    """
    names = getattr(item, "fixturenames", ())
    needs = {one for name in names for one in OF_FIXTURES.get(name, ())}
    for mark in item.iter_markers("needs"):
        needs.update(mark.args)
    if unknown := needs - set(CAPABILITIES):
        raise pytest.UsageError(
            f"'{item.nodeid}' needs {unknown}, of which tests/capabilities.py knows"
            " nothing. Describe it there."
        )
    return needs


def find_missing() -> set[str]:
    """Return the capabilities that are not there."""
    return {name for name, one in CAPABILITIES.items() if not one.is_there()}


def leave_out(items: list[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """Take out of the tests those that need what is missing; return them by it."""
    missing = find_missing()
    left: dict[str, list[pytest.Item]] = {}
    kept = []
    for item in items:
        if lacking := sorted(find_needs(item) & missing):
            left.setdefault(lacking[0], []).append(item)
        else:
            kept.append(item)
    items[:] = kept
    return left
