"""Carries the scope to SQLite: a guarded cursor, and a function for the triggers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from tenancy.backends.base import Backend, Catalog, mapping_or_sequence
from tenancy.backends.guard import Verdict
from tenancy.backends.tokens import SQLiteDialect
from tenancy.context import current_scope

REFUSAL = "tenancy: "

_guarded: dict[type[sqlite3.Cursor], type[sqlite3.Cursor]] = {}


class SQLiteBackend(Backend):
    """SQLite, which hides nothing: triggers refuse writes, the guard refuses reads."""

    dialect = SQLiteDialect()
    reserved_names = ("sqlite_",)

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._create_cursor: Callable[..., sqlite3.Cursor] | None = None

    def attach(self) -> None:
        """Register the function on the open connection, and guard its cursors."""
        # Django types the driver's connection as Any.
        driver = cast(sqlite3.Connection, self.connection.connection)
        driver.create_function("tenancy_allows", 1, self.allows)
        # Without it, REPLACE deletes a row of another organization unseen.
        driver.execute("PRAGMA recursive_triggers = ON")
        if self._create_cursor is None:
            self._create_cursor = self.connection.create_cursor
            # An instance's own attribute, so that any subclass of Django's is served.
            self.connection.create_cursor = self.create_cursor  # type: ignore[method-assign]

    def create_cursor(self, name: str | None = None) -> sqlite3.Cursor:
        """Return a guarded cursor of the kind that the connection makes."""
        assert self._create_cursor is not None
        plain = self._create_cursor(name)
        kind = type(plain)
        plain.close()
        guarded = kind if issubclass(kind, GuardedCursor) else _guarded.get(kind)
        if guarded is None:
            if len(_guarded) > 100:
                _guarded.clear()
            guarded = type("GuardedCursor", (GuardedCursor, kind), {})
            _guarded[kind] = guarded
        # Django types the driver's connection as Any.
        driver = cast(sqlite3.Connection, self.connection.connection)
        cursor = driver.cursor(guarded)
        cursor.backend = self  # type: ignore[attr-defined]
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
        driver = cast(sqlite3.Connection, self.connection.connection)
        catalog = Catalog()
        schemas = [row[1] for row in driver.execute("PRAGMA database_list")]
        for schema in [*schemas, "temp"]:
            master = "sqlite_temp_master" if schema == "temp" else "sqlite_master"
            rows = driver.execute(
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


class GuardedCursor(sqlite3.Cursor):
    """A cursor whose statements are judged before they run."""

    backend: SQLiteBackend

    def execute(self, sql: str, parameters: Any = None) -> Any:
        """Execute a statement that the guard admits.

        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: it could reach rows of other organizations.
            CrossOrganization: a trigger or a key refused it.
        """
        parameters = mapping_or_sequence(parameters)
        verdict = self.backend.admit(sql, parameters)
        try:
            result = (
                super().execute(sql)
                if parameters is None
                else super().execute(sql, parameters)
            )
        except sqlite3.Error as error:
            self.backend.translate(error, verdict)
            raise
        if verdict.changes_schema:
            self.backend.forget()
        return result

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        """Execute a statement once for each row of parameters. See execute()."""
        # Any: what the driver takes.
        rows: list[Any] = [mapping_or_sequence(row) for row in parameters]
        verdict = self.backend.admit_many(sql, rows)
        try:
            return super().executemany(sql, rows)
        except sqlite3.Error as error:
            self.backend.translate(error, verdict)
            raise

    def executescript(self, sql_script: str) -> Any:
        """Execute a script that the guard admits. See execute()."""
        verdict = self.backend.admit(sql_script, None)
        try:
            result = super().executescript(sql_script)
        except sqlite3.Error as error:
            self.backend.translate(error, verdict)
            raise
        if verdict.changes_schema:
            self.backend.forget()
        return result
