from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.utils import NotSupportedError

from tenancy.context import LookUp, look_up
from tenancy.policies import find_faults

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "mysql",
        reason="The database does not have what is MySQL's own",
    ),
]


def execute(*statements: str) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_missing_trigger_is_found_and_its_mend_mends() -> None:
    """A trigger that was dropped is reported, with the SQL that creates it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE"
            " TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'notes_note'"
            " AND EVENT_MANIPULATION = 'INSERT'"
        )
        ((name,),) = cursor.fetchall()
    execute(f"DROP TRIGGER `{name}`")

    (fault,) = find_faults(connection)

    assert "is missing" in fault.message
    execute(fault.hint.removeprefix("Run: ").removesuffix(";"))
    assert find_faults(connection) == []


def test_missing_index_is_found_and_its_mend_mends() -> None:
    """An index that locks need and was dropped is reported, with the SQL for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT INDEX_NAME FROM information_schema.STATISTICS"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'notes_note'"
            " AND INDEX_NAME LIKE 'tenancy%' AND COLUMN_NAME = 'organization_id'"
            " AND SEQ_IN_INDEX = 1 AND NOT NON_UNIQUE"
        )
        ((name,),) = cursor.fetchall()
    execute(
        "CREATE INDEX other ON notes_note (organization_id)",
        f"DROP INDEX `{name}` ON notes_note",
    )

    (fault,) = find_faults(connection)

    assert "organization and primary key is missing" in fault.message
    execute(
        fault.hint.removeprefix("Run: ").removesuffix(";"),
        "DROP INDEX other ON notes_note",
    )
    assert find_faults(connection) == []


def test_missing_key_is_found_and_its_mend_mends() -> None:
    """A composite key that was dropped is reported, with the SQL that makes it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE"
            " TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'notes_note'"
            " AND REFERENCED_TABLE_NAME = 'notes_notebook'"
            " AND POSITION_IN_UNIQUE_CONSTRAINT = 2"
        )
        ((name,),) = cursor.fetchall()
    execute(f"ALTER TABLE notes_note DROP FOREIGN KEY `{name}`")

    (fault,) = find_faults(connection)

    assert fault.kind == "key"
    execute(fault.hint.removeprefix("Run: ").removesuffix(";"))
    assert find_faults(connection) == []


@pytest.mark.parametrize(
    ("create", "drop", "kind"),
    [
        ("CREATE VIEW seen AS SELECT * FROM notes_note", "DROP VIEW seen", "view"),
        (
            "CREATE TABLE stray (id integer, organization_id char(32))",
            "DROP TABLE stray",
            "table",
        ),
    ],
)
def test_what_shows_rows_elsewhere_is_found(create: str, drop: str, kind: str) -> None:
    """Views over tenant tables and unprotected tables are named."""
    execute(create)

    found = find_faults(connection)

    execute(drop)
    assert [fault.kind for fault in found] == [kind]


@pytest.mark.parametrize("number", [1419, 1064])
def test_refused_trigger_says_which_setting(number: int) -> None:
    """Error 1419 is explained, and others are left as they are."""
    from tenancy.backends.mysql.enforcement import _ExplainTriggerRight

    def fail(*args: Any) -> Any:
        raise OperationalError(number, "refused")

    explain = _ExplainTriggerRight(connection)
    connection.execute_wrappers.append(explain)
    expected = NotSupportedError if number == 1419 else OperationalError

    with pytest.raises(expected, match="log_bin_trust|refused"):
        explain(fail, "CREATE TRIGGER ...", None, False, {})

    assert explain not in connection.execute_wrappers
