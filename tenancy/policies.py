"""The rules that the database keeps, declared as constraints.

The fields add them to ``Meta.constraints``; migrations create and remove them as any
constraint. What is sent to a database is made in ``backends/<vendor>/enforcement.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    FieldDoesNotExist,
    ValidationError,
)
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import TableColumns
from django.db.models import Field, ForeignKey, Model
from django.db.models.constraints import BaseConstraint
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.signals import class_prepared, pre_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.backends.enforcement import (
    NOTHING,
    Enforcement,
    Fault,
    OwnRows,
    Relation,
    Rows,
    column_of,
    digest,
    get_enforcement,
)
from tenancy.context import LookUp, current_scope, look_up
from tenancy.predicates import protected_tables, tenant_field

VERSION = 1
"""The version of the SQL that a new policy gets."""

_NAME_BYTES = 54  # A trigger's name adds "_insert" and, at a clash, "_2": 63 in all.
_ORGANIZATION = "organization"


def policy_name(model: type[Model]) -> str:
    """Return the name of a model's OrganizationPolicy.

    It follows from the model's label, and from the organization's column where that is
    set: MySQL's triggers do not follow a column that is renamed, so that they are
    removed and added again.
    """
    columns = [
        field.db_column
        for field in model._meta.local_fields
        if field.name == _ORGANIZATION and field.db_column
    ]
    return _name(model._meta.app_label, model._meta.object_name or "", *columns)


def same_organization_name(model: type[Model], field: Field[Any, Any] | str) -> str:
    """Return the name of the SameOrganization constraint of a model's relation."""
    name = field if isinstance(field, str) else field.name
    return _name(model._meta.app_label, model._meta.object_name or "", name)


def own_rows_name(model: type[Model]) -> str:
    """Return the name of the OwnRowsPolicy of the membership model."""
    return _name(model._meta.app_label, model._meta.object_name or "", "own")


def _name(*words: str) -> str:
    # The digest keeps "a_b" + "c" apart from "a" + "b_c".
    text = "_".join(words).lower()
    suffix = f"_{digest('.'.join(words).lower(), 6)}"
    room = _NAME_BYTES - len("tenancy_") - len(suffix)
    readable = text.encode()[:room].decode(errors="ignore")
    return f"tenancy_{readable}{suffix}"


class Policy(BaseConstraint):
    """What the kinds share: a name, and a pinned version of the SQL."""

    arguments: tuple[str, ...] = ()
    # Which of the arguments are names of fields.
    names: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        name: str,
        version: int = VERSION,
        violation_error_code: str | None = None,
        violation_error_message: Any = None,
    ) -> None:
        super().__init__(
            name=name,
            violation_error_code=violation_error_code,
            violation_error_message=violation_error_message,
        )
        self.version = version

    def __repr__(self) -> str:
        _path, _args, kwargs = self.deconstruct()
        words = " ".join(f"{key}={value!r}" for key, value in kwargs.items())
        return f"<{type(self).__name__}: {words}>"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.deconstruct() == other.deconstruct())

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def deconstruct(self) -> Any:  # As BaseConstraint's, which is untyped.
        """Return what a migration writes; the version is always pinned."""
        path, args, kwargs = super().deconstruct()
        if self.violation_error_code == type(self).violation_error_code:
            kwargs.pop("violation_error_code", None)
        for argument in self.arguments:
            kwargs[argument] = getattr(self, argument)
        kwargs["version"] = self.version
        return path, args, kwargs

    def constraint_sql(
        self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> Any:
        """Defer the statements; return what stands in CREATE TABLE, or None."""
        if model is None or schema_editor is None or not self.has_fields(model):
            return None
        return self._create(model, schema_editor)

    def create_sql(
        self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> Any:
        """Defer the statements; return one that does nothing.

        Never None: where a column has a parametrised default, Django executes what
        is returned unseen.
        """
        self.constraint_sql(model, schema_editor)
        return NOTHING

    def remove_sql(
        self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> Any:
        """Withdraw what is deferred, and return the last statement that removes."""
        if model is None or schema_editor is None or not self.has_fields(model):
            return NOTHING
        return self._remove(model, schema_editor)

    def has_fields(self, model: type[Model]) -> bool:
        """Return whether a model has the fields of which the rule speaks.

        Django before 6.1 removes the relations of a model that is deleted, and leaves
        its constraints.
        """
        names = {field.name for field in model._meta.local_fields} | {"pk"}
        return all(getattr(self, argument) in names for argument in self.names)

    def uses(self, model: type[Model], fields: Collection[str]) -> bool:
        """Return whether the rule speaks of one of a model's fields."""
        organization = _organization_field(model)
        names = {getattr(self, argument) for argument in self.names}
        if organization is not None:
            names.add(organization.name)
        return not names.isdisjoint(fields)

    def check(
        self, model: type[Model], connection: BaseDatabaseWrapper
    ) -> list[checks.CheckMessage]:
        """Return why the database could not keep the rule."""
        return []

    # Django 5.2's name for check().
    _check = check

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how the database differs from what is declared."""
        raise NotImplementedError

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        raise NotImplementedError

    def _remove(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> str:
        raise NotImplementedError


class OrganizationPolicy(Policy):
    """Rows are read and written in the scope of their organization only.

    Args:
        field (str): the name of the field that holds the organization; the primary
            key of the organization model.
        name (str): see policy_name().
        version (int): which SQL, pinned by the migration.
    """

    arguments = names = ("field",)
    violation_error_code = "organization"
    default_violation_error_message = _("Choose one that exists.")

    def __init__(self, *, field: str, **kwargs: Any) -> None:
        self.field = field
        super().__init__(**kwargs)

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Iterable[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Refuse an instance of another organization than the scope's.

        Raises:
            ValidationError: on the field, or on none where the form leaves it out.
        """
        scope = current_scope()
        field = _get_field(model, self.field)
        value = getattr(instance, field.attname)
        # save() fills a missing key, and refuses what has no scope.
        if scope is None or scope.is_unscoped or value is None:
            return
        if scope.organization_id is not None and _as_key(field, value) == (
            scope.organization_id
        ):
            return
        # Only the organization's own rows may be found in a user's own scope.
        if scope.organization_id is None and field.primary_key:
            return
        raise _violation(self, field, exclude)

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how the table's protection differs."""
        own = next(
            (
                constraint.policy_name_for(model)
                for constraint in _own_rows_policies()
                if constraint.policy_name_for(model) is not None
            ),
            None,
        )
        rows = _rows_of(model, self.field)
        return enforcement.find_policy_faults(self.name, rows, self.version, own)

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        enforcement = get_enforcement(editor.connection)
        _released(editor).discard(_label(model))
        rows = _rows_of(model, self.field)
        incoming = list(_incoming(model))
        targets = [rows.target(), *(one.find_target(model, by) for by, one in incoming)]
        columns = {tuple(one.columns): one for one in targets if one is not None}
        clause = enforcement.add_policy(
            editor, self.name, rows, list(columns.values()), self.version
        )
        for source, constraint in incoming:
            # It was left out while the table had no policy. A table that is just being
            # built states its own keys to itself.
            is_own = source._meta.label_lower == _label(model)
            if not (is_own and enforcement.rebuilds_tables):
                constraint.restore(source, editor)
        return clause

    def _remove(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> str:
        for source, constraint in _incoming(model):
            editor.execute(constraint.remove_sql(source, editor))
        enforcement = get_enforcement(editor.connection)
        return enforcement.remove_policy(editor, self.name, _rows_of(model, self.field))


class SameOrganization(Policy):
    """A relation leads to rows of the same organization: a composite foreign key.

    Args:
        field (str): the name of the foreign key.
        to (str): the label of the model to which it leads, "app.model".
        name (str): see same_organization_name().
        version (int): which SQL, pinned by the migration.
        deferred (bool): whether it is looked at when the transaction ends. It always
            is where the target is the model itself.
    """

    arguments: tuple[str, ...] = ("field", "to")
    names: tuple[str, ...] = ("field",)
    violation_error_code = "invalid"
    default_violation_error_message = _("Choose one that exists.")

    def __init__(
        self, *, field: str, to: str, deferred: bool = False, **kwargs: Any
    ) -> None:
        self.field = field
        self.to = to.lower()
        self.deferred = deferred
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:  # As BaseConstraint's, which is untyped.
        """Return what a migration writes; ``deferred`` only where it is set."""
        path, args, kwargs = super().deconstruct()
        if self.deferred:
            kwargs["deferred"] = True
        return path, args, kwargs

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Iterable[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Refuse a key of no row, and a key of another organization's, alike.

        Raises:
            ValidationError: on the relation.
            ScopeRequired: no scope is active.
        """
        if exclude and self.field in exclude:
            return
        field = _get_relation(model, self.field)
        value = getattr(instance, field.attname)
        if value is None:
            return
        target: type[Model] = field.remote_field.model
        wanted = self._find_wanted(model, instance, target)
        wanted[field.target_field.attname] = value
        rows = target._default_manager.using(using).filter(**wanted)
        if not rows.exists():
            raise _violation(self, field, exclude)

    def _find_wanted(
        self, model: type[Model], instance: Model, target: type[Model]
    ) -> dict[str, Any]:
        """Return what the row that is referred to has in common with the instance."""
        own, remote = tenant_field(model), tenant_field(target)
        organization = None if own is None else getattr(instance, own.attname)
        if organization is None or remote is None:
            return {}
        return {remote.attname: organization}

    def check(
        self, model: type[Model], connection: BaseDatabaseWrapper
    ) -> list[checks.CheckMessage]:
        """Return why no composite foreign key can be made."""
        field = _get_relation(model, self.field)
        target = field.remote_field.model
        remote = tenant_field(target)
        if remote is None or not remote.primary_key:
            return []
        return [
            checks.Error(
                f"'{model._meta.label}.{self.field}' leads to the organization model, "
                "to which 'organization' leads already.",
                hint=f"Remove '{self.field}', and use 'organization'.",
                obj=model,
                id="tenancy.E015",
            )
        ]

    _check = check

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how the composite foreign key differs."""
        key = self._key(model)
        if key is None or not _has_policy(
            _get_relation(model, self.field).remote_field.model
        ):
            return []
        return enforcement.find_key_faults(self.name, key)

    def find_target(
        self, target: type[Model], model: type[Model]
    ) -> TableColumns | None:
        """Return the columns of the target to which the key of a model refers."""
        name = _get_relation(model, self.field).target_field.name
        shared = self._target_field(target)
        fields = {field.name: field for field in target._meta.local_fields}
        if shared is None or name not in fields:
            return None
        columns = [column_of(fields[name]), column_of(shared)]
        return TableColumns(target._meta.db_table, columns)

    def restore(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> None:
        """Make the key where it is missing, now that its target has a policy."""
        enforcement = get_enforcement(editor.connection)
        if not enforcement.rebuilds_tables:
            self._create(model, editor)
        elif any(self.find_faults(model, enforcement)):
            enforcement.rebuild(editor, model)

    def release(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> None:
        """Build a table anew without the key, now that its target has no policy."""
        key = self._key(model)
        enforcement = get_enforcement(editor.connection)
        if key is not None and not any(enforcement.find_key_faults(self.name, key)):
            enforcement.rebuild(editor, model)

    def find_strays(self, model: type[Model], using: str) -> bool:
        """Return whether a row leads to none of its organization.

        For rows that were loaded while the database did not look.
        """
        key = self._key(model)
        if key is None:
            return False
        enforcement = get_enforcement(connections[using])
        source, target = key.source, key.target
        quote = enforcement.quote
        join = " AND ".join(
            f"child.{quote(own)} = parent.{quote(other)}"
            for own, other in zip(source.columns, target.columns, strict=True)
        )
        return bool(
            enforcement.fetch(
                f"SELECT 1 FROM {quote(source.table)} child"
                f" LEFT JOIN {quote(target.table)} parent ON {join}"
                f" WHERE child.{quote(source.columns[0])} IS NOT NULL"
                f" AND parent.{quote(target.columns[0])} IS NULL LIMIT 1"
            )
        )

    def _key(self, model: type[Model]) -> Relation | None:
        """Return the composite key, or None while an end has no organization."""
        target: type[Model] = _get_relation(model, self.field).remote_field.model
        remote = self._target_field(target)
        if remote is None or remote.primary_key:
            return None
        return self._key_to(model, column_of(remote))

    def _source_field(self, model: type[Model]) -> Field[Any, Any] | None:
        """Return the second field of the key, beside the relation itself."""
        return _organization_field(model)

    def _target_field(self, target: type[Model]) -> Field[Any, Any] | None:
        """Return the target's field to which the second field leads."""
        return _organization_field(target)

    def _key_to(self, model: type[Model], column: str) -> Relation | None:
        """Return the composite key to a target whose second field is in a column."""
        field = _get_relation(model, self.field)
        target: type[Model] = field.remote_field.model
        own = self._source_field(model)
        # A global model's rows are checked by what the target's policy asks for.
        organization = _organization_field(model) or _organization_field(target)
        if own is None or organization is None:
            return None
        return Relation(
            source=TableColumns(
                model._meta.db_table, [column_of(field), column_of(own)]
            ),
            target=TableColumns(
                target._meta.db_table, [column_of(field.target_field), column]
            ),
            organization=organization,
            is_deferred=self.deferred or target._meta.label_lower == _label(model),
        )

    def _made_key(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> Relation | None:
        """Return the key that is to be made; None while the target has no policy.

        The policy owns the index that the key needs. A migration that is undone knows
        other apps as they were: there, a key that a rebuilt table has is kept.
        """
        target: type[Model] = _get_relation(model, self.field).remote_field.model
        if _has_policy(target):
            return self._key(model)
        if not _is_remake(model) or target._meta.label_lower in _released(editor):
            return None
        # What the target's column is called does not matter to find the key.
        key = self._key_to(model, "")
        if key is None:
            return None
        key.source.table = key.source.table.removeprefix("new__")
        column = get_enforcement(editor.connection).find_key_column(key)
        return None if column is None else self._key_to(model, column)

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        key = self._made_key(model, editor)
        if key is None:
            return None
        enforcement = get_enforcement(editor.connection)
        enforcement.add_target(editor, self.name, _copy(key.target))
        return enforcement.add_key(editor, self.name, key, self.version)

    def _remove(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> str:
        key = self._key(model)
        if key is None:
            return NOTHING
        enforcement = get_enforcement(editor.connection)
        return enforcement.remove_key(editor, self.name, key)


class _SameField(SameOrganization):
    """A key that holds a field of the instance beside the relation, by one name."""

    @property
    def shared(self) -> str:
        """The name of the field, in both models."""
        raise NotImplementedError

    def check(
        self, model: type[Model], connection: BaseDatabaseWrapper
    ) -> list[checks.CheckMessage]:
        """Return nothing: the relation is to no organization."""
        return []

    _check = check

    def _find_wanted(
        self, model: type[Model], instance: Model, target: type[Model]
    ) -> dict[str, Any]:
        attname = _get_field(model, self.shared).attname
        return {self.shared: getattr(instance, attname)}

    def _source_field(self, model: type[Model]) -> Field[Any, Any] | None:
        return _get_field(model, self.shared) if self.has_fields(model) else None

    def _target_field(self, target: type[Model]) -> Field[Any, Any] | None:
        fields = {field.name: field for field in target._meta.local_fields}
        return fields.get(self.shared)


class SameUser(_SameField):
    """A relation leads to a row of the same user: a composite foreign key.

    For a global model's relation to memberships. A row that names one has a user: a
    CheckConstraint of the model says so, since a key with a NULL in it holds nothing.

    Args:
        field (str): the name of the foreign key.
        to (str): the label of the model to which it leads, "app.model".
        name (str): the constraint's name.
        user (str): the name of the field of the user, in both models.
        version (int): which SQL, pinned by the migration.
        deferred (bool): as of SameOrganization.
    """

    arguments = ("field", "to", "user")
    names = ("field", "user")
    default_violation_error_message = _("Choose one of the user's own.")

    def __init__(self, *, user: str = "user", **kwargs: Any) -> None:
        self.user = user
        super().__init__(**kwargs)

    @property
    def shared(self) -> str:
        """The name of the field, in both models."""
        return self.user


class SameValue(_SameField):
    """A relation leads to a row of the same value: a composite foreign key.

    What a row repeats of the row to which it refers stays what it is there. A target
    that is no tenant model states that its key and the value are unique together, by a
    UniqueConstraint.

    Args:
        field (str): the name of the foreign key.
        to (str): the label of the model to which it leads, "app.model".
        name (str): the constraint's name.
        value (str): the name of the field of the value, in both models.
        version (int): which SQL, pinned by the migration.
        deferred (bool): as of SameOrganization.
    """

    arguments = ("field", "to", "value")
    names = ("field", "value")
    default_violation_error_message = _("Choose one of the same kind.")

    def __init__(self, *, value: str, **kwargs: Any) -> None:
        self.value = value
        super().__init__(**kwargs)

    @property
    def shared(self) -> str:
        """The name of the field, in both models."""
        return self.value

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how the composite foreign key differs."""
        if self._leads_to_tenant(model):
            return super().find_faults(model, enforcement)
        key = self._key(model)
        return [] if key is None else enforcement.find_key_faults(self.name, key)

    def _leads_to_tenant(self, model: type[Model]) -> bool:
        """Return whether the target's policy brings the index that the key needs."""
        target = _get_relation(model, self.field).remote_field.model
        return _organization_field(target) is not None

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        if self._leads_to_tenant(model):
            return super()._create(model, editor)
        key = self._key(model)
        if key is None:
            return None
        enforcement = get_enforcement(editor.connection)
        return enforcement.add_key(editor, self.name, key, self.version)


class OwnRowsPolicy(Policy):
    """A user reads their own live memberships, and the organizations of these.

    On PostgreSQL only, where a policy would hide them; elsewhere the ORM's predicate
    is what finds them.

    Args:
        name (str): see own_rows_name().
        user (str): the name of the membership's field of its user.
        ended (str): the name of the field that says when it ended.
        version (int): which SQL, pinned by the migration.
    """

    arguments = names = ("user", "ended")

    def __init__(
        self, *, user: str = "user", ended: str = "ended_at", **kwargs: Any
    ) -> None:
        self.user = user
        self.ended = ended
        super().__init__(**kwargs)

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Iterable[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Accept every instance: the policy is about reading."""

    def policy_name_for(self, model: type[Model]) -> str | None:
        """Return the name of the policy that stands on a model's table, if any."""
        labels = {
            declaring._meta.label_lower
            for declaring, constraint in _declared(OwnRowsPolicy)
            if constraint == self
        }
        if model._meta.label_lower in labels:
            return self.name
        if model._meta.label_lower == conf.organization_model().lower():
            return f"{self.name}_all"
        return None

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how the policies of a user's own rows differ."""
        own = self._own(model)
        if own is None:
            return []
        return enforcement.find_own_rows_faults(self.name, own, self.version)

    def _own(self, model: type[Model]) -> OwnRows | None:
        organization = _organization_field(model)
        if organization is None or organization.remote_field is None:
            return None
        target: type[Model] = organization.remote_field.model
        user = _get_field(model, self.user)
        ended = _get_field(model, self.ended)
        return OwnRows(
            membership=TableColumns(
                model._meta.db_table,
                [column_of(user), column_of(ended), column_of(organization)],
            ),
            organization=TableColumns(
                target._meta.db_table, [column_of(target._meta.pk)]
            ),
            user=user,
            key=target._meta.pk,
        )

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        own = self._own(model)
        if own is not None:
            enforcement = get_enforcement(editor.connection)
            enforcement.add_own_rows(editor, self.name, own, self.version)
        return None

    def _remove(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> str:
        own = self._own(model)
        if own is None:
            return NOTHING
        enforcement = get_enforcement(editor.connection)
        return enforcement.remove_own_rows(editor, self.name, own)


class _Refusal(Policy):
    """Rows to which an event is refused in every scope."""

    event = ""

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Iterable[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Accept every instance: what is done with it is refused."""

    def find_faults(
        self, model: type[Model], enforcement: Enforcement
    ) -> Iterable[Fault]:
        """Return how what refuses the event differs."""
        columns = _key_columns(model)
        return enforcement.find_refusal_faults(self.name, self.event, columns)

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        enforcement = get_enforcement(editor.connection)
        enforcement.add_refusal(editor, self.name, self.event, _key_columns(model))
        return None

    def _remove(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> str:
        enforcement = get_enforcement(editor.connection)
        columns = _key_columns(model)
        return enforcement.remove_refusal(editor, self.name, self.event, columns)


class Immutable(_Refusal):
    """Rows are written once: the database refuses each UPDATE, in every scope.

    Args:
        name (str): its own, of 54 bytes at most, that begins with "tenancy_".
        version (int): which SQL, pinned by the migration.
    """

    event = "UPDATE"


class Kept(_Refusal):
    """Rows stay: the database refuses each DELETE, in every scope.

    But where tenancy.transactions.deleting() says that a verb deletes what they are
    part of: their organization, or the membership of an owner whom another one follows.

    Args:
        name (str): its own, of 54 bytes at most, that begins with "tenancy_".
        version (int): which SQL, pinned by the migration.
    """

    event = "DELETE"


def find_faults(connection: BaseDatabaseWrapper) -> list[Fault]:
    """Return every difference between a database and what the models promise.

    Reads the catalog only, in any scope or none.
    """
    enforcement = get_enforcement(connection)
    faults: list[Fault] = []
    models = find_protected_models(connection)
    for model in [*models, *_find_global_models(connection)]:
        for constraint in model._meta.constraints:
            if isinstance(constraint, Policy):
                faults.extend(constraint.find_faults(model, enforcement))
    if models:
        organization = apps.get_model(conf.organization_model())
        columns = {column_of(_require_field(model)) for model in models}
        faults.extend(
            enforcement.find_other_faults(
                [model._meta.db_table for model in models],
                organization._meta.db_table,
                columns - {column_of(organization._meta.pk)},
                _find_global_tables(organization),
            )
        )
    return faults


def _find_global_tables(organization: type[Model]) -> list[str]:
    """Return the tables of global models that refer to an organization.

    Their relation is one that carries the scope, or it is a check error.
    """
    return [
        relation.related_model._meta.db_table
        for relation in organization._meta.get_fields(include_hidden=True)
        if isinstance(relation, ForeignObjectRel)
        and tenant_field(relation.related_model) is None
    ]


def find_protected_models(connection: BaseDatabaseWrapper) -> list[type[Model]]:
    """Return the protected models whose tables a database holds, by table."""
    return [
        model
        for _table, model in sorted(protected_tables().items())
        if router.allow_migrate_model(connection.alias, model)
        and model._meta.can_migrate(connection)
    ]


def _find_global_models(connection: BaseDatabaseWrapper) -> list[type[Model]]:
    """Return the models of no organization that have a policy, by table."""
    protected = protected_tables()
    models = {
        model._meta.db_table.lower(): model
        for model in apps.get_models(include_auto_created=True)
        if any(isinstance(one, Policy) for one in model._meta.constraints)
        and not model._meta.proxy
    }
    return [
        model
        for table, model in sorted(models.items())
        if table not in protected
        and router.allow_migrate_model(connection.alias, model)
        and model._meta.can_migrate(connection)
    ]


def find_stray_relation(
    connection: BaseDatabaseWrapper, models: Iterable[type[Model]]
) -> str | None:
    """Return the label of a relation that leads out of the organization, or None.

    For rows loaded while the database did not look; asks nothing of one that always
    looks.
    """
    if not get_enforcement(connection).loads_unchecked:
        return None
    links: list[Any] = [  # Models, once all are loaded.
        field.remote_field.through
        for model in models
        for field in model._meta.local_many_to_many
    ]
    with look_up(LookUp.CONSTRAINT_CHECK):
        for model in dict.fromkeys([*models, *links]):
            for constraint in model._meta.constraints:
                if isinstance(constraint, SameOrganization) and constraint.find_strays(
                    model, connection.alias
                ):
                    return f"{model._meta.label}.{constraint.field}"
    return None


def describe(model: type[Model]) -> tuple[str, str, str]:
    """Return a protected table's name, organization column and number of keys."""
    keys = sum(isinstance(one, SameOrganization) for one in model._meta.constraints)
    return model._meta.db_table, column_of(_require_field(model)), str(keys)


@receiver(pre_save)
def defer_keys(
    sender: type[Model], *, raw: bool = False, using: str = DEFAULT_DB_ALIAS, **_: Any
) -> None:
    """Let a fixture's rows refer to later ones."""
    connection = connections[using]
    if raw and connection.in_atomic_block and tenant_field(sender) is not None:
        get_enforcement(connection).defer_keys()


class _WithoutPolicy(Policy):
    """What is done for a table that SQLite builds anew while it has no policy.

    Keys of other tables may refer to the index that went with the policy: SQLite then
    calls the whole schema a "foreign key mismatch". Its editor does not call
    remove_sql(), so that this stands in the model that it builds from.
    """

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Accept every instance: no instance of such a model is ever made."""

    def _create(
        self, model: type[Model], editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        if get_enforcement(editor.connection).rebuilds_tables:
            _released(editor).add(_label(model))
            for source, constraint in _incoming(model):
                if source._meta.label_lower != _label(model):
                    constraint.release(source, editor)
        return None


@receiver(class_prepared)
def release_keys(sender: type[Model], **_: Any) -> None:
    """Free a table that is built anew without its policy from the keys to it."""
    if _is_remake(sender) and not _has_policy(sender):
        constraint = _WithoutPolicy(name="tenancy_without_policy")
        # The first: it is asked before the model's own keys are.
        sender._meta.constraints = [constraint, *sender._meta.constraints]


def _released(editor: BaseDatabaseSchemaEditor) -> set[str]:
    """Return the labels of models that lost their policy in an editor's run."""
    released: set[str] = editor.__dict__.setdefault("_tenancy_released", set())
    return released


def _has_policy(model: type[Model]) -> bool:
    return any(
        isinstance(constraint, OrganizationPolicy) and constraint.has_fields(model)
        for constraint in model._meta.constraints
    )


def _get_field(model: type[Model], name: str) -> Field[Any, Any]:
    if name == "pk":
        return model._meta.pk
    field = model._meta.get_field(name)
    assert isinstance(field, Field)
    return field


def _get_relation(model: type[Model], name: str) -> ForeignKey[Any, Any]:
    field = model._meta.get_field(name)
    assert isinstance(field, ForeignKey)
    return field


def _require_field(model: type[Model]) -> Field[Any, Any]:
    field = tenant_field(model)
    assert field is not None
    return field


def _key_columns(model: type[Model]) -> TableColumns:
    keys = [column_of(field) for field in model._meta.pk_fields]
    return TableColumns(model._meta.db_table, keys)


def _rows_of(model: type[Model], name: str) -> Rows:
    return Rows(model._meta.db_table, _get_field(model, name), model._meta.pk)


def _organization_field(model: type[Model]) -> Field[Any, Any] | None:
    """Return the field of the organization, of a historical model too."""
    for constraint in model._meta.constraints:
        if isinstance(constraint, OrganizationPolicy) and constraint.has_fields(model):
            return _get_field(model, constraint.field)
    # Before the policy is declared the name tells; see OrganizationForeignKey.
    try:
        field = model._meta.get_field(_ORGANIZATION)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, ForeignKey) else None


def _incoming(model: type[Model]) -> Iterator[tuple[type[Model], SameOrganization]]:
    """Yield the constraints that lead to a model, with their models."""
    registry = model._meta.apps
    if _is_remake(model):
        organization = _organization_field(model)
        if organization is None or organization.remote_field is None:
            return
        # Its registry is its own; its relations lead to the migration's.
        registry = organization.remote_field.model._meta.apps
    for source in registry.get_models(include_auto_created=True):
        for constraint in source._meta.constraints:
            if not isinstance(constraint, SameOrganization):
                continue
            if not constraint.has_fields(source):
                continue
            # The field and not ``to``, which lags behind when a model is renamed.
            target = _get_relation(source, constraint.field).remote_field.model
            # A name, where a table is built anew from a part of the models.
            if getattr(target, "_meta", None) is not None and (
                target._meta.label_lower == _label(model)
            ):
                yield source, constraint


def _is_remake(model: type[Model]) -> bool:
    """Return whether SQLite's editor made a model to build its table anew."""
    return model._meta.apps is not apps and model._meta.db_table.startswith("new__")


def _label(model: type[Model]) -> str:
    """Return a model's label, of one that is built anew that of its original."""
    if not _is_remake(model):
        return model._meta.label_lower
    name = model._meta.model_name or ""
    return f"{model._meta.app_label}.{name.removeprefix('new')}"


def _copy(columns: TableColumns) -> TableColumns:
    """Return a reference of its own: each statement renames its references once."""
    return TableColumns(columns.table, list(columns.columns))


def _declared(kind: type[OwnRowsPolicy]) -> Iterator[tuple[type[Model], OwnRowsPolicy]]:
    for model in protected_tables().values():
        for constraint in model._meta.constraints:
            if isinstance(constraint, kind):
                yield model, constraint


def _own_rows_policies() -> Sequence[OwnRowsPolicy]:
    return [constraint for _model, constraint in _declared(OwnRowsPolicy)]


def _as_key(field: Field[Any, Any], value: Any) -> Any:
    target = field.target_field if isinstance(field, ForeignKey) else field
    try:
        return target.to_python(value)
    except ValidationError:
        return value


def _violation(
    constraint: BaseConstraint, field: Field[Any, Any], exclude: Iterable[str] | None
) -> ValidationError:
    where = NON_FIELD_ERRORS if exclude and field.name in exclude else field.name
    error = ValidationError(
        constraint.get_violation_error_message(),
        code=constraint.violation_error_code,
    )
    return ValidationError({where: error})
