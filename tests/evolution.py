"""What the tests of migrations share: states, operations, and what is at fault."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model
from django.test.utils import isolate_apps

from tenancy.backends.enforcement import Fault, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.management.autodetector import TenancyAutodetector
from tenancy.policies import Policy


def load_state() -> ProjectState:
    """Return the state of the migrations that the database has."""
    loader = MigrationLoader(connection)
    applied = [key for key in loader.applied_migrations if key in loader.graph.nodes]
    return loader.project_state(applied)


@contextmanager
def open_editor() -> Iterator[BaseDatabaseSchemaEditor]:
    """Open a schema editor that leaves no transaction behind when it fails.

    SQLite's looks at the foreign keys before it ends its transaction.
    """
    editor = connection.schema_editor()
    try:
        with editor:
            yield editor
    except Exception:
        if connection.in_atomic_block:
            editor.atomic.__exit__(*sys.exc_info())
            connection.enable_constraint_checking()
        raise


def run(
    state: ProjectState, app_label: str, operations: Iterable[Operation]
) -> ProjectState:
    """Run operations as one migration; return the state after it."""
    with look_up(LookUp.MIGRATION), open_editor() as editor:
        for operation in operations:
            before, state = state, state.clone()
            operation.state_forwards(app_label, state)
            operation.database_forwards(app_label, editor, before, state)
    return state


def undo(
    state: ProjectState, app_label: str, operations: Iterable[Operation]
) -> ProjectState:
    """Undo operations, of which the first leads on from the state; return it."""
    steps = []
    after = state
    for operation in operations:
        before, after = after, after.clone()
        operation.state_forwards(app_label, after)
        steps.append((operation, before, after))
    with look_up(LookUp.MIGRATION), open_editor() as editor:
        for operation, before, later in reversed(steps):
            operation.database_backwards(app_label, editor, later, before)
    return state


def find_state_faults(state: ProjectState, *app_labels: str) -> list[Fault]:
    """Return how the database differs from a state, in some apps or in all."""
    enforcement = get_enforcement(connection)
    faults: list[Fault] = []
    for model in state.apps.get_models(include_auto_created=True):
        if app_labels and model._meta.app_label not in app_labels:
            continue
        for policy in policies_of(model):
            faults.extend(policy.find_faults(model, enforcement))
    return faults


def policies_of(model: type[Model]) -> list[Policy]:
    """Return the policies and composite keys of a model."""
    return [one for one in model._meta.constraints if isinstance(one, Policy)]


class Questioner(MigrationQuestioner):
    """Whoever runs makemigrations: says yes, and names a default."""

    def __init__(self, default: Any) -> None:  # Any: a value of whatever field.
        super().__init__()
        self.default = default

    def ask_initial(self, app_label: str) -> bool:
        """Say that an app gets its first migration."""
        return True

    def ask_rename(self, *args: Any) -> bool:
        """Say that a field was renamed."""
        return True

    def ask_rename_model(self, *args: Any) -> bool:
        """Say that a model was renamed."""
        return True

    def ask_not_null_addition(self, *args: Any) -> Any:
        """Return the one-off default of a new field."""
        return self.default


class History:
    """An app whose models change: makemigrations writes, the executor runs.

    Args:
        app_label (str): that of no installed app.
        default (Any): the one-off default of a new field.
    """

    def __init__(self, app_label: str, default: Any = None) -> None:
        self.app_label = app_label
        self.questioner = Questioner(default)
        self.state = self.empty = load_state()
        self.undone: list[tuple[ProjectState, Migration]] = []
        self.executor = MigrationExecutor(connection)

    def evolve(self, declare: Callable[[], None] | None = None) -> list[Operation]:
        """Make the app's models those that a function declares; return the operations.

        None leaves the app no model.
        """
        operations: list[Operation] = []
        for migration in self.write(declare):
            migration.name = f"{len(self.undone):04}"
            before = self.state
            # The executor's own states are rendered from the beginning.
            before.apps  # noqa: B018  # a cached property
            with look_up(LookUp.MIGRATION):
                self.state = self.executor.apply_migration(before.clone(), migration)
            self.undone.append((before, migration))
            operations.extend(migration.operations)
        return operations

    def write(self, declare: Callable[[], None] | None = None) -> list[Migration]:
        """Return what makemigrations writes for the models that a function declares."""
        wanted = self.empty.clone()
        for model in self.declare(declare) if declare else ():
            wanted.add_model(ModelState.from_model(model))
        # It takes out of the state what it removes.
        former = self.state.clone()
        autodetector = TenancyAutodetector(former, wanted, self.questioner)
        changes = autodetector.changes(
            self.executor.loader.graph, trim_to_apps={self.app_label}
        )
        written: list[Migration] = changes.get(self.app_label, [])
        return written

    def declare(self, declare: Callable[[], None]) -> list[type[Model]]:
        """Return the models that a function declares."""
        with isolate_apps() as registry:
            declare()
        assert registry is not None
        models = registry.all_models[self.app_label].values()
        return [model for model in models if not model._meta.auto_created]

    def undo(self) -> None:
        """Undo the last migration."""
        before, migration = self.undone.pop()
        with look_up(LookUp.MIGRATION):
            self.executor.unapply_migration(before.clone(), migration)
        self.state = before

    def undo_all(self) -> None:
        """Undo what is left, so that the database is as it was."""
        while self.undone:
            self.undo()

    def model(self, name: str) -> Any:
        """Return a model as it is now; Any: its fields are known at run time only."""
        return self.state.apps.get_model(self.app_label, name)

    def find_faults(self) -> list[Fault]:
        """Return how the database differs from the app's models."""
        return find_state_faults(self.state, self.app_label)
