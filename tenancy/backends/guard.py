"""Whether a statement may run in the active scope, judged by its text.

A database that does not hide rows of other organizations is asked only what keeps
itself to the active one. The ORM's predicates give themselves away by their parameter,
a Mark; whatever else names a tenant table in a scope is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from tenancy.backends.marks import Mark
from tenancy.backends.reading import read
from tenancy.backends.statements import (
    DESCRIPTIONS,
    OPAQUE,
    READS,
    WRITES,
    Columns,
    Occurrence,
    Place,
    Reading,
    Statement,
)
from tenancy.backends.tokens import Dialect, Passing, names_in, plain_words, words_of
from tenancy.exceptions import RawSQLRefused

Parameters = Sequence[Any] | Mapping[str, Any] | None  # Any: what drivers take.

# Names that hide tables; and whether all names are known, so that it stays true.
FindViews = Callable[[Statement], tuple[Collection[str], bool]]
Tables = Mapping[str, Columns]

CACHED_TEXTS = 2_000
CACHED_LENGTH = 8_000

_HARMLESS = frozenset(
    {"BEGIN", "COMMIT", "RELEASE", "ROLLBACK", "SAVEPOINT", "SET", "START", "USE"}
)
_CHANGES_SCHEMA = frozenset({"ALTER", "ATTACH", "CREATE", "DETACH", "DROP", "RENAME"})
_DESCRIPTIONS_OF_TABLES = DESCRIPTIONS - {"EXPLAIN"}
# What SHOW and GET show of the rows that another statement has met.
_MESSAGES = frozenset(
    {"BINLOG", "DIAGNOSTICS", "ENGINE", "ERRORS", "PROCESSLIST", "RELAYLOG"}
    | {"WARNINGS"}
)
_DASHED = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_INTEGER = 20
# Words that stand before a parenthesis, and functions that write nothing. Another
# function may be a stored one, which may.
PLAIN_FUNCTIONS = frozenset(
    words_of(
        """
        abs all and any as avg between bit_and bit_or bit_xor by case cast ceil
        ceiling char char_length coalesce concat concat_ws convert convert_tz
        count cume_dist curdate current_date current_time current_timestamp date
        date_add date_format date_sub datediff dayofmonth dayofweek dayofyear
        dense_rank distinct else except exists exp extract first_value floor
        format from greatest group_concat hex hour if ifnull in instr intersect
        interval is isnull join json_array json_arrayagg json_contains
        json_contains_path json_extract json_keys json_length json_object
        json_objectagg json_overlaps json_quote json_search json_type
        json_unquote json_valid lag last_day last_value lead least left length
        like ln locate log lower lpad ltrim match max md5 microsecond min minute
        mod month not now nth_value ntile nullif on or order over partition
        percent_rank pi position power quarter radians rand rank regexp
        regexp_like repeat replace reverse right round row_number rpad rtrim
        second select sha1 sha2 sign sin sqrt std stddev stddev_pop stddev_samp
        str_to_date substr substring sum sysdate tan then time time_format
        timediff timestamp timestampdiff trim truncate unhex union upper using
        values var_pop var_samp variance week weekday when where with xor year
        """
    )
)

_source_of_tables: Callable[[], Tables] = dict


def guard_tables(source: Callable[[], Tables]) -> None:
    """Take the protected tables, by lower-case name, from this function.

    Args:
        source (Callable): returns one and the same mapping until the models change.
    """
    global _source_of_tables
    _source_of_tables = source


class Verdict:
    """What a text does to protected tables, kept for the next time it is run.

    Args:
        tables (tuple[str, ...]): those that it names, sorted.
        reading (Reading): what was understood.
        protected (Mapping[str, Columns]): all protected tables.
        views (Collection[str]): the views and stored routines that it names.
    """

    __slots__ = (
        "carries_scope",
        "changes_schema",
        "ends_transaction",
        "hidden",
        "is_write",
        "locking",
        "may_write",
        "needed",
        "objection",
        "only_describes",
        "places",
        "protected",
        "required",
        "statements",
        "tables",
        "target",
        "verb",
        "views",
    )

    def __init__(
        self,
        reading: Reading,
        protected: Tables,
        views: Collection[str] = (),
    ) -> None:
        self.statements = reading.statements
        self.protected = protected
        self.tables = tuple(sorted(reading.tables))
        self.views = tuple(sorted(views))
        self.hidden = reading.hidden
        self.needed: tuple[Occurrence, ...] = tuple(
            occurrence
            for statement in self.statements
            for occurrence in statement.occurrences
        )
        self.places: tuple[Place, ...] = tuple(
            place for statement in self.statements for place in statement.places
        )
        # For each occurrence, the parameters of which one must be the organization.
        self.required = tuple(
            (occurrence.table, self._find_keys(occurrence))
            for occurrence in self.needed
        )
        # Does the text ask about tables, not for their rows?
        self.only_describes = not reading.doubt and all(
            statement.verb in DESCRIPTIONS and statement.main not in READS | WRITES
            for statement in self.statements
        )
        self.may_write = any(map(_may_write, self.statements)) or bool(reading.doubt)
        self.is_write = any(
            statement.main in WRITES and statement.main != "DELETE"
            for statement in self.statements
        )
        self.target = self.statements[0].target if self.statements else None
        self.verb = self.statements[0].verb if self.statements else ""
        self.changes_schema = any(
            statement.verb in _CHANGES_SCHEMA for statement in self.statements
        )
        # For the backend that sends the scope with a statement; None until it asks.
        self.carries_scope: bool | None = None
        self.ends_transaction: bool | None = None
        # For the backend that writes a text which locks less; None until it asks.
        self.locking: str | None = None
        self.objection = self._find_objection(reading)

    def _find_objection(self, reading: Reading) -> str:
        """Return why the text is refused in a scope whatever its parameters."""
        for statement in self.statements:
            if statement.verb in OPAQUE:
                return f"{statement.verb} runs what is not in its text"
            if statement.verb in ("SHOW", "GET") and statement.words & _MESSAGES:
                return f"{statement.verb} may tell of any organization's rows"
        if reading.hides_names:
            return f"{reading.doubt} may name any table"
        if self.views:
            names = ", ".join(map(repr, self.views))
            return f"{names} may show rows of every organization"
        if not self.tables:
            return ""
        if reading.doubt:
            return f"{reading.doubt} can be read in two ways"
        if len(self.statements) > 1:
            return "it holds several statements"
        for statement in self.statements:
            if statement.main in READS | WRITES:
                continue
            if statement.verb not in DESCRIPTIONS or "SELECT" in statement.words:
                return f"{statement.verb or 'it'} reaches every organization's rows"
        return ""

    def is_about_rows(self, parameters: Parameters) -> bool:
        """Return whether rows of protected tables may be read or written."""
        if self.has_pasted_names(parameters):
            return True
        return bool(self.tables) and not self.only_describes

    def has_pasted_names(self, parameters: Parameters) -> bool:
        """Return whether a parameter in a string or comment names a table."""
        return bool(self.hidden and parameters and self._find_pasted(parameters))

    def find_exposed(
        self, parameters: Parameters, expected: str | None, *, of_user: bool = False
    ) -> list[str]:
        """Return the tables of which rows of other organizations could be reached.

        Args:
            parameters (Sequence | Mapping | None): the statement's.
            expected (str | None): the key of the scope's organization, or user.
            of_user (bool): whether the scope is a user's without an organization.
        """
        if self.hidden and parameters:
            pasted = self._find_pasted(parameters)
            if pasted:
                return pasted
        if not self.needed or self.only_describes:
            return []
        if of_user:
            return self._find_exposed_to_user(parameters, expected)
        exposed = set()
        for table, keys in self.required:
            for key in keys:
                if _is_key(_get(parameters, key), expected):
                    break
            else:
                exposed.add(table)
        return sorted(exposed) if exposed else []

    def fit(self, parameters: Parameters, expected: str) -> Parameters:
        """Return the parameters with the organization's key in its column's form.

        A UUID in another form is the same key, and the database would find no row.

        Args:
            parameters (Sequence | Mapping | None): the statement's, or one row's.
            expected (str): the key as the column holds it.
        """
        fitted: Any = None  # A list or a dict, as the parameters are.
        for _table, keys in self.required:
            for key in keys:
                value = _get(parameters, key)
                if type(value) is Mark or value == expected:
                    continue
                if type(value) is not int and _is_key(value, expected):
                    if fitted is None:
                        is_named = isinstance(parameters, Mapping)
                        fitted = dict(parameters) if is_named else list(parameters)  # type: ignore[arg-type]
                    fitted[key] = expected
        return parameters if fitted is None else fitted

    def _find_keys(self, occurrence: Occurrence) -> tuple[int | str, ...]:
        """Return the parameters that the organization's column is compared with."""
        if occurrence.alias is None:
            return ()
        column = self.protected[occurrence.table].organization
        cover = (occurrence.alias, occurrence.block)
        return tuple(
            place.key
            for place in self.places
            if place.cover == cover and place.column == column
        )

    def _find_exposed_to_user(
        self, parameters: Parameters, expected: str | None
    ) -> list[str]:
        covered: set[tuple[str, tuple[str, int]]] = set()
        for place in self.places:
            self._cover(place, parameters, expected, covered)
        return sorted(
            {
                occurrence.table
                for occurrence in self.needed
                if occurrence.alias is None
                or (occurrence.table, (occurrence.alias, occurrence.block))
                not in covered
            }
        )

    def _cover(
        self,
        place: Place,
        parameters: Parameters,
        expected: str | None,
        covered: set[tuple[str, tuple[str, int]]],
    ) -> None:
        mark = _get(parameters, place.key)
        if not isinstance(mark, Mark) or str(mark) != expected:
            return
        if mark.column.lower() != place.column:
            return
        first, *others = (bare_name(table) for table in mark.tables)
        covered.add((first, place.cover))
        compared, selected = place.link
        for table in others:
            # "organization.id IN (SELECT membership.organization_id ...)"
            if (
                place.outer is not None
                and first in self.protected
                and table in self.protected
                and selected == self.protected[first].organization
                and compared == self.protected[table].organization
            ):
                covered.add((table, place.outer))

    def _find_pasted(self, parameters: Sequence[Any] | Mapping[str, Any]) -> list[str]:
        """Return the tables that a parameter names where it is pasted into a text."""
        found: set[str] = set()
        for key in self.hidden:
            try:
                # A key of a mapping is a str, one of a sequence an int.
                value = parameters[key]  # type: ignore[index]
            except (LookupError, TypeError):
                continue
            found |= names_in(str(value), self.protected.keys())
        # What is pasted can end the string or comment and change all that follows.
        if self.tables and any(
            not isinstance(_get(parameters, key), (int, float, type(None)))
            for key in self.hidden
        ):
            found.update(self.tables)
        return sorted(found)


def _get(parameters: Parameters, key: int | str) -> Any:
    try:
        # A key of a mapping is a str, one of a sequence an int.
        return parameters[key]  # type: ignore[index]
    except (LookupError, TypeError):
        return None


def _is_key(value: Any, expected: str | None) -> bool:
    """Return whether a parameter can only mean the key, however it is compared.

    A database is more lenient than Python about what is a number, so that nothing is
    converted here, and a subclass is trusted only if it is the package's own.
    """
    kind = type(value)
    if kind is Mark or kind is str:
        if value == expected:
            return True
        # Either form of a UUID, which a column of the other form takes, or finds not.
        return bool(
            kind is str and expected and _undashed(value) == _undashed(expected)
        )
    if kind is int:
        return len(str(value)) <= _LONGEST_INTEGER and str(value) == expected
    return kind is UUID and expected in (value.hex, str(value))


def _undashed(key: str) -> str:
    return key.replace("-", "") if _DASHED.fullmatch(key) else key


def _may_write(statement: Statement) -> bool:
    """Return whether a statement is not provably a plain read."""
    if statement.verb in _HARMLESS or statement.verb in _DESCRIPTIONS_OF_TABLES:
        return False
    if statement.main not in READS:
        return bool(statement.verb)
    return bool("INTO" in statement.words or statement.functions - PLAIN_FUNCTIONS)


class Guard:
    """Judges the texts for one database, and remembers.

    Args:
        dialect (Dialect): how the database reads.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._verdicts: dict[tuple[str, Passing], Verdict] = {}
        self._tables: Tables = {}
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The names of the protected tables, in lower case."""
        return self._names

    def judge(
        self, sql: str, parameters: Parameters, find_views: FindViews | None = None
    ) -> Verdict:
        """Return the verdict on a text.

        Args:
            sql (str): as it was given to the cursor.
            parameters (Sequence | Mapping | None): the statement's, or one row's.
            find_views (Callable | None): returns those names in a statement that hide
                tables; None where the database itself hides rows.
        """
        tables = _source_of_tables()
        if tables is not self._tables:
            self._tables = tables
            self._names = frozenset(tables)
            self._verdicts.clear()
        passing = Passing.of(parameters)
        key = (sql, passing)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict, is_lasting = self._read(sql, passing, find_views)
            if is_lasting and len(sql) <= CACHED_LENGTH:
                if len(self._verdicts) >= CACHED_TEXTS:
                    self._forget_some()
                self._verdicts[key] = verdict
        return verdict

    def forget(self) -> None:
        """Forget every verdict: what the database holds has changed."""
        self._verdicts.clear()

    def _read(
        self, sql: str, passing: Passing, find_views: FindViews | None
    ) -> tuple[Verdict, bool]:
        """Return a verdict, and whether it stays true."""
        tables = self._tables
        reading = read(sql, passing, self.dialect, tables)
        views: set[str] = set()
        is_lasting = True
        if find_views is not None:
            for statement in reading.statements:
                hiding, is_known = find_views(statement)
                views.update(hiding)
                is_lasting = is_lasting and is_known
            if reading.doubt:
                # Anything may be a name that was not read as one.
                whole = Statement(sources=plain_words(sql), text=sql)
                views.update(find_views(whole)[0])
        return Verdict(reading, tables, views), is_lasting

    def _forget_some(self) -> None:
        """Make room: the older half goes, since a dict keeps the order of arrival."""
        for key in list(self._verdicts)[: CACHED_TEXTS // 2]:
            self._verdicts.pop(key, None)


def bare_name(table: str) -> str:
    """Return a table's name without the schema that some put into db_table."""
    return table.rpartition('"."')[2].strip('"').lower()


def refuse(
    verdict: Verdict,
    parameters: Parameters,
    expected: str | None,
    scope: object,
    *,
    of_user: bool = False,
) -> None:
    """Refuse a statement that could reach rows outside the active scope.

    Args:
        verdict (Verdict): of its text.
        parameters (Sequence | Mapping | None): its parameters, or those of one row.
        expected (str | None): the key of the scope's organization, or user.
        scope (object): the active scope, for the message.
        of_user (bool): whether it is a user's without an organization.
    Raises:
        RawSQLRefused: it could.
    """
    if verdict.objection:
        names = ", ".join(map(repr, verdict.tables or verdict.views))
        subject = f"A statement that names {names}" if names else "A statement"
        raise RawSQLRefused(
            f"{subject} was refused in {scope}: {verdict.objection}. "
            "Read rows of one organization with tenancy.raw(), or say "
            "tenancy.unscoped(reason) to reach every organization's rows."
        )
    exposed = verdict.find_exposed(parameters, expected, of_user=of_user)
    if exposed:
        names = ", ".join(map(repr, exposed))
        column = verdict.protected[exposed[0]].organization
        raise RawSQLRefused(
            f"A statement was refused in {scope}: it names {names} without the "
            f"organization's predicate, {exposed[0]}.{column} = %s with its key. Use "
            "the model's manager, or tenancy.raw() for SQL of your own, or say "
            "tenancy.unscoped(reason) to reach every organization's rows."
        )
