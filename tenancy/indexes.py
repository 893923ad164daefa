"""Indexes beside Django's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import Index, Model, Q

from tenancy.backends.enforcement import get_enforcement


class PartialIndex(Index):
    """An index of the rows that are asked for, where the database can have one.

    Where it cannot (MySQL, MariaDB) the index holds all rows, in silence: the answers
    are the same, and only its size differs. Django makes the same of a condition, and
    warns each time that the checks of the database run (models.W037).

    Args:
        fields (Sequence[str]): the names of the columns' fields, in order; a list or a
            tuple. They serve as an index of all rows too, so that what the condition
            compares comes first; PostgreSQL's has no column of which the condition
            says the value.
        name (str): its name.
        where (Q): the condition of the rows. A query that states it, or what implies
            it, is answered from the index.
    """

    def __init__(self, *, fields: Sequence[str], name: str, where: Q) -> None:
        super().__init__(fields=fields, name=name)
        # Not as Index.condition, which is what the warning looks at.
        self.where = where

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,  # Django's own.
    ) -> Statement:
        """Return the statement that creates it, as Django writes it."""
        index = self.on(schema_editor.connection)
        return index.create_sql(model, schema_editor, using, **kwargs)

    def on(self, connection: BaseDatabaseWrapper) -> Index:
        """Return the index that a database has in its place, as Django declares one.

        PostgreSQL drops from a query what the condition implies, and finds no place in
        the index by a column of which nothing is asked: it would read all of it.
        SQLite finds the place, and knows the value for a query of the index alone.
        """
        fields = list(self.fields)
        if get_enforcement(connection).drops_implied:
            told = _find_told(self.where)
            kept = [name for name in fields if name.removeprefix("-") not in told]
            fields = kept or fields
        return Index(fields=fields, name=self.name, condition=self.where)

    def deconstruct(self) -> Any:
        """Return what a migration states of it."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "where": self.where}


def _find_told(where: Q) -> set[str]:
    """Return the fields of which a condition says the one value."""
    if where.negated or where.connector != Q.AND:
        return set()
    told = set()
    for child in where.children:
        if isinstance(child, Q):
            told |= _find_told(child)
        elif isinstance(child, tuple) and not hasattr(child[1], "resolve_expression"):
            told.add(child[0].removesuffix("__exact"))
    return told
