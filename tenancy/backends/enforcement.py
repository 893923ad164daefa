"""What each database's enforcement offers: the statements, and the faults found.

A rule of the package becomes SQL here and in ``<vendor>/enforcement.py``. Statements
wait in ``schema_editor.deferred_sql``, since the order in which migrations add
constraints is not the order in which the database can take them. Each is idempotent,
and follows the renames and drops that come before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, TableColumns
from django.db.models import Field, ForeignKey, Model
from django.db.utils import NotSupportedError
from django.utils.module_loading import import_string

from tenancy.exceptions import UnsupportedDatabase

NOTHING = "SELECT 1"
"""The statement that stands where there is nothing to do."""

REFUSAL = "tenancy: a row of another organization, or no active scope"
"""The text of a trigger's refusal; never data."""

IMMUTABLE = "a row that is written once was to be changed (tenancy)"
"""The text of the refusal to change a row that never changes."""

KEPT = "a row that is kept was to be deleted (tenancy)"
"""The text of the refusal to delete a row outside a deletion that may take it."""

REFUSALS = {"UPDATE": IMMUTABLE, "DELETE": KEPT}
"""What the triggers that refuse an event to every scope say."""

TRIGGER_EVENTS = ("INSERT", "UPDATE", "DELETE")

PREFIX = "tenancy_"
"""How the names of the package's own objects in a database begin."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A difference between the database and what the models promise.

    Args:
        table (str): the table; empty where it is the connection's.
        kind (str): what is at fault: "policy", "trigger", "key", "index", "role",
            "rights", "view", "partition", "table", "column", "constraint".
        found (str): a sentence that says what was found.
        hint (str): a sentence that says what to do.
    """

    table: str
    kind: str
    found: str
    hint: str

    @property
    def message(self) -> str:
        """What was found, and where."""
        return f"'{self.table}': {self.found}" if self.table else self.found


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table, and the columns that say whose they are.

    Args:
        table (str): the table's name, as the model has it.
        organization (Field): the field of the organization's key.
        key (Field): the field of the row's own key.
    """

    table: str
    organization: Field[Any, Any]
    key: Field[Any, Any]

    @property
    def is_organization(self) -> bool:
        """Whether the rows are the organizations themselves."""
        return self.organization is self.key

    def columns(self) -> TableColumns:
        """Return a reference to the columns, organization first."""
        names = [column_of(self.organization)]
        # A key of several columns has none of its own.
        if self.key.column is not None and not self.is_organization:
            names.append(self.key.column)
        return TableColumns(self.table, names)

    def target(self) -> TableColumns | None:
        """Return the columns to which composite keys refer, or None.

        None of organizations, and of rows whose key is of several columns, to which
        Django has no relations.
        """
        if self.is_organization or self.key.column is None:
            return None
        names = [column_of(self.key), column_of(self.organization)]
        return TableColumns(self.table, names)


@dataclass(frozen=True, slots=True)
class Relation:
    """A foreign key from rows of an organization to rows of the same one.

    Args:
        source (TableColumns): the table, the relation's column, the organization's.
        target (TableColumns): the table, the referenced column, the organization's.
        organization (Field): the field of the organization's key, for its type.
        is_deferred (bool): whether it is looked at when the transaction ends.
    """

    source: TableColumns
    target: TableColumns
    organization: Field[Any, Any]
    is_deferred: bool


@dataclass(frozen=True, slots=True)
class OwnRows:
    """The rows that a user may read without an organization.

    Args:
        membership (TableColumns): the table, and its columns of user, of end and of
            organization.
        organization (TableColumns): the organization's table and key.
        user (Field): the field of the user's key, for its type.
        key (Field): the field of the organization's key, for its type.
    """

    membership: TableColumns
    organization: TableColumns
    user: Field[Any, Any]
    key: Field[Any, Any]


_BY_VENDOR = {
    "mysql": "tenancy.backends.mysql.enforcement.MySQLEnforcement",
    "postgresql": "tenancy.backends.postgresql.enforcement.PostgreSQLEnforcement",
    "sqlite": "tenancy.backends.sqlite.enforcement.SQLiteEnforcement",
}


def get_enforcement(connection: BaseDatabaseWrapper) -> Enforcement:
    """Return the enforcement of a connection's vendor.

    Raises:
        UnsupportedDatabase: the vendor is none of those on which rules are kept.
    """
    path = _BY_VENDOR.get(connection.vendor)
    if path is None:
        raise UnsupportedDatabase(
            f"The database '{connection.alias}' is of the vendor "
            f"{connection.vendor!r}, on which no policy can be kept. Use PostgreSQL, "
            "MySQL, MariaDB or SQLite."
        )
    enforcement: Enforcement = import_string(path)(connection)
    return enforcement


class Rule(Statement):
    """A statement that is written when it runs.

    Args:
        owner (str): the name of the constraint to which it belongs.
        write (Callable): makes the SQL of the references as they are then.
        columns (TableColumns): the table that is altered, and its columns.
        to (TableColumns | None): the table to which it refers.
    """

    def __init__(
        self,
        owner: str,
        write: Callable[..., str],
        *,
        columns: TableColumns,
        to: TableColumns | None = None,
    ) -> None:
        parts = {"columns": columns} if to is None else {"columns": columns, "to": to}
        super().__init__("", **parts)
        self.owner = owner
        self.write = write

    def __str__(self) -> str:
        return self.write(**self.parts)

    def __repr__(self) -> str:
        # Writing may ask the database, which a repr must not.
        return f"<Rule of {self.owner!r}>"


class LinkEditor:
    """The part of a schema editor that alters the tables of many-to-many relations."""

    def _alter_many_to_many(
        self, model: type[Model], old_field: Any, new_field: Any, strict: bool
    ) -> None:
        """Refuse to make a plain relation a tenant model's, or the reverse.

        Any: relations between historical models, whose stubs know no through.

        Raises:
            NotSupportedError: one of the two tables has an organization.
        """
        if _has_organization(old_field) is not _has_organization(new_field):
            raise NotSupportedError(
                describe_altered_links(f"{model._meta.label}.{new_field.name}")
            )
        # The schema editor beside which this class is a base.
        super()._alter_many_to_many(model, old_field, new_field, strict)  # type: ignore[misc]


def describe_altered_links(label: str) -> str:
    """Return what is said of a relation whose table would get an organization."""
    return (
        f"'{label}' is changed from a ManyToManyField into a TenantManyToManyField, or "
        "back, and the table between the two cannot follow. Put a field of another "
        "name in its place, and copy the links by a RunPython between the AddField and "
        "the RemoveField that makemigrations then writes."
    )


def _has_organization(field: Any) -> bool:  # Any: as above.
    # Django's own table between two models has a key, and a column for each.
    return len(field.remote_field.through._meta.local_concrete_fields) > 3


class Enforcement:
    """How one database keeps the rules; each vendor has its own.

    Args:
        connection (BaseDatabaseWrapper): the connection it speaks through.
    """

    means = "triggers"
    """What keeps the rows of a table, in a word, for people."""

    # Does the database itself hide rows from a plain SELECT?
    hides_rows = False
    # Does loaddata switch composite foreign keys off, so that they are checked after?
    loads_unchecked = False
    # Does a table have to be built anew for a key to be added?
    rebuilds_tables = False
    # Does the planner drop what a partial index implies, and then find no place in the
    # index by a column of which nothing else is asked?
    drops_implied = False

    @property
    def exact_collation(self) -> str | None:
        """The collation that compares text character by character; None is default."""
        return None

    def is_passing(self, error: BaseException) -> bool:
        """Return whether a statement failed only because of others at that moment.

        A deadlock, a serialization failure, a lock that was not to be had: the
        transaction, run again, may succeed.
        """
        return False

    links: type[LinkEditor] = LinkEditor
    """What the schema editor does its own way."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def attach_editor(self) -> None:
        """Serve the schema editors of the connection; again is nothing."""
        plain = self.connection.SchemaEditorClass
        assert plain is not None
        if not issubclass(plain, LinkEditor):
            # An instance's own attribute, so that any subclass of Django's is served.
            self.connection.SchemaEditorClass = type(
                plain.__name__, (self.links, plain), {}
            )

    # What migrations run.

    def add_policy(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        rows: Rows,
        targets: Iterable[TableColumns],
        version: int,
    ) -> str | None:
        """Defer the statements that protect a table.

        Args:
            targets (Iterable[TableColumns]): the columns to which keys refer.
        Returns:
            str | None: what stands in CREATE TABLE.
        """
        raise NotImplementedError

    def remove_policy(
        self, editor: BaseDatabaseSchemaEditor, name: str, rows: Rows
    ) -> str:
        """Withdraw a table's protection; return the last statement, still to run."""
        raise NotImplementedError

    def add_target(
        self, editor: BaseDatabaseSchemaEditor, owner: str, target: TableColumns
    ) -> None:
        """Defer the unique index to which composite foreign keys refer."""
        raise NotImplementedError

    def add_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation, version: int
    ) -> str | None:
        """Defer a composite foreign key; return what stands in CREATE TABLE."""
        raise NotImplementedError

    def remove_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation
    ) -> str:
        """Withdraw a composite foreign key; return the last statement."""
        raise NotImplementedError

    def add_own_rows(
        self, editor: BaseDatabaseSchemaEditor, name: str, own: OwnRows, version: int
    ) -> None:
        """Defer what lets a user read their own memberships and organizations."""

    def remove_own_rows(
        self, editor: BaseDatabaseSchemaEditor, name: str, own: OwnRows
    ) -> str:
        """Withdraw it; return the last statement."""
        return NOTHING

    def add_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> None:
        """Defer the trigger that refuses to change or to delete a table's rows.

        Args:
            event (str): "UPDATE", or "DELETE" but where Backend.deleting() allows it.
            columns (TableColumns): the table, and its primary key's column.
        """
        for write in (self._write_drop_refusal, self._write_refusal):
            editor.deferred_sql.append(
                Rule(name, partial(write, name, event), columns=columns)
            )

    def remove_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> str:
        """Withdraw it; return the last statement."""
        raise NotImplementedError

    def find_key_column(self, key: Relation) -> str | None:
        """Return the target's organization column of a key that is in the database.

        Asked only where tables are built anew, which would lose the key.
        """
        return None

    def rebuild(self, editor: BaseDatabaseSchemaEditor, model: type[Model]) -> None:
        """Build a table anew, with the keys that its model states."""
        raise NotImplementedError

    def forget_types(
        self,
        editor: BaseDatabaseSchemaEditor,
        columns: Sequence[tuple[type[Model], Field[Any, Any]]],
    ) -> None:
        """Make columns of empty tables ready for a type to which there is no cast.

        Django's own foreign keys go first; alter_field() makes them again.
        """
        # The editor's own names of things; there is no public way to either.
        find_names = editor._constraint_names  # type: ignore[attr-defined]
        drop_key = editor._delete_fk_sql  # type: ignore[attr-defined]  # as above
        for model, field in columns:
            if field.remote_field is not None:
                for name in find_names(model, [field.column], foreign_key=True):
                    editor.execute(drop_key(model, name))

    # What fixtures need.

    def defer_keys(self) -> None:
        """Let rows of a fixture refer to rows that come later in it."""

    # What is compared with the models.

    def find_policy_faults(
        self, name: str, rows: Rows, version: int, own_rows: str | None
    ) -> Iterable[Fault]:
        """Return how a table's protection differs from what is declared.

        Args:
            own_rows (str | None): the name of a policy that may stand beside it.
        """
        raise NotImplementedError

    def find_key_faults(self, name: str, key: Relation) -> Iterable[Fault]:
        """Return how a composite foreign key differs from what is declared."""
        raise NotImplementedError

    def find_own_rows_faults(
        self, name: str, own: OwnRows, version: int
    ) -> Iterable[Fault]:
        """Return how the policies of a user's own rows differ."""
        return []

    def find_refusal_faults(
        self, name: str, event: str, columns: TableColumns
    ) -> Iterable[Fault]:
        """Return how the trigger that refuses to change or delete rows differs."""
        table = columns.table
        wanted = self.free_trigger_name(name, event, table)
        create = self.refusal_sql(wanted, event, columns)
        found = self.find_all_triggers(table)
        body = squeeze(self.trigger_body(create))
        if body in {squeeze(one) for one in found.values()}:
            return
        drop = f"DROP TRIGGER {self.quote(wanted)}; " if wanted in found else ""
        what = "differs from the one declared" if drop else "is missing"
        yield Fault(
            table, "trigger", f"The trigger '{wanted}' {what}.", f"Run: {drop}{create};"
        )

    def find_other_faults(
        self,
        tables: Collection[str],
        organization_table: str,
        columns: Collection[str],
        others: Collection[str],
    ) -> Iterable[Fault]:
        """Return what widens the whole: roles, views, partitions, other tables.

        Args:
            tables (Collection[str]): the protected tables.
            organization_table (str): that of the organizations.
            columns (Collection[str]): the names of columns that hold an organization.
            others (Collection[str]): tables of global models that refer to one.
        """
        raise NotImplementedError

    # What is the same everywhere.

    def add_triggers(
        self, editor: BaseDatabaseSchemaEditor, name: str, rows: Rows
    ) -> None:
        """Defer the triggers of a table, each after what stands in its place."""
        for event in TRIGGER_EVENTS:
            drop = partial(self.write_drop_trigger, name, event)
            create = partial(self.write_trigger, name, event)
            columns = rows.columns()
            editor.deferred_sql.append(Rule(name, drop, columns=columns))
            editor.deferred_sql.append(Rule(name, create, columns=columns))

    def write_drop_trigger(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that clears a table of one of its triggers."""
        wanted = self.free_trigger_name(name, event, columns.table)
        if wanted not in self.find_triggers(columns.table):
            return NOTHING
        return f"DROP TRIGGER {self.quote(wanted)}"

    def write_trigger(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates a trigger."""
        wanted = self.free_trigger_name(name, event, columns.table)
        return self.trigger_sql(wanted, event, columns)

    def free_trigger_name(self, name: str, event: str, table: str) -> str:
        """Return a trigger's name, which no other table of the schema has.

        A renamed table keeps its triggers, under names that another may claim.
        """
        taken = self.find_trigger_tables()
        wanted = f"{name}_{event.lower()}"
        for candidate in (wanted, *(f"{wanted}_{number}" for number in range(2, 10))):
            if taken.get(candidate, table) == table:
                return candidate
        return wanted

    def find_trigger_tables(self) -> dict[str, str]:
        """Return the names of the schema's triggers, with their tables."""
        raise NotImplementedError

    def find_all_triggers(self, table: str) -> dict[str, str]:
        """Return the package's triggers of a table: their names and bodies."""
        raise NotImplementedError

    def find_triggers(self, table: str) -> dict[str, str]:
        """Return the triggers of a table's policy: their names and bodies."""
        return {
            name: body
            for name, body in self.find_all_triggers(table).items()
            if not any(text in body for text in REFUSALS.values())
        }

    def _write_drop_refusal(self, name: str, event: str, columns: TableColumns) -> str:
        wanted = self.free_trigger_name(name, event, columns.table)
        if wanted not in self.find_all_triggers(columns.table):
            return NOTHING
        return f"DROP TRIGGER {self.quote(wanted)}"

    def _write_refusal(self, name: str, event: str, columns: TableColumns) -> str:
        wanted = self.free_trigger_name(name, event, columns.table)
        return self.refusal_sql(wanted, event, columns)

    def refusal_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates the trigger that refuses an event."""
        raise NotImplementedError

    def trigger_sql(self, name: str, event: str, columns: TableColumns) -> str:
        """Return the statement that creates a trigger, whole."""
        raise NotImplementedError

    def find_trigger_faults(self, name: str, rows: Rows) -> Iterable[Fault]:
        """Return how a table's triggers differ from what is declared."""
        columns = rows.columns()
        bodies = {squeeze(body) for body in self.find_triggers(rows.table).values()}
        for event in TRIGGER_EVENTS:
            wanted = self.free_trigger_name(name, event, rows.table)
            create = self.trigger_sql(wanted, event, columns)
            # By the text: a renamed table's triggers keep their former names.
            if squeeze(self.trigger_body(create)) in bodies:
                continue
            is_there = wanted in self.find_triggers(rows.table)
            drop = f"DROP TRIGGER {self.quote(wanted)}; " if is_there else ""
            what = "differs from the one declared" if is_there else "is missing"
            yield Fault(
                rows.table,
                "trigger",
                f"The trigger '{wanted}' {what}.",
                f"Run: {drop}{create};",
            )

    def trigger_body(self, create: str) -> str:
        """Return the part of a CREATE TRIGGER that find_triggers() gives."""
        raise NotImplementedError

    def quote(self, *names: str) -> str:
        """Return names quoted for SQL, comma-separated."""
        return ", ".join(self.connection.ops.quote_name(name) for name in names)

    def fetch(self, sql: str, params: Collection[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query of the catalog."""
        with self.connection.cursor() as cursor:
            # Without parameters, a percent sign in a name stays one.
            cursor.execute(sql, tuple(params) or None)
            rows: list[tuple[Any, ...]] = list(cursor.fetchall())
        return rows


def withdraw(editor: BaseDatabaseSchemaEditor, owner: str) -> None:
    """Take an owner's statements out of those still deferred."""
    editor.deferred_sql[:] = [
        statement
        for statement in editor.deferred_sql
        if not (isinstance(statement, Rule) and statement.owner == owner)
    ]


def literal(text: str) -> str:
    """Return a text as a literal of SQL, for names and messages of our own."""
    return "'" + text.replace("'", "''") + "'"


def squeeze(sql: str | None) -> str:
    """Return SQL without what databases change when they store it."""
    return "".join((sql or "").split()).replace('"', "").replace("`", "").lower()


def digest(text: str, length: int = 8) -> str:
    """Return a short, stable digest of a text."""
    return sha256(text.encode()).hexdigest()[:length]


def column_of(field: Field[Any, Any]) -> str:
    """Return the column of a field that has one."""
    assert field.column is not None
    return field.column


def _target_type(field: Field[Any, Any]) -> str:
    while isinstance(field, ForeignKey):
        field = field.target_field
    return field.get_internal_type()


def is_uuid(field: Field[Any, Any]) -> bool:
    """Return whether a field, or that to which it refers, holds UUIDs."""
    return _target_type(field) == "UUIDField"
