from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone

from tenancy.backends.catalog import Index, Table, get_catalog
from tenancy.backends.enforcement import Fault
from tenancy.context import LookUp, look_up
from tenancy.fields import TenantForeignKey
from tenancy.indexes import PartialIndex
from tenancy.management import schema
from tenancy.management.description import describe
from tenancy.management.drawing import draw
from tenancy.models import TenantModel
from tenancy.policies import policy_name, same_organization_name
from tests.apps.notebook.models import Category, Folder

pytestmark = pytest.mark.django_db(transaction=True)

# One that each server has, and that is not the default's.
COLLATION = {"mysql": "utf8mb4_bin", "postgresql": "C", "sqlite": "nocase"}[
    connection.vendor
]

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
        address = models.GenericIPAddressField(null=True)
        label = models.CharField(max_length=20, db_collation=COLLATION)
        title = models.TextField()
        subject = models.TextField()
        level = models.IntegerField(db_index=True)
        token = models.CharField(max_length=20, unique=True)
        rank = models.IntegerField(db_index=True)
        weight = models.PositiveIntegerField()
        height = models.PositiveIntegerField()
        noted_at = models.DateTimeField(db_default=Now())
        ended_at = models.DateTimeField(null=True)
        # Of no parameter, with which Django stumbles over what MySQL cannot keep.
        both = models.GeneratedField(
            expression=models.F("rank") + models.F("weight"),
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
                PartialIndex(
                    fields=["rank", "ended_at"],
                    name="specimen_rank_live",
                    where=models.Q(ended_at=None),
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


def migrate(*operations: Operation) -> None:
    """Run operations that the models do not follow, in one migration."""
    state = ProjectState.from_apps(apps)
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        for operation in operations:
            former = state.clone()
            operation.state_forwards("notebook", state)
            operation.database_forwards("notebook", editor, former, state)


def create(model: Any) -> None:
    """Make a model's table."""
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        editor.create_model(model)


def drop(model: Any) -> None:
    """Drop a model's table."""
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        editor.delete_model(model)


@pytest.fixture
def specimen(transactional_db: None) -> Iterator[Any]:
    """A model with a table of its own, which may be damaged."""
    model = make_model()
    try:
        create(model)
        yield model
    finally:
        if model._meta.db_table in connection.introspection.table_names():
            drop(model)
        del apps.all_models["notebook"]["specimen"]
        apps.clear_cache()


def alter(name: str, field: models.Field[Any, Any]) -> Operation:
    """Return the change of a field."""
    return migrations.AlterField("specimen", name, field)


# A migration, and how each fault begins that it leaves.
DAMAGES: list[tuple[Operation, str]] = [
    (
        migrations.RemoveField("specimen", "text"),
        "column: The column 'text' is missing.",
    ),
    (
        alter("title", models.TextField(null=True)),
        "column: The column 'title' allows NULL.",
    ),
    (
        alter("ended_at", models.DateTimeField(default=timezone.now)),
        "column: The column 'ended_at' refuses NULL.",
    ),
    (
        alter("code", models.CharField(max_length=30, unique=True)),
        "column: The column 'code' is of the type ",
    ),
    (
        alter("subject", models.CharField(max_length=9)),
        "column: The column 'subject' is of the type ",
    ),
    (
        alter("noted_at", models.DateTimeField()),
        "column: The column 'noted_at' has no default in the database.",
    ),
    (
        migrations.RemoveField("specimen", "both"),
        "column: The column 'both' is missing.",
    ),
    (
        alter("height", models.IntegerField()),
        "constraint: The check of the column 'height' is missing.",
    ),
    (
        alter("token", models.CharField(max_length=20)),
        "constraint: The unique constraint of 'token' is missing.",
    ),
    (
        migrations.AlterUniqueTogether("specimen", set()),
        "constraint: The unique constraint of 'rank', 'ended_at' is missing.",
    ),
    (
        migrations.RemoveConstraint("specimen", "specimen_weight_once"),
        "constraint: The unique constraint 'specimen_weight_once' is missing.",
    ),
    (
        migrations.RemoveConstraint("specimen", "specimen_rank_positive"),
        "constraint: The check constraint 'specimen_rank_positive' is missing.",
    ),
    (
        alter("level", models.IntegerField()),
        "index: The index of 'level' is missing.",
    ),
    (
        migrations.RemoveIndex("specimen", "specimen_weight_rank"),
        "index: The index 'specimen_weight_rank' is missing.",
    ),
    (
        alter(
            "category",
            models.ForeignKey(
                "notebook.Category",
                null=True,
                on_delete=models.SET_NULL,
                related_name="+",
                db_constraint=False,
            ),
        ),
        "key: The foreign key of 'category_id' to 'notebook_category' is missing.",
    ),
    (
        migrations.AddField("specimen", "surplus", models.IntegerField(default=1)),
        "column: The column 'surplus' is of no field, and has neither NULL nor",
    ),
    (
        migrations.AddConstraint(
            "specimen",
            models.UniqueConstraint(fields=["weight"], name="specimen_surplus"),
        ),
        "constraint: The unique index 'specimen_surplus' of 'weight' is of no",
    ),
]


def run(specimen: Any) -> list[str]:
    """Return the faults that the command finds in the table, from its JSON."""
    output = io.StringIO()

    with pytest.raises(CommandError, match="Mend (it|them)") as caught:
        call_command("check_schema", as_json=True, stdout=output)

    assert caught.value.returncode == 1
    faults = json.loads(output.getvalue())["faults"]
    # Those of no table are about the server, which other tests may be changing.
    assert {fault["table"] for fault in faults} - {""} == {specimen._meta.db_table}
    assert all(fault["hint"].endswith((".", ";")) for fault in faults)
    return [f"{one['kind']}: {one['found']}" for one in faults if one["table"]]


def test_check_schema_of_a_fresh_database_finds_nothing() -> None:
    """What the migrations have made is as the models of all apps state it."""
    output = io.StringIO()

    call_command("check_schema", stdout=output)

    assert "tables of the database 'default' are as the models" in output.getvalue()


def test_check_schema_prints_a_mend_that_mends(specimen: Any) -> None:
    """A table of each kind of thing is no false alarm, and a mend brings it back."""
    assert schema.find_faults(connection) == []
    migrate(migrations.RemoveIndex("specimen", "specimen_weight_rank"))
    output = io.StringIO()

    with pytest.raises(CommandError, match="One fault"):
        call_command("check_schema", stdout=output)

    message, hint = output.getvalue().splitlines()
    assert "The index 'specimen_weight_rank' is missing." in message
    with look_up(LookUp.MIGRATION), connection.cursor() as cursor:
        cursor.execute(hint.strip().removeprefix("Run: ").removesuffix(";"))
    assert schema.find_faults(connection) == []


def test_check_schema_names_each_damage(specimen: Any) -> None:
    """Each damage is found by its name, and nothing else is."""
    migrate(*(operation for operation, _fault in DAMAGES))

    faults = run(specimen)

    starts = [start for _operation, start in DAMAGES]
    # Where the type itself says that a number is not negative.
    allowed = (*starts, "column: The column 'height' is of the type ")
    assert [one for one in starts if count(faults, one) != 1] == []
    assert [one for one in faults if not one.startswith(allowed)] == []


def test_specimen_is_described_and_drawn(specimen: Any) -> None:
    """What only some tables have is described alike everywhere, and drawn."""
    table = describe(connection)[specimen._meta.db_table]
    picture = draw([apps.get_app_config("notebook")])

    assert table["columns"]["address"] == "address null"
    assert table["columns"]["both"] == "integer generated"
    assert table["columns"]["weight"] == "integer checked"
    assert table["checks"] == ["specimen_rank_positive"]
    assert 'integer both "generated"' in picture


def test_check_schema_finds_what_check_isolation_does(specimen: Any) -> None:
    """A missing composite key and a missing policy are among the faults."""
    folder = same_organization_name(specimen, "folder")
    migrate(
        migrations.RemoveConstraint("specimen", folder),
        migrations.RemoveConstraint("specimen", policy_name(specimen)),
    )

    faults = run(specimen)

    assert any(fault.startswith("key: ") and folder in fault for fault in faults)
    assert any(fault.startswith(("policy: ", "trigger: ")) for fault in faults)


def test_check_schema_names_a_missing_table(specimen: Any) -> None:
    """A table that is not there is one fault."""
    migrate(migrations.DeleteModel("specimen"))

    assert run(specimen) == ["table: The table is missing."]


@override_settings(DATABASE_ROUTERS=[Elsewhere()])
def test_check_schema_asks_the_routers() -> None:
    """Where the routers put no model, no table is missing."""
    assert schema.find_models(connection) == []
    assert schema.find_faults(connection) == []


def test_check_schema_describes_each_table() -> None:
    """With --describe, the tables are printed in words that no vendor has alone."""
    output = io.StringIO()

    call_command("check_schema", is_described=True, stdout=output)

    tables = json.loads(output.getvalue())
    assert tables["notebook_note"]["columns"]["organization_id"] == "uuid"


def count(texts: list[str], start: str) -> int:
    """Return how many texts begin so."""
    return sum(text.startswith(start) for text in texts)


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
        lambda table: with_column(table, "both", is_generated=False),
        "The column 'both' is not a generated one.",
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
    "condition of a partial index": (
        lambda table: with_index(
            table,
            "specimen_rank_live",
            is_conditional=not connection.features.supports_partial_indexes,
        ),
        "The index 'specimen_rank_live' has "
        + ("no" if connection.features.supports_partial_indexes else "a")
        + " condition, unlike the one declared.",
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


def test_comparison_names_each_change(specimen: Any) -> None:
    """A table that differs in one thing has the fault that says so."""
    found = {
        name: [fault.found for fault in compare(specimen, change)]
        for name, (change, _message) in CHANGES.items()
    }

    missing = {
        name: found[name]
        for name, (_change, message) in CHANGES.items()
        if message not in found[name]
    }
    assert missing == {}


def test_comparison_of_a_collation_names_both(specimen: Any) -> None:
    """A column of another collation than the field's is a fault."""
    specimen._meta.get_field("text").db_collation = "loud"

    (fault,) = compare(specimen, lambda table: table)

    assert "'text' has the collation" in fault.found
    assert "and not 'loud'" in fault.found
