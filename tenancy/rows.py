"""Fetched rows, which are seen only in the scope that fetched them.

A queryset keeps its rows, and an iterator is in the middle of them, wherever they are
carried to: a module's attribute, another thread, a block after the scope. Those of a
tenant model look themselves. Those of a global model are watched, since tenant rows may
have counted, selected or found them: a statement about tenant rows that is sent
meanwhile is noted, and what no such statement fetched is left as Django has it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet

from tenancy.context import Scope, current_scope, tenant_statements
from tenancy.exceptions import CrossOrganization


class ScopedCache:
    """A queryset whose fetched rows are seen only in the scope that fetched them."""

    # One attribute, since threads may share a queryset, such as a module's.
    _held: tuple[Any, Scope | None] | None = None

    @property
    def _result_cache(self) -> Any:
        """The fetched rows, or None where another scope fetched them.

        Django reads this attribute before it makes SQL, where the scope is checked.
        """
        held = self._held
        if held is None:
            return None
        rows, filled_in = held
        scope = current_scope()
        if scope is not None and scope is filled_in:
            # As nearly always, and read several times for each query.
            return rows
        return rows if is_seen(filled_in, scope) else None

    @_result_cache.setter
    def _result_cache(self, rows: Any) -> None:
        self._held = None if rows is None else (rows, current_scope())

    def _fetch_all(self) -> None:
        held = self._held
        if held is not None and not is_seen(held[1], current_scope()):
            self._held = None
            self._prefetch_done = False
        # The queryset class that follows in the method resolution order has it.
        super()._fetch_all()  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # Django copies what stands in the instance, but for the rows.
        if self._held is not None:
            memo[id(self._held)] = None
        # As above; a raw one has none, and is copied as any object is.
        deepcopy = getattr(super(), "__deepcopy__", None)
        return _copy(self, memo) if deepcopy is None else deepcopy(memo)


def _copy(one: Any, memo: dict[int, Any]) -> Any:
    made = object.__new__(type(one))
    memo[id(one)] = made
    made.__dict__.update(copy.deepcopy(one.__dict__, memo))
    return made


def is_seen(filled_in: Scope | None, scope: Scope | None) -> bool:
    """Return whether what one scope fetched is what the other would fetch."""
    if scope is None or filled_in is None:
        return False
    return scope is filled_in or filled_in.reaches_same_rows(scope)


def require_unmoved(scope: Scope | None, model: type[Model] | None) -> None:
    """Refuse to go on with an iterator that another scope has started.

    Raises:
        CrossOrganization: the active scope reaches other rows, or there is none.
    """
    current = current_scope()
    if current is not scope and not is_seen(scope, current):
        raise CrossOrganization(
            f"An iterator over {getattr(model, '__name__', model)} that was started in "
            f"{scope or 'no scope'} was continued outside it. Consume it in the scope "
            "that started it."
        )


def watch_global_rows() -> None:
    """Watch the querysets of every model that is no tenant model."""
    plain: Any = QuerySet  # Any: what Django keeps private is not typed.
    raw: Any = RawQuerySet
    if hasattr(plain._fetch_all, "__wrapped__"):
        return
    plain._fetch_all = _watch_fetch(plain._fetch_all)
    raw._fetch_all = _watch_fetch(raw._fetch_all)
    plain._iterator = _watch_iterator(plain._iterator)
    plain.aiterator = _watch_async_iterator(plain.aiterator)
    raw.iterator = _watch_iterator(raw.iterator)


class Watched(ScopedCache):
    """Mixed into the class of a queryset whose rows depend on tenant rows."""

    watched: type[Any]
    """The class as it was."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A class that is made at run time has no name by which it is found.
        return _make_watched, (self.watched,), self.__getstate__()


def _find_watched(kind: type[Any]) -> type[Any]:
    """Return the class of a queryset's with Watched, made once."""
    found = _watched.get(kind)
    if found is None:
        found = type(kind.__name__, (Watched, kind), {"watched": kind})
        _watched[kind] = found
    return found


_watched: dict[type[Any], type[Any]] = {}  # By the class as it was.


def _make_watched(kind: type[Any]) -> Any:
    return object.__new__(_find_watched(kind))


def _watch_fetch(fetch: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(fetch)
    def _fetch_all(self: Any) -> None:
        if isinstance(self, ScopedCache):
            fetch(self)
            return
        # As _noting() does, at the cost of a part of it: each query comes by.
        noted: list[None] = []
        token = tenant_statements.set(noted)
        try:
            fetch(self)
        finally:
            tenant_statements.reset(token)
        if noted:
            _pass_on(noted)
            # In no scope no statement has read tenant rows.
            if current_scope() is not None:
                rows = self.__dict__.pop("_result_cache")
                self.__class__ = _find_watched(type(self))
                self._result_cache = rows

    return _fetch_all


def _pass_on(noted: list[None]) -> None:
    outer = tenant_statements.get()
    if noted and outer is not None:
        outer.append(None)


@contextmanager
def _noting() -> Iterator[list[None]]:
    """Give a list in which each statement about tenant rows is noted."""
    noted: list[None] = []
    token = tenant_statements.set(noted)
    try:
        yield noted
    finally:
        tenant_statements.reset(token)
        _pass_on(noted)


def _watch_iterator(iterate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(iterate)
    def iterator(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        rows = iter(iterate(self, *args, **kwargs))
        if isinstance(self, ScopedCache):
            yield from rows
            return
        scope = current_scope()
        with _noting() as noted:
            first = next(rows, rows)
        if first is rows:
            return
        yield first
        for row in rows:
            if noted:
                require_unmoved(scope, self.model)
            yield row

    return iterator


def _watch_async_iterator(iterate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(iterate)
    async def aiterator(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        rows = aiter(iterate(self, *args, **kwargs))
        scope = current_scope()
        with _noting() as noted:
            first = await anext(rows, rows)
        if first is rows:
            return
        yield first
        async for row in rows:
            # A tenant model's looks by itself.
            if noted and not isinstance(self, ScopedCache):
                require_unmoved(scope, self.model)
            yield row

    return aiterator
