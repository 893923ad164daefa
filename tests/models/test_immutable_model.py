from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.migrations import (
    AddConstraint,
    AlterModelTable,
    CreateModel,
    RemoveConstraint,
)
from django.db.migrations.state import ProjectState

import tenancy
from tenancy.backends.enforcement import Fault, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.exceptions import ImmutableRow
from tenancy.models import Organization, Purchase, SystemEvent
from tenancy.policies import Immutable, find_faults
from tests.evolution import load_state, run, undo

LABEL = "tests_immutable"
TABLES = (f"{LABEL}_entry", "Renamed_ENTRY", "other_entry")
rule = Immutable(name="tenancy_tests_immutable")


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Purchase, SystemEvent])
def test_row_is_written_once(acme: Organization, model: Any) -> None:
    """Purchases and system events are neither changed nor deleted."""
    values: dict[str, Any] = {"action": "user.banned"}  # A model's own fields.
    if model is Purchase:
        values = {
            "amount": 1,
            "currency": "EUR",
            "provider": "p",
            "provider_payment_id": "1",
        }
    with tenancy.scope(acme), transaction.atomic():
        row = model.objects.create(**values)
        for call in (
            row.save,
            row.delete,
            model.objects.all().delete,
            lambda: model.objects.update(**values),
        ):
            with pytest.raises(ImmutableRow, match="written once"):
                call()
        assert model.objects.count() == 1

    statement = f"UPDATE {model._meta.db_table} SET id = id"
    with pytest.raises(ImmutableRow), transaction.atomic(), tenancy.unscoped("raw"):
        connection.cursor().execute(statement)


@pytest.mark.django_db
def test_system_event_says_who_did_what(acme: Organization) -> None:
    """An event of the system has the reason that is given, or that of unscoped()."""
    with tenancy.unscoped("night"):
        one = SystemEvent.objects.record("organization.checked", acme, number=1)
        two = SystemEvent.objects.record("organization.checked", reason="day")

    assert (one.reason, two.reason) == ("night", "day")
    assert (one.subject_type, one.subject_key) == (
        "tenancy.organization",
        str(acme.pk),
    )
    assert (two.subject_key, one.details) == ("", {"number": 1})
    assert str(one) == "organization.checked"


# Migrations


def create_entry() -> CreateModel:
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("text", models.CharField(max_length=9)),
    ]
    return CreateModel("Entry", fields)


@pytest.fixture
def state(transactional_db: None) -> Iterator[ProjectState]:
    """The state of the migrations; the entry's table is dropped afterwards."""
    yield load_state()
    drop_tables()


def drop_tables() -> None:
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        for name in connection.introspection.table_names():
            if name in TABLES:
                editor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")


def change(state: ProjectState) -> bool:
    """Return whether the database lets a row of the entry be changed."""
    entry = state.apps.get_model(LABEL, "entry")
    entry._base_manager.create(text="old")
    try:
        with transaction.atomic():
            return bool(entry._base_manager.update(text="new"))
    except ImmutableRow:
        return False


def faults_of(state: ProjectState) -> list[Any]:
    entry = state.apps.get_model(LABEL, "entry")
    return list(rule.find_faults(entry, get_enforcement(connection)))


def test_rule_when_added_and_removed_follows(state: ProjectState) -> None:
    """The trigger comes and goes with its operations, forwards and backwards."""
    plain = run(state, LABEL, [create_entry()])
    assert change(plain)
    assert "is missing" in faults_of(plain)[0].message
    ruled = run(plain, LABEL, [AddConstraint("entry", rule)])
    assert not change(ruled)
    assert faults_of(ruled) == []
    assert change(run(ruled, LABEL, [RemoveConstraint("entry", rule.name)]))
    undo(ruled, LABEL, [RemoveConstraint("entry", rule.name)])
    assert not change(ruled)
    undo(plain, LABEL, [AddConstraint("entry", rule)])
    assert change(plain)


def test_rule_when_the_table_is_renamed_stays(state: ProjectState) -> None:
    """A renamed table keeps its rule, and another may take its former name."""
    ruled = run(state, LABEL, [create_entry(), AddConstraint("entry", rule)])
    renamed = run(ruled, LABEL, [AlterModelTable("entry", "Renamed_ENTRY")])

    assert not change(renamed)
    assert faults_of(renamed) == []
    other = [create_entry(), AddConstraint("entry", rule)]
    assert not change(run(state, LABEL, other))
    gone = run(renamed, LABEL, [RemoveConstraint("entry", rule.name)])
    assert change(gone)


def find_system_faults() -> list[Fault]:
    table = SystemEvent._meta.db_table
    return [fault for fault in find_faults(connection) if fault.table == table]


def execute(*statements: str) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_trigger_that_is_missing_or_differs_is_found(transactional_db: None) -> None:
    """A dropped or weakened trigger is a fault, of a global table too.

    What the hint says mends it.
    """
    name, table = "tenancy_systemevent_immutable", "tenancy_systemevent"
    if get_enforcement(connection).hides_rows:
        drop = f"DROP TRIGGER {name} ON {table}"
        weaken = f"ALTER TABLE {table} DISABLE TRIGGER {name}"
    else:
        drop = f"DROP TRIGGER {name}_update"
        (create,) = mend_of(find_missing(drop))
        weaken = create.replace("BEFORE UPDATE", "BEFORE DELETE")

    try:
        assert "is missing" in find_missing(drop).message
        execute(*mend_of(find_system_faults()[0]))
        assert find_system_faults() == []
        if not get_enforcement(connection).hides_rows:
            execute(drop)
        execute(weaken)
        assert "differs" in find_system_faults()[0].message
    finally:
        execute(*(text for fault in find_system_faults() for text in mend_of(fault)))
    assert find_system_faults() == []


def find_missing(drop: str) -> Fault:
    """Drop the trigger where it is, and return the fault that is found."""
    if not find_system_faults():
        execute(drop)
    (fault,) = find_system_faults()
    return fault


def mend_of(fault: Fault) -> list[str]:
    """Return the statements of a hint; a body has semicolons of its own."""
    text = fault.hint.removeprefix("Run: ").removesuffix(";")
    first, separator, last = text.rpartition("; CREATE ")
    return [first, f"CREATE {last}"] if separator else [text]


@pytest.mark.django_db(transaction=True)
def test_flush_empties_the_trails(acme: Organization) -> None:
    """What tests do between them works on rows that are written once."""
    SystemEvent.objects.record("organization.checked", acme)

    call_command("flush", verbosity=0, interactive=False)

    assert not SystemEvent.objects.exists()
