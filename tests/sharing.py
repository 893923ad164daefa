"""Rows made once for many tests: those of a module that ask for the same fixtures.

Making two organizations by their own verb takes longer than most tests do. A fixture of
``@share`` is therefore built in a transaction of its own, and each test runs in a
savepoint of it, with copies of the objects. What a test does to either is gone at its
end, as ever. Rows are seen by no test that does not ask for them; where tests commit,
each has rows of its own.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ParamSpec, TypeVar

import pytest
from django.db import connection, transaction

P = ParamSpec("P")
R = TypeVar("R")
Key = tuple[str, frozenset[str]]


@dataclass(frozen=True)
class Build:
    """What makes the rows of a fixture, and the fixtures that it needs."""

    make: Callable[..., Any]
    needed: tuple[str, ...]


def share(build: Callable[P, R]) -> Callable[P, R]:
    """Make a fixture of rows that tests share.

    Args:
        build (callable): makes the rows and returns something that can be copied. Its
            arguments are shared fixtures, or ``db``.
    """
    needed = list(inspect.signature(build).parameters.values())
    own = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(build)
    def give(*, request: pytest.FixtureRequest, **values: Any) -> Any:
        if request.fixturename in held.values:
            return held.copy(str(request.fixturename))
        return build(**values)  # type: ignore[call-arg]  # by name, as pytest does

    give.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by pytest
        [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in needed), own]
    )
    made = Build(build, tuple(one.name for one in needed))
    give.build = made  # type: ignore[attr-defined]  # read by find_builds()
    return pytest.fixture(give)


class Held:
    """The transaction beneath those of the tests, and what was built in it."""

    def __init__(self) -> None:
        self.key: Key | None = None
        self.values: dict[str, Any] = {}
        self.copies: dict[int, Any] = {}

    def hold(self, key: Key | None, builds: dict[str, Build]) -> None:
        """Have what a test asks for, and nothing else, before it begins."""
        self.copies = {}
        if self.key is not None and self.key == key and not is_lost():
            if connection.vendor == "sqlite":
                # SQLite puts it back where a transaction ends, not a savepoint.
                connection.cursor().execute("PRAGMA defer_foreign_keys = OFF")
            return
        self.drop()
        if key is None:
            return
        # Deferred keys stay to be looked at: Django's check would put off the others.
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.key = key
        try:
            for name, build in builds.items():
                values = {"db": None, **self.values}
                values = {needed: values[needed] for needed in build.needed}
                self.values[name] = build.make(**values)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Undo what was built."""
        if self.key is None:
            return
        self.key = None
        self.values.clear()
        self.copies.clear()
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    def copy(self, name: str) -> Any:
        """Return the test's own copy: one of each object, whatever leads to it."""
        return copy.deepcopy(self.values[name], self.copies)


held = Held()


def is_lost() -> bool:
    """Return whether a test closed the connection, and what was built is gone."""
    return connection.closed_in_transaction or connection.needs_rollback


def find_key(item: pytest.Item | None) -> Key | None:
    """Return what a test shares, and with which tests: None if it shares nothing."""
    if not isinstance(item, pytest.Function) or is_committing(item):
        return None
    names = frozenset(find_builds(item))
    return (str(item.path), names) if names else None


def is_committing(item: pytest.Function) -> bool:
    """Return whether a test, or a fixture of many tests, commits."""
    marker = item.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        return True
    if {"transactional_db", "live_server"} & set(item.fixturenames):
        return True
    return any(
        fixture.scope in ("class", "module", "package")
        and "django_db_blocker" in fixture.argnames
        and fixture.baseid
        for name in item.fixturenames
        for fixture in item._fixtureinfo.name2fixturedefs.get(name, ())
    )


def find_builds(item: pytest.Function) -> dict[str, Build]:
    """Return the shared fixtures that a test asks for, those they need before them."""
    found: dict[str, Build] = {}

    def find(name: str) -> None:
        fixtures = item._fixtureinfo.name2fixturedefs.get(name)
        build = getattr(fixtures[-1].func, "build", None) if fixtures else None
        if build is None or name in found:
            return
        for needed in build.needed:
            find(needed)
        found[name] = build

    for name in item.fixturenames:
        find(name)
    return found


def bring_together(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return tests with those of a module that share side by side.

    The order of the modules stays, and that of the tests that share the same.
    """
    ordered: list[pytest.Item] = []
    for _path, group in groupby(items, key=lambda item: item.path):
        by_key: dict[Key | None, list[pytest.Item]] = {}
        for item in group:
            by_key.setdefault(find_key(item), []).append(item)
        ordered += [item for together in by_key.values() for item in together]
    return ordered
