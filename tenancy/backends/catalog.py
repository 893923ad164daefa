"""What a live database holds, read from its catalog: tables and all that is theirs.

The queries, and the words that a database has for a type, stand in
``<vendor>/catalog.py``. Django's own introspection knows no composite foreign keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from django.utils.module_loading import import_string

from tenancy.backends.enforcement import get_enforcement

Row = TypeVar("Row")

_VARIABLE = frozenset({"text"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name (str): its name.
        type (str): its type in the database's words, as Catalog.spell() writes them.
        is_nullable (bool): whether it takes NULL.
        has_default (bool): whether a row that leaves it out gets a value.
        is_generated (bool): whether its value is computed from others.
        is_identity (bool): whether the database numbers it.
        collation (str | None): its collation, where the database tells.
    """

    name: str
    type: str
    is_nullable: bool
    has_default: bool
    is_generated: bool
    is_identity: bool
    collation: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table, that of a unique constraint or a primary key included.

    Args:
        name (str): its name, that of the constraint where there is one.
        columns (tuple[str | None, ...]): its columns; None stands for an expression.
        is_unique (bool): whether it keeps rows apart.
        is_primary (bool): whether it is the primary key's.
        is_conditional (bool): whether it holds a part of the rows only.
    """

    name: str
    columns: tuple[str | None, ...]
    is_unique: bool
    is_primary: bool
    is_conditional: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint that is enforced.

    Args:
        name (str): its name; empty where the database knows none.
        columns (frozenset[str]): the columns of which it speaks.
        is_own (bool): whether it belongs to a column's type, and nobody named it.
    """

    name: str
    columns: frozenset[str]
    is_own: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key.

    Args:
        name (str): its name; empty where the database knows none.
        columns (tuple[str, ...]): its columns.
        table (str): the table to which it leads.
        targets (tuple[str, ...]): the columns to which it leads.
        on_delete (str): what the database does itself: "NO ACTION", "CASCADE", ...
    """

    name: str
    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the database has it."""

    name: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...]
    checks: tuple[Check, ...]
    keys: tuple[Key, ...]

    @property
    def primary_key(self) -> tuple[str | None, ...]:
        """The columns of the primary key, or none."""
        return next((index.columns for index in self.indexes if index.is_primary), ())


class Catalog:
    """What one database says of itself; each vendor has its own.

    Args:
        connection (BaseDatabaseWrapper): the connection it speaks through.
    """

    # Does an index that begins with a foreign key's column take the place of its own?
    merges_key_indexes = False

    families: ClassVar[Mapping[str, str]] = {}
    """The types, without their sizes, and what each is everywhere."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.fetch = get_enforcement(connection).fetch

    def read_tables(self, names: Collection[str]) -> dict[str, Table]:
        """Return those tables of the given names that are there.

        Args:
            names (Collection[str]): as models state them.
        """
        raise NotImplementedError

    def find_names(self) -> list[str]:
        """Return the names of the policies and triggers of the database."""
        return list(get_enforcement(self.connection).find_trigger_tables())

    def spell(self, native: str) -> str:
        """Return a type as Column.type has it, however it was written."""
        return native.lower()

    def declared_type(self, field: Field[Any, Any]) -> str | None:
        """Return the type that a field's column has; None where it cannot be told."""
        spelt = self.spell(field.db_type(self.connection) or "")
        return spelt if _base(spelt) in self.families else None

    def family(self, table: Table, column: Column) -> str:
        """Return what a column's type is everywhere, with the length of a text."""
        if column.is_identity:
            return "identity"
        family = self.families.get(_base(column.type), column.type)
        size = column.type.partition("(")[2].partition(")")[0]
        return f"{family}({size})" if size and family in _VARIABLE else family

    def can_index(self, field: Field[Any, Any]) -> bool:
        """Return whether Django makes an index of a field of this type."""
        return True

    def cut(self, name: str) -> str:
        """Return a name of a constraint as the database keeps it."""
        return name

    def bare(self, name: str) -> str:
        """Return a table's name as the catalog has it: a model's may be quoted."""
        return self.connection.ops.quote_name(name)[1:-1]


_BY_VENDOR = {
    "mysql": "tenancy.backends.mysql.catalog.MySQLCatalog",
    "postgresql": "tenancy.backends.postgresql.catalog.PostgreSQLCatalog",
    "sqlite": "tenancy.backends.sqlite.catalog.SQLiteCatalog",
}


def get_catalog(connection: BaseDatabaseWrapper) -> Catalog:
    """Return the catalog of a connection's vendor.

    Raises:
        UnsupportedDatabase: the vendor is none of those that are known.
    """
    # It refuses other vendors.
    get_enforcement(connection)
    catalog: Catalog = import_string(_BY_VENDOR[connection.vendor])(connection)
    return catalog


def group(
    rows: Iterable[tuple[str, *tuple[Any, ...]]], make: Callable[..., Row]
) -> dict[str, list[Row]]:
    """Return what is made of rows, by their first column: the table."""
    groups: dict[str, list[Row]] = {}
    for table, *values in rows:
        groups.setdefault(table, []).append(make(*values))
    return groups


def make_tables(
    names: Mapping[str, str],
    columns: Mapping[str, list[Column]],
    indexes: Mapping[str, list[Index]],
    checks: Mapping[str, list[Check]],
    keys: Mapping[str, list[Key]],
) -> dict[str, Table]:
    """Return the tables that have columns.

    Args:
        names (Mapping[str, str]): what a model calls a table, and what the rows do.
    """
    return {
        name: Table(
            name=name,
            columns={column.name: column for column in columns[found]},
            indexes=tuple(indexes.get(found, ())),
            checks=tuple(checks.get(found, ())),
            keys=tuple(keys.get(found, ())),
        )
        for name, found in names.items()
        if found in columns
    }


def name_action(rule: str) -> str:
    """Return what happens on deletion; RESTRICT is NO ACTION, only sooner."""
    return "NO ACTION" if rule.upper() == "RESTRICT" else rule.upper()


def _base(spelt: str) -> str:
    """Return a type without its size."""
    before, _, behind = spelt.partition("(")
    return (before + behind.partition(")")[2]).strip()
