from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.models.functions import Now
from django.test import override_settings

from tenancy.backends.catalog import Index, Table, get_catalog
from tenancy.backends.enforcement import Fault, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.fields import TenantForeignKey
from tenancy.management import schema
from tenancy.models import TenantModel
from tenancy.policies import policy_name
from tests.apps.notebook.models import Category, Folder

# Any, below: models and fields that are made here, which no stub knows.


class Elsewhere:
    """A router that keeps every model out of the database."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        """Say no."""
        return False


def make_model() -> Any:
    """Return a model of each thing that is compared; it is registered."""

    class Specimen(TenantModel):
        code = models.CharField(max_length=20, unique=True)
        text = models.TextField()
        rank = models.IntegerField(db_index=True)
        weight = models.PositiveIntegerField()
        noted_at = models.DateTimeField(db_default=Now())
        ended_at = models.DateTimeField(null=True)
        double = models.GeneratedField(
            expression=models.F("rank") * 2,
            output_field=models.IntegerField(),
            db_persist=True,
        )
        category = TenantForeignKey(
            Category, null=True, on_delete=models.SET_NULL, related_name="+"
        )
        folder = TenantForeignKey(Folder, on_delete=models.CASCADE, related_name="+")

        class Meta:
            app_label = "notebook"
            unique_together = (("rank", "ended_at"),)
            indexes = [
                models.Index(fields=["weight", "rank"], name="specimen_weight_rank"),
                models.Index(
                    fields=["noted_at"],
                    condition=models.Q(ended_at=None),
                    name="specimen_noted_live",
                ),
                models.Index(models.F("rank") + 1, name="specimen_next_rank"),
            ]
            constraints = [
                models.UniqueConstraint(
                    fields=["organization", "weight"], name="specimen_weight_once"
                ),
                models.UniqueConstraint(
                    fields=["organization", "rank"],
                    condition=models.Q(ended_at=None),
                    name="specimen_rank_once",
                ),
                models.CheckConstraint(
                    condition=models.Q(rank__gte=0), name="specimen_rank_positive"
                ),
            ]

        def __str__(self) -> str:
            return self.code

    return Specimen


def edit(model: Any, change: Callable[[Any, Any], None]) -> None:
    """Change a model's table, as migrate would."""
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        change(editor, model)


def create(editor: Any, model: Any) -> None:
    """Make the table."""
    editor.create_model(model)


def drop(editor: Any, model: Any) -> None:
    """Drop the table."""
    editor.delete_model(model)


@pytest.fixture
def specimen(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """A model with a table of its own, which may be damaged: nothing is written."""
    with django_db_blocker.unblock():
        model = make_model()
        try:
            edit(model, create)
            yield model
        finally:
            if model._meta.db_table in connection.introspection.table_names():
                edit(model, drop)
            connection.close()
            del apps.all_models["notebook"]["specimen"]
            apps.clear_cache()


def alter(name: str, field: models.Field[Any, Any]) -> Callable[[Any, Any], None]:
    """Return a change of a column into another field's."""

    def change(editor: Any, model: Any) -> None:
        field.set_attributes_from_name(name)
        field.model = model
        editor.alter_field(model, model._meta.get_field(name), field, strict=False)

    return change


def relate(name: str, target: Any, **options: Any) -> Callable[[Any, Any], None]:
    """Return a change of a relation into a plain one."""
    field = models.ForeignKey(
        target, on_delete=models.CASCADE, related_name="+", **options
    )
    return alter(name, field)


def add(name: str, field: models.Field[Any, Any]) -> Callable[[Any, Any], None]:
    """Return the addition of a column that the model does not have."""

    def change(editor: Any, model: Any) -> None:
        field.set_attributes_from_name(name)
        field.model = model
        editor.add_field(model, field)

    return change


def drop_field(name: str) -> Callable[[Any, Any], None]:
    """Return the removal of a column."""
    return lambda editor, model: editor.remove_field(model, model._meta.get_field(name))


def drop_index(name: str) -> Callable[[Any, Any], None]:
    """Return the removal of an index."""
    return lambda editor, model: editor.remove_index(
        model, next(index for index in model._meta.indexes if index.name == name)
    )


def drop_constraint(start: str) -> Callable[[Any, Any], None]:
    """Return the removal of a constraint, by how its name begins."""

    def change(editor: Any, model: Any) -> None:
        stated = model._meta.constraints
        gone = next(one for one in stated if one.name.startswith(start))
        # As in a migration: SQLite builds the table anew from what the model states.
        model._meta.constraints = [one for one in stated if one is not gone]
        editor.remove_constraint(model, gone)
        model._meta.constraints = stated

    return change


def forget_unique_together(editor: Any, model: Any) -> None:
    """Remove what unique_together has made."""
    editor.alter_unique_together(model, model._meta.unique_together, ())


def open_to_all(editor: Any, model: Any) -> None:
    """Remove what keeps the rows of an organization its own."""
    enforcement = get_enforcement(connection)
    if enforcement.hides_rows:
        drop_constraint(policy_name(model))(editor, model)
    else:
        name, *_others = enforcement.find_triggers(model._meta.db_table)
        editor.execute(f"DROP TRIGGER {enforcement.quote(name)}")


def add_unique(editor: Any, model: Any) -> None:
    """Make an index that refuses what the model allows."""
    stated = model._meta.constraints
    more = models.UniqueConstraint(fields=["noted_at"], name="specimen_surplus")
    model._meta.constraints = [*stated, more]
    editor.add_constraint(model, more)
    model._meta.constraints = stated


DAMAGES = {
    "column": (drop_field("text"), "column", "'text' is missing"),
    "null": (alter("text", models.TextField(null=True)), "column", "'text' allows"),
    "not null": (
        alter("ended_at", models.DateTimeField(default=None)),
        "column",
        "'ended_at' refuses NULL",
    ),
    "length": (
        alter("code", models.CharField(max_length=30, unique=True)),
        "column",
        r"'code' is of the type '.*\(30\)', and not '.*\(20\)'",
    ),
    "type": (
        alter("text", models.CharField(max_length=9)),
        "column",
        "'text' is of the type",
    ),
    "default": (
        alter("noted_at", models.DateTimeField()),
        "column",
        "'noted_at' has no default in the database",
    ),
    "own check": (
        alter("weight", models.IntegerField()),
        "constraint",
        "check of the column 'weight' is missing",
    ),
    "unique": (
        alter("code", models.CharField(max_length=20)),
        "constraint",
        "unique constraint of 'code' is missing",
    ),
    "unique together": (
        forget_unique_together,
        "constraint",
        "unique constraint of 'rank', 'ended_at' is missing",
    ),
    "unique constraint": (
        drop_constraint("specimen_weight_once"),
        "constraint",
        "unique constraint 'specimen_weight_once' is missing",
    ),
    "check": (
        drop_constraint("specimen_rank_positive"),
        "constraint",
        "check constraint 'specimen_rank_positive' is missing",
    ),
    "column's index": (
        alter("rank", models.IntegerField()),
        "index",
        "index of 'rank' is missing",
    ),
    "index": (
        drop_index("specimen_weight_rank"),
        "index",
        "index 'specimen_weight_rank' is missing",
    ),
    "foreign key": (
        relate("category", Category, null=True, db_constraint=False),
        "key",
        "foreign key of 'category_id' to 'notebook_category' is missing",
    ),
    "surplus column": (
        add("surplus", models.IntegerField(default=1)),
        "column",
        "'surplus' is of no field",
    ),
    "surplus unique": (
        add_unique,
        "constraint",
        "unique index 'specimen_surplus' of 'noted_at' is of no constraint",
    ),
}


def run(specimen: Any) -> list[dict[str, str]]:
    """Return the faults that the command finds in the table, from its JSON."""
    output = io.StringIO()

    with pytest.raises(CommandError, match="Mend them") as caught:
        call_command("check_schema", as_json=True, stdout=output)

    assert caught.value.returncode == 1
    faults: list[dict[str, str]] = json.loads(output.getvalue())["faults"]
    assert {fault["table"] for fault in faults} == {specimen._meta.db_table}
    assert all(fault["hint"].endswith((".", ";")) for fault in faults)
    return faults


@pytest.mark.django_db
def test_check_schema_of_a_fresh_database_finds_nothing() -> None:
    """What the migrations have made is as the models of all apps state it."""
    output = io.StringIO()

    call_command("check_schema", stdout=output)

    assert "tables of the database 'default' are as the models" in output.getvalue()


def test_check_schema_of_each_kind_finds_nothing(specimen: Any) -> None:
    """A table with an index and a constraint of each kind is no false alarm."""
    assert schema.find_faults(connection) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_schema_names_the_damage(specimen: Any, damage: str) -> None:
    """Each damage is found by its name, and nothing else is."""
    change, kind, message = DAMAGES[damage]
    edit(specimen, change)

    faults = run(specimen)

    assert any(
        fault["kind"] == kind and re.search(message, fault["found"]) for fault in faults
    ), faults


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (drop_constraint("tenancy_notebook_specimen_folder"), {"key"}),
        (open_to_all, {"policy", "trigger"}),
    ],
    ids=["composite key", "policy"],
)
def test_check_schema_finds_what_check_isolation_does(
    specimen: Any, change: Callable[[Any, Any], None], kinds: set[str]
) -> None:
    """A missing composite key and a missing policy are among the faults."""
    edit(specimen, change)

    faults = run(specimen)

    assert kinds & {fault["kind"] for fault in faults}


def test_check_schema_names_a_missing_table(specimen: Any) -> None:
    """A table that is not there is one fault."""
    edit(specimen, drop)

    (fault,) = run(specimen)

    assert (fault["kind"], fault["found"]) == ("table", "The table is missing.")


def test_check_schema_prints_a_mend_that_mends(specimen: Any) -> None:
    """The statement that is printed for an index makes it again."""
    edit(specimen, drop_index("specimen_weight_rank"))
    output = io.StringIO()

    with pytest.raises(CommandError, match="One fault"):
        call_command("check_schema", stdout=output)

    message, hint = output.getvalue().splitlines()
    assert "The index 'specimen_weight_rank' is missing." in message
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        cursor.execute(hint.strip().removeprefix("Run: ").removesuffix(";"))
    assert schema.find_faults(connection) == []


@override_settings(DATABASE_ROUTERS=[Elsewhere()])
@pytest.mark.django_db
def test_check_schema_asks_the_routers() -> None:
    """Where the routers put no model, no table is missing."""
    assert schema.find_models(connection) == []
    assert schema.find_faults(connection) == []


@pytest.mark.django_db
def test_check_schema_describes_each_table() -> None:
    """With --describe, the tables are printed in words that no vendor has alone."""
    output = io.StringIO()

    call_command("check_schema", is_described=True, stdout=output)

    tables = json.loads(output.getvalue())
    assert tables["notebook_note"]["columns"]["organization_id"] == "uuid"


# What cannot be damaged by the same statements everywhere is read, and changed.


def compare(model: Any, change: Callable[[Table], Table]) -> list[Fault]:
    """Return the faults of a table that is as it is but for a change."""
    name = model._meta.db_table
    table = get_catalog(connection).read_tables([name])[name]
    return list(schema.Comparison(connection, model, change(table)).find_faults())


def with_index(table: Table, name: str, **changes: Any) -> Table:
    """Return a table with one index changed."""
    indexes = [
        replace(index, **changes) if index.name == name else index
        for index in table.indexes
    ]
    return replace(table, indexes=tuple(indexes))


def with_column(table: Table, name: str, **changes: Any) -> Table:
    """Return a table with one column changed."""
    column = replace(table.columns[name], **changes)
    return replace(table, columns={**table.columns, name: column})


CHANGES: dict[str, tuple[Callable[[Table], Table], str]] = {
    "primary key": (
        lambda table: replace(
            table, indexes=tuple(one for one in table.indexes if not one.is_primary)
        ),
        "The primary key is missing, and not 'id'.",
    ),
    "numbering": (
        lambda table: with_column(table, "id", has_default=False),
        "The column 'id' has no default in the database.",
    ),
    "generated": (
        lambda table: with_column(table, "double", is_generated=False),
        "The column 'double' is not a generated one.",
    ),
    "computed": (
        lambda table: with_column(table, "rank", is_generated=True),
        "The column 'rank' is a generated one.",
    ),
    "deletion": (
        lambda table: replace(
            table, keys=tuple(replace(key, on_delete="CASCADE") for key in table.keys)
        ),
        "The foreign key of 'folder_id' does 'CASCADE' on deletion, and not "
        "'NO ACTION'.",
    ),
    "columns of an index": (
        lambda table: with_index(table, "specimen_weight_rank", columns=("rank",)),
        "The index 'specimen_weight_rank' is of 'rank', and not of 'weight', 'rank'.",
    ),
    "columns of a constraint": (
        lambda table: with_index(table, "specimen_weight_once", columns=("code", None)),
        "The unique constraint 'specimen_weight_once' is of 'code', an expression, and "
        "not of 'organization_id', 'weight'.",
    ),
    "uniqueness": (
        lambda table: with_index(table, "specimen_weight_once", is_unique=False),
        "The unique constraint 'specimen_weight_once' is missing.",
    ),
    "condition of a constraint": (
        lambda table: with_index(table, "specimen_weight_once", is_conditional=True),
        "The unique constraint 'specimen_weight_once' has a condition, unlike the one "
        "declared.",
    ),
    "condition of an index": (
        lambda table: with_index(table, "specimen_weight_rank", is_conditional=True),
        "The index 'specimen_weight_rank' has a condition, unlike the one declared.",
    ),
    "surplus expression": (
        lambda table: replace(
            table,
            indexes=(*table.indexes, Index("loud", (None,), True, False, False)),
        ),
        "The unique index 'loud' of an expression is of no constraint, and refuses "
        "rows that the model allows.",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_comparison_names_the_change(specimen: Any, change: str) -> None:
    """A table that differs in one thing has the fault that says so."""
    alter_table, message = CHANGES[change]

    faults = compare(specimen, alter_table)

    assert message in [fault.found for fault in faults]


def test_comparison_of_a_collation_names_both(specimen: Any) -> None:
    """A column of another collation than the field's is a fault."""
    field = specimen._meta.get_field("text")
    field.db_collation = "loud"

    faults = compare(specimen, lambda table: table)

    (fault,) = faults
    assert "'text' has the collation" in fault.found
    assert "and not 'loud'" in fault.found


