"""The reading of a text, statement by statement, from first token to last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tenancy.backends.statements import (
    READS,
    WRITES,
    Columns,
    Occurrence,
    Place,
    Reading,
    SourceEnd,
    Statement,
)
from tenancy.backends.tokens import (
    NAME,
    PLACEHOLDER,
    STRING,
    SYMBOL,
    WORD,
    Dialect,
    Passing,
    Token,
    TokenReader,
    names_in,
)

_MAIN = WRITES | READS - {"WITH"}
_SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT", "MINUS"})
_BEFORE_ARM = _SET_OPERATORS | {"", "(", "ALL", "DISTINCT"}
_TAIL = frozenset(
    {"GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "FETCH", "WINDOW", "QUALIFY"}
    | {"RETURNING", "FOR", "LOCK", "PROCEDURE", "INTO"}
)
# What may stand before a condition that all rows must meet, and after it.
_OPENERS = frozenset({"WHERE", "AND", "ON", "("})
_FOLLOWERS = (
    frozenset({"AND", ")", ",", "WHERE", "INNER", "LEFT", "RIGHT", "FULL"})
    | frozenset({"CROSS", "JOIN", "NATURAL", "STRAIGHT_JOIN", "ON"})
    | _SET_OPERATORS
    | _TAIL
)
_BEFORE_THING = frozenset(
    {"OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "FOREIGN"}
)
_BEFORE_SOURCE = frozenset({"LATERAL", "ONLY"})
_NO_ALIAS = (
    _FOLLOWERS
    | frozenset({"SET", "USING", "USE", "FORCE", "IGNORE", "PARTITION", "OUTER"})
    | frozenset({"TABLESAMPLE", "INDEXED", "NOT", "SELECT", "VALUES", "DEFAULT", "OR"})
    | frozenset({"CONFLICT", "END", "WHEN", "WITH", "FROM"})
)
_MODIFIERS = frozenset(
    {"OR", "REPLACE", "IGNORE", "ROLLBACK", "ABORT", "FAIL", "LOW_PRIORITY"}
    | {"DELAYED", "HIGH_PRIORITY", "QUICK"}
)


def read(
    sql: str, passing: Passing, dialect: Dialect, protected: Mapping[str, Columns]
) -> Reading:
    """Return what a text does, as far as it is understood.

    Args:
        sql (str): as it was given to the cursor.
        passing (Passing): how its parameters are.
        dialect (Dialect): how the database reads.
        protected (Mapping[str, Columns]): the tables by their names in lower case.
    """
    found = dialect.read(sql, passing)
    statements = [
        Reader(tokens, dialect, protected).read() for tokens in _split(found.tokens)
    ]
    tables = {table for statement in statements for table in statement.tables}
    for text in [sql] if found.doubt else found.quoted:
        tables |= names_in(text, protected.keys())
    if found.quoted and tables and len(statements) == 1:
        # A body in dollar quotes is code of a language that is not read here.
        statements[0].occurrences.update(
            Occurrence(table, None, 0) for table in tables - statements[0].tables
        )
    return Reading(
        statements,
        tuple(found.hidden),
        found.doubt,
        frozenset(tables),
        found.hides_names,
    )


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    """Return the tokens of each statement, without the semicolons."""
    start = 0
    for index, token in enumerate(tokens):
        if token.kind == SYMBOL and token.text == ";":
            if index > start:
                yield tokens[start:index]
            start = index + 1
    if len(tokens) > start:
        yield tokens[start:]


class _Condition:
    """A WHERE, an ON, or a pair of parentheses inside one."""

    __slots__ = ("join", "outer", "spoiled")

    def __init__(
        self,
        outer: _Condition | None = None,
        *,
        spoiled: bool = False,
        join: tuple[str, str | None] | None = None,
    ) -> None:
        self.outer = outer
        self.spoiled = spoiled
        self.join = join

    def covers(self, alias: str) -> bool:
        """Return whether no row of the alias passes unless this is true."""
        condition = self
        while not condition.spoiled and condition.outer is not None:
            condition = condition.outer
        if condition.spoiled:
            return False
        join = condition.join
        if join is None or join[0] == "inner":
            return True
        return join[0] == "left" and join[1] == alias


_DEAD = _Condition(spoiled=True)


class _Group:
    """A pair of parentheses, or the statement itself, while it is read."""

    __slots__ = (
        "betweens",
        "block",
        "clause",
        "compared",
        "condition",
        "expects_source",
        "is_call",
        "is_closed",
        "is_query",
        "is_source",
        "join_kind",
        "joins",
        "opener",
        "outer",
        "selected",
    )

    def __init__(
        self,
        outer: _Group | None,
        *,
        block: int,
        clause: str = "",
        condition: _Condition = _DEAD,
        opener: str = "",
    ) -> None:
        self.outer = outer
        self.block = block
        self.clause = clause
        self.condition = condition
        self.opener = opener
        self.compared: tuple[str, str, _Condition, int] | None = None
        self.is_query = False
        self.is_source = False
        self.is_call = False  # The arguments of a function whose rows are read.
        self.selected: tuple[str, str] | None = None
        self.is_closed = False
        self.expects_source = False
        self.join_kind = ""
        self.joins: list[tuple[str, str | None]] = []
        self.betweens = 0


class Reader(TokenReader):
    """Reads one statement from its first token to its last."""

    def __init__(
        self,
        tokens: Sequence[Token],
        dialect: Dialect,
        protected: Mapping[str, Columns],
    ) -> None:
        super().__init__(tokens)
        self.dialect = dialect
        self.protected = protected
        self.statement = Statement()
        self.blocks = 0
        self.group = _Group(None, block=0)
        self.group.is_query = True
        self.done: set[int] = set()
        self.halves: set[int] = set()  # The AND of each BETWEEN.
        self.pending: list[tuple[Place, _Condition, _Group]] = []
        # What each block calls its sources; None where that is not understood.
        self.aliases: dict[int, list[str | None]] = {}
        self.calls: set[int] = set()
        self.block_at: dict[int, int] = {}
        self.target_end = 0

    def read(self) -> Statement:
        statement = self.statement
        start = self._find_verb()
        if statement.main in WRITES and statement.verb == statement.main:
            start = self._read_target(start)
        index = start
        while index < len(self.tokens):
            index = self._step(index)
        self._judge_target()
        self._settle()
        self._forget_equal_aliases()
        self._find_expressions()
        for index, token in enumerate(self.tokens):
            if token.kind == WORD:
                statement.words.add(token.text)
            if not token.is_identifier:
                continue
            name = token.name
            table = self._table(name)
            if table is not None and not self._is_variable(index):
                statement.tables.add(table)
            if self._text(index + 1) == "(":
                statement.functions.add(name)
        # A name in single quotes is none of the identifiers.
        statement.tables.update(found.table for found in statement.occurrences)
        return statement

    # The beginning

    def _find_verb(self) -> int:
        """Set the statement's verbs, and return where the reading starts."""
        statement = self.statement
        index = 0
        while self._text(index) == "(":
            index += 1
        if index >= len(self.tokens) or self.tokens[index].kind != WORD:
            return 0
        statement.verb = statement.main = self.tokens[index].text
        if statement.verb in ("EXPLAIN", "DESCRIBE", "DESC"):
            for position in range(index + 1, len(self.tokens)):
                token = self.tokens[position]
                if token.kind == WORD and token.text in READS | WRITES:
                    statement.verb = statement.main = token.text
                    index = position
                    break
            else:
                return 0
            if statement.verb == "WITH":
                self._find_main(index)
            return index
        if statement.verb == "WITH":
            self._find_main(index)
        elif statement.verb in ("CREATE", "ALTER", "DROP"):
            index += 1
            while self._word(index) in _BEFORE_THING:
                index += 1
            statement.thing = self._word(index)
        return 0

    def _find_main(self, start: int) -> None:
        """Set what follows the common table expressions."""
        depth = 0
        for token in self.tokens[start:]:
            if token.kind == SYMBOL and token.text in "()":
                depth += 1 if token.text == "(" else -1
            elif depth == 0 and token.kind == WORD and token.text in _MAIN:
                self.statement.main = token.text
                return

    def _read_target(self, start: int) -> int:
        """Take the table that is written, where the form is a plain one."""
        verb = self._word(start)
        index = start + 1
        while self._word(index) in _MODIFIERS:
            index += 1
        if verb in ("INSERT", "REPLACE"):
            if self._word(index) != "INTO":
                return start
            end = self._end_of_path(index + 1)
            return self._take_target(end) if end else start
        if verb == "UPDATE":
            end = self._end_of_path(index)
            if end and self._word(end) == "SET":
                return self._take_target(end)
            self.group.clause = "from"
            self.group.expects_source = True
            return index
        if verb == "DELETE":
            if self._word(index) != "FROM":
                # DELETE a, b FROM ...: these only repeat what the FROM names.
                while index < len(self.tokens) and self._word(index) != "FROM":
                    self.done.add(index)
                    index += 1
                return index
            end = self._end_of_path(index + 1)
            after = self._word(end) if end else ""
            plain = ("WHERE", "ORDER", "LIMIT", "RETURNING")
            if end and (end >= len(self.tokens) or after in plain):
                return self._take_target(end)
            return index
        return start

    def _take_target(self, end: int) -> int:
        self.done.add(end - 1)
        token = self.tokens[end - 1]
        self.statement.target = self._table(token.name)
        self.statement.sources.add(token.name)
        self.target_end = end
        start = end - 1
        while self._text(start - 1) == ".":
            start -= 2
        self.statement.target_span = (self.tokens[start].start, token.end)
        if self.statement.verb in ("UPDATE", "DELETE"):
            self.aliases[0] = [token.written]
        has_columns = (
            self.statement.verb in ("INSERT", "REPLACE")
            and self._text(end) == "("
            and self._word(end + 1) not in READS
        )
        return self._skip_columns(end) if has_columns else end

    def _skip_columns(self, index: int) -> int:
        while index < len(self.tokens) and self._text(index) != ")":
            self.done.add(index)
            index += 1
        return index + 1

    def _end_of_path(self, index: int) -> int:
        """Return the index after a table's name with its prefixes; 0 if none is."""
        if index >= len(self.tokens) or not self._names(index):
            return 0
        while self._text(index + 1) == "." and self._names(index + 2):
            index += 2
        return index + 1

    # The table that is written

    def _judge_target(self) -> None:
        """Note the target among what must be covered, if its rows may be read."""
        target = self.statement.target
        if target is None:
            return
        if self.statement.verb in ("INSERT", "REPLACE"):
            if not self._is_plain_conflict():
                self.statement.occurrences.add(Occurrence(target, None, 0))
        elif not self._is_by_key(target):
            alias = self.tokens[self.target_end - 1].written
            self.statement.occurrences.add(Occurrence(target, alias, 0))

    def _is_by_key(self, target: str) -> bool:
        """Return whether rows are chosen by their primary key and nothing else.

        Whatever else a WHERE or a SET says of a row, the database evaluates it before
        a trigger refuses the row.
        """
        key = self.protected[target].key
        index = self.target_end
        is_plain = True
        if self._word(index) == "SET":
            end = self._end_of_assignments(index + 1, frozenset())
            is_plain = self._word(end) == "WHERE"
            index = end if is_plain else self._find_at_depth("WHERE", index)
        if self._word(index) != "WHERE":
            return False
        if key is None:
            return self._is_by_keys(index + 1, target, is_plain=is_plain) or (
                is_plain and self._is_by_each_key(index + 1, target)
            )
        end = self._end_of_path(index + 1)
        if not end or self.tokens[end - 1].name != key:
            return False
        if end - index > 2 and self.tokens[end - 3].name != target:
            return False
        last = len(self.tokens)
        if self._text(end) == "=":
            return is_plain and end + 2 == last and self._is_value(end + 1)
        if self._word(end) != "IN" or self._text(end + 1) != "(":
            return False
        close = self._close_of(end + 1)
        if close != last - 1:
            return False
        if self._word(end + 2) == "SELECT":
            return self._selects_keys(end + 2, close, target, (key,))
        return is_plain and self._are_values(end + 2, close)

    def _is_by_keys(self, index: int, target: str, *, is_plain: bool) -> bool:
        """Return whether "(key, key) IN ((value, value), ...)" ends the text."""
        keys = self.protected[target].keys
        if self._text(index) != "(":
            return False
        named = []
        while self._text(index) in ("(", ","):
            end = self._end_of_path(index + 1)
            if not end or (end - index > 2 and self.tokens[end - 3].name != target):
                return False
            named.append(self.tokens[end - 1].name)
            index = end
        close = self._close_of(index + 2)
        if (
            tuple(named) != keys
            or [self._text(index), self._word(index + 1)] != [")", "IN"]
            or self._text(index + 2) != "("
            or close != len(self.tokens) - 1
        ):
            return False
        start = index + 3
        if self._word(start) == "SELECT":
            return self._selects_keys(start, close, target, keys)
        while is_plain and start < close:
            end = start
            # A run of placeholders may hold several rows.
            if self._text(start) == "(":
                end = self._close_of(start)
                if not self._are_values(start + 1, end):
                    return False
            elif self.tokens[start].kind != PLACEHOLDER or (
                not self.tokens[start].text.startswith("(")
            ):
                return False
            start = end + 1 + (self._text(end + 1) == ",")
        return start == close

    def _is_by_each_key(self, index: int, target: str) -> bool:
        """Return whether "((key = value AND key = value) OR ...)" ends the text.

        A part of a key would tell of any row that has it.
        """
        close = self._close_of(index)
        if self._text(index) != "(" or close != len(self.tokens) - 1:
            return False
        if self._text(index + 1) != "(":
            return self._is_whole_key(index + 1, close, target)
        start = index + 1
        while self._text(start) == "(":
            end = self._close_of(start)
            if not self._is_whole_key(start + 1, end, target):
                return False
            start = end + 1 + (self._word(end + 1) == "OR")
        return start == close

    def _is_whole_key(self, start: int, end: int, target: str) -> bool:
        """Return whether each column of the key is compared with a value."""
        named = []
        while start < end:
            after = self._end_of_path(start)
            if not after or self._text(after) != "=" or not self._is_value(after + 1):
                return False
            if after - start > 1 and self.tokens[after - 3].name != target:
                return False
            named.append(self.tokens[after - 1].name)
            start = after + 2 + (self._word(after + 2) == "AND")
        return start == end and tuple(named) == self.protected[target].keys

    def _are_values(self, start: int, end: int) -> bool:
        """Return whether nothing but values and commas stands there."""
        values = range(start, end)
        return len(values) % 2 == 1 and all(
            self._text(place) == "," if number % 2 else self._is_value(place)
            for number, place in enumerate(values)
        )

    def _selects_keys(
        self, start: int, close: int, target: str, keys: tuple[str, ...]
    ) -> bool:
        """Return whether a sub-select gives keys of the target's rows only.

        It names the target once more, which is covered or refused for itself; of the
        row that is tested it must not see a column.
        """
        if [self._text(start + number) for number in (1, 2, 3)] == [
            "*",
            "FROM",
            "(",
        ] and self._word(start + 4) == "SELECT":
            inner = self._close_of(start + 3)
            named = inner + 1 + (self._word(inner + 1) == "AS")
            if named + 1 != close or not self._names(named):
                return False
            start, close = start + 4, inner
        index = start + 1 + (self._word(start + 1) == "DISTINCT")
        selected = self._selected_columns(index)
        if selected is None or selected[1] != keys:
            return False
        alias = selected[0]
        occurrence = Occurrence(target, alias, self.block_at.get(start, -1))
        if occurrence not in self.statement.occurrences:
            return False
        written = self.tokens[self.target_end - 1]
        for place in range(start, close):
            token = self.tokens[place]
            if token.kind == WORD and token.text in _SET_OPERATORS:
                return False
            if (
                token.kind != SYMBOL
                and token.kind != PLACEHOLDER
                and token.name == written.name
                and alias != written.written
                and self._text(place + 1) == "."
            ):
                return False
        return True

    def _is_plain_conflict(self) -> bool:
        """Return whether what follows a conflict reads no column of the row."""
        index = self._find_at_depth("ON", self.target_end, "CONFLICT", "DUPLICATE")
        if index == len(self.tokens):
            return True
        fresh = {"excluded"}
        if self._word(index + 1) == "DUPLICATE":
            if self._word(index - 2) == "AS":
                fresh = {self.tokens[index - 1].name}
            else:
                fresh = set()
            index += 4
        else:
            index += 2
            if self._text(index) == "(":
                index = self._close_of(index) + 1
            elif self._word(index) == "ON":
                index += 3
            if self._word(index) != "DO":
                return False
            if self._word(index + 1) == "NOTHING":
                return self._ends_write(index + 2)
            index += 3
        if self.statement.target in fresh:
            return False
        return self._ends_write(self._end_of_assignments(index, frozenset(fresh)))

    def _ends_write(self, index: int) -> bool:
        return index >= len(self.tokens) or self._word(index) == "RETURNING"

    def _end_of_assignments(self, index: int, fresh: frozenset[str]) -> int:
        """Return the index after "a = value, b = value", as far as values are plain."""
        while True:
            end = self._end_of_path(index)
            if not end or self._text(end) != "=":
                return index
            end += 1
            path = self._end_of_path(end)
            if self._is_value(end) or self._word(end) in ("NULL", "TRUE", "FALSE"):
                end += 1
            elif path == end + 3 and self.tokens[end].name in fresh:
                end = path
            elif (
                self._word(end) in ("VALUE", "VALUES")
                and self._text(end + 1) == "("
                and self._text(end + 3) == ")"
            ):
                end += 4
            else:
                return index
            if self._text(end) != ",":
                return end
            index = end + 1

    def _is_value(self, index: int) -> bool:
        """Return whether a placeholder, a number or a string stands here."""
        if not 0 <= index < len(self.tokens):
            return False
        token = self.tokens[index]
        if token.kind == WORD:
            return token.text.isdigit()
        # A run of placeholders may hold several values.
        return token.kind == PLACEHOLDER or token.kind == STRING

    def _find_at_depth(self, word: str, start: int, *followers: str) -> int:
        """Return where a word stands in no parentheses; the end if it does not."""
        depth = 0
        for index in range(start, len(self.tokens)):
            text = self._text(index)
            depth += (text == "(") - (text == ")")
            if depth or self._word(index) != word:
                continue
            if not followers or self._word(index + 1) in followers:
                return index
        return len(self.tokens)

    def _selected_column(self, index: int) -> tuple[str, str] | None:
        """Return alias and name of "alias.column [AS name] FROM"."""
        found = self._selected_columns(index)
        return (found[0], found[1][0]) if found and len(found[1]) == 1 else None

    def _selected_columns(self, index: int) -> tuple[str, tuple[str, ...]] | None:
        """Return alias and names of "alias.column [AS name], ... FROM"."""
        aliases: set[str] = set()
        names: list[str] = []
        while self._end_of_path(index) == index + 3:
            aliases.add(self.tokens[index].written)
            names.append(self.tokens[index + 2].name)
            index += 3
            if self._word(index) == "AS":
                index += 2
            if self._word(index) == "FROM" and len(aliases) == 1:
                return aliases.pop(), tuple(names)
            if self._text(index) != ",":
                return None
            index += 1
        return None

    # One token

    def _step(self, index: int) -> int:
        """Read the token, and return the index of the next to read."""
        token = self.tokens[index]
        group = self.group
        if token.kind == SYMBOL:
            return self._read_symbol(index, token.text)
        if token.kind == PLACEHOLDER:
            if token.key is not None:
                self._read_placeholder(index, token.key)
            return index + 1
        if group.expects_source and self._names(index):
            if token.kind == WORD and token.text in _BEFORE_SOURCE:
                return index + 1
            if token.kind != WORD or token.text not in ("SELECT", "VALUES"):
                return self._read_source(index)
        if token.kind == WORD:
            return self._read_word(index, token.text)
        self._count(index)
        return index + 1

    def _read_symbol(self, index: int, text: str) -> int:
        group = self.group
        if text == "(":
            self._open(index)
        elif text == ")":
            self._close(index)
        elif text == ",":
            if group.clause in ("from", "on"):
                group.clause = "from"
                group.condition = _DEAD
                group.expects_source = True
                group.joins = []
        elif self.dialect.has_pipes_as_or and ("||" in text or ":=" in text):
            self._spoil()
        return index + 1

    def _open(self, index: int) -> None:
        outer = self.group
        opener = self._opener(index)
        inner = _Group(outer, block=outer.block, opener=opener)
        inner.is_call = index in self.calls
        if outer.expects_source:
            outer.expects_source = False
            inner.is_source = True
            inner.clause = "from"
            inner.expects_source = self._text(index + 1) != "("
        elif opener in _OPENERS:
            inner.condition = _Condition(outer.condition)
        if opener == "IN":
            inner.compared = self._compared_column(index - 2, outer)
        self.group = inner

    def _close(self, index: int) -> None:
        group = self.group
        while group.opener == "CASE" and group.outer is not None:
            group = group.outer
        if group.outer is None:
            # A parenthesis that nothing opened: what stood before is no longer sure.
            self._spoil()
            return
        if self._text(index + 1) and self._text(index + 1) not in _FOLLOWERS:
            group.compared = None
            if not group.is_query and group.condition is not _DEAD:
                group.condition.spoiled = True
        self.group = group.outer
        if group.is_source:
            self._name_join(index + 1)
        elif group.is_call:
            self._call(self._alias_at(index + 1))

    def _alias_at(self, index: int) -> str | None:
        """Return the alias that stands here, with or without AS."""
        if self._word(index) == "WITH" and self._word(index + 1) == "ORDINALITY":
            index += 2
        if self._word(index) == "AS":
            index += 1
        if self._names(index) and self._word(index) not in _NO_ALIAS:
            return self.tokens[index].written
        return None

    def _call(self, alias: str | None) -> None:
        """Note what a block calls a source of rows."""
        self.aliases.setdefault(self.group.block, []).append(alias)

    def _name_join(self, index: int) -> None:
        """Give the join its right side's name, after a closing parenthesis."""
        alias = self._alias_at(index)
        self._call(alias)
        if self.group.join_kind:
            self.group.joins.append((self.group.join_kind, alias))
            self.group.join_kind = ""

    def _read_word(self, index: int, text: str) -> int:
        group = self.group
        if text in ("OR", "XOR"):
            self._spoil()
        elif text == "BETWEEN":
            group.betweens += 1
        elif text == "AND":
            if group.betweens:
                group.betweens -= 1
                self.halves.add(index)
        elif text == "CASE":
            self.group = _Group(group, block=group.block, opener="CASE")
        elif text == "END" and group.opener == "CASE" and group.outer is not None:
            self.group = group.outer
        elif text == "SELECT":
            self._start_query(group)
            self.block_at[index] = group.block
            if self._text(index - 1) == "(":
                group.selected = self._selected_column(index + 1)
        elif text in _SET_OPERATORS:
            self._start_query(group)
            group.clause = ""
            group.compared = None
        elif group.is_query or group.clause in ("from", "on"):
            return self._read_clause(index, text)
        elif text == "WHERE":
            # FILTER (WHERE ...) keeps no row out of the result.
            group.condition = _DEAD
        else:
            self._count(index)
        return index + 1

    def _start_query(self, group: _Group) -> None:
        self.blocks += 1
        group.block = self.blocks
        group.is_query = True
        group.is_closed = False
        group.clause = "select"
        group.condition = _DEAD
        group.expects_source = False
        group.joins = []
        group.join_kind = ""
        group.betweens = 0

    def _read_clause(self, index: int, text: str) -> int:
        group = self.group
        in_from = group.clause in ("from", "on")
        if text == "FROM":
            is_operator = self._word(index - 1) == "DISTINCT" and (
                self._word(index - 2) in ("IS", "NOT")
            )
            if not is_operator:
                self._expect_source(group)
        elif text == "USING" and self._text(index + 1) != "(":
            self._expect_source(group)
        elif text == "USING" and group.joins:
            group.joins.pop()
        elif in_from and text in ("LEFT", "RIGHT", "FULL"):
            if self._text(index + 1) != "(":
                group.join_kind = text.lower()
        elif in_from and text in ("JOIN", "STRAIGHT_JOIN"):
            kind = group.join_kind or "inner"
            joins = group.joins
            self._expect_source(group)
            group.joins = joins
            group.join_kind = kind
        elif text == "ON":
            self._read_on(index)
        elif text == "WHERE":
            group.condition = _DEAD if group.is_closed else _Condition()
            group.clause = "where"
            group.betweens = 0
            group.is_closed = True
        elif text in _TAIL:
            group.clause = "tail" if text != "FOR" else "for"
            group.condition = _DEAD
            group.is_closed = True
        elif text == "SET":
            group.clause = "set"
            group.condition = _DEAD
        else:
            self._count(index)
        return index + 1

    def _expect_source(self, group: _Group) -> None:
        group.clause = "from"
        group.condition = _DEAD
        group.expects_source = True
        group.join_kind = ""
        group.joins = []

    def _read_on(self, index: int) -> None:
        group = self.group
        if self._word(index + 1) in ("CONFLICT", "DUPLICATE"):
            group.clause = "tail"
            group.condition = _DEAD
            group.is_closed = True
        elif group.clause in ("from", "on") and group.joins:
            kind, alias = group.joins.pop()
            if not group.is_query:
                # Inside parentheses of a FROM, which may be a LEFT JOIN's right side.
                kind = "left" if kind == "inner" else kind
            group.condition = _Condition(join=(kind, alias))
            group.clause = "on"
            group.betweens = 0

    def _read_source(self, index: int) -> int:
        """Read a table's name and its alias where rows come from it."""
        group = self.group
        group.expects_source = False
        end = self._end_of_path(index)
        last = end - 1
        name = self.tokens[last].name
        if self._text(end) == "(":
            # A function whose rows are read: what it reads is not in the text.
            self._count(last)
            self.calls.add(end)
            alias = None
        else:
            alias_at = end + 1 if self._word(end) == "AS" else end
            alias = self.tokens[last].written
            end_of_source = self.tokens[last].end
            if self._names(alias_at) and (
                alias_at > end or self._word(alias_at) not in _NO_ALIAS
            ):
                alias = self.tokens[alias_at].written
                # It may be a protected table's name, and means this source.
                self.done.add(alias_at)
                end_of_source = self.tokens[alias_at].end
            self.statement.sources.add(name)
            self._call(alias)
            table = self._table(name)
            if table is not None:
                self.done.add(last)
                self._occur(table, alias)
                place = self._is_outermost(group), self._is_derived(group)
                self.statement.source_ends.append(
                    SourceEnd(table, end_of_source, *place)
                )
        if group.join_kind:
            group.joins.append((group.join_kind, alias))
            group.join_kind = ""
        return end

    def _is_outermost(self, group: _Group) -> bool:
        """Return whether a query is the statement's own, or an arm of its UNION."""
        while group.outer is not None:
            if group.opener not in _BEFORE_ARM or group.outer.clause:
                return False
            group = group.outer
        return True

    def _is_derived(self, group: _Group | None) -> bool:
        """Return whether a query is one from which rows come, or stands in one."""
        while group is not None:
            if group.is_source and group.is_query:
                return True
            group = group.outer
        return False

    # Names and marks

    def _count(self, index: int) -> None:
        """Note a protected table's name that stands anywhere else."""
        token = self.tokens[index]
        if index in self.done or not self._names(index):
            return
        name = token.name
        before = self._text(index - 1) if index else ""
        if before.upper() in ("IN", "TABLE"):
            self.statement.sources.add(name)
        table = self._table(name)
        if table is None or self._text(index + 1) == ".":
            return
        if self._is_variable(index):
            return
        if token.kind == STRING and not (
            before in (",", "(", ".") or before.upper() in ("IN", "TABLE", "INTO")
        ):
            return
        if not self._is_column(index, before):
            self._occur(table, None)

    def _table(self, name: str) -> str | None:
        """Return the protected table that a name may mean."""
        if name in self.protected:
            return name
        if name.isascii():
            return None
        wide = name.lower()
        return wide if wide in self.protected else None

    def _is_variable(self, index: int) -> bool:
        """Return whether a name is that of a variable of MySQL."""
        return (
            self._text(index - 1).endswith("@")
            and self.tokens[index - 1].end == self.tokens[index].start
        )

    def _is_column(self, index: int, before: str) -> bool:
        """Return whether a name is certainly no table's, for where it stands."""
        if self.statement.main not in READS | WRITES:
            return False
        clause = self.group.clause
        if before.upper() == "AS":
            return clause == "select"
        if before == ".":
            start = index - 2
            while self._text(start - 1) == "." and start > 1:
                start -= 2
            return self._word(start - 1) not in ("IN", "TABLE", "FROM", "JOIN", "INTO")
        if clause == "set":
            return self._text(index + 1) == "="
        if clause == "for":
            return before.upper() == "OF" or before == ","
        return False

    def _occur(self, name: str, alias: str | None) -> None:
        self.statement.occurrences.add(Occurrence(name, alias, self.group.block))

    def _read_placeholder(self, index: int, key: int | str) -> None:
        if self._text(index - 1) != "=" or self.group.condition is _DEAD:
            return
        column = self._qualified_column(index - 2)
        if column is None:
            return
        if self._text(index + 1) and self._text(index + 1) not in _FOLLOWERS:
            return
        alias, name = column
        group = self.group
        place = Place(key, name, (alias, group.block))
        self.pending.append((place, group.condition, group))

    def _qualified_column(self, index: int) -> tuple[str, str] | None:
        """Return alias and column of "alias.column" that begins a condition.

        The alias is "" where the column stands alone.
        """
        if index < 1 or not self._names(index):
            return None
        alias = ""
        start = index
        if self._text(index - 1) == ".":
            start = index - 2
            if start < 1 or not self._names(start):
                return None
            alias = self.tokens[start].written
        token = self.tokens[index]
        if token.kind == STRING or not token.written:
            return None
        if self._opener(start) not in _OPENERS:
            return None
        return alias, self.tokens[index].name

    def _compared_column(
        self, index: int, outer: _Group
    ) -> tuple[str, str, _Condition, int] | None:
        column = self._qualified_column(index)
        if column is None or outer.condition is _DEAD:
            return None
        return (*column, outer.condition, outer.block)

    def _settle(self) -> None:
        """Keep the placeholders whose conditions were not spoiled afterwards."""
        for place, condition, group in self.pending:
            alias, block = place.cover
            if not alias:
                # It is a column of the only table that there is.
                (only, *others) = self.aliases.get(block) or [None]
                if others or not only:
                    continue
                alias = only
            if not condition.covers(alias):
                continue
            query: _Group | None = group
            while query is not None and not query.is_query:
                query = query.outer
            outer, link = None, ("", "")
            if query is not None and query.compared and query.block == block:
                outer_alias, column, outer_condition, outer_block = query.compared
                selected = query.selected
                if (
                    outer_condition.covers(outer_alias)
                    and selected is not None
                    and selected[0] == alias
                ):
                    outer = (outer_alias, outer_block)
                    link = (column, selected[1])
            self.statement.places.append(
                Place(place.key, place.column, (alias, block), outer, link)
            )

    def _forget_equal_aliases(self) -> None:
        """Leave uncovered what a block calls by a name that may be another's too."""
        statement = self.statement
        for block, aliases in self.aliases.items():
            names = [alias.casefold() for alias in aliases if alias is not None]
            if len(set(names)) == len(names):
                continue
            twice = {name for name in names if names.count(name) > 1}
            statement.occurrences = {
                Occurrence(found.table, None, block)
                if found.block == block
                and found.alias is not None
                and found.alias.casefold() in twice
                else found
                for found in statement.occurrences
            }

    def _find_expressions(self) -> None:
        """Note the names of a leading WITH that mean nothing else in the statement."""
        if self._word(0) != "WITH":
            return
        is_recursive = self._word(1) == "RECURSIVE"
        index = 1 + is_recursive
        seen: set[str] = set()
        while self._names(index):
            name = self.tokens[index].name
            start = index
            index += 1
            if self._text(index) == "(":
                index = self._close_of(index) + 1
            while self._word(index) in ("AS", "NOT", "MATERIALIZED"):
                index += 1
            end = self._close_of(index)
            body = {token.name for token in self.tokens[start + 1 : end]}
            if name not in seen and (is_recursive or name not in body):
                self.statement.expressions.add(name)
            seen |= body | {name}
            if self._text(end + 1) != ",":
                return
            index = end + 2

    def _spoil(self) -> None:
        group: _Group | None = self.group
        if group is not None and group.condition is not _DEAD:
            group.condition.spoiled = True

    # Looking about

    def _opener(self, index: int) -> str:
        """Return what stands before a condition; the AND of BETWEEN is another."""
        return "BETWEEN" if index - 1 in self.halves else self._text(index - 1)

    def _names(self, index: int) -> bool:
        if not 0 <= index < len(self.tokens):
            return False
        kind = self.tokens[index].kind
        if kind == STRING:
            return self.dialect.has_names_in_single_quotes
        return kind in (WORD, NAME)
