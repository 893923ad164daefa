from __future__ import annotations

import pytest
from django.db import connection

from tenancy.context import LookUp, look_up
from tenancy.policies import find_faults

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor != "sqlite",
        reason="The database does not have what is SQLite's own",
    ),
]


def execute(*statements: str) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def trigger(event: str) -> tuple[str, str]:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            " AND tbl_name = 'notes_note' AND name LIKE %s",
            [f"tenancy_%_{event}"],
        )
        ((name, sql),) = cursor.fetchall()
    return name, sql


def test_missing_trigger_is_found_and_its_mend_mends() -> None:
    """A trigger that was dropped is reported, with the SQL that creates it."""
    name, _sql = trigger("insert")
    execute(f'DROP TRIGGER "{name}"')

    (fault,) = find_faults(connection)

    assert "is missing" in fault.message
    execute(fault.hint.removeprefix("Run: ").removesuffix(";"))
    assert find_faults(connection) == []


def test_changed_trigger_is_found_and_its_mend_mends() -> None:
    """A trigger of another text is reported, and replaced."""
    name, sql = trigger("delete")
    execute(f'DROP TRIGGER "{name}"', sql.replace("IS NOT 1", "IS NOT 1 AND 0"))

    (fault,) = find_faults(connection)

    assert "differs" in fault.message
    drop, _separator, create = fault.hint.removeprefix("Run: ").partition("; ")
    execute(drop, create.removesuffix(";"))
    assert find_faults(connection) == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("CREATE VIEW seen AS SELECT * FROM notes_note", "view"),
        ("CREATE TABLE stray (id integer, organization_id char(32))", "table"),
        (
            "CREATE TABLE stray (owner char(32) REFERENCES tenancy_organization (id))",
            "table",
        ),
    ],
)
def test_what_shows_rows_elsewhere_is_found(statement: str, kind: str) -> None:
    """Views over tenant tables and unprotected tables are named."""
    execute(statement)

    (fault,) = find_faults(connection)

    assert fault.kind == kind


def test_missing_key_and_index_are_found() -> None:
    """A table without its key and its unique index is reported."""
    execute(
        "CREATE TABLE copy AS SELECT * FROM notes_note",
        "DROP TABLE notes_note",
        "ALTER TABLE copy RENAME TO notes_note",
    )

    kinds = {fault.kind for fault in find_faults(connection)}

    assert kinds == {"trigger", "index", "key"}


def test_missing_table_is_found() -> None:
    """A table that is not there is reported, and nothing else of it."""
    execute("DROP TABLE notes_note")

    kinds = [fault.kind for fault in find_faults(connection)]

    assert kinds == ["table", "key"]
