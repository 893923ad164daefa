"""The catalog of MySQL and MariaDB: the information schema."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar

from django.db.models import Field

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

_SYNONYMS = {
    "bool": "tinyint(1)",
    "double precision": "double",
    "integer": "int",
    "numeric": "decimal",
}


class MySQLCatalog(Catalog):
    """What the information schema tells."""

    merges_key_indexes = True
    families: ClassVar = {
        "bigint": "bigint",
        "bigint unsigned": "bigint",
        "char": "text",
        "date": "date",
        "datetime": "timestamp",
        "decimal": "decimal",
        "double": "float",
        "int": "integer",
        "int unsigned": "integer",
        "json": "json",
        "longblob": "bytes",
        "longtext": "text",
        "smallint": "smallint",
        "smallint unsigned": "smallint",
        "time": "time",
        "tinyint": "boolean",
        "uuid": "uuid",
        "varchar": "text",
    }

    @property
    def _is_mariadb(self) -> bool:
        # An attribute of the one vendor's connections.
        return bool(self.connection.mysql_is_mariadb)  # type: ignore[attr-defined]

    def read_tables(self, names: Collection[str]) -> dict[str, Table]:
        """Return those tables of the given names that are there."""
        columns = group(self.fetch(_COLUMNS), self._make_column)
        # A server on a file system without case keeps the names in lower case.
        return make_tables(
            {
                name: self.bare(name)
                if self.bare(name) in columns
                else self.bare(name).lower()
                for name in names
            },
            columns,
            group(self._fetch_indexes(), Index),
            group(self._fetch_checks(), Check),
            group(self._fetch_keys(), Key),
        )

    def spell(self, native: str) -> str:
        """Return a type as the information schema writes it, without widths."""
        text = native.lower().removesuffix(" auto_increment").replace(", ", ",")
        if self._is_mariadb and text == "json":
            return "longtext"
        # Of whole numbers the width says nothing, but that tinyint(1) is a boolean.
        text = re.sub(r"^(small|medium|big|)int\(\d+\)", r"\1int", text)
        word = re.sub(r"(?<!double)[ (].*", "", text)
        return _SYNONYMS.get(word, word) + text.removeprefix(word)

    def family(self, table: Table, column: Column) -> str:
        """Return what a column's type is everywhere, with the length of a text."""
        if column.type == "char(32)":
            return "uuid"
        if column.type == "char(39)":
            return "address"
        if self._is_mariadb and column.type == "longtext" and _is_own(table, column):
            return "json"
        return super().family(table, column)

    def can_index(self, field: Field[Any, Any]) -> bool:
        """Return whether Django makes an index of a field of this type."""
        native = field.db_type(self.connection) or ""
        return re.match(r"(tiny|medium|long)?(text|blob)|json", native) is None

    def _make_column(
        self,
        name: str,
        native: str,
        nullable: str,
        default: str | None,
        extra: str,
        generation: str | None,
        collation: str | None,
    ) -> Column:
        is_identity = "auto_increment" in extra.lower()
        return Column(
            name=name,
            type=self.spell(native),
            is_nullable=nullable == "YES",
            # MariaDB writes the word NULL where nothing is stated.
            has_default=is_identity or default not in (None, "NULL"),
            is_generated=bool(generation),
            is_identity=is_identity,
            collation=collation,
        )

    def _fetch_indexes(self) -> list[tuple[Any, ...]]:
        found: dict[tuple[str, str, bool], list[str | None]] = {}
        for table, name, is_plain, column in self.fetch(_INDEXES):
            found.setdefault((table, name, bool(is_plain)), []).append(column)
        return [
            (table, name, tuple(columns), not is_plain, name == "PRIMARY", False)
            for (table, name, is_plain), columns in found.items()
        ]

    def _fetch_checks(self) -> list[tuple[Any, ...]]:
        rows = self.fetch(_CHECKS_OF_MARIADB if self._is_mariadb else _CHECKS_OF_MYSQL)
        return [
            (
                table,
                name,
                frozenset(re.findall(r"`([^`]+)`", clause)),
                level == "Column"
                or re.fullmatch(rf"{re.escape(table)}_chk_\d+", name) is not None,
            )
            for table, name, clause, level in rows
        ]

    def _fetch_keys(self) -> list[tuple[Any, ...]]:
        found: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
        for table, name, column, target_table, target, rule in self.fetch(_KEYS):
            key = (table, name, target_table, name_action(rule))
            found.setdefault(key, []).append((column, target))
        return [
            (
                table,
                name,
                tuple(column for column, _target in pairs),
                target_table,
                tuple(target for _column, target in pairs),
                rule,
            )
            for (table, name, target_table, rule), pairs in found.items()
        ]


def _is_own(table: Table, column: Column) -> bool:
    return any(
        check.is_own and check.columns == {column.name} for check in table.checks
    )


_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA,
    GENERATION_EXPRESSION, COLLATION_NAME
FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = DATABASE()
ORDER BY TABLE_NAME, ORDINAL_POSITION
"""

_INDEXES = """
SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME
FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = DATABASE()
ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""

_CHECKS_OF_MYSQL = """
SELECT TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE, 'Table'
FROM information_schema.TABLE_CONSTRAINTS
JOIN information_schema.CHECK_CONSTRAINTS USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME)
WHERE TABLE_SCHEMA = DATABASE() AND CONSTRAINT_TYPE = 'CHECK' AND ENFORCED = 'YES'
ORDER BY TABLE_NAME, CONSTRAINT_NAME
"""

_CHECKS_OF_MARIADB = """
SELECT TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE, LEVEL
FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = DATABASE()
ORDER BY TABLE_NAME, CONSTRAINT_NAME
"""

_KEYS = """
SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME,
    k.REFERENCED_COLUMN_NAME, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k
JOIN information_schema.REFERENTIAL_CONSTRAINTS r
    ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA
    AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
