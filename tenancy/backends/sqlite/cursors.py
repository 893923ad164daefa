"""Carries the scope to SQLite: a guarded cursor, and a function for the triggers."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from tenancy.backends.base import Backend, Catalog, mapping_or_sequence
from tenancy.backends.guard import Parameters, Verdict
from tenancy.backends.tokens import SQLiteDialect
from tenancy.context import current_scope
from tenancy.exceptions import UnsupportedDatabase

REFUSAL = "tenancy: "

_guarded: dict[type[sqlite3.Cursor], type[sqlite3.Cursor]] = {}
_connections: dict[type[sqlite3.Connection], type[sqlite3.Connection]] = {}


class SQLiteBackend(Backend):
    """SQLite, which hides nothing: triggers refuse writes, the guard refuses reads."""

    dialect = SQLiteDialect()
    reserved_names = ("sqlite_",)

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._create_cursor: Callable[..., sqlite3.Cursor] | None = None

    def prepare(self) -> None:
        """Open connections of a guarded class, which none can become afterwards."""
        self._guard_factory()
        driver = self.connection.connection
        if driver is not None and not isinstance(driver, GuardedConnection):
            self.connection.close()

    def attach(self) -> None:
        """Register the function on the open connection, and guard its cursors.

        Raises:
            UnsupportedDatabase: the connection is of a class that is not guarded.
        """
        # Django types the driver's connection as Any.
        driver = cast(sqlite3.Connection, self.connection.connection)
        if not isinstance(driver, GuardedConnection):
            self._guard_factory()
            raise UnsupportedDatabase(
                f"The database '{self.connection.alias}' was opened by "
                f"'{type(driver).__name__}', whose cursors cannot be guarded. Make the "
                "option 'factory' a class, and open the connection after "
                "django.setup()."
            )
        driver.tenancy_backend = self
        driver.create_function("tenancy_allows", 1, self.allows)
        driver.create_function("tenancy_deletes", 0, lambda: int(self._deletions > 0))
        # Without it, REPLACE deletes a row of another organization unseen.
        driver.execute("PRAGMA recursive_triggers = ON")
        if self._create_cursor is None:
            self._create_cursor = self.connection.create_cursor
            # An instance's own attribute, so that any subclass of Django's is served.
            self.connection.create_cursor = self.create_cursor  # type: ignore[method-assign]

    def _guard_factory(self) -> None:
        # Any: each class has a function of its own type.
        kind: Any = type(self.connection)
        plain = kind.get_connection_params
        if getattr(plain, "is_of_tenancy", False):
            return

        @functools.wraps(plain)
        def get_connection_params(connection: BaseDatabaseWrapper) -> dict[str, Any]:
            params: dict[str, Any] = plain(connection)
            factory = params.get("factory", sqlite3.Connection)
            if isinstance(factory, type):
                params["factory"] = guard_connection(factory)
            return params

        get_connection_params.is_of_tenancy = True  # type: ignore[attr-defined]
        # The class's own: each thread has an instance, which others copy.
        kind.get_connection_params = get_connection_params

    def create_cursor(self, name: str | None = None) -> sqlite3.Cursor:
        """Return a guarded cursor of the kind that the connection makes."""
        assert self._create_cursor is not None
        cursor = self._create_cursor(name)
        if not isinstance(cursor, GuardedCursor):
            # It was made past the connection's method.
            kind = type(cursor)
            cursor.close()
            # Django types the driver's connection as Any.
            driver = cast(sqlite3.Connection, self.connection.connection)
            cursor = driver.cursor(kind)
        # What Django's compilers write is handed to it.
        cursor.takes_percent = True  # type: ignore[attr-defined]
        return cursor

    def allows(self, organization: Any) -> int:  # Any: whatever the column holds.
        """Return 1 where the active scope may write a row of the organization."""
        scope = current_scope()
        if scope is None or organization is None:
            return 0
        if scope.unscoped_reason is not None:
            return 1
        if scope.organization_id is None:
            return 0
        return int(str(organization) == self.key_text(scope))

    def write_source(self, table: str, is_recursive: bool) -> str:
        """Return the name with its schema: an expression sees itself."""
        return f"main.{self.connection.ops.quote_name(table)}"

    def load_catalog(self) -> Catalog:
        """Return the tables, and the views and virtual tables with their SQL."""
        # Django types the driver's connection as Any.
        driver = cast(GuardedConnection, self.connection.connection)
        catalog = Catalog()
        cursor = driver.open_plain_cursor()
        schemas = [row[1] for row in cursor.execute("PRAGMA database_list")]
        for schema in [*schemas, "temp"]:
            master = "sqlite_temp_master" if schema == "temp" else "sqlite_master"
            rows = cursor.execute(
                f'SELECT name, type, sql FROM "{schema}".{master}'
                " WHERE type IN ('table', 'view')"
            )
            for name, kind, sql in rows:
                is_plain = kind == "table" and (
                    "VIRTUAL" not in (sql or "").upper().split("(")[0]
                )
                if is_plain:
                    catalog.tables.add(name.lower())
                else:
                    catalog.definitions[name.lower()] = sql
        return catalog

    def is_cross_organization(self, error: Exception, verdict: Verdict | None) -> bool:
        """Return whether a trigger, or a key of a write to a tenant table, refused."""
        text = str(error)
        if text.startswith(REFUSAL):
            return True
        return (
            text == "FOREIGN KEY constraint failed"
            and verdict is not None
            and verdict.is_write
            and verdict.target is not None
        )


def guard_class(kind: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
    """Return a guarded subclass of a class of cursors.

    Raises:
        TypeError: it is no class, and what it makes is not known.
    """
    if not isinstance(kind, type):
        raise TypeError(
            f"A cursor was asked of {kind!r}, which is no class. Pass a subclass of "
            "sqlite3.Cursor."
        )
    if issubclass(kind, GuardedCursor):
        return kind
    if kind not in _guarded:
        if len(_guarded) > 100:
            _guarded.clear()
        takes_percent = issubclass(kind, SQLiteCursorWrapper)
        _guarded[kind] = type(
            "GuardedCursor", (GuardedCursor, kind), {"takes_percent": takes_percent}
        )
    return _guarded[kind]


def guard_connection(kind: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    """Return a subclass of a class of connections, with guarded cursors."""
    if issubclass(kind, GuardedConnection):
        return kind
    if kind not in _connections:
        name = "Guarded" + kind.__name__
        _connections[kind] = type(name, (GuardedConnection, kind), {})
    return _connections[kind]


def _in_unscoped_only(name: str) -> Any:
    """Return the driver's method, refused where organizations are kept apart."""

    def run(self: GuardedConnection, *args: Any, **kwargs: Any) -> Any:
        if self.tenancy_backend is not None:
            self.tenancy_backend.refuse_opaque(f"The connection's {name}()")
        return getattr(super(GuardedConnection, self), name)(*args, **kwargs)

    run.__name__ = name
    run.__doc__ = f"See sqlite3.Connection.{name}(); in tenancy.unscoped() only."
    return run


class GuardedConnection(sqlite3.Connection):
    """A connection each cursor of which is guarded."""

    # None while Django opens the connection.
    tenancy_backend: SQLiteBackend | None = None

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Return a guarded cursor, of the class that is given."""
        if self.tenancy_backend is None:
            return super().cursor(factory)
        return super().cursor(guard_class(factory))

    def execute(self, *args: Any) -> Any:
        """Execute a statement by a cursor; see GuardedCursor.execute()."""
        # The driver's own would not ask for the guarded one.
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        """Execute a statement for each row; see GuardedCursor.executemany()."""
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """Execute a script by a cursor; see GuardedCursor.executescript()."""
        return self.cursor().executescript(*args)

    def open_plain_cursor(self) -> sqlite3.Cursor:
        """Return a cursor for the package's own statements."""
        return super().cursor(sqlite3.Cursor)

    # What reads or writes whole tables with no statement.
    backup = _in_unscoped_only("backup")
    blobopen = _in_unscoped_only("blobopen")
    deserialize = _in_unscoped_only("deserialize")
    iterdump = _in_unscoped_only("iterdump")
    serialize = _in_unscoped_only("serialize")


class GuardedCursor(sqlite3.Cursor):
    """A cursor whose statements are judged before they run."""

    # Does it make "?" of "%s", as Django's does, and "%" of "%%"?
    takes_percent = False

    def execute(self, sql: str, parameters: Any = None) -> Any:
        """Execute a statement that the guard admits.

        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: it could reach rows of other organizations.
            CrossOrganization: a trigger or a key refused it.
        """
        parameters = mapping_or_sequence(parameters)
        verdict = self._backend.admit(self._as_django(sql, parameters), parameters)
        parameters = self._backend.fit(parameters, verdict)
        try:
            result = (
                super().execute(sql)
                if parameters is None
                else super().execute(sql, parameters)
            )
        except sqlite3.Error as error:
            self._backend.translate(error, verdict)
            raise
        if verdict.changes_schema:
            self._backend.forget()
        return result

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        """Execute a statement once for each row of parameters. See execute()."""
        # Any: what the driver takes.
        rows: list[Any] = [mapping_or_sequence(row) for row in parameters]
        text = self._as_django(sql, rows[0] if rows else None)
        verdict = self._backend.admit_many(text, rows)
        rows = self._backend.fit_many(rows, verdict)
        try:
            return super().executemany(sql, rows)
        except sqlite3.Error as error:
            self._backend.translate(error, verdict)
            raise

    def executescript(self, sql_script: str) -> Any:
        """Execute a script that the guard admits. See execute()."""
        verdict = self._backend.admit(sql_script, None)
        try:
            result = super().executescript(sql_script)
        except sqlite3.Error as error:
            self._backend.translate(error, verdict)
            raise
        if verdict.changes_schema:
            self._backend.forget()
        return result

    @property
    def _backend(self) -> SQLiteBackend:
        backend = cast(GuardedConnection, self.connection).tenancy_backend
        # A connection that is not attached makes plain cursors.
        assert backend is not None
        return backend

    def _as_django(self, sql: str, parameters: Parameters) -> str:
        """Return the text that Django's cursor would hand to the driver as this."""
        if self.takes_percent or parameters is None or not isinstance(sql, str):
            return sql
        return sql.replace("%", "%%")
