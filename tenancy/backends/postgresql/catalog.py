"""The catalog of PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import ClassVar

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
    "bigserial": "bigint",
    "bool": "boolean",
    "char": "character",
    "decimal": "numeric",
    "float8": "double precision",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "serial": "integer",
    "smallserial": "smallint",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "varchar": "character varying",
}

_NAME_BYTES = 63

_ACTIONS = {
    "a": "NO ACTION",
    "c": "CASCADE",
    "d": "SET DEFAULT",
    "n": "SET NULL",
    "r": "RESTRICT",
}


class PostgreSQLCatalog(Catalog):
    """What PostgreSQL's system tables tell."""

    families: ClassVar = {
        "bigint": "bigint",
        "boolean": "boolean",
        "bytea": "bytes",
        "character": "text",
        "character varying": "text",
        "date": "date",
        "double precision": "float",
        "inet": "address",
        "integer": "integer",
        # Elsewhere Django keeps durations as microseconds.
        "interval": "bigint",
        "jsonb": "json",
        "numeric": "decimal",
        "smallint": "smallint",
        "text": "text",
        "time without time zone": "time",
        "timestamp with time zone": "timestamp",
        "timestamp without time zone": "timestamp without time zone",
        "uuid": "uuid",
    }

    def read_tables(self, names: Collection[str]) -> dict[str, Table]:
        """Return those tables of the given names that are there."""
        wanted = sorted(names)
        quoted = [self.connection.ops.quote_name(name) for name in wanted]
        params = [wanted, quoted]
        return make_tables(
            {name: name for name in wanted},
            group(self.fetch(_WANTED + _COLUMNS, params), self._make_column),
            group(self.fetch(_WANTED + _INDEXES, params), _make_index),
            group(self.fetch(_WANTED + _CHECKS, params), _make_check),
            group(self.fetch(_WANTED + _KEYS, params), _make_key),
        )

    def find_names(self) -> list[str]:
        """Return the names of the policies and triggers of the database."""
        return [name for (name,) in self.fetch(_NAMES)]

    def spell(self, native: str) -> str:
        """Return a type as format_type() writes it."""
        word, parenthesis, rest = native.lower().partition("(")
        return _SYNONYMS.get(word, word) + parenthesis + rest.replace(" ", "")

    def cut(self, name: str) -> str:
        """Return the part of a name that PostgreSQL keeps."""
        return name.encode()[:_NAME_BYTES].decode(errors="ignore")

    def bare(self, name: str) -> str:
        """Return a table's name without its schema."""
        return self.cut(super().bare(name).rpartition('"."')[2])

    def _make_column(
        self,
        name: str,
        native: str,
        is_nullable: bool,
        default: str | None,
        is_identity: bool,
        is_generated: bool,
        collation: str | None,
    ) -> Column:
        is_numbered = is_identity or (default or "").startswith("nextval(")
        return Column(
            name=name,
            type=self.spell(native),
            is_nullable=is_nullable,
            has_default=is_numbered or (default is not None and not is_generated),
            is_generated=is_generated,
            is_identity=is_numbered,
            collation=collation,
        )


def _make_index(
    name: str,
    columns: list[str | None],
    is_unique: bool,
    is_primary: bool,
    is_conditional: bool,
) -> Index:
    return Index(name, tuple(columns), is_unique, is_primary, is_conditional)


def _make_check(name: str, columns: list[str] | None) -> Check:
    names = frozenset(columns or ())
    # As the server names the check of a column: "table_column_check", or with a number.
    is_own = len(names) == 1 and re.search(r"_check\d*\Z", name) is not None
    return Check(name, names, is_own)


def _make_key(
    name: str, columns: list[str], table: str, targets: list[str], action: str
) -> Key:
    return Key(
        name, tuple(columns), table, tuple(targets), name_action(_ACTIONS[action])
    )


_WANTED = """
WITH wanted AS (
    SELECT name, to_regclass(quoted) AS oid
    FROM unnest(%s::text[], %s::text[]) AS given (name, quoted)
)
"""

_COLUMNS = """
SELECT wanted.name, attname, format_type(atttypid, atttypmod), NOT attnotnull,
    pg_get_expr(adbin, adrelid), attidentity <> '', attgenerated <> '', collname
FROM wanted
JOIN pg_attribute ON attrelid = wanted.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
LEFT JOIN pg_collation ON pg_collation.oid = attcollation
WHERE attnum > 0 AND NOT attisdropped
ORDER BY wanted.name, attnum
"""

# An index that is not valid, such as one whose building failed, keeps nothing.
_INDEXES = """
SELECT wanted.name, relname, ARRAY(
        SELECT (
            SELECT attname::text FROM pg_attribute
            WHERE attrelid = indrelid AND attnum = number AND number > 0
        )
        FROM unnest(indkey::int2[]) WITH ORDINALITY AS indexed (number, place)
        WHERE place <= indnkeyatts
        ORDER BY place
    ), indisunique, indisprimary, indpred IS NOT NULL
FROM wanted
JOIN pg_index ON indrelid = wanted.oid
JOIN pg_class ON pg_class.oid = indexrelid
WHERE indisvalid AND indisready
ORDER BY wanted.name, relname
"""

# PostgreSQL 18 has constraints that are not enforced; before, none is that.
_CHECKS = """
SELECT wanted.name, conname, ARRAY(
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = conrelid AND attnum = ANY (conkey)
    )
FROM wanted
JOIN pg_constraint ON conrelid = wanted.oid
WHERE contype = 'c'
    AND COALESCE(to_jsonb(pg_constraint) ->> 'conenforced', 'true') = 'true'
ORDER BY wanted.name, conname
"""

_KEYS = """
SELECT wanted.name, conname, ARRAY(
        SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS own (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number
        ORDER BY place
    ), relname, ARRAY(
        SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS far (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number
        ORDER BY place
    ), confdeltype::text
FROM wanted
JOIN pg_constraint ON conrelid = wanted.oid
JOIN pg_class ON pg_class.oid = confrelid
WHERE contype = 'f'
    AND COALESCE(to_jsonb(pg_constraint) ->> 'conenforced', 'true') = 'true'
ORDER BY wanted.name, conname
"""

_NAMES = """
SELECT polname::text FROM pg_policy
UNION ALL
SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal
"""
