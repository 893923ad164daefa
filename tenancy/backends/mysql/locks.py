"""Keeps the locks of InnoDB to rows of the organization.

InnoDB locks each row that it meets on its way before it asks whose it is: the one that
it finds by primary key, those beside it in an index of all rows, and the one at which
a range or a reading from the end stops, which is the next organization's first row or
the last of the one before. Nothing of this is met where a row is found by equal values
of an index that holds its organization.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenancy.backends.mysql.conditions import (
    ASCENDING,
    DESCENDING,
    Condition,
    ConditionReader,
    Mention,
)
from tenancy.backends.statements import WRITES, Columns, Statement
from tenancy.backends.tokens import WORD, Token

PRIMARY = "`PRIMARY`"

_LOCKS = frozenset({"UPDATE", "SHARE"})
# A DELETE that takes a hint takes none of these.
_SINGLE_ONLY = frozenset({"LIMIT", "ORDER", "RETURNING"})
_GROUPS = frozenset({"GROUP", "DISTINCT"})


@dataclass(slots=True)
class IndexColumns:
    """An index as far as hints must know it.

    Args:
        names (dict[str, str]): its columns in their order, in lower case, each with
            its direction.
        derived (set[str]): those that the server also knows by an expression: the
            generated ones, and "" for an expression without a name.
    """

    names: dict[str, str] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)


Indexes = Mapping[str, IndexColumns]  # Of a table, by their names.


@dataclass(frozen=True, slots=True)
class _Source:
    """A tenant table where a statement reads it with locks.

    Args:
        table (str): its name in lower case.
        alias (str): what the statement calls it, in lower case.
        end (int): where its name ends, with its alias.
    """

    table: str
    alias: str
    end: int


class _Narrowing:
    """One statement that locks, and what is written into it.

    Args:
        sql (str): as it was given to the cursor.
        statement (Statement): what it does.
        tokens (Sequence[Token]): its own.
        protected (Mapping[str, Columns]): the tables by their names in lower case.
        indexes (Mapping[str, Indexes]): the same of their indexes.
    """

    def __init__(
        self,
        sql: str,
        statement: Statement,
        tokens: Sequence[Token],
        protected: Mapping[str, Columns],
        indexes: Mapping[str, Indexes],
    ) -> None:
        self.sql = sql
        self.statement = statement
        self.tokens = tokens
        self.protected = protected
        self.indexes = indexes
        self.reader = ConditionReader(tokens)
        self.reader.read()
        self.equated = self.reader.equated
        self.edits: list[tuple[int, int, str]] = []
        called = {token.end: token.name for token in tokens}
        self.is_read = statement.main == "SELECT" and not self.reader.locks_in_subquery
        self.sources = [
            _Source(source.table, called[source.end], source.end)
            for source in statement.source_ends
            if source.is_own or not self.is_read
        ]
        self.target = self._find_target()
        if self.target is not None:
            self.sources.append(self.target)
        self.usable = {source: self._find_usable(source) for source in self.sources}

    def _find_target(self) -> _Source | None:
        """Return the table of an UPDATE or a DELETE of one, which stands alone."""
        statement = self.statement
        if statement.verb not in ("UPDATE", "DELETE") or statement.target is None:
            return None
        _start, end = statement.target_span or (0, 0)
        return _Source(statement.target, statement.target, end)

    def write(self) -> str:
        """Return the statement with its hints, or as it is."""
        if self.reader.has_hint:
            return self.sql
        if self.statement.main == "DELETE" and not self._can_be_hinted():
            return self.sql
        for source in self.sources:
            self._edit(source.end, source.end, self._make_hint(source))
        self._disguise()
        if not self.edits:
            return self.sql
        if self.statement.verb == "DELETE" and self.target is not None:
            start, end = self.statement.target_span or (0, 0)
            self._edit(0, start, f"DELETE {self.sql[start:end]} FROM ")
        sql = self.sql
        # From the end, so that the places before stay where they are.
        for start, end, text in sorted(self.edits, reverse=True):
            sql = sql[:start] + text + sql[end:]
        return sql

    def _can_be_hinted(self) -> bool:
        """Return whether a DELETE is one of several tables, or can be written so.

        With a single table it takes no hint.
        """
        if self.target is None:
            # "DELETE a FROM a JOIN b", and not "DELETE FROM a AS b".
            is_joined = self.tokens[1].kind != WORD or self.tokens[1].text != "FROM"
            return self.statement.verb == "DELETE" and is_joined
        start, _end = self.statement.target_span or (0, 0)
        words = [token.text for token in self.tokens[:2]]
        is_plain = words == ["DELETE", "FROM"] and self.tokens[2].start == start
        if not is_plain or self.reader.clauses & _SINGLE_ONLY:
            return False
        # What is joined reads the table from which it deletes in a derived one only.
        return not any(
            source.table == self.target.table and not source.is_derived
            for source in self.statement.source_ends
        )

    def _edit(self, start: int, end: int, text: str) -> None:
        if text:
            self.edits.append((start, end, text))

    # Hints

    def _make_hint(self, source: _Source) -> str:
        """Return the hint that has a table answered by an organization's index."""
        columns = self.protected[source.table]
        if {
            (source.alias, columns.organization),
            ("", columns.organization),
        }.isdisjoint(self.equated):
            # Its rows are found by another table's, or by keys that the trigger judges.
            return ""
        usable = self.usable[source]
        if not usable:
            # It reads no row by its key alone, but it may read the whole table.
            has_key = PRIMARY in self.indexes.get(source.table, {})
            return f" IGNORE INDEX ({PRIMARY})" if has_key else ""
        hint = f" FORCE INDEX ({', '.join(usable)})"
        backward = [name for name, held in usable.items() if self._turns(source, held)]
        if backward:
            names = ", ".join(backward)
            hint += f" IGNORE INDEX FOR ORDER BY ({names})"
            hint += f" IGNORE INDEX FOR GROUP BY ({names})"
        return hint

    def _find_usable(self, source: _Source) -> dict[str, IndexColumns]:
        """Return the indexes that lead to rows of the organization only.

        Another index leads to rows of others on the way. So does one that begins with
        another column, unless a value of that is asked for: in a range of it the rows
        of all lie side by side.
        """
        columns = self.protected[source.table]
        organization = columns.organization
        holding = {
            name: held
            for name, held in self.indexes.get(source.table, {}).items()
            if organization in held.names
        }
        if not any(next(iter(held.names)) == organization for held in holding.values()):
            return {}
        equated = {
            column
            for table, column in self.equated
            if table in (source.alias, "") and column not in _keys_of(columns)
        }
        return {
            name: held
            for name, held in holding.items()
            if held.derived <= equated
            and equated.issuperset(
                itertools.takewhile(lambda column: column != organization, held.names)
            )
        }

    def _turns(self, source: _Source, held: IndexColumns) -> bool:
        """Return whether an index, read in the order asked for, may leave the rows.

        It may be read from its end, or begin with another column, in whose order the
        rows of all lie side by side.
        """
        columns = self.protected[source.table]
        is_grouped = not self.statement.words.isdisjoint(_GROUPS)
        if next(iter(held.names)) != columns.organization:
            return is_grouped or bool(self.reader.ordered)
        # InnoDB adds the key to each index.
        directions = dict.fromkeys(_keys_of(columns), ASCENDING) | held.names
        is_mixed = DESCENDING in held.names.values()
        for mention in self.reader.ordered:
            if mention.column in directions:
                if mention.direction != directions[mention.column]:
                    return True
                continue
            # A number, or a name that the statement gives, may mean any column.
            is_known = mention.column and mention.column not in self.reader.aliases
            if not is_known and (is_mixed or mention.direction != ASCENDING):
                return True
        return is_mixed and is_grouped

    # Conditions

    def _disguise(self) -> None:
        """Hide from the server what it would answer by a range of an index.

        A comparison of a comparison's truth with 1 is as true, false or null as that,
        and no index answers it.
        """
        names = self._name_columns()
        for condition in self.reader.conditions:
            if condition.is_point or not self._is_locked(condition, names):
                continue
            if condition.is_comparison:
                self._edit(condition.start, condition.start, "((")
                self._edit(condition.end, condition.end, ") = 1)")
            elif condition.is_bare:
                self._hide(condition.mentions[0])
        if self.statement.verb == "UPDATE" and self.target is not None:
            # MySQL reads an index from its end here, whatever the hint says.
            usable = self.usable[self.target].values()
            if any(self._turns(self.target, held) for held in usable):
                for mention in self.reader.ordered:
                    if mention.column in names.get(mention.table, ()):
                        self._hide(mention)

    def _hide(self, mention: Mention) -> None:
        text = self.sql[mention.start : mention.end]
        self._edit(mention.start, mention.end, f"COALESCE({text})")

    def _is_locked(self, condition: Condition, names: Mapping[str, set[str]]) -> bool:
        """Return whether a condition may be answered by an index, and with locks."""
        # A subquery of a SELECT locks nothing: columns of its own are left alone.
        is_free = self.is_read and condition.group.is_nested
        return any(
            mention.column in names.get(mention.table, ())
            for mention in condition.mentions
            if mention.table or not is_free
        )

    def _name_columns(self) -> dict[str, set[str]]:
        """Return the columns of the indexes that are used, by what stands before them.

        A column that stands alone may be any table's.
        """
        found: dict[str, set[str]] = {"": set()}
        for source in self.sources:
            columns = self.protected[source.table]
            names = _keys_of(columns)
            for held in self.usable[source].values():
                names |= held.names.keys()
            names -= {columns.organization, ""}
            found.setdefault(source.alias, set()).update(names)
            found[""] |= names
        return found


def _keys_of(columns: Columns) -> set[str]:
    return set(columns.keys) if columns.key is None else {columns.key}


def may_lock(statement: Statement) -> bool:
    """Return whether a statement locks rows that it reads, and may be given a hint."""
    if "MATCH" in statement.words:
        # A full text is found by an index of its own, or not at all.
        return False
    if statement.main == "SELECT":
        return bool(statement.source_ends) and bool(statement.words & _LOCKS)
    is_read = statement.verb in ("UPDATE", "DELETE") and statement.target is not None
    return statement.main in WRITES and (is_read or bool(statement.source_ends))


def narrow(
    sql: str,
    statement: Statement,
    tokens: Sequence[Token],
    protected: Mapping[str, Columns],
    indexes: Mapping[str, Indexes],
) -> str:
    """Return a statement that locks rows of the active organization only.

    What has a hint of its own, or cannot be given one, is returned as it is.

    Args:
        sql (str): as it was given to the cursor.
        statement (Statement): what it does; see may_lock().
        tokens (Sequence[Token]): its own.
        protected (Mapping[str, Columns]): the tables by their names in lower case.
        indexes (Mapping[str, Indexes]): the indexes of each table, by the same.
    """
    return _Narrowing(sql, statement, tokens, protected, indexes).write()
