"""Carries the scope to MySQL and MariaDB: a guarded cursor, and session variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

from tenancy.backends.base import Backend, Catalog, Shadowed, mapping_or_sequence
from tenancy.backends.guard import Verdict
from tenancy.backends.mysql.conditions import ASCENDING, DESCENDING
from tenancy.backends.mysql.locks import IndexColumns, Indexes, may_lock, narrow
from tenancy.backends.statements import Statement
from tenancy.backends.tokens import MySQLDialect, Passing
from tenancy.context import current_scope
from tenancy.exceptions import UnsupportedDatabase

REFUSAL = "tenancy: "

# Tables of the server's in which other connections' statements stand.
_SHOWN = frozenset(
    {"data_locks", "innodb_lock_waits", "innodb_trx", "processlist", "session"}
    | {"prepared_statements_instances", "threads", "x$processlist", "x$session"}
)
_SHOWN_BEGINNINGS = ("events_statements_", "events_transactions_")
_SIGNAL = 1644
_NO_INDEX = 1176
_NO_REFERENCED_ROW = (1216, 1452)
_KEY = re.compile(
    r"CONSTRAINT `(?P<name>[^`]*)` FOREIGN KEY.*REFERENCES `(?P<to>[^`]*)`"
)

# Drivers have no common classes.
_guarded: dict[type[Any], type[Any]] = {}
_connections: dict[type[Any], type[Any]] = {}


class MySQLBackend(Backend):
    """MySQL and MariaDB: triggers refuse writes, the guard refuses reads."""

    dialect = MySQLDialect()
    sees_outer_expressions = False

    _indexes: ClassVar[dict[tuple[str, str], Mapping[str, Indexes]]] = {}

    def attach(self) -> None:
        """Make the driver's connection open guarded cursors.

        Raises:
            UnsupportedDatabase: the driver's connections have no class of cursors.
        """
        driver: Any = self.connection.connection  # Django types it as Any.
        kind = getattr(driver, "cursorclass", None)
        if kind is None:
            raise UnsupportedDatabase(
                f"The database '{self.connection.alias}' is opened by "
                f"'{type(driver).__module__}', whose cursors cannot be guarded. Use "
                "mysqlclient."
            )
        driver.tenancy_backend = self
        # An instance's own attribute, so that any subclass of Django's is served.
        self.connection.introspection.get_relations = self.get_relations  # type: ignore[method-assign]
        # MariaDB's deletes by a subquery on their own table, but not where it is joined
        # to others, as it is for a hint. See querysets.restrict_batches().
        self.connection.features.delete_can_self_reference_subquery = False
        if issubclass(kind, GuardedCursor):
            return
        # What was last sent: the organization's key, whether it is unscoped, and
        # whether rows that are kept may be deleted.
        driver.tenancy_sent = (None, None, None)
        driver.tenancy_plain_cursor = kind
        driver.cursorclass = guard_class(kind)
        if not isinstance(driver, GuardedConnection):
            # An attribute of the instance would be a cycle, and the connection be
            # closed late.
            driver.__class__ = guard_connection(type(driver))

    def get_relations(self, cursor: Any, table_name: str) -> dict[str, tuple[Any, ...]]:
        """Return the foreign keys of one column; see DatabaseIntrospection.

        Django's own takes a composite key for a key of each of its columns, so that
        check_constraints(), with which loaddata ends, would find faults in good rows.
        """
        introspection = self.connection.introspection
        found: dict[str, tuple[Any, ...]] = type(introspection).get_relations(
            introspection, cursor, table_name
        )
        cursor.execute(
            "SELECT MIN(column_name), MIN(referenced_column_name),"
            " MIN(referenced_table_name)"
            " FROM information_schema.key_column_usage"
            " WHERE table_schema = DATABASE() AND table_name = %s"
            " AND referenced_table_name IS NOT NULL"
            " GROUP BY constraint_name"
            " HAVING COUNT(*) = 1",
            [table_name],
        )
        # Django 6.1 adds a third value, which does not depend on the columns here.
        return {
            column: (other, table, *found[column][2:])
            for column, other, table in cursor.fetchall()
        }

    def send_scope(self) -> None:
        """Set the session variables that the triggers read, where they differ."""
        driver: Any = self.connection.connection  # Django types it as Any.
        scope = current_scope()
        organization, unscoped = None, None
        if scope is not None and scope.is_unscoped:
            unscoped = 1
        elif scope is not None and scope.organization_id is not None:
            organization = self.key_text(scope)
        values = (organization, unscoped, 1 if self._deletions else None)
        if driver.tenancy_sent == values:
            return
        # None while it is uncertain: an interrupted SET is sent again.
        driver.tenancy_sent = None
        with driver.open_plain_cursor() as cursor:
            cursor.execute(
                "SET @tenancy_organization = %s, @tenancy_unscoped = %s,"
                " @tenancy_deletes = %s",
                values,
            )
        driver.tenancy_sent = values

    def narrow_locks(self, sql: Any, args: Any, verdict: Verdict) -> Any:
        """Return a statement that locks no row of another organization."""
        if not verdict.needed or isinstance(sql, bytes) or type(sql) is Shadowed:
            return sql
        scope = current_scope()
        if scope is None or scope.organization_id is None:
            return sql
        if verdict.locking is None:
            (statement,) = verdict.statements
            verdict.locking = sql
            if may_lock(statement):
                tokens = self.dialect.read(sql, Passing.of(args)).tokens
                verdict.locking = narrow(
                    sql, statement, tokens, verdict.protected, self.find_indexes()
                )
        return verdict.locking

    def find_indexes(self) -> Mapping[str, Indexes]:
        """Return the indexes of each table, by its name in lower case."""
        indexes = self._indexes.get(self._place)
        if indexes is None:
            indexes = self._indexes[self._place] = self._load_indexes()
        return indexes

    def run_narrowed(
        self,
        run: Callable[[Any, Any], Any],
        query: Any,
        args: Any,
        verdict: Verdict | None,
    ) -> Any:
        """Run a statement that locks no more than it must, by the driver's method.

        One that names an index which another process has dropped is refused when it
        is read, before anything is done; it is written anew.
        """
        if verdict is None:
            return run(query, args)
        narrowed = self.narrow_locks(query, args, verdict)
        try:
            return run(narrowed, args)
        except Exception as error:  # Each driver has its own errors.
            if narrowed is query or error.args[:1] != (_NO_INDEX,):
                raise
        self.forget()
        verdict.locking = None
        return run(self.narrow_locks(query, args, verdict), args)

    def forget(self) -> None:
        """Forget the indexes as well, which hints name."""
        self._indexes.pop(self._place, None)
        super().forget()

    def _load_indexes(self) -> Mapping[str, Indexes]:
        driver: Any = self.connection.connection  # Django types it as Any.
        # Any: MySQL's wrapper has it.
        is_mariadb: bool = self.connection.mysql_is_mariadb  # type: ignore[attr-defined]
        # A hint that names an index which is hidden from the optimizer is refused.
        is_hidden = "ignored = 'YES'" if is_mariadb else "is_visible = 'NO'"
        found: dict[str, dict[str, IndexColumns]] = {}
        with driver.open_plain_cursor() as cursor:
            cursor.execute(
                # An expression in an index of MySQL's is no column.
                "SELECT s.table_name, s.index_name, COALESCE(s.column_name, ''),"
                " s.collation, COALESCE(c.generation_expression, '') <> ''"
                " FROM information_schema.statistics s"
                " LEFT JOIN information_schema.columns c"
                " ON c.table_schema = s.table_schema AND c.table_name = s.table_name"
                " AND c.column_name = s.column_name"
                " WHERE s.table_schema = DATABASE() AND s.index_type = 'BTREE'"
                f" AND NOT ({is_hidden})"
                " ORDER BY s.table_name, s.index_name, s.seq_in_index"
            )
            for table, index, column, direction, is_generated in cursor.fetchall():
                held = found.setdefault(table.lower(), {}).setdefault(
                    self.connection.ops.quote_name(index), IndexColumns()
                )
                held.names[column.lower()] = (
                    DESCENDING if direction == "D" else ASCENDING
                )
                if is_generated or not column:
                    held.derived.add(column.lower())
        return found

    def write_source(self, table: str, is_recursive: bool) -> str:
        """Return the name with its database, which no expression has."""
        quote = self.connection.ops.quote_name
        return f"{quote(self.connection.settings_dict['NAME'])}.{quote(table)}"

    def load_catalog(self) -> Catalog:
        """Return the tables, and the views and stored routines with their bodies."""
        driver: Any = self.connection.connection  # Django types it as Any.
        catalog = Catalog()
        system = "('information_schema', 'mysql', 'performance_schema', 'sys')"
        with driver.open_plain_cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                f" WHERE table_type = 'BASE TABLE' AND table_schema NOT IN {system}"
            )
            catalog.tables.update(name.lower() for (name,) in cursor.fetchall())
            cursor.execute(
                "SELECT table_name, view_definition FROM information_schema.views"
                f" WHERE table_schema NOT IN {system}"
                " UNION ALL"
                " SELECT routine_name, routine_definition"
                " FROM information_schema.routines"
                f" WHERE routine_schema NOT IN {system}"
            )
            for name, body in cursor.fetchall():
                catalog.definitions[name.lower()] = body
        catalog.tables.difference_update(catalog.definitions)
        return catalog

    def find_views(self, statement: Statement) -> tuple[Collection[str], bool]:
        """See Backend.find_views(); the server's own show what others have sent."""
        hiding, is_known = super().find_views(statement)
        shown = {
            name
            for name in statement.sources
            if name in _SHOWN or name.startswith(_SHOWN_BEGINNINGS)
        }
        if shown:
            # A project's table may have the name as well.
            shown -= self._catalogs[self._place].tables
        return {*hiding, *shown}, is_known

    def is_cross_organization(self, error: Exception, verdict: Verdict | None) -> bool:
        """Return whether a trigger, or a key into a tenant table, refused."""
        if len(error.args) < 2:
            return False
        number, text = error.args[:2]
        if number == _SIGNAL:
            return str(text).startswith(REFUSAL)
        if number not in _NO_REFERENCED_ROW:
            return False
        found = _KEY.search(str(text))
        if found is None:
            # Without privileges on the other table the server does not name the key.
            return verdict is not None and verdict.target is not None
        return (
            found["name"].startswith("tenancy_")
            or found["to"].lower() in self.guard.names
        )


def guard_class(kind: type[Any]) -> type[Any]:
    """Return a guarded subclass of a driver's class of cursors."""
    if issubclass(kind, GuardedCursor):
        return kind
    if kind not in _guarded:
        if len(_guarded) > 100:
            _guarded.clear()
        _guarded[kind] = type("Guarded" + kind.__name__, (GuardedCursor, kind), {})
    return _guarded[kind]


def guard_connection(kind: type[Any]) -> type[Any]:
    """Return a subclass of a driver's class of connections, with guarded cursors."""
    if kind not in _connections:
        name = "Guarded" + kind.__name__
        _connections[kind] = type(name, (GuardedConnection, kind), {})
    return _connections[kind]


class GuardedConnection:
    """Mixed into the driver's class of connections: each cursor is guarded."""

    cursorclass: type[Any]
    tenancy_plain_cursor: type[Any]

    def cursor(self, cursorclass: type[Any] | None = None) -> Any:
        """Return a guarded cursor, of the class that is given."""
        return super().cursor(guard_class(cursorclass or self.cursorclass))  # type: ignore[misc]

    def open_plain_cursor(self) -> Any:
        """Return a cursor for the package's own statements."""
        return super().cursor(self.tenancy_plain_cursor)  # type: ignore[misc]


class GuardedCursor:
    """Mixed into the driver's class of cursors, so that each statement is judged."""

    connection: Any  # The driver's connection; a weak proxy in some drivers.
    _is_admitted = False

    def execute(self, query: Any, args: Any = None) -> Any:
        """Execute a statement that the guard admits.

        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: it could reach rows of other organizations.
            CrossOrganization: a trigger or a key refused it.
        """
        if self._is_admitted or self.connection is None:
            # A row of executemany(), or a closed cursor, at which the driver raises.
            return super().execute(query, args)  # type: ignore[misc]
        backend: MySQLBackend = self.connection.tenancy_backend
        args = mapping_or_sequence(args)
        verdict = backend.admit(_as_text(query), args)
        args = backend.fit(args, verdict)
        if verdict.may_write:
            backend.send_scope()
        try:
            result = backend.run_narrowed(super().execute, query, args, verdict)  # type: ignore[misc]
        except Exception as error:  # Each driver has its own errors.
            backend.translate(error, verdict)
            raise
        if verdict.changes_schema:
            backend.forget()
        return result

    def executemany(self, query: Any, args: Iterable[Any]) -> Any:
        """Execute a statement once for each row of parameters. See execute()."""
        if self.connection is None:
            return super().executemany(query, args)  # type: ignore[misc]
        backend: MySQLBackend = self.connection.tenancy_backend
        rows = [mapping_or_sequence(row) for row in args]
        verdict = backend.admit_many(_as_text(query), rows)
        rows = backend.fit_many(rows, verdict)
        if verdict is not None and verdict.may_write:
            backend.send_scope()
        self._is_admitted = True
        try:
            return backend.run_narrowed(super().executemany, query, rows, verdict)  # type: ignore[misc]
        except Exception as error:  # Each driver has its own errors.
            backend.translate(error, verdict)
            raise
        finally:
            self._is_admitted = False

    def callproc(self, procname: Any, args: Any = ()) -> Any:
        """Call a stored procedure, in tenancy.unscoped() only.

        Raises:
            ScopeRequired: no scope is active.
            RawSQLRefused: an organization's or a user's scope is.
        """
        backend: MySQLBackend = self.connection.tenancy_backend
        backend.refuse_opaque(f"The procedure '{procname}'")
        backend.send_scope()
        return super().callproc(procname, args)  # type: ignore[misc]


def _as_text(query: Any) -> str:
    if isinstance(query, (bytes, bytearray)):
        return bytes(query).decode("utf-8", "surrogateescape")
    return query if isinstance(query, str) else str(query)
