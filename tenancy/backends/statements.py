"""What a statement does to which tables, and where it can be kept in a scope.

The reading is one of default refusal. A table's name that stands where it is not
understood is an occurrence that nothing covers, and a parameter counts as the
organization's predicate only in a place where it is certain that no row passes
without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
WRITES = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE"})
# They tell of tables, not of rows.
DESCRIPTIONS = frozenset({"PRAGMA", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"})
# What they run is not in the text.
OPAQUE = frozenset(
    {"ATTACH", "CALL", "DO", "EXECUTE", "HANDLER", "IMPORT", "LOAD", "PREPARE"}
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a protected table that the guard knows.

    Args:
        organization (str): holds a row's organization, in lower case.
        key (str | None): the primary key, in lower case; None of several columns.
        keys (tuple[str, ...]): these, where there are several.
    """

    organization: str
    key: str | None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A table's name where rows come from it.

    Args:
        table (str): its name in lower case.
        alias (str | None): what the statement calls it; None where that is not
            understood, and nothing covers it.
        block (int): the SELECT arm in which it stands.
    """

    table: str
    alias: str | None
    block: int


@dataclass(frozen=True, slots=True)
class Place:
    """A placeholder without which no row of an alias passes.

    Args:
        key (int | str): the parameter that it takes.
        column (str): the column that it is compared with.
        cover (tuple[str, int]): the alias and the block that it keeps in the scope.
        outer (tuple[str, int] | None): the same of the column that its subquery is
            compared with by IN.
        link (tuple[str, str]): the column that is compared, and the one column that
            the subquery selects.
    """

    key: int | str
    column: str
    cover: tuple[str, int]
    outer: tuple[str, int] | None = None
    link: tuple[str, str] = ("", "")


class SourceEnd(NamedTuple):
    """A protected table's name where rows come from it.

    Args:
        table (str): its name in lower case.
        end (int): where it ends in the text, with its alias.
        is_own (bool): whether it stands in the statement's own FROM, or in one of an
            arm of its UNION.
        is_derived (bool): whether it stands in a subquery that is a source of rows.
    """

    table: str
    end: int
    is_own: bool
    is_derived: bool


@dataclass(slots=True)
class Statement:
    """What was understood of one statement.

    Args:
        verb (str): its first word; of WITH and EXPLAIN, "WITH" and "EXPLAIN".
        main (str): the verb that decides whether it writes.
        thing (str): of CREATE, ALTER and DROP, of what kind, as "TABLE".
        tables (set[str]): the protected tables that it names, in any role.
        target (str | None): the table that a plain INSERT, UPDATE or DELETE writes.
        target_span (tuple[int, int] | None): where its name stands, with its schema.
        source_ends (list[SourceEnd]): the protected tables from which rows come.
        occurrences (set[Occurrence]): what must be covered.
        places (list[Place]): where a mark counts.
        sources (set[str]): every name that may be a table's or a view's.
        functions (set[str]): every name that is followed by a parenthesis.
        words (set[str]): every word of it, in upper case.
        expressions (set[str]): the names that mean its own expressions everywhere.
        text (str): what was not understood, and may name anything.
    """

    verb: str = ""
    main: str = ""
    thing: str = ""
    tables: set[str] = field(default_factory=set)
    target: str | None = None
    target_span: tuple[int, int] | None = None
    source_ends: list[SourceEnd] = field(default_factory=list)
    occurrences: set[Occurrence] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    expressions: set[str] = field(default_factory=set)
    text: str = ""


@dataclass(slots=True)
class Reading:
    """A text that may hold several statements.

    Args:
        statements (list[Statement]): in order.
        hidden (tuple[int | str, ...]): see Tokens.
        doubt (str): see Tokens.
        tables (frozenset[str]): the protected tables named anywhere.
        hides_names (bool): see Tokens.
    """

    statements: list[Statement]
    hidden: tuple[int | str, ...]
    doubt: str
    tables: frozenset[str]
    hides_names: bool = False
