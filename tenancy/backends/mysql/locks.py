"""Keeps the locks of InnoDB to rows of the organization.

InnoDB locks each row that it meets on its way before it asks whose it is: the one that
it finds by primary key, those beside it in an index of all rows, and the one at which
a range or a reading from the end stops, which is the next organization's first row or
the last of the one before. Nothing of this is met where a row is found by equal values
of an index that holds its organization.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tenancy.backends.statements import WRITES, Columns, Statement
from tenancy.backends.tokens import SYMBOL, WORD, Token, TokenReader

PRIMARY = "`PRIMARY`"
ASCENDING = "ASC"
DESCENDING = "DESC"

_LOCKS = frozenset({"UPDATE", "SHARE"})
_HINTS = frozenset({"INDEX", "KEY", "PARTITION"})
# A DELETE that takes a hint takes none of these.
_SINGLE_ONLY = frozenset({"LIMIT", "ORDER", "RETURNING"})

_JOINS = frozenset(
    {"FROM", "INNER", "CROSS", "JOIN", "STRAIGHT_JOIN", "NATURAL", "UPDATE"}
)
_GROUPS = frozenset({"GROUP", "DISTINCT"})
_OTHERS = frozenset(
    {"SELECT", "SET", "GROUP", "LIMIT", "FOR", "LOCK", "INTO", "WINDOW", "RETURNING"}
    | {"PROCEDURE", "VALUES", "UNION", "EXCEPT", "INTERSECT", "USING"}
)
# Around a condition that a row must meet, or of which it must meet one.
_OPENERS = frozenset({"WHERE", "HAVING", "ON", "AND", "OR", "&&", "||", "("})
_ENDS = frozenset(
    {"AND", "OR", "&&", "||", ")", "", ";", "ON", "WHERE", "HAVING", "LEFT", "RIGHT"}
    | {"ORDER", *_JOINS, *_OTHERS}
) - {"FROM", "SELECT", "USING"}
_EQUALS = frozenset({"=", "<=>"})
_COMPARISONS = _EQUALS | frozenset(
    {"<", ">", "<=", ">=", "<>", "!=", "IS", "IN", "LIKE", "BETWEEN", "NOT", "XOR"}
    | {"REGEXP", "RLIKE", "SOUNDS", "MEMBER"}
)
_VALUES = frozenset({"FALSE", "NULL", "TRUE", "UNKNOWN"})
_NEGATIONS = frozenset({"NOT", "XOR", "!"})
_BEFORE_NAME = _OPENERS | _COMPARISONS | _NEGATIONS
# The server looks for them where the organization's part of an index ends.
_ENDS_OF_INDEX = frozenset({"MAX", "MIN"})
# They take a column, and nothing that is made of it.
_OF_COLUMNS = frozenset({"DEFAULT", "GROUPING", "MATCH", "VALUE", "VALUES"})


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
class Mention:
    """A column's name where it stands in a condition or an order.

    Args:
        table (str): what stands before its point; "" of a name alone.
        column (str): the name, in lower case; "" of what cannot be told.
        start (int): where it begins in the statement, with its table.
        end (int): where it ends.
        is_nested (bool): whether it stands in a subquery.
        direction (str): of an order, ASC or DESC.
    """

    table: str
    column: str
    start: int
    end: int
    is_nested: bool
    direction: str = ""


@dataclass(slots=True)
class _Group:
    """A pair of parentheses, or the statement itself, while it is read."""

    clause: str = ""
    is_query: bool = False
    is_sound: bool = True  # Does nothing but AND and OR stand around its conditions?
    is_row: bool = False
    is_nested: bool = False


class ConditionReader(TokenReader):
    """Reads how a statement compares its columns.

    Args:
        tokens (Sequence[Token]): of the statement.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        # What something is said to equal, or to be IN, by which an index finds rows one
        # by one: the name of the table, or "", and of the column.
        self.equated: set[tuple[str, str]] = set()
        # What is compared otherwise, so that an index would be read in a range.
        self.ranged: list[Mention] = []
        self.ordered: list[Mention] = []
        self.aliases: set[str] = set()
        # The words that begin the clauses of the statement itself.
        self.clauses: set[str] = set()
        self._groups = [_Group(is_query=True)]

    def read(self) -> None:
        """Read from the first token to the last."""
        index = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            group = self._groups[-1]
            if token.kind == SYMBOL:
                if token.text == "(":
                    self._open(index)
                elif token.text == ")" and len(self._groups) > 1:
                    self._groups.pop()
            elif token.kind == WORD and self._changes_clause(index, group):
                pass
            elif token.is_identifier:
                end = self._end_of_name(index)
                self._read_name(index, end, group)
                index = end
            elif group.clause == "order":
                self._read_order(index, index, group)
            index += 1

    def _end_of_name(self, index: int) -> int:
        """Return the last token of a name with its prefixes."""
        while self._text(index + 1) == "." and index + 2 < len(self.tokens):
            index += 2
        return index

    def _open(self, index: int) -> None:
        outer = self._groups[-1]
        before = self._text(index - 1)
        is_query = self._word(index + 1) in ("SELECT", "WITH", "VALUES", "TABLE")
        group = _Group(is_query=is_query, is_nested=outer.is_nested)
        if is_query:
            is_expression = before == "AS"  # Of a WITH.
            group.is_nested |= is_expression or outer.clause != ""
        else:
            close = self._close_of(index)
            after = self._text(close + 1)
            is_plain = outer.is_sound and before in _OPENERS
            group.clause = outer.clause
            group.is_row = is_plain and (after == "IN" or after in _EQUALS)
            group.is_sound = is_plain and after in _ENDS
        self._groups.append(group)

    def _changes_clause(self, index: int, group: _Group) -> bool:
        """Take a word that begins a clause, if it is one."""
        if not group.is_query and group.clause != "from":
            return False
        word = self.tokens[index].text
        is_call = self._text(index + 1) == "("
        if word in ("WHERE", "HAVING"):
            group.clause = "condition"
        elif word == "ON":
            is_conflict = self._word(index + 1) == "DUPLICATE"
            group.clause = "other" if is_conflict else "condition"
        elif word == "ORDER":
            group.clause = "order"
        elif word in _JOINS or (word in ("LEFT", "RIGHT") and not is_call):
            group.clause = "from"
        elif word in _OTHERS and not (is_call and word == "VALUES"):
            # The arms of a UNION are no part of one another.
            group.clause = "" if word in ("UNION", "EXCEPT", "INTERSECT") else "other"
        else:
            return False
        if len(self._groups) == 1:
            self.clauses.add(word)
        return True

    def _read_name(self, start: int, end: int, group: _Group) -> None:
        if self._word(start - 1) == "AS":
            self.aliases.add(self.tokens[end].name)
        word = self._word(start)
        if self._text(end + 1) == "(" or word in _VALUES:
            return
        if self._word(start - 2) in _ENDS_OF_INDEX and self._text(end + 1) == ")":
            self.ranged.append(self._mention(start, end, group))
        elif group.clause == "order":
            self._read_order(start, end, group)
        elif group.clause == "condition" and not word.isdigit():
            mention = self._mention(start, end, group)
            if self._is_equated(start, end, group):
                self.equated.add((mention.table, mention.column))
            elif self._is_compared(start, end):
                self.ranged.append(mention)

    def _mention(
        self, start: int, end: int, group: _Group, direction: str = ""
    ) -> Mention:
        first, last = self.tokens[start], self.tokens[end]
        table = self.tokens[end - 2].name if end > start else ""
        column = last.name if last.is_identifier and not last.text.isdigit() else ""
        return Mention(table, column, first.start, last.end, group.is_nested, direction)

    def _read_order(self, start: int, end: int, group: _Group) -> None:
        """Take what rows are ordered by, where it is a name or a number."""
        after = self._word(end + 1)
        is_whole = after in (ASCENDING, DESCENDING) or self._text(end + 1) in (
            _ENDS | {","}
        )
        if self._text(start - 1) in ("BY", ",") and is_whole:
            direction = DESCENDING if after == DESCENDING else ASCENDING
            self.ordered.append(self._mention(start, end, group, direction))

    def _is_equated(self, start: int, end: int, group: _Group) -> bool:
        """Return whether a name is compared so that an index finds it by its value."""
        before, after = self._text(start - 1), self._text(end + 1)
        if group.is_row:
            return before in ("(", ",") and after in (",", ")")
        if not group.is_sound:
            return False
        if before in _OPENERS:
            if after in _EQUALS:
                return self._ends_plainly(end + 2)
            if after == "IS":
                return self._word(end + 2) == "NULL" and self._text(end + 3) in _ENDS
            if after == "IN" and self._text(end + 2) == "(":
                return self._text(self._close_of(end + 2) + 1) in _ENDS
            return False
        return before in _EQUALS and after in _ENDS and self._begins_plainly(start - 2)

    def _ends_plainly(self, index: int) -> bool:
        """Return whether a value stands here, and then the condition's end."""
        while (text := self._text(index)) not in _ENDS:
            if text in _COMPARISONS:
                return False
            index = self._close_of(index) + 1 if text == "(" else index + 1
        return True

    def _begins_plainly(self, index: int) -> bool:
        """Return whether a value stands here, and before it the condition's start."""
        depth = 0
        while index >= 0:
            text = self._text(index)
            if not depth and text in _OPENERS:
                return True
            depth += (text == ")") - (text == "(")
            if not depth and text in _COMPARISONS | _NEGATIONS:
                return False
            index -= 1
        return False

    def _is_compared(self, start: int, end: int) -> bool:
        """Return whether a name stands beside a comparison, or for itself."""
        before, after = self._text(start - 1), self._text(end + 1)
        if before not in _BEFORE_NAME:
            return False
        if before == "(" and self._word(start - 2) in _OF_COLUMNS:
            return False
        return after in _COMPARISONS or after in _ENDS


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
        self.conditions = ConditionReader(tokens)
        self.conditions.read()
        self.protected = protected
        self.indexes = indexes
        self.edits: list[tuple[int, int, str]] = []
        called = {token.end: token.name for token in tokens}
        self.sources = [
            _Source(table, called[end], end) for table, end in statement.source_ends
        ]
        if self.is_of_one_table:
            self.sources.append(self._target())

    @property
    def is_of_one_table(self) -> bool:
        """Whether it is an UPDATE or a DELETE of a table that stands alone."""
        is_change = self.statement.verb in ("UPDATE", "DELETE")
        return is_change and self.statement.target is not None

    def write(self) -> str:
        """Return the statement with its hints, or as it is."""
        for source in self.sources:
            self._edit(source.end, source.end, self._make_hint(source))
        self._disguise()
        if self.statement.verb == "DELETE" and self.is_of_one_table:
            # With a single table it takes no hint: it is written as one of several.
            start, end = self.statement.target_span or (0, 0)
            is_plain = self.sql[:start].split() == ["DELETE", "FROM"]
            if not is_plain or self.conditions.clauses & _SINGLE_ONLY:
                return self.sql
            name = self.sql[start:end]
            self._edit(0, start, f"DELETE {name} FROM ")
        sql = self.sql
        # From the end, so that the places before stay where they are.
        for start, end, text in sorted(self.edits, reverse=True):
            sql = sql[:start] + text + sql[end:]
        return sql

    def _target(self) -> _Source:
        table = self.statement.target or ""
        _start, end = self.statement.target_span or (0, 0)
        return _Source(table, table, end)

    def _edit(self, start: int, end: int, text: str) -> None:
        self.edits.append((start, end, text))

    # Hints

    def _make_hint(self, source: _Source) -> str:
        """Return the hint that has a table answered by an organization's index."""
        usable = self._find_usable(source)
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
        another column, unless a value of that is asked for: in its order, or in a
        range of it, the rows of all lie side by side.
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
            for table, column in self.conditions.equated
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
        """Return whether the order asked for may be an index's, read from its end."""
        # InnoDB adds the key to each index.
        keys = dict.fromkeys(_keys_of(self.protected[source.table]), ASCENDING)
        directions = keys | held.names
        is_mixed = DESCENDING in held.names.values()
        for mention in self.conditions.ordered:
            if mention.column in directions:
                if mention.direction != directions[mention.column]:
                    return True
                continue
            # A number, or a name that the statement gives, may mean any column.
            is_known = mention.column and mention.column not in self.conditions.aliases
            if not is_known and (is_mixed or mention.direction == DESCENDING):
                return True
        return is_mixed and not self.statement.words.isdisjoint(_GROUPS)

    # Conditions

    def _disguise(self) -> None:
        """Make expressions of the columns of which an index would be read in a range.

        COALESCE of one column is that column, and no index answers it.
        """
        names = self._name_columns()
        for mention in self._find_disguised():
            if mention.column in names.get(mention.table, ()):
                text = self.sql[mention.start : mention.end]
                self._edit(mention.start, mention.end, f"COALESCE({text})")

    def _name_columns(self) -> dict[str, set[str]]:
        """Return the columns of the indexes that are used, by what stands before them.

        A column that stands alone may be any table's.
        """
        found: dict[str, set[str]] = {"": set()}
        for source in self.sources:
            columns = self.protected[source.table]
            names = _keys_of(columns)
            for held in self._find_usable(source).values():
                names |= held.names.keys()
            names -= {columns.organization, ""}
            found.setdefault(source.alias, set()).update(names)
            found[""] |= names
        return found

    def _find_disguised(self) -> Iterator[Mention]:
        is_read = self.statement.main == "SELECT"
        for mention in self.conditions.ranged:
            # A subquery of a SELECT locks nothing: columns of its own are left alone.
            if mention.table or not (is_read and mention.is_nested):
                yield mention
        if self.statement.verb == "UPDATE" and self.is_of_one_table:
            # MySQL reads an index from its end here, whatever the hint says.
            target = self._target()
            if any(
                self._turns(target, held) for held in self._find_usable(target).values()
            ):
                yield from self.conditions.ordered


def _keys_of(columns: Columns) -> set[str]:
    return set(columns.keys) if columns.key is None else {columns.key}


def may_lock(statement: Statement) -> bool:
    """Return whether a statement locks rows that it reads, and may be given a hint."""
    if statement.words & _HINTS:
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

    What cannot be given a hint is returned as it is.

    Args:
        sql (str): as it was given to the cursor.
        statement (Statement): what it does; see may_lock().
        tokens (Sequence[Token]): its own.
        protected (Mapping[str, Columns]): the tables by their names in lower case.
        indexes (Mapping[str, Indexes]): the indexes of each table, by the same.
    """
    return _Narrowing(sql, statement, tokens, protected, indexes).write()
