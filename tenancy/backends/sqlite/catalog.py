"""The catalog of SQLite: pragmas, and the text of CREATE TABLE for what they omit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from tenancy.backends.catalog import (
    Catalog,
    Check,
    Column,
    Index,
    Key,
    Table,
    group,
    make_tables,
    name_action,
)

_NAME = r'"((?:[^"]|"")+)"'
_UNIQUE = re.compile(rf"CONSTRAINT {_NAME} UNIQUE \(([^)]+)\)", re.I)
_CHECK = re.compile(rf"(?:CONSTRAINT {_NAME}\s+)?\bCHECK\s*\(", re.I)
_KEY = re.compile(rf"CONSTRAINT {_NAME} FOREIGN KEY \(([^)]+)\)", re.I)
_COLLATION = re.compile(rf"{_NAME}[^,\"]*? COLLATE \"?(\w+)\"?", re.I)
# What may hold a parenthesis that is none: a literal, or a name.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")+"|[()]""")


class SQLiteCatalog(Catalog):
    """What SQLite's pragmas and the texts of its tables tell."""

    families: ClassVar = {
        "bigint": "bigint",
        "bigint unsigned": "bigint",
        "blob": "bytes",
        "bool": "boolean",
        "char": "text",
        "date": "date",
        "datetime": "timestamp",
        "decimal": "decimal",
        "integer": "integer",
        "integer unsigned": "integer",
        "real": "float",
        "smallint": "smallint",
        "smallint unsigned": "smallint",
        "text": "text",
        "time": "time",
        "varchar": "text",
    }

    def read_tables(self, names: Collection[str]) -> dict[str, Table]:
        """Return those tables of the given names that are there."""
        texts = dict(self.fetch(_TEXTS))
        return make_tables(
            {name: self.bare(name).lower() for name in names},
            group(self._fetch_columns(texts), Column),
            group(self._fetch_indexes(texts), Index),
            {table: list(_find_checks(text)) for table, text in texts.items()},
            group(self._fetch_keys(texts), Key),
        )

    def family(self, table: Table, column: Column) -> str:
        """Return what a column's type is everywhere, with the length of a text."""
        if column.type == "char(32)":
            return "uuid"
        if column.type == "char(39)":
            return "address"
        if column.type == "text" and any(
            check.is_own and check.columns == {column.name} for check in table.checks
        ):
            return "json"
        return super().family(table, column)

    def _fetch_columns(self, texts: dict[str, str]) -> Iterator[tuple[Any, ...]]:
        collations = {
            table: {_unquote(name): value for name, value in _COLLATION.findall(text)}
            for table, text in texts.items()
        }
        for table, name, native, is_not_null, default, key, hidden in self.fetch(
            _COLUMNS
        ):
            # The only column that SQLite numbers is an integer that is the key.
            is_identity = key == 1 and native.lower() == "integer"
            yield (
                table,
                name,
                self.spell(native),
                not is_not_null and not is_identity,
                is_identity or default is not None,
                hidden in (2, 3),
                is_identity,
                collations[table].get(name),
            )

    def _fetch_indexes(self, texts: dict[str, str]) -> Iterator[tuple[Any, ...]]:
        named = {
            table: [
                (_unquote(name), tuple(re.findall(_NAME, columns)))
                for name, columns in _UNIQUE.findall(text)
            ]
            for table, text in texts.items()
        }
        found: dict[tuple[Any, ...], list[str | None]] = {}
        for table, name, is_unique, origin, is_partial, column in self.fetch(_INDEXES):
            key = (table, name, bool(is_unique), origin, bool(is_partial))
            found.setdefault(key, []).append(column)
        for (table, name, is_unique, origin, is_partial), columns in found.items():
            # Several constraints of the same columns share an index.
            names = [
                constraint
                for constraint, constrained in named[table]
                if origin == "u" and constrained == tuple(columns)
            ]
            for one in names or [name]:
                yield table, one, tuple(columns), is_unique, origin == "pk", is_partial
        # A key that is the row's number has no index of its own.
        for table, name in self.fetch(_ROW_NUMBERS):
            if not any(key[0] == table and key[3] == "pk" for key in found):
                yield table, "", (name,), True, True, False

    def _fetch_keys(self, texts: dict[str, str]) -> Iterator[tuple[Any, ...]]:
        named = {
            table: {
                tuple(re.findall(_NAME, columns)): _unquote(name)
                for name, columns in _KEY.findall(text)
            }
            for table, text in texts.items()
        }
        found: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
        for table, number, target_table, column, target, rule in self.fetch(_KEYS):
            key = (table, number, target_table, name_action(rule))
            found.setdefault(key, []).append((column, target or ""))
        for (table, _number, target_table, rule), pairs in found.items():
            columns, targets = zip(*pairs, strict=True)
            name = named[table].get(columns, "")
            yield table, name, columns, target_table, targets, rule


def _find_checks(text: str) -> Iterator[Check]:
    """Yield the checks that a CREATE TABLE states."""
    for found in _CHECK.finditer(text):
        name = _unquote(found[1] or "")
        columns = frozenset(
            _unquote(token[1:-1])
            for token in _read_parentheses(text, found.end())
            if token.startswith('"')
        )
        yield Check(name, columns, not name)


def _read_parentheses(text: str, start: int) -> Iterator[str]:
    """Yield the names, literals and parentheses up to the one that closes."""
    tokens = _TOKEN.finditer(text, start)
    depth = 1
    while depth:
        token = next(tokens)[0]
        depth += {"(": 1, ")": -1}.get(token, 0)
        yield token


def _unquote(name: str) -> str:
    return name.replace('""', '"')


_TABLES = "FROM sqlite_master AS t, "
_ORDER = "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"

_TEXTS = "SELECT lower(name), sql FROM sqlite_master AS t " + _ORDER

_COLUMNS = (
    'SELECT lower(t.name), c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden '
    f"{_TABLES} pragma_table_xinfo(t.name) AS c {_ORDER} ORDER BY t.name, c.cid"
)

_INDEXES = (
    'SELECT lower(t.name), i.name, i."unique", i.origin, i.partial, c.name '
    f"{_TABLES} pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c "
    f'{_ORDER} AND c."key" = 1 ORDER BY t.name, i.name, c.seqno'
)

_ROW_NUMBERS = (
    f"SELECT lower(t.name), c.name {_TABLES} pragma_table_info(t.name) AS c "
    f"{_ORDER} AND c.pk = 1"
)

_KEYS = (
    'SELECT lower(t.name), k.id, k."table", k."from", k."to", k.on_delete '
    f"{_TABLES} pragma_foreign_key_list(t.name) AS k {_ORDER} "
    "ORDER BY t.name, k.id, k.seq"
)
