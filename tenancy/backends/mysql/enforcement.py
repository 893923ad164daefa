"""Triggers and composite keys on MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import TableColumns
from django.db.models import Field, Model
from django.db.utils import DatabaseError, NotSupportedError

from tenancy.backends.enforcement import (
    NOTHING,
    PREFIX,
    REFUSAL,
    REFUSALS,
    Enforcement,
    Fault,
    Relation,
    Rows,
    Rule,
    column_of,
    digest,
    literal,
    withdraw,
)

TARGET = "tenancy_target_"
"""How the names begin of the unique indexes of key and organization, in both orders."""

_NO_RIGHT_TO_CREATE_TRIGGERS = 1419


class MySQLEnforcement(Enforcement):
    """Triggers that compare rows with the session's variables."""

    loads_unchecked = True

    @property
    def exact_collation(self) -> str | None:
        """The collation that is binary, and does not pad with spaces."""
        # The two have no such collation in common.
        is_mariadb = getattr(self.connection, "mysql_is_mariadb", False)
        return "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"

    def is_passing(self, error: BaseException) -> bool:
        """Return whether it was a deadlock, or a lock waited for in vain."""
        # 1020 is MariaDB's "Record has changed since last read".
        return bool(error.args) and error.args[0] in (1020, 1205, 1213)

    def add_policy(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        rows: Rows,
        targets: Iterable[TableColumns],
        version: int,
    ) -> str | None:
        """Defer the statements that protect a table."""
        for target in targets:
            self.add_target(editor, name, target)
        own = _own_index(rows)
        if own is not None:
            self.add_target(editor, name, own)
        self.add_triggers(editor, name, rows)
        return None

    def remove_policy(
        self, editor: BaseDatabaseSchemaEditor, name: str, rows: Rows
    ) -> str:
        """Withdraw a table's protection; return the last statement, still to run."""
        withdraw(editor, name)
        for trigger in self.find_triggers(rows.table):
            editor.execute(f"DROP TRIGGER {self.quote(trigger)}")
        self._drop_unused_targets(editor, rows.table)
        return NOTHING

    def add_target(
        self, editor: BaseDatabaseSchemaEditor, owner: str, target: TableColumns
    ) -> None:
        """Defer the unique index to which composite foreign keys refer."""
        editor.deferred_sql.append(Rule(owner, self._write_target, columns=target))

    def add_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation, version: int
    ) -> str | None:
        """Defer a composite foreign key."""
        for write in (self._write_drop_changed_key, self._write_key):
            rule = Rule(name, partial(write, name), columns=key.source, to=key.target)
            editor.deferred_sql.append(rule)
        return None

    def remove_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation
    ) -> str:
        """Withdraw a composite foreign key; return the last statement."""
        withdraw(editor, name)
        table = self.quote(key.source.table)
        for found in self._find_keys(key.source, key.target):
            editor.execute(f"ALTER TABLE {table} DROP FOREIGN KEY {self.quote(found)}")
            self._drop_index_of_key(editor, found, key.source)
        self._drop_unused_targets(editor, key.target.table)
        return NOTHING

    def remove_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> str:
        """Withdraw it; return the last statement."""
        withdraw(editor, name)
        for trigger, body in self.find_all_triggers(columns.table).items():
            # By the text: a renamed table's triggers keep their former names.
            if REFUSALS[event] in body:
                editor.execute(f"DROP TRIGGER {self.quote(trigger)}")
        return NOTHING

    def forget_types(
        self,
        editor: BaseDatabaseSchemaEditor,
        columns: Sequence[tuple[type[Model], Field[Any, Any]]],
    ) -> None:
        """Make columns of empty tables texts, which can be cast to anything."""
        super().forget_types(editor, columns)
        for model, field in columns:
            table, column = (
                self.quote(model._meta.db_table),
                self.quote(column_of(field)),
            )
            null = "NULL" if field.null else "NOT NULL"
            editor.execute(f"ALTER TABLE {table} MODIFY {column} varchar(64) {null}")

    # The statements.

    def _write_target(self, columns: TableColumns) -> str:
        if self._find_target(columns):
            return NOTHING
        # The names of indexes are their table's own.
        name = f"{TARGET}{digest('.'.join(columns.columns))}"
        return (
            f"CREATE UNIQUE INDEX {self.quote(name)} "
            f"ON {self.quote(columns.table)} ({self.quote(*columns.columns)})"
        )

    def _find_target(self, columns: TableColumns) -> str | None:
        """Return the name of the unique index of just these columns, in their order."""
        for name, is_unique, indexed in self._find_indexes(columns.table):
            if is_unique and indexed == columns.columns:
                return name
        return None

    def _find_indexes(self, table: str) -> list[tuple[str, bool, list[str]]]:
        """Return name, uniqueness and columns of a table's indexes."""
        indexes: dict[str, tuple[str, bool, list[str]]] = {}
        for name, is_plain, column in self.fetch(
            "SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME"
            " FROM information_schema.STATISTICS"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            [_bare(table)],
        ):
            indexes.setdefault(name, (name, not is_plain, []))[2].append(column)
        return list(indexes.values())

    def _drop_unused_targets(
        self, editor: BaseDatabaseSchemaEditor, table: str
    ) -> None:
        """Drop the indexes that nothing needs.

        Those of the primary key belong to the policy, others to the keys that use them.
        """
        indexes = self._find_indexes(table)
        key = next(
            (columns[0] for name, _, columns in indexes if name == "PRIMARY"), ""
        )
        used = self._find_used_columns(table)
        for name, _is_unique, columns in indexes:
            is_kept = key in columns and self.find_triggers(table)
            if name.startswith(TARGET) and columns not in used and not is_kept:
                self._drop_index(editor, name, table)

    def _drop_index(
        self, editor: BaseDatabaseSchemaEditor, name: str, table: str
    ) -> None:
        """Drop an index, after another for Django's own key that may need it."""
        leading = {
            index: columns[0] for index, _unique, columns in self._find_indexes(table)
        }
        column = leading.pop(name)
        quoted = self.quote(table)
        if column not in leading.values():
            plain = f"{name[:50]}_index"
            editor.execute(
                f"CREATE INDEX {self.quote(plain)} ON {quoted} ({self.quote(column)})"
            )
        editor.execute(f"DROP INDEX {self.quote(name)} ON {quoted}")

    def _find_used_columns(self, table: str) -> list[list[str]]:
        """Return the columns of a table to which foreign keys refer, key by key."""
        used: dict[tuple[str, str], list[str]] = {}
        for source, name, column in self.fetch(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_COLUMN_NAME"
            " FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = %s"
            " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
            [_bare(table)],
        ):
            used.setdefault((source, name), []).append(column)
        return list(used.values())

    def _find_keys(self, source: TableColumns, target: TableColumns) -> list[str]:
        """Return the names of the foreign keys of just these columns."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name, column, other in self.fetch(
            "SELECT CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME"
            " FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " AND REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = %s"
            " ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
            [_bare(source.table), _bare(target.table)],
        ):
            found.setdefault(name, []).append((column, other))
        wanted = list(zip(source.columns, target.columns, strict=True))
        return [name for name, columns in found.items() if columns == wanted]

    def _find_key_tables(self) -> dict[str, str]:
        """Return the names of the schema's foreign keys, with their tables."""
        return dict(
            self.fetch(
                "SELECT CONSTRAINT_NAME, TABLE_NAME"
                " FROM information_schema.REFERENTIAL_CONSTRAINTS"
                " WHERE CONSTRAINT_SCHEMA = DATABASE()"
            )
        )

    def _write_drop_changed_key(
        self, name: str, columns: TableColumns, to: TableColumns
    ) -> str:
        """Return the statement that clears a name of a key to another table."""
        table = self._find_key_tables().get(name)
        if table != _bare(columns.table) or name in self._find_keys(columns, to):
            return NOTHING
        quoted = self.quote(columns.table)
        return f"ALTER TABLE {quoted} DROP FOREIGN KEY {self.quote(name)}"

    def _write_key(self, name: str, columns: TableColumns, to: TableColumns) -> str:
        if self._find_keys(columns, to):
            return NOTHING
        taken = self._find_key_tables()
        # A renamed table keeps its keys, under names that another may claim.
        candidates = (name, *(f"{name}_{number}" for number in range(2, 10)))
        free = next((one for one in candidates if one not in taken), name)
        return self._key_sql(free, columns, to)

    def _key_sql(self, name: str, columns: TableColumns, to: TableColumns) -> str:
        return (
            f"ALTER TABLE {self.quote(columns.table)} "
            f"ADD CONSTRAINT {self.quote(name)} "
            f"FOREIGN KEY ({self.quote(*columns.columns)}) "
            f"REFERENCES {self.quote(to.table)} ({self.quote(*to.columns)})"
        )

    def _drop_index_of_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, source: TableColumns
    ) -> None:
        """Drop the index that a key leaves behind under its own name.

        It has taken the place of the one that Django's own key of the relation needs.
        """
        names = {index for index, _unique, _columns in self._find_indexes(source.table)}
        if name in names:
            self._drop_index(editor, name, source.table)

    def write_trigger(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates a trigger."""
        # The schema editor executes what is returned next.
        self.connection.execute_wrappers.append(_ExplainTriggerRight(self.connection))
        return super().write_trigger(name, event, columns)

    def find_trigger_tables(self) -> dict[str, str]:
        """Return the names of the schema's triggers, with their tables."""
        return dict(
            self.fetch(
                "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE"
                " FROM information_schema.TRIGGERS"
                " WHERE TRIGGER_SCHEMA = DATABASE()"
            )
        )

    def find_all_triggers(self, table: str) -> dict[str, str]:
        """Return the package's triggers of a table: their names and bodies."""
        return {
            name: f"{timing} {event} {body}"
            for name, timing, event, body in self.fetch(
                "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION,"
                " ACTION_STATEMENT FROM information_schema.TRIGGERS"
                " WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = %s",
                [_bare(table)],
            )
            if name.startswith(PREFIX)
        }

    def free_trigger_name(self, name: str, event: str, table: str) -> str:
        """See Enforcement.free_trigger_name(); the catalog has bare names."""
        return super().free_trigger_name(name, event, _bare(table))

    def trigger_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates a trigger, whole."""
        return (
            f"CREATE TRIGGER {self.quote(name)} BEFORE {event} "
            f"ON {self.quote(columns.table)} FOR EACH ROW "
            f"{self._body(event, columns.columns[0])}"
        )

    def _write_refusal(self, name: str, event: str, columns: TableColumns) -> str:
        # As write_trigger().
        self.connection.execute_wrappers.append(_ExplainTriggerRight(self.connection))
        return super()._write_refusal(name, event, columns)

    def refusal_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates the trigger that refuses an event."""
        refuse = (
            f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {literal(REFUSALS[event])};"
        )
        if event == "DELETE":
            refuse = f"IF NOT (@tenancy_deletes <=> 1) THEN {refuse} END IF;"
        return (
            f"CREATE TRIGGER {self.quote(name)} BEFORE {event} "
            f"ON {self.quote(columns.table)} FOR EACH ROW "
            f"BEGIN {refuse} END"
        )

    def _body(self, event: str, column: str) -> str:
        sides = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}
        same = " AND ".join(
            f"{_as_text(f'{side}.{self.quote(column)}')} <=> "
            f"{_as_text('@tenancy_organization')}"
            for side in sides[event]
        )
        return (
            "BEGIN IF NOT (@tenancy_unscoped <=> 1) AND (@tenancy_organization IS NULL "
            f"OR NOT ({same})) THEN SIGNAL SQLSTATE '45000' "
            f"SET MESSAGE_TEXT = {literal(REFUSAL)}; END IF; END"
        )

    def trigger_body(self, create: str) -> str:
        """Return the parts of a CREATE TRIGGER that the catalog has."""
        timing, _separator, rest = create.partition(" BEFORE ")[2].partition(" ON ")
        return f"BEFORE {timing} {rest.partition(' FOR EACH ROW ')[2]}"

    # What is compared with the models.

    def find_policy_faults(
        self, name: str, rows: Rows, version: int, own_rows: str | None
    ) -> Iterable[Fault]:
        """Return how a table's protection differs from what is declared."""
        table = rows.table
        if not self.fetch(
            "SELECT 1 FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
            [_bare(table)],
        ):
            yield Fault(table, "table", "The table is missing.", "Run 'migrate'.")
            return
        yield from self.find_trigger_faults(name, rows)
        for columns, what in (
            (rows.target(), "primary key and organization"),
            (_own_index(rows), "organization and primary key"),
        ):
            if columns is not None and not self._find_target(columns):
                yield Fault(
                    table,
                    "index",
                    f"The unique index of {what} is missing.",
                    f"Run: {self._write_target(columns)};",
                )

    def find_key_faults(self, name: str, key: Relation) -> Iterable[Fault]:
        """Return how a composite foreign key differs from what is declared."""
        table = self.quote(key.source.table)
        create = self._key_sql(name, key.source, key.target)
        found = self._find_keys(key.source, key.target)
        if not found:
            what, fix = "is missing", f"Run: {create};"
        elif not self._has_no_action(found[0]):
            what = "differs from the one declared"
            fix = (
                f"Run: ALTER TABLE {table} DROP FOREIGN KEY {self.quote(found[0])}; "
                f"{create};"
            )
        else:
            return
        yield Fault(
            key.source.table, "key", f"The composite foreign key '{name}' {what}.", fix
        )

    def _has_no_action(self, name: str) -> bool:
        ((on_update, on_delete),) = self.fetch(
            "SELECT UPDATE_RULE, DELETE_RULE"
            " FROM information_schema.REFERENTIAL_CONSTRAINTS"
            " WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = %s",
            [name],
        )
        # RESTRICT is the same here, where no check waits; MariaDB states that.
        return {on_update, on_delete} <= {"NO ACTION", "RESTRICT"}

    def find_other_faults(
        self,
        tables: Collection[str],
        organization_table: str,
        columns: Collection[str],
        others: Collection[str],
    ) -> Iterable[Fault]:
        """Return what widens the whole: missing rights, views, and other tables."""
        yield from self._find_rights_faults()
        protected = {_bare(table) for table in tables}
        for view, definition in self.fetch(
            "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS"
            " WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME"
        ):
            if shown := sorted(one for one in protected if f"`{one}`" in definition):
                yield Fault(
                    view,
                    "view",
                    f"The view shows the rows of {', '.join(shown)}.",
                    "Drop it, and use tenancy.raw().",
                )
        names = ", ".join(map(literal, columns))
        known = {_bare(table) for table in others}
        for table, column in self.fetch(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS"
            " JOIN information_schema.TABLES USING (TABLE_SCHEMA, TABLE_NAME)"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
            f" AND COLUMN_NAME IN ({names})"
            " UNION SELECT TABLE_NAME, COLUMN_NAME"
            " FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = %s"
            " AND REFERENCED_TABLE_SCHEMA = DATABASE() ORDER BY 1, 2",
            [_bare(organization_table)],
        ):
            if table not in protected and table not in known:
                yield Fault(
                    table,
                    "table",
                    f"The column '{column}' holds an organization, and no policy "
                    "protects the table.",
                    "Make its model a TenantModel, or drop the table.",
                )

    def _find_rights_faults(self) -> Iterable[Fault]:
        """Return why this user could not create the triggers of a next migration."""
        ((is_logged, is_trusted),) = self.fetch(
            "SELECT @@log_bin, @@log_bin_trust_function_creators"
        )
        # What a user holds on a pattern of schemas: "test\\_%" is one.
        held = {
            privilege
            for (privilege,) in self.fetch(
                "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES"
                " UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES"
                " WHERE DATABASE() LIKE TABLE_SCHEMA"
            )
        }
        if "TRIGGER" not in held:
            yield Fault(
                "",
                "rights",
                "The database's user may not create triggers.",
                "Grant it the privilege TRIGGER on the schema.",
            )
        if is_logged and not is_trusted and "SUPER" not in held:
            yield Fault(
                "",
                "rights",
                "The server's binary log is on and its variable "
                "'log_bin_trust_function_creators' is off, so that the database's "
                "user may not create triggers.",
                "Set log_bin_trust_function_creators=1 on the server, or migrate as a "
                "user with the privilege SUPER.",
            )


class _ExplainTriggerRight:
    """An execute wrapper of one statement, which says what error 1419 means."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        self.connection.execute_wrappers.remove(self)
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            if error.args[:1] != (_NO_RIGHT_TO_CREATE_TRIGGERS,):
                raise
            raise NotSupportedError(
                "The server refused to create a trigger: its binary log is on, and "
                "'log_bin_trust_function_creators' is off. Set "
                "log_bin_trust_function_creators=1 on the server, or migrate as a user "
                "with the privilege SUPER."
            ) from error


def _own_index(rows: Rows) -> TableColumns | None:
    """Return the columns of the index that holds each organization's rows together.

    What locks is answered from it: the rows of others lie outside.
    """
    target = rows.target()
    if target is None:
        return None
    return TableColumns(target.table, target.columns[::-1])


def _as_text(expression: str) -> str:
    """Return an expression as text of one character set and collation.

    Of whatever type the column is, and whatever the session's collation: comparing
    two collations is an error, "Illegal mix".
    """
    return f"CAST({expression} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"


def _bare(name: str) -> str:
    """Return a table's name as the catalog has it: a model's may be quoted."""
    return name[1:-1] if name[:1] == name[-1:] == "`" else name
