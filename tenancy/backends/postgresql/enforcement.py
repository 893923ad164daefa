"""Row-level security, composite keys and a TRUNCATE trigger on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import TableColumns
from django.db.models import Field, Model

from tenancy.backends.enforcement import (
    IMMUTABLE,
    KEPT,
    Enforcement,
    Fault,
    OwnRows,
    Relation,
    Rows,
    Rule,
    column_of,
    digest,
    is_uuid,
    literal,
    squeeze,
    withdraw,
)
from tenancy.backends.postgresql.settings import (
    MARK_BEGINNINGS,
    ORGANIZATION,
    USER,
    marks_of,
)

SPANS = "tenancy_spans_organizations()"
TRUNCATE_TRIGGER = "tenancy_truncate"


class PostgreSQLEnforcement(Enforcement):
    """Policies that hide rows, from whoever asks."""

    means = "row-level security"
    hides_rows = True
    drops_implied = True

    def is_passing(self, error: BaseException) -> bool:
        """Return whether it was a deadlock or a serialization failure."""
        return getattr(error.__cause__, "sqlstate", None) in ("40001", "40P01")

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
        writes: list[Callable[..., str]] = [
            self._write_enable,
            self._write_spans,
            partial(self._write_drop_policy, name),
            partial(self._write_policy, name, rows.organization),
            self._write_function,
            partial(self._write_truncate_trigger, rows.organization),
        ]
        for write in writes:
            editor.deferred_sql.append(Rule(name, write, columns=rows.columns()))
        return None

    def remove_policy(
        self, editor: BaseDatabaseSchemaEditor, name: str, rows: Rows
    ) -> str:
        """Withdraw a table's protection; return the last statement, still to run."""
        withdraw(editor, name)
        table = self.quote(rows.table)
        return _block(
            f"""
            DROP POLICY IF EXISTS {self.quote(name)} ON {table};
            DROP TRIGGER IF EXISTS {self.quote(TRUNCATE_TRIGGER)} ON {table};
            IF NOT EXISTS (
                SELECT FROM pg_policy WHERE polrelid = {self._oid(table)}
            ) THEN
                ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY,
                    DISABLE ROW LEVEL SECURITY;
            END IF;
            target := {self._oid(table)};
            {_DROP_UNUSED_TARGET}
            {_drop_unused_function("tenancy_refuse_truncate()")}
            {_drop_unused_function(SPANS)}
            """,
            declare="target oid; unused text;",
        )

    def add_target(
        self, editor: BaseDatabaseSchemaEditor, owner: str, target: TableColumns
    ) -> None:
        """Defer the unique index to which composite foreign keys refer."""
        editor.deferred_sql.append(Rule(owner, self._write_target, columns=target))

    def add_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation, version: int
    ) -> str | None:
        """Defer a composite foreign key."""
        write = partial(self._write_key, name, key.organization, key.is_deferred)
        editor.deferred_sql.append(Rule(name, write, columns=key.source, to=key.target))
        return None

    def remove_key(
        self, editor: BaseDatabaseSchemaEditor, name: str, key: Relation
    ) -> str:
        """Withdraw a composite foreign key; return the last statement."""
        withdraw(editor, name)
        table = self.quote(key.source.table)
        # By the columns: a renamed table keeps its keys, under their former names.
        # Checks that wait would refuse the ALTER TABLE.
        return _block(
            f"""
            FOR found IN
                SELECT conname, confrelid, nspname FROM pg_constraint
                JOIN pg_namespace ON pg_namespace.oid = connamespace
                WHERE conrelid = {self._oid(table)} AND contype = 'f'
                AND (conname = {literal(name)}
                    OR {self._is_key(key.source, key.target)})
            LOOP
                target := found.confrelid;
                EXECUTE 'SET CONSTRAINTS ' || quote_ident(found.nspname) || '.'
                    || quote_ident(found.conname) || ' IMMEDIATE';
                EXECUTE {literal(f"ALTER TABLE {table} DROP CONSTRAINT ")}
                    || quote_ident(found.conname);
            END LOOP;
            {_DROP_UNUSED_TARGET}
            """,
            declare="found record; target oid; unused text;",
        )

    def add_own_rows(
        self, editor: BaseDatabaseSchemaEditor, name: str, own: OwnRows, version: int
    ) -> None:
        """Defer what lets a user read their own memberships and organizations."""
        for write in (
            partial(self._write_drop_own_rows, name),
            partial(self._write_own_memberships, name, own),
            partial(self._write_own_organizations, name, own),
        ):
            editor.deferred_sql.append(
                Rule(name, write, columns=own.membership, to=own.organization)
            )

    def remove_own_rows(
        self, editor: BaseDatabaseSchemaEditor, name: str, own: OwnRows
    ) -> str:
        """Withdraw it; return the last statement."""
        withdraw(editor, name)
        return self._write_drop_own_rows(name, own.membership, own.organization)

    def add_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> None:
        """Defer the function and the trigger that refuse to change or delete rows."""
        for write in (
            partial(self._write_refusal_function, event),
            partial(self._write_refusal_trigger, name, event),
        ):
            editor.deferred_sql.append(Rule(name, write, columns=columns))

    def remove_refusal(
        self,
        editor: BaseDatabaseSchemaEditor,
        name: str,
        event: str,
        columns: TableColumns,
    ) -> str:
        """Withdraw them; return the last statement."""
        withdraw(editor, name)
        return _block(
            f"""
            DROP TRIGGER IF EXISTS {self.quote(name)} ON {self.quote(columns.table)};
            {_drop_unused_function(_refusing(event))}
            """
        )

    def forget_types(
        self,
        editor: BaseDatabaseSchemaEditor,
        columns: Sequence[tuple[type[Model], Field[Any, Any]]],
    ) -> None:
        """Make columns of empty tables texts, which can be cast to anything."""
        super().forget_types(editor, columns)
        for model, field in columns:
            column = self.quote(column_of(field))
            table = self.quote(model._meta.db_table)
            editor.execute(
                f"ALTER TABLE {table} ALTER COLUMN {column} DROP IDENTITY IF EXISTS"
            )
            editor.execute(
                f"ALTER TABLE {table} "
                f"ALTER COLUMN {column} TYPE text USING {column}::text"
            )

    def defer_keys(self) -> None:
        """Let rows of a fixture refer to rows that come later in it."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    # The statements.

    def _write_enable(self, columns: TableColumns) -> str:
        return (
            f"ALTER TABLE {self.quote(columns.table)} "
            "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )

    def _write_drop_policy(self, name: str, columns: TableColumns) -> str:
        return (
            f"DROP POLICY IF EXISTS {self.quote(name)} ON {self.quote(columns.table)}"
        )

    def _write_policy(
        self, name: str, field: Field[Any, Any], columns: TableColumns
    ) -> str:
        condition = self._condition(field, columns.columns[0])
        return (
            f"CREATE POLICY {self.quote(name)} ON {self.quote(columns.table)} FOR ALL "
            f"USING ({condition}) WITH CHECK ({condition})"
        )

    def _condition(self, field: Field[Any, Any], column: str) -> str:
        """Return what a row must satisfy, whatever the planner makes of it.

        In an organization's scope SPANS is false while the planner simplifies, and
        leaves the bare equality: it reaches the index, tells how many rows there are,
        and is merged with the ORM's own. Otherwise the sub-select is run once a
        statement, and the setting beside it tells the planner that every row is meant.
        Each part is right by itself, so that no plan that was kept shows too much.
        """
        setting = f"current_setting({literal(ORGANIZATION)}, true)"
        is_every = f"{setting} = {literal(marks_of(field).every)}"
        kind = "uuid" if is_uuid(field) else "bigint"
        return (
            f"{SPANS} AND ((SELECT {is_every}) OR {is_every})"
            f" OR {self.quote(column)} = NULLIF({setting}, '')::{kind}"
        )

    def _write_spans(self, columns: TableColumns) -> str:
        return _block(
            f"""
            IF to_regprocedure({literal(SPANS)}) IS NULL THEN
                CREATE {_SPANS_FUNCTION};
            END IF;
            """
        )

    def _write_function(self, columns: TableColumns) -> str:
        return _block(
            f"""
            IF to_regprocedure('tenancy_refuse_truncate()') IS NULL THEN
                CREATE FUNCTION tenancy_refuse_truncate() RETURNS trigger
                LANGUAGE plpgsql SET search_path = pg_catalog AS {literal(_REFUSE)};
            END IF;
            """
        )

    def _write_truncate_trigger(
        self, field: Field[Any, Any], columns: TableColumns
    ) -> str:
        return (
            f"CREATE OR REPLACE TRIGGER {self.quote(TRUNCATE_TRIGGER)} "
            f"BEFORE TRUNCATE ON {self.quote(columns.table)} FOR EACH STATEMENT "
            "EXECUTE FUNCTION "
            f"tenancy_refuse_truncate({literal(marks_of(field).every)})"
        )

    def _write_refusal_function(self, event: str, columns: TableColumns) -> str:
        return _block(
            f"""
            IF to_regprocedure('{_refusing(event)}') IS NULL THEN
                CREATE FUNCTION {_refusing(event)} RETURNS trigger
                LANGUAGE plpgsql SET search_path = pg_catalog
                AS {literal(_REFUSE_EVENT[event])};
            END IF;
            """
        )

    def _write_refusal_trigger(
        self, name: str, event: str, columns: TableColumns
    ) -> str:
        return (
            f"CREATE OR REPLACE TRIGGER {self.quote(name)} "
            f"BEFORE {event} ON {self.quote(columns.table)} FOR EACH ROW "
            f"EXECUTE FUNCTION {_refusing(event)}"
        )

    def _write_target(self, columns: TableColumns) -> str:
        key, organization = columns.columns
        table = self.quote(columns.table)
        stated = ".".join([columns.table, *columns.columns])
        name = literal(f"tenancy_target_{digest(stated)}")
        return _block(
            f"""
            IF NOT EXISTS ({_find_target(self._oid(table), key, organization)}) THEN
                name := {name};
                IF EXISTS (
                    SELECT FROM pg_class taken JOIN pg_class own USING (relnamespace)
                    WHERE taken.relname = name AND own.oid = {self._oid(table)}
                ) THEN
                    name := name || '_' || {self._oid(table)}::text;
                END IF;
                EXECUTE 'CREATE UNIQUE INDEX ' || quote_ident(name) || {
                literal(f" ON {table} ({self.quote(organization, key)})")
            };
            END IF;
            """,
            declare="name text;",
        )

    def _write_key(
        self,
        name: str,
        field: Field[Any, Any],
        is_deferred: bool,
        columns: TableColumns,
        to: TableColumns,
    ) -> str:
        table, target = self.quote(columns.table), self.quote(to.table)
        # The setting goes with it: under forced row-level security the existing rows
        # are checked only as far as the policy shows them.
        return _block(
            f"""
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE {self._is_key(columns, to)} AND convalidated
                AND condeferred = {is_deferred}
            ) THEN
                SET CONSTRAINTS ALL IMMEDIATE;
                PERFORM set_config(
                    {literal(ORGANIZATION)}, {literal(marks_of(field).every)}, true
                );
                ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {self.quote(name)};
                ALTER TABLE {table} ADD CONSTRAINT {self.quote(name)}
                    FOREIGN KEY ({self.quote(*columns.columns)})
                    REFERENCES {target} ({self.quote(*to.columns)})
                    DEFERRABLE INITIALLY {"DEFERRED" if is_deferred else "IMMEDIATE"};
                PERFORM set_config(
                    {literal(ORGANIZATION)}, coalesce(organization, ''), true
                );
            END IF;
            """,
            declare="organization text :="
            f" current_setting({literal(ORGANIZATION)}, true);",
        )

    def _write_drop_own_rows(
        self, name: str, columns: TableColumns, to: TableColumns
    ) -> str:
        return _block(
            f"""
            IF to_regclass({literal(self.quote(columns.table))}) IS NOT NULL THEN
                DROP POLICY IF EXISTS {self.quote(name)}
                    ON {self.quote(columns.table)};
            END IF;
            IF to_regclass({literal(self.quote(to.table))}) IS NOT NULL THEN
                DROP POLICY IF EXISTS {self.quote(f"{name}_all")}
                    ON {self.quote(to.table)};
            END IF;
            """
        )

    def _write_own_memberships(
        self, name: str, own: OwnRows, columns: TableColumns, to: TableColumns
    ) -> str:
        return (
            f"CREATE POLICY {self.quote(name)} ON {self.quote(columns.table)} "
            f"FOR SELECT USING ({self._own_memberships(own, columns)})"
        )

    def _write_own_organizations(
        self, name: str, own: OwnRows, columns: TableColumns, to: TableColumns
    ) -> str:
        return (
            f"CREATE POLICY {self.quote(f'{name}_all')} ON {self.quote(to.table)} "
            f"FOR SELECT USING ({self._own_organizations(own, columns, to)})"
        )

    def _own_memberships(self, own: OwnRows, columns: TableColumns) -> str:
        """Return what is true of them; nothing is left of it in other scopes."""
        kind = own.user.db_type(self.connection)
        column, ended, _organization = columns.columns
        return (
            f"{self._reads_own(own)} AND {self.quote(column)} = "
            f"NULLIF(current_setting({literal(USER)}, true), '')::{kind} "
            f"AND {self.quote(ended)} IS NULL"
        )

    def _own_organizations(
        self, own: OwnRows, columns: TableColumns, to: TableColumns
    ) -> str:
        return (
            f"{self._reads_own(own)} AND {self.quote(to.columns[0])} IN ("
            f"SELECT {self.quote(columns.columns[2])} "
            f"FROM {self.quote(columns.table)} "
            f"WHERE {self._own_memberships(own, columns)})"
        )

    def _reads_own(self, own: OwnRows) -> str:
        mark = literal(marks_of(own.key).own)
        return f"{SPANS} AND current_setting({literal(ORGANIZATION)}, true) = {mark}"

    def _oid(self, quoted_table: str) -> str:
        return f"to_regclass({literal(quoted_table)})::oid"

    # What is compared with the models.

    def find_policy_faults(
        self, name: str, rows: Rows, version: int, own_rows: str | None
    ) -> Iterable[Fault]:
        """Return how a table's protection differs from what is declared."""
        table = rows.table
        quoted = self.quote(table)
        found = self.fetch(
            "SELECT oid, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE oid = to_regclass(%s)",
            [quoted],
        )
        if not found:
            yield Fault(table, "table", "The table is missing.", "Run 'migrate'.")
            return
        ((oid, is_enabled, is_forced),) = found
        if not is_enabled:
            yield Fault(
                table,
                "policy",
                "Row-level security is disabled.",
                f"Run: ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY;",
            )
        if not is_forced:
            yield Fault(
                table,
                "policy",
                "Row-level security is not forced, so the table's owner passes it.",
                f"Run: ALTER TABLE {quoted} FORCE ROW LEVEL SECURITY;",
            )
        yield from self._find_policies(oid, name, rows, own_rows)
        yield from self._find_truncate_trigger(oid, rows)
        target = rows.target()
        if target is not None and not self.fetch(
            _find_target("to_regclass(%s)", *target.columns), [quoted]
        ):
            columns = rows.columns()
            yield Fault(
                table,
                "index",
                "The unique index of organization and primary key is missing.",
                f"Run: CREATE UNIQUE INDEX ON {quoted} "
                f"({self.quote(*columns.columns)});",
            )

    def _find_policies(
        self, oid: int, name: str, rows: Rows, own_rows: str | None
    ) -> Iterable[Fault]:
        quoted = self.quote(rows.table)
        create = self._write_policy(name, rows.organization, rows.columns())
        condition = _reduce(
            self._condition(rows.organization, column_of(rows.organization))
        )
        is_found = False
        for policy, command, everybody, using, check in self.fetch(_POLICIES, [oid]):
            if policy == own_rows:
                continue
            is_ours = _reduce(using) == condition and command == "*"
            if is_ours and _reduce(check) == condition:
                # After a table's rename the name may be that of the former one.
                is_found = is_found or everybody
                continue
            drop = f"Run: DROP POLICY {self.quote(policy)} ON {quoted};"
            if policy != name:
                yield Fault(
                    rows.table,
                    "policy",
                    f"The permissive policy '{policy}' widens what is visible.",
                    f"{drop} Or make it RESTRICTIVE.",
                )
                continue
            is_found = True
            what = (
                "has no WITH CHECK of its own"
                if is_ours and check is None
                else "differs from the one declared"
            )
            yield Fault(
                rows.table,
                "policy",
                f"The policy '{name}' {what}.",
                f"{drop} {create};",
            )
        if not is_found:
            yield Fault(
                rows.table,
                "policy",
                f"The policy '{name}' is missing.",
                f"Run: {create};",
            )

    def _find_truncate_trigger(self, oid: int, rows: Rows) -> Iterable[Fault]:
        create = self._write_truncate_trigger(rows.organization, rows.columns())
        found = self.fetch(
            "SELECT tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE tgrelid = %s AND tgname = %s",
            [oid, TRUNCATE_TRIGGER],
        )
        arguments = squeeze(create.rpartition("(")[2])
        if not found:
            message = "The trigger that refuses TRUNCATE is missing."
        elif found[0][0] not in "OA" or not squeeze(found[0][1]).endswith(arguments):
            message = "The trigger that refuses TRUNCATE is disabled or differs."
        else:
            return
        yield Fault(rows.table, "trigger", message, f"Run: {create};")

    def find_refusal_faults(
        self, name: str, event: str, columns: TableColumns
    ) -> Iterable[Fault]:
        """Return how the trigger that refuses to change or delete rows differs."""
        function = self._write_refusal_function(event, columns)
        create = self._write_refusal_trigger(name, event, columns)
        wanted = squeeze(create.partition(" BEFORE ")[2].partition(" ON ")[0])
        found = self.fetch(
            "SELECT tgenabled::text, pg_get_triggerdef(pg_trigger.oid), prosrc"
            " FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid"
            f" WHERE tgrelid = {self._oid(self.quote(columns.table))} AND tgname = %s",
            [name],
        )
        if not found:
            what = "is missing"
        elif (
            found[0][0] not in "OA"
            or f"before{wanted}on" not in squeeze(found[0][1])
            or not squeeze(found[0][1]).endswith(
                f"foreachrowexecutefunction{_refusing(event)}"
            )
            or squeeze(found[0][2]) != squeeze(_REFUSE_EVENT[event])
        ):
            what = "is disabled or differs from the one declared"
        else:
            return
        yield Fault(
            columns.table,
            "trigger",
            f"The trigger '{name}' {what}.",
            f"Run: {function}; {create};",
        )

    def find_key_faults(self, name: str, key: Relation) -> Iterable[Fault]:
        """Return how a composite foreign key differs from what is declared."""
        found = self.fetch(
            "SELECT convalidated, condeferred, confdeltype::text, confupdtype::text,"
            " conname, COALESCE((SELECT bool_or(tgenabled NOT IN ('O', 'A'))"
            " FROM pg_trigger WHERE tgconstraint = pg_constraint.oid), false)"
            " FROM pg_constraint WHERE contype = 'f'"
            f" AND {self._is_key(key.source, key.target)}",
        )
        if not found:
            what = "is missing"
        elif not found[0][0]:
            what = "was never validated"
        elif found[0][1] is not key.is_deferred or found[0][2:4] != ("a", "a"):
            what = "differs from the one declared"
        elif found[0][5]:
            what = "is disabled"
        else:
            return
        stated = " ".join(
            self._write_key(
                name, key.organization, key.is_deferred, key.source, key.target
            ).split()
        )
        yield Fault(
            key.source.table,
            "key",
            f"The composite foreign key '{name}' {what}.",
            f"Run: {stated};",
        )

    def _is_key(self, source: TableColumns, target: TableColumns) -> str:
        """Return SQL that says whether a row of pg_constraint is a key of columns."""
        return (
            f"conrelid = {self._oid(self.quote(source.table))}"
            f" AND confrelid = {self._oid(self.quote(target.table))}"
            f" AND conkey = {self._numbers('conrelid', source)}"
            f" AND confkey = {self._numbers('confrelid', target)}"
        )

    def _numbers(self, relation: str, columns: TableColumns) -> str:
        """Return SQL of the numbers of columns, as pg_constraint keeps them."""
        numbers = ", ".join(
            f"(SELECT attnum FROM pg_attribute WHERE attrelid = {relation}"
            f" AND attname = {literal(column)})"
            for column in columns.columns
        )
        return f"ARRAY[{numbers}]::smallint[]"

    def find_own_rows_faults(
        self, name: str, own: OwnRows, version: int
    ) -> Iterable[Fault]:
        """Return how the policies of a user's own rows differ."""
        declared = (
            (
                name,
                own.membership.table,
                self._own_memberships(own, own.membership),
                self._write_own_memberships,
            ),
            (
                f"{name}_all",
                own.organization.table,
                self._own_organizations(own, own.membership, own.organization),
                self._write_own_organizations,
            ),
        )
        for policy, table, condition, write in declared:
            found = self.fetch(
                "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy"
                " WHERE polrelid = to_regclass(%s) AND polname = %s"
                " AND polcmd = 'r' AND polpermissive",
                [self.quote(table), policy],
            )
            if found and _reduce(found[0][0], own.membership.table) == _reduce(
                condition, own.membership.table
            ):
                continue
            create = write(name, own, own.membership, own.organization)
            what = "differs from the one declared" if found else "is missing"
            drop = f"DROP POLICY IF EXISTS {self.quote(policy)} ON {self.quote(table)}"
            yield Fault(
                table,
                "policy",
                f"The policy '{policy}' {what}.",
                f"Run: {drop}; {create};",
            )

    def find_other_faults(
        self,
        tables: Collection[str],
        organization_table: str,
        columns: Collection[str],
        others: Collection[str],
    ) -> Iterable[Fault]:
        """Return what widens the whole: roles, views, partitions, other tables."""
        quoted = [self.quote(table) for table in tables]
        yield from self._find_role()
        yield from self._find_spans()
        for view, kind, table in self.fetch(_VIEWS, [quoted]):
            what = "materialized view" if kind == "m" else "view"
            fix = (
                "Drop it, or fill one for each organization."
                if kind == "m"
                else f"Run: ALTER VIEW {view} SET (security_invoker = true);"
            )
            yield Fault(
                view,
                "view",
                f"The {what} shows the rows of {table} past its policy.",
                fix,
            )
        for partition, table in self.fetch(_PARTITIONS, [quoted]):
            yield Fault(
                partition,
                "partition",
                f"The partition of {table}, queried directly, passes its policy.",
                f"Run: ALTER TABLE {partition} ENABLE ROW LEVEL SECURITY, "
                "FORCE ROW LEVEL SECURITY; and give it the parent's policy.",
            )
        for other, column in self.fetch(
            _UNPROTECTED,
            [
                [*quoted, *(self.quote(table) for table in others)],
                self.quote(organization_table),
                list(columns),
            ],
        ):
            yield Fault(
                other,
                "table",
                f"The column '{column}' holds an organization, and no policy protects "
                "the table.",
                "Make its model a TenantModel, or drop the table.",
            )

    def _find_spans(self) -> Iterable[Fault]:
        """Return whether plans are not those that they could be; rows are the same."""
        found = self.fetch(
            "SELECT provolatile::text, proparallel::text, prosrc FROM pg_proc"
            " WHERE oid = to_regprocedure(%s)",
            [SPANS],
        )
        if not found or (*found[0][:2], squeeze(found[0][2])) == (
            "i",
            "s",
            squeeze(_SPANS),
        ):
            return
        yield Fault(
            "",
            "policy",
            f"The function '{SPANS}' differs from the one declared, by which the "
            "planner knows how far a policy reaches.",
            f"Run: CREATE OR REPLACE {_SPANS_FUNCTION};",
        )

    def _find_role(self) -> Iterable[Fault]:
        for role, is_superuser, bypasses, is_of_server in self.fetch(
            "SELECT rolname, rolsuper, rolbypassrls, oid = 10 FROM pg_roles"
            " WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
        ):
            what = "is a superuser" if is_superuser else "has BYPASSRLS"
            fix = (
                "NOSUPERUSER NOBYPASSRLS"
                if is_superuser and bypasses
                else ("NOSUPERUSER" if is_superuser else "NOBYPASSRLS")
            )
            database = self.connection.settings_dict["NAME"]
            # The role with which the server was set up is its last administrator.
            yield Fault(
                "",
                "role",
                f"The role '{role}' {what}, so every policy is ignored.",
                "Connect as the application's own role. Make one: "
                "CREATE ROLE app LOGIN PASSWORD '...' CREATEDB; "
                f"ALTER DATABASE {self.quote(database)} OWNER TO app;"
                if is_of_server
                else "Connect as another role, or run: "
                f"ALTER ROLE {self.quote(role)} {fix};",
            )


def _refusing(event: str) -> str:
    """Return the function that refuses an event, as the catalog writes it."""
    return f"tenancy_refuse_{event.lower()}()"


def _find_target(oid: str, key: str, organization: str) -> str:
    """Return a query of a table's unique indexes of organization and key.

    Args:
        oid (str): SQL of the table's number.
    """
    numbers = " || ' ' || ".join(
        "(SELECT attnum::text FROM pg_attribute WHERE attrelid = indrelid"
        f" AND attname = {literal(column)})"
        for column in (organization, key)
    )
    return (
        f"SELECT indexrelid FROM pg_index WHERE indrelid = {oid}"
        " AND indisunique AND indisvalid AND indimmediate AND indpred IS NULL"
        f" AND indnatts = 2 AND indkey::text = {numbers}"
    )


def _reduce(expression: str | None, table: str = "") -> str:
    """Return an expression without what pg_get_expr() adds to it."""
    text = squeeze(expression)
    for noise in ("(", ")", "::text", "::charactervarying", "::varchar"):
        text = text.replace(noise, "")
    name = squeeze(table)
    return text.replace(f"{name}.", "") if name else text


def _block(body: str, *, declare: str = "") -> str:
    """Return an anonymous block: one statement, that may look before it acts."""
    declaration = f"DECLARE {declare}\n" if declare else ""
    return f"DO $tenancy$\n{declaration}BEGIN{body}END\n$tenancy$"


def _drop_unused_function(signature: str) -> str:
    """Return the part of a block that drops a function which nothing needs any more."""
    return f"""
            BEGIN
                DROP FUNCTION IF EXISTS {signature};
            EXCEPTION
                WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                    NULL;
            END;
    """


# Whether the setting is a mark. It tells the planner, which takes the answer of an
# IMMUTABLE function for a constant, what to leave out of the plan of one statement.
# Names stand with their schema, since the caller's search path may hold others.
_SPANS = f"""
BEGIN
    RETURN COALESCE({
    " OR ".join(
        f"pg_catalog.starts_with("
        f"pg_catalog.current_setting({literal(ORGANIZATION)}, true), "
        f"{literal(beginning)})"
        for beginning in MARK_BEGINNINGS
    )
}, false);
END
"""
_SPANS_FUNCTION = (
    f"FUNCTION {SPANS} RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE"
    f" AS {literal(_SPANS)}"
)

# Refuses unless the setting says that every organization is meant.
_REFUSE = f"""
BEGIN
    IF current_setting({literal(ORGANIZATION)}, true) = TG_ARGV[0] THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'tenancy: TRUNCATE would reach every organization'
        USING ERRCODE = '42501', HINT = 'Say tenancy.unscoped(reason).';
END
"""

_REFUSE_EVENT = {
    "UPDATE": f"""
BEGIN
    RAISE EXCEPTION '{IMMUTABLE}' USING ERRCODE = 'integrity_constraint_violation';
END
""",
    "DELETE": f"""
BEGIN
    IF current_setting('tenancy.deletes', true) = '1' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '{KEPT}' USING ERRCODE = 'integrity_constraint_violation';
END
""",
}

# The index of the primary key belongs to the policy, others to the keys that use them.
_DROP_UNUSED_TARGET = """
            FOR unused IN
                SELECT indexrelid::regclass::text FROM pg_index
                JOIN pg_class AS named ON named.oid = indexrelid
                JOIN pg_class AS whole ON whole.oid = indrelid
                WHERE indrelid = target
                AND left(named.relname, 15) = 'tenancy_target_'
                AND NOT (
                    whole.relrowsecurity AND (
                        SELECT conkey[1] FROM pg_constraint
                        WHERE conrelid = target AND contype = 'p'
                    ) = ANY (indkey)
                )
                AND NOT EXISTS (
                    SELECT FROM pg_constraint
                    WHERE conindid = indexrelid AND contype = 'f'
                )
            LOOP
                EXECUTE 'DROP INDEX ' || unused;
            END LOOP;
"""

_POLICIES = """
SELECT polname, polcmd::text, polroles = '{0}',
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
FROM pg_policy WHERE polrelid = %s AND polpermissive ORDER BY polname
"""

# A view reads with its owner's rights unless it is a security invoker; an owner
# without privileges is under the forced policy itself. What it reads may be a view.
_VIEWS = """
WITH RECURSIVE reading AS (
    SELECT ev_class AS oid, refobjid AS base, true AS by_invoker
    FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
    WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
    AND refobjid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
    AND ev_class <> refobjid
    UNION
    SELECT ev_class, base, by_invoker AND COALESCE(reloptions && {invoker}, false)
    FROM reading
    JOIN pg_class ON pg_class.oid = reading.oid
    JOIN pg_depend ON refobjid = reading.oid
    AND classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid
    WHERE ev_class <> refobjid
)
SELECT DISTINCT seen.oid::regclass::text, seen.relkind::text, base::regclass::text
FROM reading
JOIN pg_class AS seen ON seen.oid = reading.oid
JOIN pg_roles ON pg_roles.oid = seen.relowner
WHERE seen.relkind = 'm' OR seen.relkind = 'v' AND by_invoker
AND (rolsuper OR rolbypassrls) AND NOT COALESCE(seen.reloptions && {invoker}, false)
ORDER BY 1, 3
""".replace(
    "{invoker}",
    "ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1',"
    " 'security_invoker=yes']",
)

_PARTITIONS = """
WITH RECURSIVE part AS (
    SELECT inhrelid AS oid, inhparent AS root FROM pg_inherits
    WHERE inhparent IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
    UNION
    SELECT inhrelid, root FROM pg_inherits JOIN part ON inhparent = part.oid
)
SELECT part.oid::regclass::text, root::regclass::text
FROM part JOIN pg_class ON pg_class.oid = part.oid
WHERE pg_class.relkind IN ('r', 'p') AND NOT (
    relrowsecurity AND relforcerowsecurity
    AND EXISTS (SELECT FROM pg_policy WHERE polrelid = part.oid)
)
ORDER BY 1
"""

_UNPROTECTED = """
SELECT DISTINCT pg_class.oid::regclass::text, attname
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'p') AND NOT relispartition
AND nspname NOT IN ('pg_catalog', 'information_schema') AND left(nspname, 3) <> 'pg_'
AND pg_class.oid NOT IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
AND (
    EXISTS (
        SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = pg_class.oid
        AND confrelid = to_regclass(%s) AND attnum = ANY (conkey)
    )
    OR attname = ANY (%s)
)
ORDER BY 1, 2
"""
