"""The comparison of a live database with the models that migrations made it from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    AutoField,
    CheckConstraint,
    Field,
    ForeignKey,
    Model,
    UniqueConstraint,
)
from django.db.models import Index as ModelIndex

from tenancy import policies
from tenancy.backends.catalog import Column, Index, Table, get_catalog
from tenancy.backends.enforcement import Fault, column_of, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.indexes import PartialIndex


def find_models(connection: BaseDatabaseWrapper) -> list[type[Model]]:
    """Return the models whose tables a database holds by its migrations, by table."""
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.can_migrate(connection)
        and router.allow_migrate_model(connection.alias, model)
    ]
    return sorted(models, key=lambda model: model._meta.db_table)


def find_faults(connection: BaseDatabaseWrapper) -> list[Fault]:
    """Return every difference between a database and what the models state.

    Of what no model states, only that is a fault which refuses rows that a model
    allows: a column that must be given, a unique index. What the database's vendor
    cannot do, such as a condition of an index on MySQL, is left to Django's checks.
    """
    models = find_models(connection)
    tables = get_catalog(connection).read_tables(
        [model._meta.db_table for model in models]
    )
    faults: list[Fault] = []
    with look_up(LookUp.MIGRATION):
        for model in models:
            name = model._meta.db_table
            if name in tables:
                comparison = Comparison(connection, model, tables[name])
                faults.extend(comparison.find_faults())
            else:
                faults.append(
                    Fault(name, "table", "The table is missing.", _hint(model))
                )
    missing = {fault.table for fault in faults if fault.kind == "table"}
    faults.extend(
        fault
        for fault in policies.find_faults(connection)
        if fault.table not in missing
    )
    return faults


class Comparison:
    """A model beside the table that the database has for it.

    Args:
        connection (BaseDatabaseWrapper): the connection to the database.
        model (type[Model]): the model.
        table (Table): its table.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, model: type[Model], table: Table
    ) -> None:
        self.connection = connection
        self.features = connection.features
        self.catalog = get_catalog(connection)
        self.enforcement = get_enforcement(connection)
        # It is asked what it would run, and runs nothing.
        self.editor = connection.schema_editor(collect_sql=True)
        self.model = model
        self.table = table
        self.fields: list[Field[Any, Any]] = [
            field
            for field in model._meta.local_concrete_fields
            if field.db_type(connection) is not None
        ]
        self.declared_uniques: set[frozenset[str | None]] = set()

    def find_faults(self) -> Iterator[Fault]:
        """Yield each difference: columns, keys, constraints, indexes, what is more."""
        for field in self.fields:
            column = self.table.columns.get(column_of(field))
            if column is None:
                yield self._fault(
                    "column", f"The column '{field.column}' is missing.", field
                )
            else:
                yield from self._compare_column(field, column)
        yield from self._compare_primary_key()
        for field in self.fields:
            if field.column in self.table.columns:
                yield from self._compare_relation(field)
                yield from self._compare_uniqueness(field)
        yield from self._compare_unique_together()
        yield from self._compare_constraints()
        yield from self._compare_indexes()
        yield from self._find_surplus()

    def _compare_column(
        self, field: Field[Any, Any], column: Column
    ) -> Iterator[Fault]:
        name = column.name
        native = self.catalog.declared_type(field)
        if self.model._meta.auto_created and field.primary_key:
            # Migrations number it by DEFAULT_AUTO_FIELD, whatever the app states.
            native = None
        if native is not None and native != column.type:
            yield self._fault(
                "column",
                f"The column '{name}' is of the type {column.type!r}, "
                f"and not {native!r}.",
                field,
            )
        if column.is_generated is not field.generated:
            state = "is" if column.is_generated else "is not"
            yield self._fault(
                "column", f"The column '{name}' {state} a generated one.", field
            )
        # A generated column is as its expression is.
        elif not field.generated and column.is_nullable is not field.null:
            state = "allows" if column.is_nullable else "refuses"
            yield self._fault("column", f"The column '{name}' {state} NULL.", field)
        if not column.has_default and (
            field.has_db_default() or isinstance(field, AutoField)
        ):
            yield self._fault(
                "column", f"The column '{name}' has no default in the database.", field
            )
        collation = field.db_parameters(self.connection).get("collation")
        if collation and collation != column.collation:
            yield self._fault(
                "column",
                f"The column '{name}' has the collation {column.collation!r}, and not "
                f"{collation!r}.",
                field,
            )
        if field.db_check(self.connection) is not None and not any(
            check.columns == {name} for check in self.table.checks
        ):
            yield self._fault(
                "constraint",
                f"The check of the column '{name}' is missing.",
                field,
            )

    def _compare_primary_key(self) -> Iterator[Fault]:
        columns = tuple(field.column for field in self.model._meta.pk_fields)
        self.declared_uniques.add(frozenset(columns))
        if self.table.primary_key != columns:
            yield self._fault(
                "constraint",
                f"The primary key is {_list(self.table.primary_key)}, and not "
                f"{_list(columns)}.",
            )

    def _compare_relation(self, field: Any) -> Iterator[Fault]:
        """Compare a foreign key, and the index of any field that has one.

        Any: the stubs know neither db_index nor db_constraint.
        """
        name = column_of(field)
        is_key = isinstance(field, ForeignKey)
        if is_key and field.db_constraint:
            target: type[Model] = field.remote_field.model
            wanted = (
                self.catalog.bare(target._meta.db_table).lower(),
                (field.target_field.column,),
            )
            actions = [
                key.on_delete
                for key in self.table.keys
                if key.columns == (name,) and (key.table.lower(), key.targets) == wanted
            ]
            # Django before 6.1 leaves all deletions to Python.
            action = getattr(field.remote_field.on_delete, "operation", "NO ACTION")
            if not actions:
                yield self._fault(
                    "key",
                    f"The foreign key of '{name}' to '{target._meta.db_table}' is "
                    "missing.",
                    field,
                )
            elif action not in actions:
                yield self._fault(
                    "key",
                    f"The foreign key of '{name}' does {actions[0]!r} on deletion, and "
                    f"not {action!r}.",
                    field,
                )
        if field.db_index and not field.unique and self.catalog.can_index(field):
            merges = is_key and self.catalog.merges_key_indexes
            if not any(
                index.columns == (name,) or (merges and index.columns[0] == name)
                for index in self.table.indexes
                if not index.is_conditional
            ):
                yield self._fault("index", f"The index of '{name}' is missing.", field)

    def _compare_uniqueness(self, field: Field[Any, Any]) -> Iterator[Fault]:
        if field.unique and not field.primary_key:
            yield from self._compare_unique((column_of(field),), field)

    def _compare_unique_together(self) -> Iterator[Fault]:
        for names in self.model._meta.unique_together:
            yield from self._compare_unique(self._columns(names))

    def _compare_unique(
        self, columns: tuple[str, ...], subject: Any = None
    ) -> Iterator[Fault]:
        self.declared_uniques.add(frozenset(columns))
        if not any(
            index.is_unique and not index.is_conditional and index.columns == columns
            for index in self.table.indexes
        ):
            yield self._fault(
                "constraint",
                f"The unique constraint of {_list(columns)} is missing.",
                subject,
            )

    def _compare_constraints(self) -> Iterator[Fault]:
        for constraint in self.model._meta.constraints:
            # What the database cannot keep, Django does not create.
            if isinstance(constraint, UniqueConstraint):
                statement = constraint.create_sql(self.model, self.editor)
                if statement is not None:
                    yield from self._compare_named_unique(constraint, str(statement))
            elif isinstance(constraint, CheckConstraint):
                name = self.catalog.cut(constraint.name)
                if all(check.name != name for check in self.table.checks):
                    statement = constraint.create_sql(self.model, self.editor)
                    yield self._missing("constraint", "check", name, str(statement))

    def _compare_named_unique(
        self, constraint: UniqueConstraint, statement: str
    ) -> Iterator[Fault]:
        columns = self._columns(constraint.fields)
        self.declared_uniques.add(frozenset(columns))
        name = self.catalog.cut(constraint.name)
        index = self._find_index(name)
        if index is None or not index.is_unique:
            yield self._missing("constraint", "unique", name, statement)
        elif columns and index.columns != columns:
            yield self._other_columns("unique constraint", index, columns)
        elif index.is_conditional is not (constraint.condition is not None):
            yield self._other_condition("unique constraint", index)

    def _compare_indexes(self) -> Iterator[Fault]:
        for declared in self.model._meta.indexes:
            if (
                declared.contains_expressions
                and not self.features.supports_expression_indexes
            ):
                continue
            if isinstance(declared, PartialIndex):
                declared = declared.on(self.editor.connection)
            index = self._find_index(self.catalog.cut(declared.name))
            columns = self._columns([name for name, _ in declared.fields_orders])
            if index is None:
                statement = declared.create_sql(self.model, self.editor)
                yield self._missing("index", "", declared.name, str(statement))
            elif columns and index.columns != columns:
                yield self._other_columns("index", index, columns)
            elif self._is_conditional(declared) is not index.is_conditional:
                yield self._other_condition("index", index)

    def _is_conditional(self, declared: ModelIndex) -> bool:
        is_partial = bool(self.features.supports_partial_indexes)
        return declared.condition is not None and is_partial

    def _find_surplus(self) -> Iterator[Fault]:
        """Yield what refuses rows that the model allows."""
        known = {field.column for field in self.fields}
        for column in self.table.columns.values():
            if column.name not in known and not (
                column.is_nullable or column.has_default or column.is_generated
            ):
                yield Fault(
                    self.model._meta.db_table,
                    "column",
                    f"The column '{column.name}' is of no field, and has neither NULL "
                    "nor a default: no row can be inserted.",
                    "Drop the column, or give it a default.",
                )
        names = {
            self.catalog.cut(constraint.name)
            for constraint in self.model._meta.constraints
        }
        for index in self.table.indexes:
            columns = frozenset(index.columns)
            # Columns of which some are unique already refuse nothing more.
            if (
                index.is_unique
                and index.name not in names
                and not any(unique <= columns for unique in self.declared_uniques)
            ):
                yield Fault(
                    self.model._meta.db_table,
                    "constraint",
                    f"The unique index '{index.name}' of {_list(index.columns)} is of "
                    "no constraint, and refuses rows that the model allows.",
                    "Drop it, or state it in the model.",
                )

    def _find_index(self, name: str) -> Index | None:
        return next((one for one in self.table.indexes if one.name == name), None)

    def _columns(self, names: Any) -> tuple[str, ...]:
        return tuple(
            column_of(field)
            for name in names
            if isinstance(field := self.model._meta.get_field(name), Field)
        )

    def _missing(self, kind: str, word: str, name: str, statement: str) -> Fault:
        subject = f"{word} constraint".strip() if kind == "constraint" else "index"
        # Where the statement alters the table, and tables are not altered, it would be
        # refused.
        is_runnable = statement.startswith("CREATE") or (
            not self.enforcement.rebuilds_tables
        )
        return self._fault(
            kind,
            f"The {subject} '{name}' is missing.",
            hint=f"Run: {statement};" if is_runnable else None,
        )

    def _other_columns(
        self, subject: str, index: Index, columns: tuple[str, ...]
    ) -> Fault:
        return self._fault(
            "index" if subject == "index" else "constraint",
            f"The {subject} '{index.name}' is of {_list(index.columns)}, and not of "
            f"{_list(columns)}.",
        )

    def _other_condition(self, subject: str, index: Index) -> Fault:
        state = "has a" if index.is_conditional else "has no"
        return self._fault(
            "index" if subject == "index" else "constraint",
            f"The {subject} '{index.name}' {state} condition, unlike the one declared.",
        )

    def _fault(
        self, kind: str, found: str, field: Any = None, *, hint: str | None = None
    ) -> Fault:
        name = None if field is None else field.name
        return Fault(
            self.model._meta.db_table, kind, found, hint or _hint(self.model, name)
        )


def _hint(model: type[Model], field: str | None = None) -> str:
    label = model._meta.label if field is None else f"{model._meta.label}.{field}"
    return (
        "Run 'migrate'. Where it has nothing to do, alter the table by hand into what "
        f"'{label}' states."
    )


def _list(columns: Any) -> str:
    """Return columns for people; None stands for an expression."""
    if not columns:
        return "missing"
    return ", ".join(f"'{one}'" if one else "an expression" for one in columns)
