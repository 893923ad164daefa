"""Triggers and composite keys on SQLite.

A trigger's body names OLD, NEW and functions only: one that names another table breaks
every later rename and rebuild of that table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, TableColumns
from django.db.models import Model

from tenancy.backends.enforcement import (
    NOTHING,
    PREFIX,
    REFUSAL,
    REFUSALS,
    Enforcement,
    Fault,
    LinkEditor,
    Relation,
    Rows,
    Rule,
    digest,
    literal,
    squeeze,
)

FUNCTION = "tenancy_allows"
"""The function, registered on each connection, that knows the scope."""


class SQLiteLinkEditor(LinkEditor):
    """The part of SQLite's schema editor that renames tables between models."""

    def _alter_many_to_many(
        self, model: type[Model], old_field: Any, new_field: Any, strict: bool
    ) -> None:
        """Rename the table, and build it anew with the columns' new names.

        Django's copies the key and the two ends into a new table, and leaves the
        organization out. Where the table's name stays, it builds from the former
        model, whose constraints do not know the new names. Any: as LinkEditor's.
        """
        old, new = old_field.remote_field.through, new_field.remote_field.through
        if len(old._meta.local_concrete_fields) != 4 or (
            len(new._meta.local_concrete_fields) != 4
        ):
            super()._alter_many_to_many(model, old_field, new_field, strict)
            return
        # The methods of the editor beside which this class is a base.
        editor: Any = self
        if old._meta.db_table != new._meta.db_table:
            editor.alter_db_table(old, old._meta.db_table, new._meta.db_table)
        ends = [
            (
                old._meta.get_field(old_field.m2m_field_name()),
                new._meta.get_field(new_field.m2m_field_name()),
            ),
            (
                old._meta.get_field(old_field.m2m_reverse_field_name()),
                new._meta.get_field(new_field.m2m_reverse_field_name()),
            ),
        ]
        editor._remake_table(new, alter_fields=ends)


class SQLiteEnforcement(Enforcement):
    """Triggers that ask the connection for the scope.

    SQLite's schema editor builds a table anew instead of altering it, so that a key
    stands in CREATE TABLE, what is removed is left out, and the triggers come again.
    """

    rebuilds_tables = True
    links = SQLiteLinkEditor

    def is_passing(self, error: BaseException) -> bool:
        """Return whether another connection held the file's one lock."""
        return "database is locked" in str(error)

    def add_policy(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        rows: Rows,
        targets: Iterable[TableColumns],
        version: int,
    ) -> str | None:
        """Defer the statements that protect a table."""
        self.add_triggers(editor, name, rows)
        # In CREATE TABLE, since the editor looks at foreign keys before it runs what is
        # deferred.
        uniques = [
            f"CONSTRAINT {self.quote(_name_target(target))} "
            f"UNIQUE ({self.quote(*reversed(target.columns))})"
            for target in targets
        ]
        return ", ".join(uniques) or None

    def remove_policy(
        self, editor: BaseDatabaseSchemaEditor, name: str, rows: Rows
    ) -> str:
        """Return a statement that does nothing: the table is built anew."""
        return NOTHING

    def add_target(
        self, editor: BaseDatabaseSchemaEditor, owner: str, target: TableColumns
    ) -> None:
        """Make the unique index to which composite foreign keys refer."""
        rule = Rule(owner, self._write_target, columns=target)
        if self._has_table(target.table):
            editor.execute(rule)
        else:
            editor.deferred_sql.append(rule)

    def add_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation, version: int
    ) -> str | None:
        """Return the composite foreign key as it stands in CREATE TABLE."""
        deferral = " DEFERRABLE INITIALLY DEFERRED" if key.is_deferred else ""
        return (
            f"CONSTRAINT {self.quote(name)} "
            f"FOREIGN KEY ({self.quote(*key.source.columns)}) "
            f"REFERENCES {self.quote(key.target.table)} "
            f"({self.quote(*key.target.columns)}){deferral}"
        )

    def remove_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation
    ) -> str:
        """Return a statement that does nothing: the table is built anew."""
        return NOTHING

    def remove_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> str:
        """Return a statement that does nothing: the table is built anew."""
        return NOTHING

    def find_key_column(self, key: Relation) -> str | None:
        """Return the target's organization column of a key that is in the database."""
        relation, organization = key.source.columns
        found = self.fetch(
            'SELECT second."to" FROM pragma_foreign_key_list(%s) AS first'
            " JOIN pragma_foreign_key_list(%s) AS second ON second.id = first.id"
            ' WHERE first."from" = %s AND first."to" = %s AND second."from" = %s'
            ' AND lower(first."table") = lower(%s) AND first.seq <> second.seq',
            [
                _bare(key.source.table),
                _bare(key.source.table),
                relation,
                key.target.columns[0],
                organization,
                _bare(key.target.table),
            ],
        )
        column: str | None = found[0][0] if found else None
        return column

    def rebuild(self, editor: BaseDatabaseSchemaEditor, model: type[Model]) -> None:
        """Build a table anew, with the keys that its model states.

        One whose name or columns are still the former is left: the same migration
        renames them, which builds it anew.
        """
        columns = {
            name
            for (name,) in self.fetch(
                "SELECT name FROM pragma_table_info(%s)", [_bare(model._meta.db_table)]
            )
        }
        if not {field.column for field in model._meta.local_concrete_fields} <= columns:
            return
        # It runs all that is deferred, which may be about tables half built.
        waiting, editor.deferred_sql = editor.deferred_sql, []
        # The editor's own way; there is no public one.
        editor._remake_table(model)  # type: ignore[attr-defined]
        table = model._meta.db_table
        editor.deferred_sql = [
            statement
            for statement in waiting
            if not (
                isinstance(statement, Statement) and statement.references_table(table)
            )
        ]

    def defer_keys(self) -> None:
        """Let rows of a fixture refer to rows that come later in it."""
        with self.connection.cursor() as cursor:
            # It ends with the transaction.
            cursor.execute("PRAGMA defer_foreign_keys = ON")

    # The statements.

    def _write_target(self, columns: TableColumns) -> str:
        if self._has_target(columns):
            return NOTHING
        key, organization = columns.columns
        name = self._free_index_name(columns.table, key)
        return (
            f"CREATE UNIQUE INDEX {self.quote(name)} "
            f"ON {self.quote(columns.table)} ({self.quote(organization, key)})"
        )

    def _has_table(self, table: str) -> bool:
        return bool(
            self.fetch(
                "SELECT 1 FROM sqlite_master"
                " WHERE type = 'table' AND lower(name) = lower(%s)",
                [_bare(table)],
            )
        )

    def _has_target(self, columns: TableColumns) -> bool:
        return any(
            {
                name
                for (name,) in self.fetch(
                    "SELECT name FROM pragma_index_info(%s)", [index]
                )
            }
            == set(columns.columns)
            for (index,) in self.fetch(
                "SELECT name FROM pragma_index_list(%s)"
                ' WHERE "unique" = 1 AND partial = 0',
                [_bare(columns.table)],
            )
        )

    def _free_index_name(self, table: str, key: str) -> str:
        name = f"tenancy_target_{digest(f'{_bare(table)}.{key}')}"
        taken = {
            index
            for (index,) in self.fetch(
                "SELECT name FROM sqlite_master WHERE type = 'index'"
                " AND substr(name, 1, 15) = 'tenancy_target_'"
            )
        }
        candidates = (name, *(f"{name}_{number}" for number in range(2, 10)))
        return next((one for one in candidates if one not in taken), name)

    def find_trigger_tables(self) -> dict[str, str]:
        """Return the names of the schema's triggers, with their tables."""
        return dict(
            self.fetch(
                "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
            )
        )

    def find_all_triggers(self, table: str) -> dict[str, str]:
        """Return the package's triggers of a table: their names and bodies."""
        return {
            name: self.trigger_body(sql)
            for name, sql in self.fetch(
                "SELECT name, sql FROM sqlite_master"
                " WHERE type = 'trigger' AND lower(tbl_name) = lower(%s)",
                [_bare(table)],
            )
            if name.startswith(PREFIX)
        }

    def free_trigger_name(self, name: str, event: str, table: str) -> str:
        """See Enforcement.free_trigger_name(); the catalog has bare names."""
        return super().free_trigger_name(name, event, _bare(table))

    def trigger_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates a trigger, whole."""
        column = self.quote(columns.columns[0])
        sides = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}
        condition = " OR ".join(
            f"{FUNCTION}({side}.{column}) IS NOT 1" for side in sides[event]
        )
        return (
            f"CREATE TRIGGER {self.quote(name)} "
            f"BEFORE {event} ON {self.quote(columns.table)} FOR EACH ROW "
            f"WHEN {condition} BEGIN SELECT RAISE(ABORT, {literal(REFUSAL)}); END"
        )

    def refusal_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates the trigger that refuses an event."""
        when = "WHEN NOT tenancy_deletes() " if event == "DELETE" else ""
        return (
            f"CREATE TRIGGER {self.quote(name)} "
            f"BEFORE {event} ON {self.quote(columns.table)} FOR EACH ROW {when}"
            f"BEGIN SELECT RAISE(ABORT, {literal(REFUSALS[event])}); END"
        )

    def trigger_body(self, create: str) -> str:
        """Return the part of a CREATE TRIGGER from its event on."""
        return create[create.upper().index(" BEFORE ") :]

    # What is compared with the models.

    def find_policy_faults(
        self, name: str, rows: Rows, version: int, own_rows: str | None
    ) -> Iterable[Fault]:
        """Return how a table's protection differs from what is declared."""
        table = rows.table
        if not self._has_table(table):
            yield Fault(table, "table", "The table is missing.", "Run 'migrate'.")
            return
        yield from self.find_trigger_faults(name, rows)
        target = rows.target()
        if target is not None and not self._has_target(target):
            yield Fault(
                table,
                "index",
                "The unique index of organization and primary key is missing.",
                f"Run: {self._write_target(target)};",
            )

    def find_key_faults(self, name: str, key: Relation) -> Iterable[Fault]:
        """Return how a composite foreign key differs from what is declared."""
        table = key.source.table
        wanted = set(zip(key.source.columns, key.target.columns, strict=True))
        found: dict[int, set[tuple[str, str]]] = {}
        for number, source, target, on_update, on_delete in self.fetch(
            'SELECT id, "from", "to", on_update, on_delete'
            ' FROM pragma_foreign_key_list(%s) WHERE lower("table") = lower(%s)',
            [_bare(table), _bare(key.target.table)],
        ):
            if (on_update, on_delete) == ("NO ACTION", "NO ACTION"):
                found.setdefault(number, set()).add((source, target))
        if wanted not in found.values():
            what = "is missing"
        elif self._is_deferred(name, key) is not key.is_deferred:
            what = "differs from the one declared"
        else:
            return
        yield Fault(
            table,
            "key",
            f"The composite foreign key '{name}' {what}.",
            "Write a migration that removes the constraint and adds it again: SQLite "
            "states keys in CREATE TABLE only.",
        )

    def _is_deferred(self, name: str, key: Relation) -> bool:
        ((create,),) = self.fetch(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s",
            [_bare(key.source.table)],
        )
        columns = squeeze(",".join(key.source.columns))
        stated = re.search(
            rf"foreignkey\({re.escape(columns)}\)references[^()]+\([^()]+\)"
            r"(deferrableinitiallydeferred)?",
            squeeze(create),
        )
        return stated is not None and stated[1] is not None

    def find_other_faults(
        self,
        tables: Collection[str],
        organization_table: str,
        columns: Collection[str],
        others: Collection[str],
    ) -> Iterable[Fault]:
        """Return what widens the whole: views, and other tables."""
        protected = {_bare(table).lower() for table in tables}
        known = protected | {_bare(table).lower() for table in others}
        for kind, name, sql in self.fetch(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE type IN ('table', 'view') ORDER BY name"
        ):
            if kind == "view":
                words = set(re.findall(r"\w+", sql.lower()))
                if shown := sorted(protected & words):
                    yield Fault(
                        name,
                        "view",
                        f"The view shows the rows of {', '.join(shown)}.",
                        "Drop it, and use tenancy.raw().",
                    )
            elif name.lower() not in known and not name.startswith("sqlite_"):
                yield from self._find_unprotected(name, organization_table, columns)

    def _find_unprotected(
        self, table: str, organization_table: str, columns: Collection[str]
    ) -> Iterable[Fault]:
        found = {
            column
            for (column,) in self.fetch(
                'SELECT "from" FROM pragma_foreign_key_list(%s)'
                ' WHERE lower("table") = lower(%s)'
                " UNION SELECT name FROM pragma_table_info(%s)"
                f" WHERE name IN ({', '.join(map(literal, columns))})",
                [table, _bare(organization_table), table],
            )
        }
        for column in sorted(found):
            yield Fault(
                table,
                "table",
                f"The column '{column}' holds an organization, and no policy protects "
                "the table.",
                "Make its model a TenantModel, or drop the table.",
            )


def _bare(name: str) -> str:
    """Return a table's name as the catalog has it: a model's may be quoted."""
    return name[1:-1] if name[:1] == name[-1:] == '"' else name


def _name_target(columns: TableColumns) -> str:
    return f"tenancy_target_{digest('.'.join(columns.columns))}"
