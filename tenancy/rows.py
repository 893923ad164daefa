"""Fetched rows, which are seen only in the scope that fetched them.

A queryset keeps its rows, and an iterator is in the middle of them, wherever they are
carried to: a module's attribute, another thread, a block after the scope. Tenant rows
may have counted, selected or found those of a global model as well: a statement about
tenant rows that is sent meanwhile is noted, and what no such statement fetched is left
as Django has it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Token
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet

from tenancy.context import Scope, current_scope, tenant_statements
from tenancy.exceptions import CrossOrganization


class _Held:
    """Fetched rows, and the scope that fetched them."""

    __slots__ = ("rows", "scope")

    def __init__(self, rows: Any, scope: Scope | None) -> None:
        self.rows = rows
        self.scope = scope

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Return nothing: as with Django's, a copied queryset has no rows."""


class ScopedCache:
    """A queryset whose fetched rows are seen only in the scope that fetched them."""

    # One attribute, since threads may share a queryset, such as a module's.
    _held: _Held | None = None

    @property
    def _result_cache(self) -> Any:
        """The fetched rows, or None where another scope fetched them.

        Django reads this attribute before it makes SQL, where the scope is checked.
        """
        held = self._held
        if held is None:
            return None
        scope = current_scope()
        if scope is not None and scope is held.scope:
            # As nearly always, and read several times for each query.
            return held.rows
        return held.rows if _is_seen(held.scope, scope) else None

    @_result_cache.setter
    def _result_cache(self, rows: Any) -> None:
        self._held = None if rows is None else _Held(rows, current_scope())

    def _fetch_all(self) -> None:
        held = self._held
        if held is not None and not _is_seen(held.scope, current_scope()):
            self._held = None
            self._prefetch_done = False
        # The queryset class that follows in the method resolution order has it.
        super()._fetch_all()  # type: ignore[misc]


def _is_seen(filled_in: Scope | None, scope: Scope | None) -> bool:
    """Return whether what one scope fetched is what the other would fetch."""
    if scope is None or filled_in is None:
        return False
    return scope is filled_in or filled_in.reaches_same_rows(scope)


def _require_unmoved(scope: Scope | None, model: type[Model] | None) -> None:
    """Refuse to go on with an iterator that another scope has started.

    Raises:
        CrossOrganization: the active scope reaches other rows, or there is none.
    """
    current = current_scope()
    if current is not scope and not _is_seen(scope, current):
        raise CrossOrganization(
            f"An iterator over {getattr(model, '__name__', model)} that was started in "
            f"{scope or 'no scope'} was continued outside it. Consume it in the scope "
            "that started it."
        )


def watch_rows() -> None:
    """Watch iterators of every model, and what querysets of global models fetch."""
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
        with _Noting() as noted:
            fetch(self)
        # In no scope no statement has read tenant rows.
        if noted and current_scope() is not None:
            rows = self.__dict__.pop("_result_cache")
            self.__class__ = _find_watched(type(self))
            self._result_cache = rows

    return _fetch_all


class _Noting:
    """A block that gives a list, in which each statement about tenant rows is noted.

    A class, which costs less than a generator: each query comes by.
    """

    __slots__ = ("noted", "token")

    def __enter__(self) -> list[None]:
        self.noted: list[None] = []
        self.token: Token[list[None] | None] = tenant_statements.set(self.noted)
        return self.noted

    def __exit__(self, *_error: object) -> None:
        tenant_statements.reset(self.token)
        outer = tenant_statements.get()
        if self.noted and outer is not None:
            outer.append(None)


def _watch_iterator(iterate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(iterate)
    def iterator(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        rows = iter(iterate(self, *args, **kwargs))
        scope = current_scope()
        with _Noting() as noted:
            first = next(rows, rows)
        if first is rows:
            return
        yield first
        for row in rows:
            if noted:
                _require_unmoved(scope, self.model)
            yield row

    return iterator


def _watch_async_iterator(iterate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(iterate)
    async def aiterator(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        rows = aiter(iterate(self, *args, **kwargs))
        scope = current_scope()
        with _Noting() as noted:
            first = await anext(rows, rows)
        if first is rows:
            return
        yield first
        async for row in rows:
            if noted:
                _require_unmoved(scope, self.model)
            yield row

    return aiterator
