from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import NotSupportedError, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.writer import OperationWriter

from tenancy.models import Organization
from tenancy.operations import AlterTenantKey
from tests.evolution import find_state_faults, load_state, run, undo

big = models.BigAutoField(primary_key=True, serialize=False)
integer = models.IntegerField(primary_key=True, serialize=False)
unique = models.UUIDField(primary_key=True, default=uuid.uuid4, serialize=False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("app_label", "name", "field"),
    [
        ("tenancy", "organization", big),
        ("tenancy", "user", big),
        ("tenancy", "role", big),
        ("notes", "notebook", unique),
        ("notes", "notebook", integer),
    ],
)
def test_alter_tenant_key_when_tables_are_empty_keeps_policies(
    app_label: str, name: str, field: models.Field[Any, Any]
) -> None:
    """A key of any type becomes one of any other, forward and backward."""
    state = load_state()
    operation = AlterTenantKey(name, "id", field)

    after = run(state, app_label, [operation])

    assert find_state_faults(after) == []
    undo(state, app_label, [operation])
    assert find_state_faults(state) == []


@pytest.mark.django_db(transaction=True)
def test_alter_tenant_key_with_rows_refuses_what_has_no_cast(
    acme: Organization,
) -> None:
    """UUIDs with rows are not turned into integers, and nothing is changed."""
    state = load_state()

    with pytest.raises(NotSupportedError, match="has rows"):
        run(state, "tenancy", [AlterTenantKey("organization", "id", big)])

    assert find_state_faults(state) == []


@pytest.mark.django_db(transaction=True)
def test_alter_tenant_key_of_another_database_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that the routers keep out of the database is left alone."""
    operation = AlterTenantKey("organization", "id", big)
    monkeypatch.setattr(operation, "allow_migrate_model", lambda *args: False)
    state = load_state()

    run(state, "tenancy", [operation])

    assert find_state_faults(state) == []


def test_alter_tenant_key_when_squashed_stays_one() -> None:
    """A later AlterField of the same field is merged into it."""
    first = AlterTenantKey("note", "id", big)
    later = migrations.AlterField("note", "id", integer)

    (merged,) = MigrationOptimizer().optimize([first, later], "notes")

    assert type(merged) is AlterTenantKey
    assert merged.field is integer


def test_alter_tenant_key_of_two_fields_stays_two() -> None:
    """Operations of different fields are not merged."""
    operations: list[Operation] = [
        AlterTenantKey("note", "id", big),
        AlterTenantKey("page", "id", big),
    ]

    assert MigrationOptimizer().optimize(operations, "notes") == operations


def test_alter_tenant_key_is_written_to_migrations() -> None:
    """A migration file imports the operation from its module."""
    text, imports = OperationWriter(AlterTenantKey("note", "id", big)).serialize()

    assert "tenancy.operations.AlterTenantKey" in text
    assert "import tenancy.operations" in imports


def test_alter_tenant_key_describes_itself() -> None:
    """What "migrate" says names the field and the policies."""
    operation = AlterTenantKey("note", "id", big)

    assert operation.describe() == "Alter key id on note, and its policies"
