"""One SELECT, in which tables are shadowed by expressions of the same name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tenancy.backends.base import Backend, Shadowed
from tenancy.backends.guard import Parameters
from tenancy.backends.statements import READS, WRITES
from tenancy.backends.tokens import STRING, SYMBOL, WORD, Passing, Token
from tenancy.context import Scope
from tenancy.exceptions import RawSQLRefused

# What stands before a column of one table, and never before a table.
_BEFORE_COLUMN = frozenset(
    {"SELECT", "DISTINCT", "WHERE", "AND", "OR", "NOT", "BY", "ON", "HAVING", "CASE"}
    | {"WHEN", "THEN", "ELSE", "BETWEEN", "LIKE", "IS"}
    | {"=", "<", ">", "<=", ">=", "<>", "!=", "+", "-", "||"}
)
_CLAUSES = frozenset({"FROM", "JOIN", "TABLE", "IN", "ONLY", "STRAIGHT_JOIN"})


class Shadowing:
    """Writes a text with the scope's rows in the place of each protected table.

    Args:
        backend (Backend): of the database that is asked.
        scope (Scope): whose rows are meant.
        sql (str): one SELECT, WITH ... SELECT or VALUES.
        params (Sequence | Mapping | None): its parameters.
    """

    def __init__(
        self, backend: Backend, scope: Scope, sql: str, params: Parameters
    ) -> None:
        self.backend = backend
        self.scope = scope
        self.sql = sql
        self.params = params
        self.passing = Passing.of(params)
        found = backend.dialect.scan(sql, self.passing)
        self.doubt = found.doubt
        self.tokens = found.tokens

    def write(
        self,
        names: Collection[str],
        rows_of: Callable[[str, bool], tuple[str, list[Any]]],  # Any: parameters.
    ) -> tuple[str, Parameters]:
        """Return the text and its parameters.

        Args:
            names (Collection[str]): of the protected tables, in lower case.
            rows_of (Callable): given a table's name, and whether it will stand in a
                WITH RECURSIVE, returns a SELECT of its rows in the scope, with "%s"
                for each of the parameters that it returns too.
        Raises:
            RawSQLRefused: the text is not one that only reads, or it reaches past
                the shadows.
        """
        verdict = self.backend.judge(self.sql, self.params)
        self._require_select()
        if verdict.objection and (verdict.views or not verdict.tables):
            self._refuse(verdict.objection)
        if verdict.has_pasted_names(self.params):
            self._refuse("a parameter in quotes names a tenant table")
        tables = self._find_tables(names)
        if self.scope.is_unscoped:
            return self.sql, self.params
        if tables and not self.backend.sees_outer_expressions:
            self._refuse_inner_expressions()
        is_recursive = self._word(1) == "RECURSIVE"
        parts: list[str] = []
        values: list[Any] = []  # Whatever the driver takes.
        for spelling, table in tables.items():
            select, keys = rows_of(table, is_recursive)
            places = tuple(
                self._placeholder(len(values) + number) for number in range(len(keys))
            )
            values.extend(keys)
            quoted = self.backend.connection.ops.quote_name(spelling)
            parts.append(f"{quoted} AS ({select % places})")
        if not parts:
            return Shadowed(self.sql), self.params
        return self._merge(parts, is_recursive), self._join(values)

    def _refuse_inner_expressions(self) -> None:
        for index, token in enumerate(self.tokens):
            is_with = index and token.kind == WORD and token.text == "WITH"
            if is_with and self._word(index + 1) != "ROLLUP":
                self._refuse("a WITH is not its first word")

    def _placeholder(self, number: int) -> str:
        if self.passing is Passing.MAPPING:
            return f"%(tenancy_{number})s"
        return "%s"

    def _merge(self, parts: list[str], is_recursive: bool) -> str:
        """Put the expressions before those of the text, or before the text."""
        first = self.tokens[0]
        if first.text == "WITH":
            at = self.tokens[1].end if is_recursive else first.end
            added = f" {', '.join(parts)},"
        else:
            at = first.start
            added = f"WITH {', '.join(parts)} "
        before, after = self.sql[:at], self.sql[at:]
        if self.passing is Passing.NOTHING:
            before, after = before.replace("%", "%%"), after.replace("%", "%%")
        return Shadowed(before + added + after)

    def _join(self, values: list[Any]) -> Parameters:
        if isinstance(self.params, Mapping):
            named = {f"tenancy_{number}": key for number, key in enumerate(values)}
            return {**self.params, **named}
        return [*values, *(self.params or ())]

    def _require_select(self) -> None:
        """Refuse what is not one statement that only reads."""
        if self.doubt:
            self._refuse(f"{self.doubt} can be read in two ways")
        while self.tokens and self.tokens[-1].text == ";":
            self.sql = self.sql[: self.tokens.pop().start]
        opening = [token for token in self.tokens if token.text != "("][:1]
        verb = opening[0].text if opening and opening[0].kind == WORD else "nothing"
        if verb not in READS - {"TABLE"}:
            self._refuse(f"it begins with {verb}")
        for index, token in enumerate(self.tokens):
            if token.kind == SYMBOL and token.text == ";":
                self._refuse("it holds several statements")
            if token.kind == WORD and self._writes(index):
                self._refuse(f"{token.text} writes")

    def _writes(self, index: int) -> bool:
        word = self._word(index)
        if self._text(index - 1) == ".":
            return False
        if word == "INTO":
            return True
        if word not in WRITES or self._text(index + 1) == "(":
            # REPLACE() and INSERT() are functions too.
            return False
        # FOR UPDATE and FOR NO KEY UPDATE lock.
        return self._word(index - 1) not in ("FOR", "KEY")

    def _find_tables(self, names: Collection[str]) -> dict[str, str]:
        """Return the tables that the text names, by how it spells them."""
        found: dict[str, str] = {}
        for index, token in enumerate(self.tokens):
            is_string = token.kind == STRING
            if is_string and not self.backend.dialect.has_names_in_single_quotes:
                continue
            if not (token.is_identifier or is_string):
                continue
            if token.name not in names:
                if token.name.lower() in names:
                    self._refuse(f"'{token.name}' can be read in two ways")
                continue
            if self._text(index - 1) == ".":
                if not self._is_column(index):
                    self._refuse(f"'{token.name}' is named with its schema")
                continue
            if self._text(index + 1) == "." and not is_string:
                continue
            if self._is_expression(index):
                self._refuse(f"a common table expression is named '{token.name}'")
            found[self._spell(token)] = token.name
        return found

    def _spell(self, token: Token) -> str:
        """Return a table's name as an expression must be called to stand for it.

        To some databases two names that differ in case are two, and the expression of
        one leaves the other's table in sight.
        """
        features: Any = self.backend.connection.features  # Its flags are untyped.
        if features.ignores_table_name_case:
            return token.name
        written = self.sql[token.start : token.end]
        if token.kind == WORD:
            return token.name if self.backend.dialect.folds_words else written
        quote = written[-1]
        return written[1:-1].replace(quote * 2, quote)

    def _is_column(self, index: int) -> bool:
        """Return whether "alias.name" is certainly no table of a schema."""
        if index < 2 or not self.tokens[index - 2].is_identifier:
            return False
        return (
            self._text(index - 3) in _BEFORE_COLUMN
            and self._word(index - 2) not in _CLAUSES
        )

    def _is_expression(self, index: int) -> bool:
        """Return whether "name AS (" or "name (columns) AS (" stands here."""
        index += 1
        if self._text(index) == "(":
            while index < len(self.tokens) and self._text(index) != ")":
                index += 1
            index += 1
        if self._word(index) != "AS":
            return False
        while self._word(index + 1) in ("NOT", "MATERIALIZED"):
            index += 1
        return self._text(index + 1) == "("

    def _refuse(self, reason: str) -> None:
        raise RawSQLRefused(
            f"tenancy.raw() refused a text in {self.scope}: {reason}. Pass one SELECT "
            "that names tenant tables plainly, or say tenancy.unscoped(reason) and use "
            "a cursor."
        )

    def _text(self, index: int) -> str:
        if not 0 <= index < len(self.tokens):
            return ""
        token = self.tokens[index]
        return token.text if token.kind in (WORD, SYMBOL) else "\0"

    def _word(self, index: int) -> str:
        if 0 <= index < len(self.tokens) and self.tokens[index].kind == WORD:
            return self.tokens[index].text
        return ""
