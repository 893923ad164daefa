"""Lines 22 to 24: what the database holds when everything above it is open."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import (
    DatabaseError,
    IntegrityError,
    connection,
    migrations,
    transaction,
)
from django.db.migrations.state import ProjectState

import tenancy
from tenancy.backends.enforcement import get_enforcement
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import Organization
from tenancy.policies import OrganizationPolicy, SameOrganization, find_faults
from tenancy.predicates import tenant_field
from tests.apps.notebook.models import Cover, Folder, Note, Placing
from tests.deferral import check_deferred
from tests.isolation.conftest import Rows, models_of_tenants

REFUSED = (CrossOrganization, RawSQLRefused, DatabaseError)


def key_of(organization: Organization) -> Any:
    """Return the organization's key as its columns hold it."""
    field = Note._meta.get_field("organization")
    return field.get_db_prep_value(organization.pk, connection)


def execute(sql: str, params: Any = None) -> None:
    """Run a statement through Django's connection."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


# 22. What is missing is reported


def test_faults_when_migrated_are_none(db: None) -> None:
    """A database that was migrated differs in nothing."""
    assert find_faults(connection) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Folder, Organization], ids=["rows", "organization"])
def test_faults_when_policy_is_missing_name_the_table(model: Any) -> None:
    """A table whose policy was removed is reported, with the statement that mends."""
    (policy,) = (
        c for c in model._meta.constraints if isinstance(c, OrganizationPolicy)
    )

    try:
        with (
            tenancy.unscoped("tests: an accident"),
            connection.schema_editor() as editor,
        ):
            editor.remove_constraint(model, policy)
        drop_triggers(model._meta.db_table)
        faults = [f for f in find_faults(connection) if f.table == model._meta.db_table]
    finally:
        restore(model, policy)

    assert faults
    assert find_faults(connection) == []


@pytest.mark.django_db(transaction=True)
def test_faults_when_table_is_unprotected_name_it() -> None:
    """A new table with a column of organizations and no policy is reported."""
    quote = connection.ops.quote_name
    column = Note._meta.get_field("organization")
    kind = column.db_type(connection)

    with tenancy.unscoped("tests: a table by hand"):
        execute(f"CREATE TABLE notebook_stray ({quote(column.column)} {kind})")
        try:
            faults = find_faults(connection)
        finally:
            execute("DROP TABLE notebook_stray")

    assert [fault.table for fault in faults] == ["notebook_stray"]


@pytest.mark.django_db(transaction=True)
def test_faults_when_view_shows_rows_name_it(hides_raw_reads: bool) -> None:
    """A view that shows everybody's rows is reported.

    Where the database hides rows, a plain view of its unprivileged owner's does not.
    """
    kind = "MATERIALIZED VIEW" if hides_raw_reads else "VIEW"
    with tenancy.unscoped("tests: a view by hand"):
        execute(f"CREATE {kind} notebook_window AS SELECT * FROM notebook_note")
        try:
            faults = find_faults(connection)
        finally:
            execute(f"DROP {kind} notebook_window")

    assert "notebook_window" in " ".join(f"{f.table} {f.message}" for f in faults)
    assert find_faults(connection) == []


@pytest.mark.django_db(transaction=True)
def test_view_when_read_in_scope_is_hidden_or_refused(
    ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """A view does not lead around the guard."""
    with tenancy.unscoped("tests: a view by hand"):
        execute("CREATE VIEW notebook_window AS SELECT * FROM notebook_note")
    try:
        with tenancy.scope(ours.organization), connection.cursor() as cursor:
            try:
                cursor.execute("SELECT code FROM notebook_window")
                rows = [code for (code,) in cursor.fetchall()]
            except RawSQLRefused:
                assert not hides_raw_reads
                rows = []
        assert rows in ([], [ours.note.code])
    finally:
        with tenancy.unscoped("tests: a view by hand"):
            execute("DROP VIEW notebook_window")


def drop_triggers(table: str) -> None:
    """Take what is left of the package's triggers off a table."""
    enforcement = get_enforcement(connection)
    with tenancy.unscoped("tests: an accident"):
        try:
            names = list(enforcement.find_triggers(table))
        except NotImplementedError:
            return
        for name in names:
            execute(f"DROP TRIGGER {connection.ops.quote_name(name)}")


def restore(model: Any, policy: OrganizationPolicy) -> None:
    """Put a table's policy back."""
    with tenancy.unscoped("tests: the mend"), connection.schema_editor() as editor:
        editor.add_constraint(model, policy)


# 23. Transactions, savepoints, reconnections


def test_scope_when_savepoint_is_rolled_back_is_right(
    ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """Rolling back to a savepoint leaves each statement its own scope."""
    for rows, count in ((theirs, 4), (ours, 1)):
        with tenancy.scope(rows.organization):
            with pytest.raises(IntegrityError), transaction.atomic():
                Note.objects.bulk_create([Note(code="x"), Note(code="x")])
            assert Note.objects.count() == count
            Note.objects.create(code="x")
            with pytest.raises(CrossOrganization), transaction.atomic():
                Note.objects.create(code="y", organization_id=other(rows, ours, theirs))
            assert Note.objects.count() == count + 1


def other(rows: Rows, ours: Rows, theirs: Rows) -> Any:
    """Return the key of the other organization."""
    return (theirs if rows is ours else ours).organization.pk


@pytest.mark.django_db(transaction=True)
def test_scope_when_transaction_is_rolled_back_is_right(
    ours: Rows, theirs: Rows
) -> None:
    """So does rolling back the whole transaction."""
    for rows, count in ((theirs, 4), (ours, 1), (theirs, 4)):
        with tenancy.scope(rows.organization):
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                Note.objects.create(code="x")
                raise ZeroDivisionError
            assert Note.objects.count() == count
            Note.objects.filter(code=rows.note.code).update(text="again")
        with pytest.raises(ScopeRequired, match="scope"):
            Note.objects.count()


@pytest.mark.django_db(transaction=True)
def test_scope_when_reconnected_is_right(ours: Rows, theirs: Rows) -> None:
    """A connection that opens again is guarded, and in the scope."""
    for rows, count in ((theirs, 4), (ours, 1)):
        with tenancy.scope(rows.organization):
            connection.close()
            assert Note.objects.count() == count
            connection.close()
            note = Note.objects.create(code="x")
            with pytest.raises(CrossOrganization):
                Note.objects.create(code="y", organization_id=other(rows, ours, theirs))
            note.delete()
    connection.close()
    with pytest.raises(ScopeRequired, match="scope"):
        execute("SELECT COUNT(*) FROM notebook_note")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
def test_setting_when_scope_is_left_is_not_left_behind(
    is_atomic: bool, ours: Rows, theirs: Rows, read_raw: Callable[..., list[Any]]
) -> None:
    """After unscoped, and after their scope, raw SQL shows ours only."""
    with transaction.atomic() if is_atomic else tenancy.scope(ours.organization):
        with tenancy.unscoped("tests: everybody's rows"):
            execute("SELECT COUNT(*) FROM notebook_note")
            Note.objects.update(weight=5)
        with (
            tenancy.unscoped("tests: another scope"),
            tenancy.scope(theirs.organization),
        ):
            assert Note.objects.count() == 4
        with tenancy.scope(ours.organization):
            assert "secret" not in repr(read_raw("SELECT * FROM notebook_note"))


@pytest.mark.django_db(transaction=True)
def test_cursor_when_scope_moved_between_statements_takes_each(
    ours: Rows, theirs: Rows
) -> None:
    """One cursor that stays open takes the scope of each statement."""
    insert = "INSERT INTO notebook_folder (name, organization_id) VALUES (%s, %s)"
    ours_key, their_key = key_of(ours.organization), key_of(theirs.organization)

    with connection.cursor() as cursor:
        with tenancy.scope(theirs.organization):
            cursor.execute(insert, ["x", their_key])
        with tenancy.scope(ours.organization):
            cursor.execute(insert, ["x", ours_key])
            with pytest.raises(CrossOrganization):
                cursor.execute(insert, ["y", their_key])
        with pytest.raises(ScopeRequired, match="scope"):
            cursor.execute(insert, ["z", ours_key])


def test_drivers_cursor_when_in_scope_reads_none_of_theirs(
    ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """A cursor that the driver's own connection gives is as guarded as Django's."""
    connection.ensure_connection()
    sql = "SELECT code FROM notebook_note"

    with contextlib.closing(connection.connection.cursor()) as cursor:
        with pytest.raises(ScopeRequired):
            cursor.execute(sql)
        with tenancy.scope(ours.organization):
            try:
                cursor.execute(sql)
            except RawSQLRefused:
                assert not hides_raw_reads
            else:
                assert "secret" not in str(cursor.fetchall())


# 24. No setting, a garbage one, another client


def driver_error() -> type[Exception]:
    """Return the class of the driver's own errors."""
    wrapper: Any = connection
    error_class: type[Exception] = wrapper.Database.Error
    return error_class


@pytest.fixture
def client(transactional_db: None) -> Iterator[Callable[..., Any]]:
    """Run SQL as a client that knows nothing of Django, and return its rows."""
    connection.ensure_connection()
    driver = connection.get_new_connection(connection.get_connection_params())

    def run(sql: str, params: Any = ()) -> Any:
        cursor = driver.cursor()
        try:
            cursor.execute(sql, params)
            rows = cursor.fetchall() if cursor.description else None
            driver.commit()
            return rows
        except Exception:
            driver.rollback()
            raise
        finally:
            cursor.close()

    yield run
    driver.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE notebook_note SET text = 'x'",
        "UPDATE notebook_note SET text = 'x' WHERE code = 'secret note'",
        "DELETE FROM notebook_placing",
        "DELETE FROM tenancy_organization",
        "UPDATE tenancy_membership SET ended_at = NULL",
        "INSERT INTO notebook_folder (name, organization_id)"
        " SELECT 'x', id FROM tenancy_organization",
    ],
)
def test_client_when_it_sets_nothing_writes_nothing(
    sql: str,
    client: Callable[..., Any],
    ours: Rows,
    theirs: Rows,
    untouched: Callable[[], None],
) -> None:
    """A client that sets no scope changes no row: refused, or none is seen."""
    try:
        client(sql)
    except driver_error() as error:
        assert "secret" not in str(error)

    with tenancy.unscoped("tests: what came of it"):
        assert Folder.objects.filter(name="x").count() == 0
        assert Organization.objects.count() == 2


def test_client_when_it_sets_nothing_reads_what_database_shows(
    client: Callable[..., Any], ours: Rows, theirs: Rows, hides_raw_reads: bool
) -> None:
    """It sees no rows where the database hides them, as the README says."""
    rows = client("SELECT code FROM notebook_note")

    assert len(rows) == (0 if hides_raw_reads else 5)


@pytest.mark.parametrize(
    "garbage", ["'", "x", "NULL", "0", " ", "1 OR 1 = 1", "{}", "{", "+", "+1"]
)
def test_client_when_setting_is_garbage_sees_and_writes_nothing(
    garbage: str,
    client: Callable[..., Any],
    ours: Rows,
    theirs: Rows,
    untouched: Callable[[], None],
    hides_raw_reads: bool,
) -> None:
    """A garbage setting opens nothing."""
    error_class = driver_error()
    if hides_raw_reads:
        names = ("tenancy.organization", "tenancy.user")
        settings = [f"SELECT set_config('{name}', %s, false)" for name in names]
    else:
        settings = ["SELECT 1"]
        if connection.features.supports_comments:
            settings = ["SET @tenancy_organization = %s"]
    for setting in settings:
        client(setting, (garbage,) if "%s" in setting else ())

    with contextlib.suppress(error_class):
        client("UPDATE notebook_note SET text = 'x'")
    if hides_raw_reads:
        with contextlib.suppress(error_class):
            assert client("SELECT code FROM notebook_note") == []
    with tenancy.unscoped("tests: what came of it"):
        assert Note.objects.filter(text="x").count() == 0


# The database's rules with the ORM's checks open


@pytest.mark.parametrize("model", models_of_tenants(), ids=lambda m: m._meta.label)
def test_update_when_all_is_raw_touches_ours_only(
    model: Any, in_acme: Rows, theirs: Rows, untouched: Callable[[], None]
) -> None:
    """On each protected table an UPDATE and a DELETE without WHERE spare theirs."""
    quote = connection.ops.quote_name
    field = tenant_field(model)
    assert field is not None and field.column is not None
    table, column = quote(model._meta.db_table), quote(field.column)

    for sql in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
    ):
        try:
            with transaction.atomic():
                execute(sql)
                check_deferred()
        except REFUSED:
            pass


@pytest.mark.parametrize(
    ("child", "column", "parent"),
    [(Placing, "folder_id", "folder"), (Cover, "note_id", "note")],
)
def test_composite_key_when_row_is_theirs_refuses(
    child: Any, column: str, parent: str, in_acme: Rows, theirs: Rows
) -> None:
    """A raw statement of ours that refers to theirs is refused by the key alone."""
    key = getattr(theirs, parent).pk

    with pytest.raises((CrossOrganization, IntegrityError)), transaction.atomic():
        execute(
            f"UPDATE {child._meta.db_table} SET {column} = %s"
            " WHERE organization_id = %s",
            [key, key_of(in_acme.organization)],
        )
        check_deferred()


def test_composite_key_when_unscoped_refuses(ours: Rows, theirs: Rows) -> None:
    """Even unscoped, no row refers to one of another organization."""
    with (
        tenancy.unscoped("tests: a careless migration"),
        pytest.raises((CrossOrganization, IntegrityError)),
        transaction.atomic(),
    ):
        Placing.objects.filter(pk=ours.placing.pk).update(folder_id=theirs.folder.pk)
        check_deferred()


def test_move_when_unscoped_and_referred_to_refuses(ours: Rows, theirs: Rows) -> None:
    """Even unscoped, a row to which others refer does not change its organization."""
    with (
        tenancy.unscoped("tests: a careless migration"),
        pytest.raises((CrossOrganization, IntegrityError)),
        transaction.atomic(),
    ):
        Note.objects.filter(pk=ours.note.pk).update(organization=theirs.organization)
        check_deferred()


def alter(state: ProjectState, operation: Any) -> ProjectState:
    """Run one operation of a migration, and return the state after it."""
    after = state.clone()
    operation.state_forwards("notebook", after)
    with connection.schema_editor() as editor:
        operation.database_forwards("notebook", editor, state, after)
    return after


@pytest.mark.django_db(transaction=True)
def test_migration_when_rows_break_the_rule_fails(ours: Rows, theirs: Rows) -> None:
    """Adding a composite key over rows that break it fails, loudly."""
    (key,) = (
        constraint
        for constraint in Placing._meta.constraints
        if isinstance(constraint, SameOrganization) and constraint.field == "folder"
    )
    with tenancy.unscoped("tests: an accident"):
        remove = migrations.RemoveConstraint("placing", key.name)
        state = alter(ProjectState.from_apps(apps), remove)
        Placing.objects.filter(pk=ours.placing.pk).update(folder_id=theirs.folder.pk)
        add = migrations.AddConstraint("placing", key)
        try:
            with pytest.raises((CrossOrganization, IntegrityError)):
                alter(state, add)
        finally:
            # Django's editor leaves its transaction open when its exit fails.
            connection.close()
            connection.connect()
            Placing.objects.filter(pk=ours.placing.pk).update(folder=ours.folder)
            alter(state, add)
    assert find_faults(connection) == []
