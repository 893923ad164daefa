"""A live database in words that are the same for every vendor.

Two databases that the same migrations made are described alike. What Django or the
vendor does its own way is left out: the type's name, the index of a foreign key, a
column's own check, the order of the columns of a unique constraint, all names but
those of tables, columns and checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tenancy.backends.catalog import Catalog, Column, Index, Table, get_catalog


def describe(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return every table of a database, by name.

    Returns:
        dict[str, Any]: what JSON can hold: texts in lists and dictionaries.
    """
    catalog = get_catalog(connection)
    names = connection.introspection.table_names()
    tables = catalog.read_tables(names)
    return {name: _describe(catalog, tables[name]) for name in sorted(tables)}


def _describe(catalog: Catalog, table: Table) -> dict[str, Any]:
    plain = _plain_indexes(table)
    uniques = [
        index for index in table.indexes if index.is_unique and not index.is_primary
    ]
    parts = {
        "columns": {
            name: _describe_column(catalog, table, table.columns[name])
            for name in sorted(table.columns)
        },
        "primary_key": ", ".join(_names(table.primary_key)),
        "uniques": sorted({_describe_index(one, is_sorted=True) for one in uniques}),
        "indexes": sorted({_describe_index(one) for one in plain}),
        "checks": sorted(check.name for check in table.checks if not check.is_own),
        "foreign_keys": sorted(
            f"{', '.join(key.columns)} -> {key.table} ({', '.join(key.targets)})"
            + ("" if key.on_delete == "NO ACTION" else f" {key.on_delete.lower()}")
            for key in table.keys
        ),
    }
    return {name: part for name, part in parts.items() if part}


def _describe_column(catalog: Catalog, table: Table, column: Column) -> str:
    family = catalog.family(table, column)
    words = [family]
    if column.is_generated:
        words.append("generated")
    elif column.is_nullable:
        words.append("null")
    if column.has_default and not column.is_identity:
        words.append("default")
    if family != "json" and any(
        check.is_own and check.columns == {column.name} for check in table.checks
    ):
        words.append("checked")
    return " ".join(words)


def _plain_indexes(table: Table) -> list[Index]:
    """Return the indexes that were asked for: of no constraint, and of no key."""
    keys = {key.columns for key in table.keys}
    uniques = {index.columns for index in table.indexes if index.is_unique}
    return [
        index
        for index in table.indexes
        if not index.is_unique and index.columns not in keys | uniques
    ]


def _describe_index(index: Index, *, is_sorted: bool = False) -> str:
    names = _names(index.columns)
    text = ", ".join(sorted(names) if is_sorted else names)
    return f"{text} (conditional)" if index.is_conditional else text


def _names(columns: Iterable[str | None]) -> list[str]:
    return [column or "(expression)" for column in columns]
