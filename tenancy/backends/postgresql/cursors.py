"""Carries the scope to PostgreSQL, in the same message as each statement.

``SET LOCAL ...;`` before the statement makes one message of the simple protocol, which
outside a transaction is one implicit transaction: the setting ends with the statement,
also behind a pool of connections that others share. Inside a transaction it is sent
again with each statement, so that no savepoint can bring an older one back. SET LOCAL
costs half of what set_config() does, and takes no snapshot.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import psycopg
from django.apps import apps
from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq, sql
from psycopg.client_cursor import ClientCursorMixin
from psycopg.generators import execute, fetch

from tenancy import conf
from tenancy.backends.base import Backend, mapping_or_sequence
from tenancy.backends.guard import Verdict
from tenancy.backends.postgresql.settings import (
    DELETES,
    Prefix,
    marks_of,
    write_every,
    write_organization,
    write_own,
)
from tenancy.backends.statements import Statement
from tenancy.backends.tokens import (
    SYMBOL,
    Passing,
    PostgreSQLDialect,
    Token,
    names_in,
)
from tenancy.context import Scope, current_scope
from tenancy.exceptions import (
    CrossOrganization,
    RawSQLRefused,
    UnsupportedDatabase,
)

REFUSAL = "tenancy: "
BATCH_BYTES = 256_000
_IDLE = pq.TransactionStatus.IDLE
_IN_ERROR = pq.TransactionStatus.INERROR
_IN_TRANSACTION = pq.TransactionStatus.INTRANS
_POSITION = pq.DiagnosticField.STATEMENT_POSITION

# The statements that read or write rows, and may stand in a transaction.
_CARRIERS = frozenset(
    {"CALL", "COPY", "DECLARE", "DELETE", "DO", "EXECUTE", "EXPLAIN", "FETCH"}
    | {"INSERT", "MERGE", "MOVE", "REFRESH", "SELECT", "TABLE", "TRUNCATE", "UPDATE"}
    | {"VALUES", "WITH"}
)
# They set aside, or bring back, what a transaction has set.
_TRANSACTION = frozenset({"ABORT", "BEGIN", "COMMIT", "END", "ROLLBACK", "START"})
_CONTROL = frozenset(
    {"CLOSE", "DEALLOCATE", "DISCARD", "LISTEN", "NOTIFY", "RELEASE", "RESET"}
    | {"SAVEPOINT", "SET", "SHOW", "UNLISTEN"}
)
_CURSOR_VERBS = frozenset({"CLOSE", "DECLARE", "FETCH", "MOVE"})
_READERS = frozenset({"cursor_to_xml", "cursor_to_xmlschema"})
_END = Token(SYMBOL, ";", 0, 0)
_ESCAPED_NAME = re.compile('u&"', re.IGNORECASE)
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)

_guarded: dict[type[Any], type[Any]] = {}  # By the class that the user chose.
_bypassed: dict[tuple[Any, ...], bool] = {}  # By alias and role.
_NO_ORGANIZATION = write_organization("")


class PostgreSQLBackend(Backend):
    """PostgreSQL, whose row-level security reads the scope from settings."""

    dialect = PostgreSQLDialect()
    hides_rows = True

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._noted = (connection.alias, Prefix)  # In what a scope remembers.
        self._create_cursor: Any = None  # Django types create_cursor as untyped.

    def attach(self) -> None:
        """Make the driver's connection open guarded cursors, named ones too.

        Raises:
            UnsupportedDatabase: the driver is none of psycopg 3.
        """
        driver: Any = self.connection.connection  # Django types it as Any.
        if not isinstance(driver, psycopg.Connection):
            raise UnsupportedDatabase(
                f"The database '{self.connection.alias}' is opened by "
                f"'{type(driver).__module__}', in whose cursors the scope cannot be "
                "carried. Use psycopg 3."
            )
        carrier = cast(Any, driver)  # It takes attributes of ours.
        if not hasattr(driver, "tenancy_declared"):
            carrier.tenancy_declared = {}
            carrier.tenancy_fetched = {}
            carrier.tenancy_first = None
            carrier.tenancy_mixed = False
            carrier.tenancy_sent = False
            carrier.tenancy_planned = True
            carrier.tenancy_deleted = False
        carrier.tenancy_backend = self
        driver.cursor_factory = guard_class(driver.cursor_factory)
        driver.server_cursor_factory = guard_class(driver.server_cursor_factory)
        if self._create_cursor is None:
            self._create_cursor = self.connection.create_cursor
            # An instance's own attributes, so that any subclass of Django's is served.
            self.connection.create_cursor = self.create_cursor  # type: ignore[method-assign]
            wrapper: Any = self.connection  # The stubs leave its method out.
            wrapper._commit = functools.partial(self.commit, wrapper._commit)

    def commit(self, run: Callable[[], None]) -> None:
        """Commit, and tell of a key that is looked at only then as of any other.

        Raises:
            CrossOrganization: see translate().
        """
        try:
            run()
        except IntegrityError as error:
            if isinstance(error.__cause__, psycopg.Error):
                self.translate(error.__cause__, None)
            raise

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a guarded cursor of the kind that the connection makes."""
        if name:
            # Behind a pool, Django's name may be that of another client's cursor.
            name = f"{name}_{secrets.token_hex(6)}"
        cursor = self._create_cursor(name)
        kind = type(cursor)
        if not issubclass(kind, GuardedCursor):
            # Django names the class of its named cursors, past any factory.
            cursor.__class__ = guard_class(kind)
        return cursor

    def prefix(self, driver: Any, verdict: Verdict) -> Prefix | None:
        """Return what goes before a statement to carry the scope.

        Args:
            driver (psycopg.Connection): the connection that sends it.
            verdict (Verdict): of the statement.
        Raises:
            RawSQLRefused: it is of several statements, past which no scope is carried.
        """
        is_idle = driver.pgconn.transaction_status == _IDLE
        if is_idle:
            driver.tenancy_sent = driver.tenancy_mixed = False
            driver.tenancy_deleted = False
            # Cursors that functions have opened end with their transaction.
            driver.tenancy_fetched.clear()
        if verdict.carries_scope is None:
            verdict.ends_transaction = any(map(_ends_transaction, verdict.statements))
            verdict.carries_scope = carries_scope(verdict)
        if verdict.ends_transaction and len(verdict.statements) > 1:
            if verdict.tables or driver.tenancy_sent:
                what = f"names {', '.join(map(repr, verdict.tables))}"
                raise RawSQLRefused(
                    f"A text of several statements that "
                    f"{what if verdict.tables else 'ends a transaction'} was refused: "
                    "the scope cannot be carried past what ends a transaction. Send "
                    "the statements one by one."
                )
            return None
        in_transaction = not (is_idle and driver.autocommit)
        # A transaction may hold what another scope has set: but for what reads no row,
        # each message sets its own.
        carries = not _is_control(verdict) if in_transaction else verdict.carries_scope
        if not carries:
            return None
        scope = current_scope()
        if scope is None:
            driver.tenancy_planned = True
            # The transaction still holds what the last scope in it has set.
            return _NO_ORGANIZATION if driver.tenancy_sent else None
        if in_transaction:
            if not driver.tenancy_sent:
                driver.tenancy_first = scope
            elif not scope.reaches_same_rows(driver.tenancy_first):
                driver.tenancy_mixed = True
            driver.tenancy_sent = True
        prefix = self.settings(scope)
        if driver.tenancy_deleted and not self._deletions:
            # A savepoint of the time when rows were deleted may bring that back.
            prefix = prefix.without_deleting()
        if not prefix.replans:
            driver.tenancy_planned = True
        elif not (driver.tenancy_planned or self._is_pooled):
            return prefix.without_replanning()
        return prefix

    @property
    def _is_pooled(self) -> bool:
        """Whether statements of others are sent between ours to the same server."""
        return bool(self.connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))

    @contextmanager
    def deleting(self) -> Iterator[None]:
        """See Backend.deleting(); what ends the transaction undoes the setting."""
        driver: Any = self.connection.connection  # Django types it as Any.
        # Outside a transaction there is flush, whose TRUNCATE no row's trigger sees.
        is_set = self.connection.in_atomic_block and not self._deletions
        with super().deleting():
            if is_set:
                driver.tenancy_deleted = True
                driver.execute(f"SET LOCAL {DELETES} = '1'")
            try:
                yield
            finally:
                # After an error the rollback undoes it.
                if is_set and driver.pgconn.transaction_status == _IN_TRANSACTION:
                    driver.execute(f"SET LOCAL {DELETES} = ''")

    def settings(self, scope: Scope) -> Prefix:
        """Return the statements that set a scope, for as long as a transaction."""
        prefix: Prefix | None = scope.parameters.get(self._noted)
        if prefix is None:
            prefix = scope.parameters[self._noted] = self._write_settings(scope)
        return prefix

    def _write_settings(self, scope: Scope) -> Prefix:
        if scope.organization_id is not None:
            return write_organization(self.key_text(scope))
        marks = marks_of(apps.get_model(conf.organization_model())._meta.pk)
        if scope.is_unscoped:
            return write_every(marks)
        return write_own(marks, self.key_text(scope))

    def write_source(self, table: str, is_recursive: bool) -> str:
        """Return the name, with its schema where an expression sees itself."""
        quoted: str = self.connection.ops.quote_name(table)
        if not is_recursive:
            return quoted
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT n.nspname FROM pg_catalog.pg_class c"
                " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.oid = to_regclass(%s)",
                [quoted],
            )
            row = cursor.fetchone()
        schema = str(row[0]) if row else "public"
        return f"{self.connection.ops.quote_name(schema)}.{quoted}"

    def is_bypassed(self) -> bool:
        """Return whether the role is a superuser's, or has BYPASSRLS."""
        database = self.connection.settings_dict
        place = (
            self.connection.alias,
            database["HOST"],
            database["PORT"],
            database["USER"],
            database["OPTIONS"].get("assume_role"),
        )
        known = _bypassed.get(place)
        if known is not None:
            return known
        driver: Any = self.connection.connection  # Django types it as Any.
        if driver is None or driver.pgconn.transaction_status == _IN_ERROR:
            return False
        with psycopg.ClientCursor(driver) as cursor:
            cursor.execute(
                "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles"
                " WHERE rolname = current_user"
            )
            row = cursor.fetchone()
        _bypassed[place] = bool(row and row[0])
        return _bypassed[place]

    def is_cross_organization(self, error: Exception, verdict: Verdict | None) -> bool:
        """Return whether a policy, a trigger or a composite key of ours refused."""
        if not isinstance(error, psycopg.Error):
            return False
        if error.sqlstate == "42501":
            # Messages are translated by the server; the name of its function is not.
            return error.diag.source_function == "ExecWithCheckOptions" or (
                str(error.diag.message_primary).startswith(REFUSAL)
            )
        if error.sqlstate == "23503":
            detail = error.diag.message_detail or ""
            statements = () if verdict is None else verdict.statements
            if any(found.main == "DELETE" for found in statements) or (
                verdict is None and "still referenced" in detail
            ):
                return False
            # A key into its own table is looked at late, and Django's own constraint
            # may be the first: it tells a missing row from another organization's.
            table = error.diag.table_name or ""
            is_own = table in self.guard.names and table in names_in(
                detail.rpartition(")")[2], [table]
            )
            name = error.diag.constraint_name or ""
            return is_own or (verdict is not None and name.startswith("tenancy_"))
        return False


def carries_scope(verdict: Verdict) -> bool:
    """Return whether the scope is sent with a text outside a transaction.

    What cannot stand in one is sent alone, and no setting of another scope is there.
    """
    carries = False
    for statement in verdict.statements:
        words = statement.words
        if statement.verb in _CARRIERS:
            carries = True
        elif statement.verb == "ALTER" and statement.thing == "TABLE":
            # Else a new foreign key over hidden rows would validate nothing.
            is_alone = len(verdict.statements) == 1 and "CONCURRENTLY" in words
            carries = carries or not is_alone
        elif statement.verb == "CREATE" and "AS" in words:
            carries = carries or statement.thing in ("TABLE", "MATERIALIZED")
    return carries


def _ends_transaction(statement: Statement) -> bool:
    """Return whether a statement begins or ends a transaction, or a part of one."""
    if statement.verb == "PREPARE":
        return "TRANSACTION" in statement.words
    return statement.verb in _TRANSACTION


def _is_control(verdict: Verdict) -> bool:
    """Return whether a text is one statement that reads no rows."""
    if len(verdict.statements) > 1:
        return False
    is_empty = not verdict.statements
    return is_empty or verdict.verb in _CONTROL or bool(verdict.ends_transaction)


def guard_class(kind: type[Any]) -> type[Any]:
    """Return a guarded subclass of a psycopg class of cursors."""
    if issubclass(kind, GuardedCursor):
        return kind
    guarded = _guarded.get(kind)
    if guarded is None:
        # Parameters must be merged here: bound by the server, there is no room for
        # a second statement in the message.
        bases: tuple[type[Any], ...] = (
            (GuardedCursor, kind)
            if issubclass(kind, ClientCursorMixin)
            else (GuardedCursor, ClientCursorMixin, kind)
        )
        if issubclass(kind, psycopg.ServerCursor):
            bases = (GuardedServerCursor, *bases[1:])
        guarded = _guarded[kind] = type("Guarded" + kind.__name__, bases, {})
    return guarded


class GuardedCursor:
    """Mixed into a psycopg class of cursors: judges, and sends the scope along."""

    # What psycopg's cursors have; its own classes are mixed in beside this one.
    _conn: Any
    _pgconn: Any
    _query: Any
    _last_query: Any
    _rowcount: int
    _execmany_returning: bool | None
    format: Any

    _prefix: Prefix | None = None
    _scope: Scope | None = None
    # The cursors that the statement declares, and those that it closes.
    _names_declared: frozenset[str] = frozenset()
    _names_closed: frozenset[str] = frozenset()

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement that the guard admits, in the active scope.

        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: the role bypasses row-level security, and it could reach
                rows of other organizations.
            CrossOrganization: a policy or a key refused it.
        """
        verdict = self._admit(query, params)
        try:
            super().execute(query, params, **options)  # type: ignore[misc]
        except psycopg.Error as error:
            self._translate(error, verdict)
            raise
        self._note_cursors()
        if verdict.changes_schema:
            self._conn.tenancy_backend.forget()
        return self

    def executemany(
        self, query: Any, params_seq: Iterable[Any], *, returning: bool = False
    ) -> None:
        """Execute a statement once for each row of parameters. See execute()."""
        rows = [mapping_or_sequence(row) for row in params_seq]
        backend: PostgreSQLBackend = self._conn.tenancy_backend
        text = self._as_text(query)
        verdict = backend.admit_many(text, rows)
        self._prefix = None if verdict is None else backend.prefix(self._conn, verdict)
        self._scope = current_scope()
        if verdict is not None:
            self._watch_cursors(verdict, text, rows)
        with self._translated(verdict):
            if self._prefix is None:
                super().executemany(query, rows, returning=returning)  # type: ignore[misc]
            else:
                with self._own_transaction(), self._conn.lock:
                    self._conn.wait(self._batches(query, rows, returning))
        self._note_cursors()

    def stream(self, query: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """Iterate over rows as they arrive, in the scope of the call. See execute()."""
        verdict = self._admit(query, params)
        with self._translated(verdict):
            for row in super().stream(query, params, **options):  # type: ignore[misc]
                self._require_same_scope()
                yield row

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """Copy in or out, in the active scope. See execute()."""
        verdict = self._admit(statement, params)
        prefix, self._prefix = self._prefix, None
        with self._translated(verdict):
            # A COPY stands alone in its message, so the scope goes before it.
            transaction = self._own_transaction() if prefix else nullcontext()
            with transaction:
                if prefix:
                    with psycopg.ClientCursor(self._conn) as cursor:
                        cursor.execute(prefix.text)
                copying = super().copy(statement, params, **options)  # type: ignore[misc]
                with copying as copy:
                    yield copy

    # Before the statement

    def _admit(self, query: Any, params: Any) -> Verdict:
        backend: PostgreSQLBackend = self._conn.tenancy_backend
        text = self._as_text(query)
        verdict = backend.admit(text, params)
        self._prefix = backend.prefix(self._conn, verdict)
        self._scope = current_scope()
        self._watch_cursors(verdict, text, params)
        return verdict

    def _watch_cursors(self, verdict: Verdict, text: str, params: Any) -> None:
        """Refuse rows of a cursor that was declared in another scope."""
        self._names_declared = self._names_closed = frozenset()
        for statement in verdict.statements:
            if _READERS.intersection(statement.functions):
                raise RawSQLRefused(
                    "cursor_to_xml() reads a cursor by its name, of which the scope is "
                    "not seen. FETCH its rows."
                )
        if not any(found.verb in _CURSOR_VERBS for found in verdict.statements):
            return
        if _ESCAPED_NAME.search(text):
            raise RawSQLRefused(
                "A cursor's name is written with U&, in which one name has many forms. "
                "Write it without."
            )
        known: dict[str, Scope | None] = self._conn.tenancy_declared
        dialect = self._conn.tenancy_backend.dialect
        verb, name = "", ""
        tokens = dialect.read(text, Passing.of(params)).tokens
        for token in [*tokens, _END]:
            if token.text == ";":
                if verb in ("FETCH", "MOVE") and name not in self._names_declared:
                    _require_same_scope(
                        known[name] if name in known else self._find_scope(name)
                    )
                elif verb == "CLOSE":
                    self._names_closed |= {name}
                    self._names_declared -= {name}
                elif verb == "DECLARE":
                    self._names_declared |= {name}
                verb = name = ""
            elif not verb:
                verb = token.text
            elif token.is_identifier and not (verb == "DECLARE" and name):
                # DECLARE has it first, the others last.
                name = token.written

    def _note_cursors(self) -> None:
        """Note what was declared and closed, once it is."""
        known: dict[str, Scope | None] = self._conn.tenancy_declared
        for name in self._names_closed | self._names_declared:
            known.pop(name, None)
            self._conn.tenancy_fetched.pop(name, None)
        known.update(dict.fromkeys(self._names_declared, self._scope))

    def _find_scope(self, name: str) -> Scope | None:
        """Return the scope of a cursor that no statement of ours has declared.

        A function has opened it, in this transaction; and whatever scopes that has
        been in, it has been in the one that reads first.

        Raises:
            RawSQLRefused: the transaction was in another scope too, or the cursor is
                older than it.
        """
        fetched: dict[str, Scope | None] = self._conn.tenancy_fetched
        if name in fetched:
            return fetched[name]
        with psycopg.ClientCursor(self._conn) as cursor:
            cursor.execute(
                "SELECT is_holdable FROM pg_catalog.pg_cursors WHERE name = %s", [name]
            )
            row = cursor.fetchone()
        scope = current_scope()
        is_open = scope is None or not scope.is_unscoped
        if row is not None and is_open and (row[0] or self._conn.tenancy_mixed):
            raise RawSQLRefused(
                f"The cursor {name!r} was opened where it was not seen in which scope. "
                "Read it in the transaction in which it was opened, which is in one "
                "scope only."
            )
        fetched[name] = scope
        return scope

    def _as_text(self, query: Any) -> str:
        if isinstance(query, str):
            return query
        if isinstance(query, bytes):
            return query.decode(self._conn.info.encoding, "surrogateescape")
        if isinstance(query, sql.Composable):
            return query.as_string(self._conn)
        # A template string, whose parts the driver merges.
        return str(self.mogrify(query))  # type: ignore[attr-defined]

    def _own_transaction(self) -> AbstractContextManager[Any]:
        """Return a transaction, where none is open and none would be opened."""
        if self._conn.autocommit and self._pgconn.transaction_status == _IDLE:
            transaction: AbstractContextManager[Any] = self._conn.transaction()
            return transaction
        return nullcontext()

    # What psycopg calls to send and to take results

    def _execute_send(
        self, query: Any, *, force_extended: bool = False, binary: bool | None = None
    ) -> None:
        if self._prefix is None:
            super()._execute_send(  # type: ignore[misc]
                query, force_extended=force_extended, binary=binary
            )
            return
        self._refuse_pipeline()
        if binary or (binary is None and self.format == pq.Format.BINARY):
            raise psycopg.NotSupportedError(
                "A statement in a tenancy scope cannot return binary results. Leave "
                "out 'binary'."
            )
        self._query = query
        self._pgconn.send_query(self._prefix.text + query.query)

    def _refuse_pipeline(self) -> None:
        if self._conn._pipeline:
            raise psycopg.NotSupportedError(
                "A statement in a tenancy scope cannot be sent in pipeline mode, in "
                "which a message holds one statement only. Leave the pipeline."
            )

    def _set_results(self, results: list[Any]) -> None:
        if self._prefix is not None:
            results = results[self._prefix.results :]
            if self._prefix.replans:
                self._conn.tenancy_planned = False
        super()._set_results(results)  # type: ignore[misc]

    def _stream_fetchone_gen(self, first: bool) -> Any:
        if first and self._prefix is not None:
            for _ in range(self._prefix.results):
                result = yield from fetch(self._pgconn)
                if result is None or result.status != pq.ExecStatus.COMMAND_OK:
                    return self._raise_for_result(result)  # type: ignore[attr-defined]
        return (yield from super()._stream_fetchone_gen(first))  # type: ignore[misc]

    def _batches(self, query: Any, rows: list[Any], returning: bool) -> Any:
        """Send many rows' statements in few messages, each with the scope before it."""
        yield from self._start_query(query)  # type: ignore[attr-defined]
        self._refuse_pipeline()
        if not returning:
            self._rowcount = 0
        self._execmany_returning = returning
        batch: list[bytes] = []
        size = 0
        for row in rows:
            self._query = self._convert_query(query, row)  # type: ignore[attr-defined]
            batch.append(self._query.query)
            size += len(batch[-1])
            if size > BATCH_BYTES:
                yield from self._send_batch(batch)
                batch, size = [], 0
        if batch:
            yield from self._send_batch(batch)
        self._last_query = query

    def _send_batch(self, batch: list[bytes]) -> Any:
        assert self._prefix is not None
        self._pgconn.send_query(self._prefix.text + b"\n;\n".join(batch))
        results = yield from execute(self._pgconn)
        self._check_results(results)  # type: ignore[attr-defined]
        self._set_results(results)

    # After it

    @contextmanager
    def _translated(self, verdict: Verdict | None) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self._translate(error, verdict)
            raise

    def _translate(self, error: psycopg.Error, verdict: Verdict | None) -> None:
        self._conn.tenancy_backend.translate(error, verdict)
        if self._prefix is not None:
            _hide_prefix(error, len(self._prefix.text.decode()))

    def _require_same_scope(self) -> None:
        _require_same_scope(self._scope)


class GuardedServerCursor(GuardedCursor):
    """Mixed into a psycopg class of named cursors."""

    _format: Any
    _name: str

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Declare the cursor, in the active scope. See GuardedCursor.execute()."""
        super().execute(query, params, **options)
        self._conn.tenancy_declared[self._name] = self._scope
        return self

    def _fetch_gen(self, num: int | None) -> Any:
        _require_same_scope(self._scope)
        if self._prefix is None:
            return (yield from super()._fetch_gen(num))  # type: ignore[misc]
        # Rows of a cursor that is not WITH HOLD are made while they are fetched.
        yield from self._send_settings()
        return (yield from super()._fetch_gen(num))  # type: ignore[misc]

    def _send_settings(self) -> Any:
        assert self._prefix is not None
        self._pgconn.send_query(self._prefix.text)
        results = yield from execute(self._pgconn)
        self._check_results(results)  # type: ignore[attr-defined]
        self._conn.tenancy_sent = True

    def _scroll_gen(self, value: int, mode: str) -> Any:
        _require_same_scope(self._scope)
        if self._prefix is not None:
            yield from self._send_settings()
        return (yield from super()._scroll_gen(value, mode))  # type: ignore[misc]


def _require_same_scope(declared: Scope | None) -> None:
    """Refuse rows of a cursor that was opened in another scope.

    Raises:
        CrossOrganization: the active scope reaches other rows.
    """
    active = current_scope()
    if active is declared or (
        active is not None and active.reaches_same_rows(declared)
    ):
        return
    raise CrossOrganization(
        f"A cursor that was opened in {declared or 'no scope'} was read in "
        f"{active or 'no scope'}. Read it in the scope in which it was opened."
    )


def _hide_prefix(error: psycopg.Error, length: int) -> None:
    """Make an error's position that of the statement as the caller wrote it."""
    if error.args and isinstance(error.args[0], str):
        text = _LINE.sub(lambda line: f"LINE {int(line[1]) - 1}:", error.args[0])
        error.args = (text, *error.args[1:])
    diagnostic = error.diag
    if error.pgresult is None or diagnostic.statement_position is None:
        return
    # The form that psycopg gives an error's details when it is pickled.
    fields: dict[int, bytes | None] = {
        field: error.pgresult.error_field(field) for field in pq.DiagnosticField
    }
    fields[_POSITION] = str(int(diagnostic.statement_position) - length).encode()
    error._info = fields
