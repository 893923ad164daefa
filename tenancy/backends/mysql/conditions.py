"""How a statement compares its columns, and in what order it asks for rows.

A condition asks for values, by which an index finds rows one by one, or may be answered
by a range of an index. What is not certainly the one is taken for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tenancy.backends.tokens import WORD, Token, TokenReader

ASCENDING = "ASC"
DESCENDING = "DESC"

_HINTS = frozenset({"USE", "FORCE", "IGNORE"})
_JOINS = frozenset(
    {"FROM", "INNER", "CROSS", "JOIN", "STRAIGHT_JOIN", "NATURAL", "UPDATE"}
)
_SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT"})
_OTHERS = _SET_OPERATORS | frozenset(
    {"SELECT", "SET", "GROUP", "LIMIT", "FOR", "LOCK", "INTO", "WINDOW", "RETURNING"}
    | {"PROCEDURE", "VALUES", "USING"}
)
# Around a condition that a row must meet, or of which it must meet one.
_OPENERS = frozenset({"WHERE", "HAVING", "ON", "AND", "OR", "&&", "||", "("})
_ENDS = frozenset(
    {"AND", "OR", "&&", "||", ")", "", ";", "ON", "WHERE", "HAVING", "LEFT", "RIGHT"}
    | {"ORDER", "XOR", *_JOINS, *_OTHERS}
) - {"FROM", "SELECT", "USING"}
_EQUALS = frozenset({"=", "<=>"})
_COMPARISONS = _EQUALS | frozenset(
    {"<", ">", "<=", ">=", "<>", "!=", "IS", "IN", "LIKE", "BETWEEN", "NOT", "!"}
    | {"REGEXP", "RLIKE", "SOUNDS", "MEMBER"}
)
_NEGATIONS = frozenset({"NOT", "XOR", "!"})
_VALUES = frozenset({"FALSE", "NULL", "TRUE", "UNKNOWN"})


@dataclass(frozen=True, slots=True)
class Mention:
    """A column's name where it stands in a condition or an order.

    Args:
        table (str): what stands before its point; "" of a name alone.
        column (str): the name, in lower case; "" of what cannot be told.
        start (int): where it begins in the statement, with its table.
        end (int): where it ends.
        direction (str): of an order, ASC or DESC; "" where that is not told.
    """

    table: str
    column: str
    start: int
    end: int
    direction: str = ""


@dataclass(slots=True, eq=False)
class _Group:
    """A pair of parentheses or a CASE, or the statement itself, while it is read.

    Args:
        outer (_Group | None): in which it stands.
        clause (str): "condition", "from", "order", "other"; "" where none has begun.
        holds_conditions (bool): whether its AND and OR stand between conditions.
        is_negated (bool): whether NOT or XOR stands before or in it.
    """

    outer: _Group | None = None
    clause: str = ""
    is_query: bool = False
    is_case: bool = False
    is_row: bool = False
    is_nested: bool = False
    holds_conditions: bool = False
    is_negated: bool = False
    has_or: bool = False
    condition: Condition | None = None

    def within_query(self) -> Iterator[_Group]:
        """Return the groups from this one to the query in which it stands."""
        group: _Group | None = self
        while group is not None:
            yield group
            group = None if group.is_query else group.outer


@dataclass(slots=True, eq=False)
class Condition:
    """One condition, between two of AND, OR and parentheses.

    Args:
        group (_Group): in which it stands.
        start (int): where it begins in the statement.
        end (int): where it ends.
        mentions (list[Mention]): the names in it, which may be of columns.
        equated (list[Mention]): those for which it asks a value, or one of several, by
            which an index finds rows one by one.
        is_comparison (bool): whether it is one, and true or false.
    """

    group: _Group
    start: int
    end: int = 0
    mentions: list[Mention] = field(default_factory=list)
    equated: list[Mention] = field(default_factory=list)
    betweens: int = 0
    is_comparison: bool = False

    @property
    def is_point(self) -> bool:
        """Whether rows are found by values, and not in a range of them."""
        is_plain = not any(group.is_negated for group in self.group.within_query())
        return is_plain and bool(self.equated)

    @property
    def is_required(self) -> bool:
        """Whether no row is found that does not meet it."""
        return not any(group.has_or for group in self.group.within_query())

    @property
    def is_bare(self) -> bool:
        """Whether it is a column alone, which is asked for its truth."""
        spans = [(mention.start, mention.end) for mention in self.mentions]
        return spans == [(self.start, self.end)]


class ConditionReader(TokenReader):
    """Reads how a statement compares its columns.

    Args:
        tokens (Sequence[Token]): of the statement.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        self.conditions: list[Condition] = []
        self.ordered: list[Mention] = []
        self.aliases: set[str] = set()
        # The words that begin the clauses of the statement itself.
        self.clauses: set[str] = set()
        self.has_hint = False
        self.locks_in_subquery = False
        self._group = _Group(is_query=True, holds_conditions=True)

    def read(self) -> None:
        """Read from the first token to the last."""
        index = 0
        while index < len(self.tokens):
            index = self._step(index) + 1
        self._end_condition(len(self.tokens))

    @property
    def equated(self) -> set[tuple[str, str]]:
        """The tables' and columns' names of which each row found has a value."""
        return {
            (mention.table, mention.column)
            for condition in self.conditions
            if condition.is_point and condition.is_required
            for mention in condition.equated
        }

    def _step(self, index: int) -> int:
        """Read a token; return the last one that was read with it."""
        token = self.tokens[index]
        text = self._operator(index)
        if text == ")":
            self._close(index)
            return index
        if token.kind == WORD and self._changes_clause(index):
            return index
        if self._ends_condition(index, text):
            return index
        condition = self._begin_condition(index)
        if text == "(":
            self._open(index)
            return index
        if token.kind == WORD and self._reads_case(token.text):
            return index
        if condition is not None:
            condition.is_comparison |= text in _COMPARISONS
            condition.betweens += text == "BETWEEN"
        if not token.is_identifier:
            if self._group.clause == "order":
                self._read_order(index, index)
            return index
        end = index
        while self._text(end + 1) == "." and end + 2 < len(self.tokens):
            end += 2
        self._read_name(index, end, condition)
        return end

    def _operator(self, index: int) -> str:
        """Return a word or a symbol, an operator without the sign that follows it."""
        text = self._text(index)
        is_sign = len(text) > 1 and text[0] in "<>=!"
        return text.rstrip("+-~@") if is_sign else text

    # Groups and clauses

    def _open(self, index: int) -> None:
        outer = self._group
        before = self._operator(index - 1)
        group = _Group(outer, outer.clause, is_nested=outer.is_nested)
        if self._word(index + 1) in ("SELECT", "WITH", "VALUES", "TABLE"):
            is_expression = before == "AS"  # Of a WITH.
            group.is_nested |= is_expression or outer.clause != ""
            group.is_query = group.holds_conditions = True
            group.clause = ""
        elif outer.clause == "condition":
            after = self._operator(self._close_of(index) + 1)
            is_first = before in _OPENERS or before in _NEGATIONS
            group.holds_conditions = (
                outer.holds_conditions and is_first and after in _ENDS
            )
            group.is_negated = before in _NEGATIONS
            group.is_row = before in _OPENERS and (after == "IN" or after in _EQUALS)
        else:
            group.holds_conditions = outer.clause == "from"
        self._group = group

    def _close(self, index: int) -> None:
        while self._group.is_case and self._group.outer is not None:
            self._group = self._group.outer
        self._end_condition(index)
        if self._group.outer is not None:
            self._group = self._group.outer

    def _reads_case(self, word: str) -> bool:
        if word == "CASE":
            group = self._group
            self._group = _Group(
                group, group.clause, is_case=True, is_nested=group.is_nested
            )
        elif word == "END" and self._group.is_case and self._group.outer is not None:
            self._group = self._group.outer
        else:
            return False
        return True

    def _changes_clause(self, index: int) -> bool:
        """Take a word that begins a clause, if it is one."""
        group = self._group
        word = self.tokens[index].text
        following = self._word(index + 1)
        # "PARTITION BY" is a window's.
        self.has_hint |= (word in _HINTS and following in ("INDEX", "KEY")) or (
            word == "PARTITION" and self._text(index + 1) == "("
        )
        if not (group.is_query or (group.holds_conditions and group.clause == "from")):
            return False
        is_call = self._text(index + 1) == "("
        clause = group.clause
        if word in ("WHERE", "HAVING"):
            clause = "condition"
        elif word == "ON":
            clause = "other" if following == "DUPLICATE" else "condition"
        elif word == "ORDER":
            clause = "order"
        elif word in _JOINS or (word in ("LEFT", "RIGHT") and not is_call):
            clause = "from"
        elif word in _OTHERS and not (is_call and word == "VALUES"):
            # The arms of a UNION are no part of one another.
            clause = "" if word in _SET_OPERATORS else "other"
        else:
            return False
        if group.is_nested and word in ("FOR", "LOCK"):
            self.locks_in_subquery |= following in ("UPDATE", "SHARE", "IN")
        self._end_condition(index)
        group.clause = clause
        if group.outer is None:
            self.clauses.add(word)
        return True

    # Conditions

    def _begin_condition(self, index: int) -> Condition | None:
        """Return the condition to which a token belongs, if it stands in one."""
        group = self._group
        while not group.holds_conditions and group.outer is not None:
            group = group.outer
        if group.clause != "condition":
            return None
        if group.condition is None:
            group.condition = Condition(group, self.tokens[index].start)
            self.conditions.append(group.condition)
        return group.condition

    def _ends_condition(self, index: int, text: str) -> bool:
        """End a condition at what stands between two, if it is that."""
        group = self._group
        if not group.holds_conditions or group.clause != "condition":
            return False
        if text == "AND" and group.condition and group.condition.betweens:
            group.condition.betweens -= 1
            return True
        if text == ",":
            # Another source, after an ON.
            self._end_condition(index)
            group.clause = "from"
            return True
        if text not in ("AND", "OR", "XOR", "&&", "||", ";"):
            return False
        group.has_or |= text in ("OR", "||")
        group.is_negated |= text == "XOR"
        self._end_condition(index)
        return True

    def _end_condition(self, index: int) -> None:
        condition = self._group.condition
        if condition is not None:
            condition.end = self.tokens[index - 1].end
            self._group.condition = None

    # Names

    def _read_name(self, start: int, end: int, condition: Condition | None) -> None:
        if self._word(start - 1) == "AS":
            self.aliases.add(self.tokens[end].name)
        word = self._word(start)
        if self._text(end + 1) == "(" or word in _VALUES:
            return
        if self._group.clause == "order":
            self._read_order(start, end)
        elif condition is not None and not word.isdigit():
            mention = self._mention(start, end)
            condition.mentions.append(mention)
            if self._is_equated(start, end):
                condition.equated.append(mention)

    def _mention(self, start: int, end: int, direction: str = "") -> Mention:
        first, last = self.tokens[start], self.tokens[end]
        table = self.tokens[end - 2].name if end > start else ""
        column = last.name if last.is_identifier and not last.text.isdigit() else ""
        return Mention(table, column, first.start, last.end, direction)

    def _read_order(self, start: int, end: int) -> None:
        """Take what rows are ordered by, where it is a name or a number."""
        after = self._word(end + 1)
        if not self._group.is_query:
            # In parentheses, of which the direction may stand behind.
            self.ordered.append(self._mention(start, end))
        elif self._text(start - 1) in ("BY", ","):
            direction = DESCENDING if after == DESCENDING else ASCENDING
            self.ordered.append(self._mention(start, end, direction))

    def _is_equated(self, start: int, end: int) -> bool:
        """Return whether a name is compared so that an index finds it by its value."""
        group = self._group
        before, after = self._operator(start - 1), self._operator(end + 1)
        if group.is_row:
            return before in ("(", ",") and after in (",", ")")
        if not group.holds_conditions:
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
        while (text := self._operator(index)) not in _ENDS:
            if text in _COMPARISONS:
                return False
            index = self._close_of(index) + 1 if text == "(" else index + 1
        return True

    def _begins_plainly(self, index: int) -> bool:
        """Return whether a value stands here, and before it the condition's start."""
        depth = 0
        while index >= 0:
            text = self._operator(index)
            if not depth and text in _OPENERS:
                return True
            depth += (text == ")") - (text == "(")
            if not depth and (text in _COMPARISONS or text in _NEGATIONS):
                return False
            index -= 1
        return False
