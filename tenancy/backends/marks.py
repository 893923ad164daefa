"""The parameter by which the guard knows the organization's predicate."""

from __future__ import annotations

from typing import Self


class Mark(str):
    """A parameter of a predicate that keeps a statement inside the scope.

    Args:
        value (str): what the database compares the column with.
        tables (tuple[str, ...]): the tables of which one occurrence each is covered.
        column (str): the column that stands before it, as in ``column = %s``.
    """

    __slots__ = ("column", "tables")

    column: str
    tables: tuple[str, ...]

    def __new__(cls, value: str, *, tables: tuple[str, ...], column: str) -> Self:
        mark = super().__new__(cls, value)
        mark.tables = tables
        mark.column = column
        return mark

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # What is loaded later, and in another scope, is a plain value.
        return str, (str(self),)
