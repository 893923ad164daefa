from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations import (
    AddConstraint,
    AlterModelTable,
    CreateModel,
    RemoveConstraint,
)
from django.db.migrations.state import ProjectState

import tenancy
from tenancy import testing
from tenancy.backends.enforcement import Fault, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.exceptions import ImmutableRow
from tenancy.models import (
    AuditEvent,
    Organization,
    Ownership,
    Purchase,
    SystemEvent,
)
from tenancy.policies import Immutable, Kept, find_faults
from tenancy.transactions import deleting
from tests.evolution import load_state, run, undo

LABEL = "tests_immutable"
TABLES = (f"{LABEL}_entry", "Renamed_ENTRY", "other_entry")

Rule = Immutable | Kept
EVENTS: dict[str, tuple[Rule, Callable[[Any], int]]] = {
    "update": (
        Immutable(name="tenancy_tests_immutable"),
        lambda rows: rows.update(text="new"),
    ),
    "delete": (
        Kept(name="tenancy_tests_kept"),
        lambda rows: rows.all()._raw_delete(rows.db),
    ),
}
of_each = pytest.mark.parametrize(("rule", "event"), EVENTS.values(), ids=EVENTS)


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


KEPT: list[Any] = [AuditEvent, Ownership, Purchase, SystemEvent]


@pytest.fixture
def kept(acme: Organization) -> Organization:
    """Acme, with a row of each model whose rows are kept."""
    with tenancy.scope(acme):
        testing.PurchaseFactory()
    SystemEvent.objects.record("organization.checked", acme)
    return acme


@pytest.mark.django_db
@pytest.mark.parametrize("model", KEPT)
def test_kept_row_when_deleted_by_hand_is_refused(
    kept: Organization, model: Any
) -> None:
    """Neither raw SQL nor a queryset deletes it, unscoped and in its scope."""
    statement = f"DELETE FROM {model._meta.db_table}"
    rows = model._base_manager.all()
    acts: list[Callable[[], Any]] = [
        lambda: connection.cursor().execute(statement),
        lambda: rows._raw_delete("default"),
    ]
    for act in acts:
        with (
            tenancy.unscoped("raw"),
            pytest.raises(ImmutableRow, match="is kept"),
            transaction.atomic(),
        ):
            act()
    with (
        tenancy.scope(kept),
        pytest.raises(ImmutableRow, match="is kept"),
        transaction.atomic(),
    ):
        rows._raw_delete("default")

    with tenancy.unscoped("counting"):
        assert model._base_manager.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["instance", "queryset"])
def test_kept_rows_when_their_organization_is_deleted_go(
    kept: Organization, by: str
) -> None:
    """The rows of an organization go with it, and the database keeps others' again."""
    with tenancy.unscoped("leaving"):
        if by == "instance":
            kept.delete()
        else:
            Organization.objects.filter(pk=kept.pk).delete()

        assert not AuditEvent.objects.exists()
        assert not Ownership.objects.exists()
        assert not Purchase.objects.exists()
        with pytest.raises(ImmutableRow), transaction.atomic():
            SystemEvent.objects.all()._raw_delete("default")


@pytest.mark.django_db
def test_kept_row_when_its_deletion_fails_is_kept_again(kept: Organization) -> None:
    """An error in what may delete them leaves nothing open behind it."""
    for error in (RuntimeError, IntegrityError):
        with pytest.raises(error), transaction.atomic(), deleting("default"):
            if error is RuntimeError:
                raise error
            with tenancy.unscoped("breaking a key"), connection.cursor() as cursor:
                cursor.execute("INSERT INTO tenancy_lock SELECT * FROM tenancy_lock")

        with (
            tenancy.unscoped("raw"),
            pytest.raises(ImmutableRow),
            transaction.atomic(),
        ):
            Purchase.objects.all()._raw_delete("default")


@pytest.mark.django_db
def test_kept_row_when_a_savepoint_of_a_deletion_is_restored_is_kept(
    kept: Organization,
) -> None:
    """A savepoint brings rows back, not the leave to delete them."""
    with transaction.atomic(), connection.cursor() as cursor:
        with deleting("default"):
            cursor.execute("SAVEPOINT while_deleting")
        cursor.execute("ROLLBACK TO SAVEPOINT while_deleting")
        for scope in (tenancy.unscoped("raw"), tenancy.scope(kept)):
            with scope, pytest.raises(ImmutableRow), transaction.atomic():
                Purchase.objects.all()._raw_delete("default")


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


Event = Callable[[Any], int]


def passes(state: ProjectState, event: Event) -> bool:
    """Return whether the database lets an event happen to a row of the entry."""
    entry = state.apps.get_model(LABEL, "entry")
    entry._base_manager.create(text="old")
    try:
        with transaction.atomic():
            return bool(event(entry._base_manager))
    except ImmutableRow:
        return False


def faults_of(state: ProjectState, rule: Rule) -> list[Any]:
    entry = state.apps.get_model(LABEL, "entry")
    return list(rule.find_faults(entry, get_enforcement(connection)))


@of_each
def test_rule_when_added_and_removed_follows(
    state: ProjectState, rule: Rule, event: Event
) -> None:
    """The trigger comes and goes with its operations, forwards and backwards."""
    plain = run(state, LABEL, [create_entry()])
    assert passes(plain, event)
    assert "is missing" in faults_of(plain, rule)[0].message
    ruled = run(plain, LABEL, [AddConstraint("entry", rule)])
    assert not passes(ruled, event)
    assert faults_of(ruled, rule) == []
    assert passes(run(ruled, LABEL, [RemoveConstraint("entry", rule.name)]), event)
    undo(ruled, LABEL, [RemoveConstraint("entry", rule.name)])
    assert not passes(ruled, event)
    undo(plain, LABEL, [AddConstraint("entry", rule)])
    assert passes(plain, event)


@of_each
def test_rule_when_the_table_is_renamed_stays(
    state: ProjectState, rule: Rule, event: Event
) -> None:
    """A renamed table keeps its rule, and another may take its former name."""
    ruled = run(state, LABEL, [create_entry(), AddConstraint("entry", rule)])
    renamed = run(ruled, LABEL, [AlterModelTable("entry", "Renamed_ENTRY")])

    assert not passes(renamed, event)
    assert faults_of(renamed, rule) == []
    other = [create_entry(), AddConstraint("entry", rule)]
    assert not passes(run(state, LABEL, other), event)
    gone = run(renamed, LABEL, [RemoveConstraint("entry", rule.name)])
    assert passes(gone, event)


def test_rules_when_there_are_both_go_one_by_one(state: ProjectState) -> None:
    """Removing one of a table's rules leaves the other."""
    (once, update), (kept, delete) = EVENTS.values()
    both = run(
        state,
        LABEL,
        [create_entry(), AddConstraint("entry", once), AddConstraint("entry", kept)],
    )
    assert not passes(both, update)
    assert not passes(both, delete)

    left = run(both, LABEL, [RemoveConstraint("entry", once.name)])

    assert passes(left, update)
    assert not passes(left, delete)
    with transaction.atomic(), deleting("default"):
        assert passes(left, delete)
    assert not passes(left, delete)


def find_system_faults() -> list[Fault]:
    table = SystemEvent._meta.db_table
    return [fault for fault in find_faults(connection) if fault.table == table]


def execute(*statements: str) -> None:
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.parametrize(
    ("rule", "event", "other"),
    [("immutable", "UPDATE", "DELETE"), ("kept", "DELETE", "UPDATE")],
)
def test_trigger_that_is_missing_or_differs_is_found(
    transactional_db: None, rule: str, event: str, other: str
) -> None:
    """A dropped or weakened trigger is a fault, of a global table too.

    What the hint says mends it.
    """
    name, table = f"tenancy_systemevent_{rule}", "tenancy_systemevent"
    if get_enforcement(connection).hides_rows:
        drop = f"DROP TRIGGER {name} ON {table}"
        weaken = f"ALTER TABLE {table} DISABLE TRIGGER {name}"
    else:
        drop = f"DROP TRIGGER {name}_{event.lower()}"
        (create,) = mend_of(find_missing(drop))
        weaken = create.replace(f"BEFORE {event}", f"BEFORE {other}")

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
