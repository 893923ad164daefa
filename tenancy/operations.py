"""Operations of migrations that policies make necessary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps.registry import Apps
from django.db import NotSupportedError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AlterField
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, Field, ForeignKey, Model, Q

from tenancy.backends.enforcement import Enforcement, get_enforcement, is_uuid
from tenancy.context import LookUp, look_up
from tenancy.policies import (
    OrganizationPolicy,
    OwnRowsPolicy,
    Policy,
    SameOrganization,
)


class AlterTenantKey(AlterField):
    """Change the type of a key to which policies or composite keys refer.

    Takes the place of AlterField, where PostgreSQL says "cannot alter type of a column
    used in a policy definition", or MySQL "used in a foreign key constraint": for the
    primary key of the organization, of a tenant model and of the user model. The
    policies and keys of every table concerned are removed, and made again.

    UUIDs and integers are changed into each other only while the tables are empty.

    Args:
        model_name (str): the model.
        name (str): the field.
        field (Field): what it becomes.
        preserve_default (bool): as of AlterField.
    Raises:
        NotSupportedError: there is no way to change the values, and there are rows.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Remove the policies, alter the field, and make the policies again."""
        alias = schema_editor.connection.alias
        old = from_state.apps.get_model(app_label, self.model_name)
        new = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(alias, new):
            return
        altered = self._field_of(old)
        # Not old._meta.apps: a state that was cloned after it was rendered shares its
        # classes with the next one, and they name that one's registry.
        columns = [(old, altered), *_find_relations(from_state.apps, altered)]
        enforcement = get_enforcement(schema_editor.connection)
        is_cast = self._is_cast(old, new)
        models = [model for model, _field in columns]
        if not is_cast and not enforcement.hides_rows:
            self._require_empty(enforcement, models)
        # SQLite's editor builds the tables anew, policies and keys included.
        policies = [] if enforcement.rebuilds_tables else list(_find_policies(columns))
        checks = [] if enforcement.rebuilds_tables else list(_find_checks(columns))
        for model, constraint in policies:
            schema_editor.execute(constraint.remove_sql(model, schema_editor))
        for model, check in checks:
            schema_editor.remove_constraint(model, check)
        if not is_cast and enforcement.hides_rows:
            # Only now: a policy of the former type cannot read settings of the new.
            self._require_empty(enforcement, models)
        if not is_cast and not enforcement.rebuilds_tables:
            enforcement.forget_types(schema_editor, columns)
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        for model, constraint in reversed(policies):
            altered_model = to_state.apps.get_model(model._meta.label)
            constraint.create_sql(altered_model, schema_editor)
        for model, check in checks:
            altered_model = to_state.apps.get_model(model._meta.label)
            schema_editor.add_constraint(altered_model, check)

    def describe(self) -> str:
        """Return what "migrate" says."""
        return f"Alter key {self.name} on {self.model_name}, and its policies"

    def reduce(self, operation: Any, app_label: str) -> Any:
        """Stay what it is when a later AlterField of the same field is merged in."""
        if (
            isinstance(operation, AlterField)
            and not isinstance(operation, AlterTenantKey)
            and self.is_same_field_operation(operation)
        ):
            return [
                AlterTenantKey(
                    self.model_name,
                    self.name,
                    operation.field,
                    preserve_default=operation.preserve_default,
                )
            ]
        return super().reduce(operation, app_label)

    def _is_cast(self, old: type[Model], new: type[Model]) -> bool:
        return is_uuid(self._field_of(old)) is is_uuid(self._field_of(new))

    def _field_of(self, model: type[Model]) -> Field[Any, Any]:
        field = model._meta.get_field(self.name)
        assert isinstance(field, Field)
        return field

    def _require_empty(
        self, enforcement: Enforcement, models: list[type[Model]]
    ) -> None:
        for model in models:
            table = enforcement.quote(model._meta.db_table)
            with look_up(LookUp.MIGRATION):
                is_empty = not enforcement.fetch(f"SELECT 1 FROM {table} LIMIT 1")
            if not is_empty:
                raise NotSupportedError(
                    f"AlterTenantKey of '{self.model_name}.{self.name}' turns UUIDs "
                    "into integers or integers into UUIDs, and the table "
                    f"'{model._meta.db_table}' has rows. Empty it first, or add a "
                    "field, fill it, and remove the old one."
                )


def _find_relations(
    registry: Apps, field: Field[Any, Any]
) -> Iterator[tuple[type[Model], Field[Any, Any]]]:
    """Yield the models and fields whose columns take their type from a field."""
    for source in registry.get_models(include_auto_created=True):
        for relation in source._meta.local_fields:
            if (
                not isinstance(relation, ForeignKey)
                or relation.target_field is not field
            ):
                continue
            yield source, relation
            # A primary key may be a relation itself.
            if relation.unique:
                yield from _find_relations(registry, relation)


def _find_policies(
    columns: list[tuple[type[Model], Field[Any, Any]]],
) -> Iterator[tuple[type[Model], Policy]]:
    """Yield what refers to columns, in the order in which it can be removed."""
    altered: dict[type[Model], set[str]] = {}
    for model, field in columns:
        altered.setdefault(model, set()).add(field.name)
    for kind in (SameOrganization, OwnRowsPolicy, OrganizationPolicy):
        for model, names in altered.items():
            for constraint in model._meta.constraints:
                if isinstance(constraint, kind) and constraint.uses(model, names):
                    yield model, constraint


def _find_checks(
    columns: list[tuple[type[Model], Field[Any, Any]]],
) -> Iterator[tuple[type[Model], CheckConstraint]]:
    """Yield the checks that compare columns, two of which are altered in turn."""
    altered: dict[type[Model], set[str]] = {}
    for model, field in columns:
        altered.setdefault(model, set()).add(field.name)
    for model, names in altered.items():
        for constraint in model._meta.constraints:
            if (
                isinstance(constraint, CheckConstraint)
                and isinstance(constraint.condition, Q)
                and len(names & constraint.condition.referenced_base_fields) > 1
            ):
                yield model, constraint
