"""Relations that stay inside the organization.

Every relation of which one end is a protected model is one of these, whichever model
declares it: joins through it carry the scope in their ON clause, and where both ends
are protected a composite foreign key holds them to one organization.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import StateApps
from django.db.models import (
    CASCADE,
    Case,
    ForeignKey,
    Manager,
    ManyToManyField,
    ManyToOneRel,
    Model,
    OneToOneField,
    OneToOneRel,
    UniqueConstraint,
    Value,
)
from django.db.models.fields.related import (
    lazy_related_operation,
    resolve_relation,
)
from django.db.models.fields.related_descriptors import (
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
)
from django.db.models.functions import Cast
from django.db.models.signals import class_prepared
from django.db.models.sql.where import AND, WhereNode
from django.db.models.utils import make_model_tuple
from django.dispatch import receiver
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.choices import LimitedChoices, offer_anybody
from tenancy.context import Scope, current_scope, require_scope
from tenancy.exceptions import CrossOrganization, ScopeRequired
from tenancy.policies import (
    OrganizationPolicy,
    SameOrganization,
    policy_name,
    same_organization_name,
)
from tenancy.predicates import TENANT_KEY, InScope, is_same_key, tenant_field
from tenancy.querysets import TenantQuerySet, require_own_rows, unknown_relation

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # What an attribute takes and gives: django-stubs finds it by the related model.
    _ST = TypeVar("_ST", default=Any)
    _GT = TypeVar("_GT", default=Any)
    _To = TypeVar("_To", bound=Model, default=Any)
    _Through = TypeVar("_Through", bound=Model, default=Any)
    _ManyToManyField = ManyToManyField
else:
    _ST = _GT = _To = _Through = Any

    class _ManyToManyField(ManyToManyField):
        """A field that takes type arguments at run time, as ForeignKey does."""

        def __class_getitem__(cls, arguments: Any) -> Any:
            return cls


BASE_MANAGER = "_tenant_rows"
"""The name of the base manager of a tenant model whose default manager narrows."""


def protect(model: type[Model], field_name: str) -> None:
    """Make a model a protected one: its rows belong to the organization in the field.

    Args:
        model (type[Model]): the model that is being built.
        field_name (str): the name of the field; "pk" for the organization model.
    """
    setattr(model, TENANT_KEY, field_name)
    # A swapped model too, so that its migration is the same under any settings.
    if model._meta.abstract or not _is_current(model):
        return
    field = model._meta.pk.name if field_name == "pk" else field_name
    _add_constraint(model, OrganizationPolicy(field=field, name=policy_name(model)))


@receiver(class_prepared)
def choose_base_manager(sender: type[Model], **kwargs: Any) -> None:
    """Give a protected model a base manager that is scoped, and holds all its rows.

    In code and not in Meta, which the Meta of a project's own model would drop. The
    default manager serves, unless it narrows the rows: it alone leaves no trace in
    the project's migrations.
    """
    if getattr(sender, TENANT_KEY, None) is None or sender._meta.base_manager_name:
        return
    default: Any = sender._meta.default_manager  # Any: made by from_queryset().
    serves = (
        default is not None
        and type(default).get_queryset is Manager.get_queryset
        and issubclass(default._queryset_class, TenantQuerySet)
    )
    sender._meta.base_manager_name = default.name if serves else BASE_MANAGER


class _ScopedJoins(LimitedChoices):
    """The part of a relation that adds the scope to ON clauses."""

    # The attributes below belong to Field, beside which this class is a base.
    name: str
    attname: str
    cache_name: str

    def get_col(self, alias: str, output_field: Any = None) -> Any:
        """Return the column; that of the model's own table is made once.

        Django keeps it for fields that are no relation. Of a relation it makes one,
        with its identity, for each query that selects it.
        """
        if output_field is not None or alias != self.model._meta.db_table:
            # Field has it.
            return super().get_col(alias, output_field)  # type: ignore[misc]
        column: Any = self.__dict__.get("_own_column")
        # A field that was copied holds that of the one it was copied from.
        if column is None or column.target is not self or column.alias != alias:
            column = super().get_col(alias)  # type: ignore[misc]  # as above
            self.__dict__["_own_column"] = column
        return column

    def get_extra_restriction(
        self, alias: str | None, related_alias: str | None
    ) -> WhereNode | None:
        """Return the scope's predicate for the remote side, which a join adds.

        ``Join.as_sql()`` asks with both aliases; ``Query.trim_start()`` asks with no
        remote one, after which the statement begins at the local side.
        """
        if alias is None:
            return _join_predicate(self.model, related_alias)
        return _join_predicate(self.remote_field.model, alias)

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        """Refuse a held row of another organization, with no query."""
        # As get_cached_value(), without an exception for each row that holds none.
        related = model_instance._state.fields_cache.get(self.cache_name)
        if related is not None:
            self._require_same_organization(model_instance, related)
        # Field has it.
        value = super().pre_save(model_instance, add)  # type: ignore[misc]
        if self._is_telling and hasattr(value, "resolve_expression"):
            self._refuse_expression(value)
        return value

    def _refuse_expression(self, value: Any) -> None:
        """Refuse a key that only the database will know, where it would tell."""
        scope = current_scope()
        if scope is None or scope.is_unscoped:
            return
        if self._is_telling:
            raise CrossOrganization(
                f"'{self.model.__name__}.{self.name}' was given {value!r}, of which "
                "the organization is not known. Pass a row, or its key."
            )

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Refuse a key of a row that the scope does not hold, where it would tell.

        The database tells a key of another organization's row from one of no row
        where no composite key stands, in a global row, and where a unique constraint
        is looked at before it. In no scope, and unscoped, any key is taken.

        Raises:
            CrossOrganization: the scope does not hold the row, whoever does.
        """
        # The class is a Field where this runs.
        key = super().get_db_prep_save(value, connection)  # type: ignore[misc]
        if hasattr(value, "resolve_expression"):
            if not self._is_of_known_keys(value):
                self._refuse_expression(value)
        elif key is not None and self._is_telling:
            self._require_held(value, connection.alias)
        return key

    def _is_of_known_keys(self, value: Any) -> bool:
        """Return whether an expression gives keys that are looked up on their way.

        bulk_update() makes one such, of a value of this field for each row.
        """
        if isinstance(value, Value):
            field = value._output_field_or_none  # type: ignore[attr-defined]  # Django's
            return value.value is None or field == self
        if isinstance(value, Case):
            results = [case.result for case in value.cases]
            return all(map(self._is_of_known_keys, [*results, value.default]))
        return isinstance(value, Cast) and all(
            map(self._is_of_known_keys, value.get_source_expressions())
        )

    @cached_property
    def _is_telling(self) -> bool:
        own, remote = tenant_field(self.model), tenant_field(self.remote_field.model)
        if remote is None or not _is_current(self.model):
            return False
        if own is None:
            return True
        # add() and set() of a many-to-many relation look their keys up at once.
        if self.model._meta.auto_created:
            return False
        # Field has it.
        return self.primary_key or any(  # type: ignore[attr-defined]
            self.name in names and own.name not in names
            for names, _subject in unique_sets(self.model)
        )

    def validate(self, value: Any, model_instance: Model | None) -> None:
        """Take whichever user code names: whom it offers is a form's to keep."""
        # Field has it, and asks for the limit.
        super(_ScopedJoins, offer_anybody(self)).validate(value, model_instance)  # type: ignore[misc]

    def _require_held(self, key: Any, alias: str) -> None:
        scope = current_scope()
        if scope is None or scope.is_unscoped:
            return
        rows = self.remote_field.model._base_manager.using(alias)
        name = self.target_field.name  # type: ignore[attr-defined]  # as above
        if not rows.filter(**{name: key}).exists():
            raise unknown_relation(self.model, self)  # type: ignore[arg-type]  # as above

    def _require_same_organization(self, row: Model, related: Model) -> None:
        if self._own_names is None:
            return
        own, remote = self._own_names
        theirs, ours = getattr(related, remote), getattr(row, own)
        # Mostly the scope's own key, and one object: UUIDs are compared in Python.
        if theirs is ours:
            return
        if hasattr(ours, "resolve_expression") or hasattr(theirs, "resolve_expression"):
            # The organization's own field refuses it.
            return
        field: Any = tenant_field(self.model)  # Of a protected model: there is one.
        if is_same_key(field, theirs, ours):
            return
        scope = current_scope()
        if ours is None and (scope is None or scope.organization_id is None):
            # The organization's own field says what is missing.
            return
        if related.pk is not None:
            # The class is a Field where this runs.
            raise unknown_relation(type(row), self)  # type: ignore[arg-type]

    @cached_property
    def _own_names(self) -> tuple[str, str] | None:
        """The attributes that hold the two ends' organizations, if both have one."""
        own, remote = tenant_field(self.model), tenant_field(self.remote_field.model)
        return None if own is None or remote is None else (own.attname, remote.attname)


class _ScopedReverseJoins:
    """The reverse side: the join adds the table that declares the relation."""

    field: Any

    def get_extra_restriction(
        self, alias: str, related_alias: str | None
    ) -> WhereNode | None:
        return _join_predicate(self.field.model, alias)


class TenantManyToOneRel(_ScopedReverseJoins, ManyToOneRel):
    """The reverse side of a TenantForeignKey."""


class TenantOneToOneRel(_ScopedReverseJoins, OneToOneRel):
    """The reverse side of a TenantOneToOneField."""


class OrganizationForeignKey(_ScopedJoins, ForeignKey[_ST, _GT]):
    """The field ``organization`` of a tenant model.

    It is filled from the scope, is never edited, and brings the model's policy.
    Deleting the organization deletes the row.

    Args:
        db_column (str | None): as for any field; nothing else can be set.
    """

    rel_class = TenantManyToOneRel

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("related_name", "+")
        kwargs.setdefault("verbose_name", _("organization"))
        # By Django, as everything that a scope judges; a database's own sees no scope.
        kwargs["on_delete"] = CASCADE
        kwargs["editable"] = False
        # The policy's own index begins with this column, or the database makes one
        # for the foreign key.
        kwargs["db_index"] = False
        to = kwargs.pop("to", None)
        super().__init__(to or conf.organization_model(), **kwargs)

    def deconstruct(self) -> Any:
        """Return what a migration writes: the target is always the setting's."""
        name, path, args, kwargs = super().deconstruct()
        for fixed in ("to", "on_delete", "editable", "db_index", "related_name"):
            kwargs.pop(fixed, None)
        return name, path, args, kwargs

    def check(self, **kwargs: Any) -> list[Any]:
        """Check that the package is installed, beside what ForeignKey checks.

        The package's own checks do not run where it is not.
        """
        if apps.is_installed("tenancy"):
            return super().check(**kwargs)
        return [
            Error(
                f"'{self.model._meta.label}' is a tenant model, and 'tenancy' is not "
                "installed.",
                hint="Add 'tenancy' to INSTALLED_APPS.",
                obj=self,
                id="tenancy.E007",
            )
        ]

    def get_internal_type(self) -> str:
        """Return Django's own name, by which its schema editors know relations."""
        return "ForeignKey"

    def contribute_to_class(
        self, cls: type[Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Make the model a protected one."""
        super().contribute_to_class(cls, name, private_only, **kwargs)
        if _is_current(cls):
            protect(cls, self.name)
        elif cls._meta.auto_created:
            _add_constraint(
                cls, OrganizationPolicy(field=self.name, name=policy_name(cls))
            )

    def get_default(self) -> Any:
        """Return the active organization's key for a new instance, or None.

        A default is what a migration states for the rows of a table that becomes a
        tenant model's.
        """
        if self.has_default():
            return super().get_default()
        scope = current_scope()
        return None if scope is None else scope.organization_id

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        """Fill an instance that was made in no scope."""
        value = getattr(model_instance, self.attname)
        if value is None:
            setattr(model_instance, self.attname, self.get_default())
        elif self.cache_name not in model_instance._state.fields_cache:
            # As nearly always; it is what Field.pre_save() gives.
            return value
        return super().pre_save(model_instance, add)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Refuse another organization's key in whatever statement writes it.

        Raises:
            ScopeRequired: no scope is active, or there is none to take the key from.
            CrossOrganization: it is another organization's key.
        """
        if not self._is_kept:
            return super().get_db_prep_save(value, connection)
        scope = require_scope(self.model.__name__)
        if value is None or value is not scope.organization_id:
            self._require_own(scope, value)
            return super().get_db_prep_save(value, connection)
        # As it is where it was filled from the scope: the same for each row.
        place = (self.model, connection.alias)
        prepared = scope.parameters.get(place)
        if prepared is None:
            prepared = super().get_db_prep_save(value, connection)
            scope.parameters[place] = prepared
        return prepared

    @cached_property
    def _is_kept(self) -> bool:
        return _is_current(self.model)

    def _require_own(self, scope: Scope, value: Any) -> None:
        if value is None:
            raise ScopeRequired(
                f"A {self.model.__name__} was saved with no organization. Enter one "
                "with tenancy.scope(organization), or pass organization=...."
            )
        if not scope.is_unscoped and not is_same_key(
            self, value, scope.organization_id
        ):
            raise CrossOrganization(
                f"A {self.model.__name__} was given another organization than the "
                "scope's. Leave 'organization' out: it is filled from the scope."
            )


class TenantReverseDescriptor(ReverseManyToOneDescriptor):  # type: ignore[type-arg]  # takes none at run time
    """The accessor of the rows that refer to a row: ``project.task_set``."""

    @cached_property
    def related_manager_cls(self) -> Any:
        """The manager, which refuses rows of another organization."""
        base: Any = super().related_manager_cls

        class TenantRelatedManager(base):  # type: ignore[misc]  # made at run time
            def add(self, *objs: Any, **kwargs: Any) -> None:
                require_own_rows(objs)
                super().add(*objs, **kwargs)

            add.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

            def set(self, objs: Iterable[Any], **kwargs: Any) -> None:
                rows = tuple(objs)
                require_own_rows(rows)
                super().set(rows, **kwargs)

            set.alters_data = True  # type: ignore[attr-defined]  # as above

            if hasattr(base, "remove"):

                def remove(self, *objs: Any, **kwargs: Any) -> None:
                    require_own_rows(objs)
                    super().remove(*objs, **kwargs)

                remove.alters_data = True  # type: ignore[attr-defined]  # as above

        return TenantRelatedManager


class TenantForeignKey(_ScopedJoins, ForeignKey[_ST, _GT]):
    """A foreign key of which one end, or both, is a protected model.

    Takes the arguments of ForeignKey. Where both ends are protected, the model gets a
    SameOrganization constraint.
    """

    rel_class = TenantManyToOneRel
    related_accessor_class = TenantReverseDescriptor

    def get_internal_type(self) -> str:
        """Return Django's own name, by which its schema editors know relations."""
        return "ForeignKey"

    def contribute_to_class(
        self, cls: type[Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Tie the two ends to one organization once both are known."""
        super().contribute_to_class(cls, name, private_only, **kwargs)
        _tie_when_known(self, cls)


class TenantOneToOneField(_ScopedJoins, OneToOneField[_ST, _GT]):
    """A one-to-one relation of which one end, or both, is a protected model.

    See TenantForeignKey.
    """

    rel_class = TenantOneToOneRel

    def get_internal_type(self) -> str:
        """Return Django's own name, by which its schema editors know relations."""
        return "OneToOneField"

    def contribute_to_class(
        self, cls: type[Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """See TenantForeignKey.contribute_to_class()."""
        super().contribute_to_class(cls, name, private_only, **kwargs)
        _tie_when_known(self, cls)


class TenantManyToManyDescriptor(ManyToManyDescriptor):  # type: ignore[type-arg]  # takes none at run time
    """The accessor of both sides of a TenantManyToManyField."""

    @cached_property
    def related_manager_cls(self) -> Any:
        """The manager, which keeps its rows in one organization."""
        base: Any = super().related_manager_cls

        class TenantManyRelatedManager(base):  # type: ignore[misc]  # made at run time
            def _add_items(
                self,
                source_field_name: str,
                target_field_name: str,
                *objs: Any,
                through_defaults: Any = None,
                **kwargs: Any,
            ) -> None:
                require_own_rows((self.instance, *objs))
                super()._add_items(
                    source_field_name,
                    target_field_name,
                    *objs,
                    through_defaults=self._with_organization(through_defaults),
                    **kwargs,
                )

            def _get_add_plan(self, db: str, source_field_name: str) -> Any:
                # Django's fast way leaves the defaults out, and with them the
                # organization, which only a scope of one fills in.
                scope = current_scope()
                plan = super()._get_add_plan(db, source_field_name)
                can_be_fast = scope is not None and not scope.is_unscoped
                return (*plan[:2], plan[2] and can_be_fast)

            def _remove_items(
                self,
                source_field_name: str,
                target_field_name: str,
                *objs: Any,
                **kwargs: Any,
            ) -> None:
                require_own_rows((self.instance, *objs))
                super()._remove_items(
                    source_field_name, target_field_name, *objs, **kwargs
                )

            def _with_organization(self, through_defaults: Any) -> Any:
                """Name the organization, for an add() that runs unscoped."""
                own = _organization_field(type(self.instance))
                link = _organization_field(self.through)
                if own is None or link is None:
                    return through_defaults
                organization = getattr(self.instance, own.attname)
                return {link.attname: organization, **(through_defaults or {})}

        return TenantManyRelatedManager


def _organization_field(model: type[Model]) -> Any:  # A field, or None.
    """Return the field that holds a row's organization, of historical models too."""
    fields = model._meta.local_concrete_fields
    return tenant_field(model) or next(
        (field for field in fields if isinstance(field, OrganizationForeignKey)), None
    )


class TenantManyToManyField(LimitedChoices, _ManyToManyField[_To, _Through]):
    """A many-to-many relation of a tenant model.

    Takes the arguments of ManyToManyField. The table between the two is itself a
    tenant table, with composite foreign keys to both ends. A ``through`` model of the
    project's own is a TenantModel with two TenantForeignKeys.
    """

    def get_internal_type(self) -> str:
        """Return Django's own name, by which its schema editors know relations."""
        return "ManyToManyField"

    def contribute_to_class(
        self, cls: type[Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Make the table between the two ends, and the accessors."""
        is_own = not (
            self.remote_field.through or cls._meta.abstract or cls._meta.swapped
        )
        if is_own:
            # ManyToManyField would make a plain table where it finds none.
            self.set_attributes_from_name(name)
            self.model = cls
            self.opts = cls._meta
            self.remote_field.through = _make_through(self, cls)
        super().contribute_to_class(cls, name, private_only=private_only, **kwargs)
        setattr(
            cls, self.name, TenantManyToManyDescriptor(self.remote_field, reverse=False)
        )

    def contribute_to_related_class(self, cls: type[Model], related: Any) -> None:
        """Add the accessor of the other side."""
        super().contribute_to_related_class(cls, related)
        if not self.remote_field.hidden and not related.related_model._meta.swapped:
            setattr(
                cls,
                related.accessor_name,
                TenantManyToManyDescriptor(self.remote_field, reverse=True),
            )


def _make_through(field: ManyToManyField[Any, Any], model: type[Model]) -> type[Model]:
    """Return the table between the two ends, as Django names and shapes it."""
    target = resolve_relation(model, field.remote_field.model)
    name = f"{model._meta.object_name}_{field.name}"
    lazy_related_operation(_set_managed, model, target, name)
    to, from_ = make_model_tuple(target)[1], str(model._meta.model_name)
    if to == from_:
        to, from_ = f"to_{to}", f"from_{from_}"
    meta = {
        # django-stubs leaves this private method out.
        "db_table": field._get_m2m_db_table(model._meta),  # type: ignore[attr-defined]
        "auto_created": model,
        "app_label": model._meta.app_label,
        "db_tablespace": model._meta.db_tablespace,
        "unique_together": (from_, to),
        "verbose_name": _("%(from)s-%(to)s relationship") % {"from": from_, "to": to},
        "verbose_name_plural": _("%(from)s-%(to)s relationships")
        % {"from": from_, "to": to},
        "apps": model._meta.apps,
    }
    relation: dict[str, Any] = {  # Any: a field's arguments.
        "related_name": f"{name}+",
        "db_tablespace": field.db_tablespace,
        "db_constraint": field.remote_field.db_constraint,
        "on_delete": CASCADE,
    }
    attributes: dict[str, Any] = {
        "Meta": type("Meta", (), meta),
        "__module__": model.__module__,
        "organization": OrganizationForeignKey(),
        from_: TenantForeignKey(model, **relation),
        to: TenantForeignKey(target, **relation),
    }
    if _is_current(model):
        attributes["objects"] = TenantQuerySet.as_manager()
    return type(name, (Model,), attributes)


def _set_managed(
    model: type[Model], related: type[Model], through: type[Model]
) -> None:
    through._meta.managed = model._meta.managed or related._meta.managed


def _tie_when_known(field: ForeignKey[Any, Any], model: type[Model]) -> None:
    if model._meta.abstract:
        return
    if _is_current(model) or model._meta.auto_created:
        lazy_related_operation(_tie, model, field.remote_field.model, field=field)


def _tie(model: type[Model], related: type[Model], field: ForeignKey[Any, Any]) -> None:
    """Add the constraint that holds both ends to one organization."""
    if not (_has_organization(model) and _has_organization(related)):
        return
    name = same_organization_name(model, field)
    _add_constraint(
        model,
        SameOrganization(field=field.name, to=related._meta.label_lower, name=name),
    )


def _has_organization(model: type[Model]) -> bool:
    """Return whether rows name their organization; historical models' do too."""
    fields = model._meta.local_fields
    return any(isinstance(field, OrganizationForeignKey) for field in fields)


def _add_constraint(
    model: type[Model], constraint: OrganizationPolicy | SameOrganization
) -> None:
    """Add the constraint to the options; a rebuilt model of SQLite already has it."""
    constraints = model._meta.constraints
    if any(
        # A subclass holds another field than the organization.
        type(present) is type(constraint) and present.field == constraint.field
        for present in constraints
    ):
        return
    model._meta.constraints = [*constraints, constraint]
    # Migrations read the options that stand here.
    model._meta.original_attrs["constraints"] = model._meta.constraints


def unique_sets(
    model: type[Model], *, without: tuple[type[UniqueConstraint], ...] = ()
) -> Iterator[tuple[list[str], str]]:
    """Yield the fields that are unique together, and what says so, for a message.

    The primary key is none of them.

    Args:
        without (tuple[type[UniqueConstraint], ...]): constraints that are left out.
    """
    label = model._meta.label
    for field in model._meta.local_fields:
        if field.unique and not field.primary_key:
            yield [field.name], f"'{label}.{field.name}'"
    for together in model._meta.unique_together:
        yield list(together), f"unique_together {tuple(together)!r} of '{label}'"
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint) and not isinstance(
            constraint, without
        ):
            names = [*constraint.fields]
            for expression in constraint.expressions:
                names += [
                    name.split("__")[0]
                    for (name, *_) in model._get_expr_references(expression)  # type: ignore[attr-defined]  # Django's own, as UniqueConstraint.check() uses it
                ]
            yield names, f"The constraint '{constraint.name}' of '{label}'"


def _is_current(model: type[Model]) -> bool:
    """Return whether it is no historical model of a migration."""
    return (
        not isinstance(model._meta.apps, StateApps) and model.__module__ != "__fake__"
    )


def _join_predicate(model: Any, alias: str | None) -> WhereNode | None:
    if alias is None or isinstance(model, str):
        return None
    # Any: as scoped_query(). A table that is joined once has its own name for an alias.
    predicate: Any = model.__dict__.get("_scope_join_predicate")
    if predicate is None or predicate.column.alias != alias:
        field = tenant_field(model)
        if field is None:
            return None
        predicate = InScope(field.get_col(alias), in_join=True)
        if alias == model._meta.db_table and "_scope_join_predicate" not in vars(model):
            model._scope_join_predicate = predicate
    return WhereNode([predicate], connector=AND)
