"""What "makemigrations" writes for a tenant model that is deleted."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.management.base import CommandError
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations import AlterField, RemoveConstraint
from django.db.migrations.operations.base import Operation
from django.db.models import ManyToManyField

from tenancy.backends.enforcement import describe_altered_links
from tenancy.conf import organization_model
from tenancy.fields import TenantManyToManyField
from tenancy.operations import AlterTenantKey
from tenancy.policies import Policy


class TenancyAutodetector(MigrationAutodetector):
    """Django's, with what it does not know of policies.

    Before 6.1 it forgets the constraints of a deleted model: it removes the relations
    first, and MySQL refuses to drop a column of which a composite foreign key
    consists. And where a key that policies compare gets another type, as with another
    DEFAULT_AUTO_FIELD, the policies have to go and come back.
    """

    # Django's own attributes, which its stubs leave out.
    new_model_keys: set[tuple[str, str]]
    new_unmanaged_keys: set[tuple[str, str]]
    old_model_keys: set[tuple[str, str]]
    old_unmanaged_keys: set[tuple[str, str]]
    renamed_models: dict[tuple[str, str], str]
    renamed_fields: dict[tuple[str, str, str], str]
    generated_operations: dict[str, list[Operation]]

    def generate_deleted_models(self) -> None:
        """Remove the policies and keys of deleted models before their relations."""
        if django.VERSION < (6, 1):
            kept = self.new_model_keys | self.new_unmanaged_keys
            for app_label, name in sorted(
                (self.old_model_keys | self.old_unmanaged_keys) - kept
            ):
                self._remove_policies(app_label, name)
        super().generate_deleted_models()

    def generate_altered_fields(self) -> None:
        """Change the type of a key that policies compare by AlterTenantKey.

        Raises:
            CommandError: a plain many-to-many relation becomes a tenant model's, or
                the reverse, which no operation can do.
        """
        super().generate_altered_fields()
        for app_label, operations in self.generated_operations.items():
            for index, operation in enumerate(operations):
                if isinstance(operation, AlterField):
                    self._require_same_links(app_label, operation)
                if type(operation) is AlterField and self._is_key(app_label, operation):
                    altered = AlterTenantKey(
                        operation.model_name,
                        operation.name,
                        operation.field,
                        preserve_default=operation.preserve_default,
                    )
                    altered._auto_deps = operation._auto_deps  # type: ignore[attr-defined]  # the autodetector's own
                    operations[index] = altered

    def _require_same_links(self, app_label: str, operation: AlterField) -> None:
        field = operation.field
        if not isinstance(field, ManyToManyField):
            return
        name = operation.model_name_lower
        model = self.renamed_models.get((app_label, name), name)
        renamed = self.renamed_fields.get((app_label, name, operation.name))
        former = self.from_state.models[app_label, model.lower()].get_field(
            renamed or operation.name
        )
        # A model of the project's own between the two states its organization itself.
        if field.remote_field.through is None and (
            isinstance(former, TenantManyToManyField)
            is not isinstance(field, TenantManyToManyField)
        ):
            label = self.to_state.models[app_label, name].name
            raise CommandError(
                describe_altered_links(f"{app_label}.{label}.{operation.name}")
            )

    def _is_key(self, app_label: str, operation: AlterField) -> bool:
        """Return whether a primary key that policies compare gets another type."""
        if not operation.field.primary_key:
            return False
        model = self.to_state.models[app_label, operation.model_name_lower]
        label = f"{app_label}.{model.name}".lower()
        compared = {settings.AUTH_USER_MODEL.lower(), organization_model().lower()}
        return label in compared or any(
            isinstance(constraint, Policy)
            for constraint in model.options.get("constraints", [])
        )

    def _remove_policies(self, app_label: str, model_name: str) -> None:
        options = self.from_state.models[app_label, model_name].options
        for constraint in options.get("constraints", []):
            if isinstance(constraint, Policy):
                self.add_operation(
                    app_label,
                    RemoveConstraint(model_name=model_name, name=constraint.name),
                )
