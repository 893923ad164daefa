from __future__ import annotations

import pytest
from django.db import connection, migrations

from tenancy.backends.enforcement import Fault
from tenancy.context import LookUp, look_up
from tenancy.policies import find_faults
from tests.evolution import find_state_faults, load_state, run
from tests.test_policies import LABEL, create_page, parent, policy

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor != "postgresql",
        reason="The database does not have row-level security",
    ),
]


EVERY = "{ffffffff-ffff-ffff-ffff-ffffffffffff}"
IS_EVERY = f"current_setting('tenancy.organization', true) = '{EVERY}'"
CONDITION = (
    f"tenancy_spans_organizations() AND ((SELECT {IS_EVERY}) OR {IS_EVERY}) OR "
    "organization_id = NULLIF(current_setting('tenancy.organization', true), '')::uuid"
)


def execute(*statements: str) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def faults() -> list[Fault]:
    return [fault for fault in find_faults(connection) if fault.kind != "role"]


def name_of(kind: str) -> str:
    query = {
        "policy": "SELECT polname FROM pg_policy"
        " WHERE polrelid = to_regclass('notes_note')",
        "index": "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = to_regclass('notes_note')"
        " AND starts_with(indexrelid::regclass::text, 'tenancy_target_')",
        "key": "SELECT conname FROM pg_constraint"
        " WHERE conrelid = to_regclass('notes_note') AND contype = 'f'"
        " AND cardinality(conkey) = 2",
    }[kind]
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        cursor.execute(query)
        ((name,),) = cursor.fetchall()
    return str(name)


DAMAGE = [
    ("ALTER TABLE notes_note DISABLE ROW LEVEL SECURITY", "policy", "disabled"),
    ("ALTER TABLE notes_note NO FORCE ROW LEVEL SECURITY", "policy", "not forced"),
    ("DROP POLICY {policy} ON notes_note", "policy", "is missing"),
    (
        "CREATE POLICY wide ON notes_note FOR SELECT USING (true)",
        "policy",
        "'wide' widens",
    ),
    ("ALTER POLICY {policy} ON notes_note USING (true)", "policy", "differs"),
    (
        "DROP POLICY {policy} ON notes_note;"
        f"CREATE POLICY {{policy}} ON notes_note USING ({CONDITION})",
        "policy",
        "no WITH CHECK",
    ),
    (
        "ALTER FUNCTION tenancy_spans_organizations() STABLE",
        "policy",
        "'tenancy_spans_organizations()' differs",
    ),
    ("DROP TRIGGER tenancy_truncate ON notes_note", "trigger", "is missing"),
    ("ALTER TABLE notes_note DISABLE TRIGGER tenancy_truncate", "trigger", "disabled"),
    ("DROP INDEX {index}", "index", "is missing"),
    ("ALTER TABLE notes_note DROP CONSTRAINT {key}", "key", "is missing"),
    (
        "ALTER TABLE notes_note ALTER CONSTRAINT {key} INITIALLY DEFERRED",
        "key",
        "differs",
    ),
]


@pytest.mark.parametrize(("damage", "kind", "text"), DAMAGE)
def test_damage_is_found_and_its_mend_mends(damage: str, kind: str, text: str) -> None:
    """Each fault is found, alone, and what its hint says to run repairs it."""
    names = {
        name: connection.ops.quote_name(name_of(name))
        for name in ("policy", "index", "key")
    }
    for name, quoted in names.items():
        damage = damage.replace(f"{{{name}}}", quoted)
    execute(*damage.split(";"))

    (fault,) = faults()

    assert fault.kind == kind
    assert text in fault.message
    assert "'notes_note'" in fault.message or "function" in fault.message
    mend = fault.hint.removeprefix("Run: ").removesuffix(" Or make it RESTRICTIVE.")
    is_whole = "$tenancy$" in mend or "CREATE OR REPLACE FUNCTION" in mend
    execute(*([mend] if is_whole else mend.rstrip(";").split("; ")))
    assert faults() == []


def test_restrictive_policy_is_no_fault() -> None:
    """A policy that narrows what is visible is the project's own affair."""
    execute("CREATE POLICY narrow ON notes_note AS RESTRICTIVE USING (true)")

    assert faults() == []


def test_own_rows_policy_that_differs_is_found() -> None:
    """The policies of a user's own rows are compared as well."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT polname FROM pg_policy WHERE polrelid ="
            " to_regclass('tenancy_membership') AND polcmd = 'r'"
        )
        ((name,),) = cursor.fetchall()
    execute(f'DROP POLICY "{name}" ON tenancy_membership')

    (fault,) = faults()

    assert f"'{name}' is missing" in fault.message
    execute(*fault.hint.removeprefix("Run: ").rstrip(";").split("; "))
    assert faults() == []


@pytest.mark.parametrize(
    ("statement", "kind", "text"),
    [
        (
            "CREATE MATERIALIZED VIEW seen AS SELECT * FROM notes_note",
            "view",
            "materialized view",
        ),
        (
            "CREATE VIEW beneath AS SELECT * FROM notes_note;"
            " CREATE VIEW between AS SELECT * FROM beneath;"
            " CREATE MATERIALIZED VIEW seen AS SELECT * FROM between",
            "view",
            "materialized view",
        ),
        (
            "CREATE TABLE stray (id bigint, organization_id uuid)",
            "table",
            "'organization_id' holds an organization",
        ),
        (
            "CREATE TABLE stray (id bigint, owner uuid"
            " REFERENCES tenancy_organization (id))",
            "table",
            "'owner' holds an organization",
        ),
        (
            "CREATE TABLE part (LIKE notes_note); ALTER TABLE part INHERIT notes_note",
            "partition",
            "passes its policy",
        ),
    ],
)
def test_what_shows_rows_elsewhere_is_found(
    statement: str, kind: str, text: str
) -> None:
    """Copies, other tables and partitions are named."""
    execute(*statement.split("; "))

    found = faults()

    assert any(fault.kind == kind and text in fault.message for fault in found)


def test_view_of_an_ordinary_role_is_no_fault() -> None:
    """A view of a role that is under the policies shows what that role may see."""
    execute("CREATE VIEW seen AS SELECT * FROM notes_note")

    assert faults() == []


def test_truncate_outside_unscoped_is_refused() -> None:
    """The trigger lets TRUNCATE pass only while every organization is reached."""
    execute("TRUNCATE notes_note CASCADE")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('notes_note')"
            " AND tgname = 'tenancy_truncate'"
        )
        assert cursor.fetchall()


@pytest.mark.django_db(transaction=True)
def test_policies_of_a_table_in_a_schema_are_exact() -> None:
    """A table that is named with its schema is protected like any other."""
    execute("CREATE SCHEMA apart")
    operations = create_page(policy, parent)
    operations[0].options["db_table"] = '"apart"."page"'

    after = run(load_state(), LABEL, operations)

    found = find_state_faults(after, LABEL)
    run(
        after,
        LABEL,
        [
            migrations.RemoveConstraint("page", parent.name),
            migrations.RemoveConstraint("page", policy.name),
        ],
    )
    execute("DROP SCHEMA apart CASCADE")
    assert found == []
