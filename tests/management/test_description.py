"""The same migrations make the same tables on every database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tenancy.backends.catalog import Catalog, Table, get_catalog
from tenancy.backends.enforcement import column_of
from tenancy.indexes import PartialIndex
from tenancy.management.description import describe
from tenancy.management.schema import find_models
from tests.management.write_schema import COMMAND, PATH

pytestmark = pytest.mark.django_db

# Of a key that MySQL's InnoDB can index, at four bytes a character.
INDEX_BYTES = 3072
# Of a name on PostgreSQL, which keeps the fewest.
NAME_BYTES = 63


@pytest.fixture
def catalog() -> Catalog:
    """What the database says of itself."""
    return get_catalog(connection)


@pytest.fixture
def tables(catalog: Catalog) -> dict[str, Table]:
    """Every table of the database."""
    return catalog.read_tables(connection.introspection.table_names())


def find_partial() -> dict[tuple[str, str], str]:
    """Return a table and an index's line, and the line of this database's."""
    found = {}
    for model in find_models(connection):
        columns = {field.name: column_of(field) for field in model._meta.fields}
        for index in model._meta.indexes:
            if isinstance(index, PartialIndex):
                lines = [
                    ", ".join(columns[name] for name in names)
                    for names in (index.fields, index.on(connection).fields)
                ]
                declared, made = (f"{line} (conditional)" for line in lines)
                found[model._meta.db_table, declared] = made
    return found


def leave_out_differences(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description as this database can have it.

    These are all differences that there are on purpose; what description.py brings to
    one form, such as the names of types, is none:

    - Without conditional indexes (MySQL, MariaDB) such a unique constraint is not
      made, and such an index holds all rows.
    - Without indexes of expressions (MariaDB) neither is made.
    - A conditional index of PostgreSQL has no column whose value its condition says.
    """
    features = connection.features
    partial = find_partial()
    kept = {}
    for name, table in description.items():
        kept[name] = dict(table)
        for part in ("uniques", "indexes"):
            lines = table.get(part, [])
            if not features.supports_expression_indexes:
                lines = [line for line in lines if "(expression)" not in line]
            if part == "indexes":
                lines = [partial.get((name, line), line) for line in lines]
            if not features.supports_partial_indexes:
                lines = [
                    line.removesuffix(" (conditional)")
                    for line in lines
                    if part == "indexes" or not line.endswith(" (conditional)")
                ]
            kept[name][part] = sorted(set(lines))
    return {
        name: {part: lines for part, lines in table.items() if lines}
        for name, table in kept.items()
    }


def test_description_equals_the_committed_one() -> None:
    """Each database has the tables that are described once for all of them."""
    committed = json.loads(PATH.read_text())

    found = describe(connection)

    assert found == leave_out_differences(committed), (
        f"The tables are not those of {PATH.name}. If that is meant, run '{COMMAND}'."
    )


def test_stated_names_are_short(catalog: Catalog) -> None:
    """No name that a model states, and no policy's or trigger's, is ever cut."""
    names = [
        *catalog.find_names(),
        *(
            name
            for model in find_models(connection)
            for name in (
                model._meta.db_table,
                *(field.column for field in model._meta.local_concrete_fields),
                *(constraint.name for constraint in model._meta.constraints),
                *(index.name for index in model._meta.indexes),
            )
        ),
    ]

    assert [name for name in names if len((name or "").encode()) > NAME_BYTES] == []


def test_names_in_the_database_are_not_cut(tables: dict[str, Table]) -> None:
    """No name that Django made is longer than what the database keeps of it."""
    limit = connection.ops.max_name_length()

    names = [name for table in tables.values() for name in find_names(table)]

    assert [one for one in names if limit and len(one.encode()) > limit] == []


def find_names(table: Table) -> Iterator[str]:
    """Yield the names of all that belongs to a table."""
    yield from table.columns
    for part in (table.indexes, table.checks, table.keys):
        yield from (one.name for one in part)


def test_indexed_texts_are_bounded(catalog: Catalog, tables: dict[str, Table]) -> None:
    """No indexed text is longer than what every database can index."""
    too_long = []
    for table in tables.values():
        indexed = {
            column
            for index in table.indexes
            for column in index.columns
            if column is not None
        }
        for name in sorted(indexed):
            family = catalog.family(table, table.columns[name])
            if family == "text" or count_characters(family) * 4 > INDEX_BYTES:
                too_long.append(f"{table.name}.{name}: {family}")

    assert too_long == []


def count_characters(family: str) -> int:
    """Return how many characters a text may have; 0 of what is none."""
    found = re.fullmatch(r"text\((\d+)\)", family)
    return int(found[1]) if found else 0


def test_foreign_keys_begin_an_index(tables: dict[str, Table]) -> None:
    """Each foreign key's first column is the first of an index."""
    bare = [
        f"{table.name}.{key.columns[0]}"
        for table in tables.values()
        for key in table.keys
        if key.columns[0] not in {index.columns[0] for index in table.indexes}
    ]

    assert bare == []
