"""Generic relations of tenant models."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.fields import (
    GenericForeignKey,
    GenericRel,
    GenericRelation,
    ReverseGenericManyToOneDescriptor,
)
from django.db.models import Model
from django.db.models.sql.where import AND, WhereNode
from django.utils.functional import cached_property

from tenancy.predicates import InScope, tenant_field
from tenancy.querysets import require_own_rows


class TenantGenericForeignKey(GenericForeignKey):
    """A generic foreign key that takes rows of the scope's organization only.

    Takes the arguments of GenericForeignKey. No database holds a generic key: one
    that is written as a number, to a row of another organization, reads as None.
    """

    is_scoped_relation = True

    def set_cached_value(self, instance: Model, value: Any) -> None:
        """Keep the row, whether it was assigned or fetched.

        Raises:
            ScopeRequired: it is a tenant's row, and no scope is active.
            CrossOrganization: it is another organization's row.
        """
        require_own_rows([value])
        super().set_cached_value(instance, value)


class TenantGenericRel(GenericRel):
    """The generic relation as a join from its own model asks it."""

    def get_extra_restriction(self, alias: Any, related_alias: Any) -> WhereNode:
        """Restrict the generic key's table, which the join adds."""
        relation: Any = self.field  # The TenantGenericRelation that made it.
        restriction: WhereNode = relation.restrict(alias, self.model, alias)
        return restriction


class TenantGenericRelation(GenericRelation):
    """A generic relation whose joins stay inside the organization.

    Takes the arguments of GenericRelation.
    """

    rel_class = TenantGenericRel
    is_scoped_relation = True

    def contribute_to_class(
        self, cls: type[Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Add the accessor."""
        super().contribute_to_class(cls, name, private_only=private_only, **kwargs)
        setattr(cls, self.name, TenantReverseGenericDescriptor(self.remote_field))  # type: ignore[arg-type]  # it is a GenericRel

    def get_extra_restriction(self, alias: Any, remote_alias: Any) -> WhereNode:
        """Return the content type's condition, and the joined side's predicate.

        ``alias`` is this model's table, which a join from the generic key's adds;
        ``Query.trim_start()`` asks with none, and begins at the generic key's.
        """
        if alias is None:
            return self.restrict(remote_alias, self.remote_field.model, remote_alias)
        return self.restrict(remote_alias, self.model, alias)

    def restrict(self, generic_alias: Any, model: Any, alias: Any) -> WhereNode:
        """Return the content type's condition, and one model's predicate."""
        condition = super().get_extra_restriction(alias, generic_alias)
        field = tenant_field(model)
        if field is None:
            return condition
        predicate: Any = InScope(field.get_col(alias), in_join=True)
        return WhereNode([condition, predicate], connector=AND)


class TenantReverseGenericDescriptor(ReverseGenericManyToOneDescriptor):
    """The accessor of a TenantGenericRelation."""

    @cached_property
    def related_manager_cls(self) -> Any:
        """The manager, which refuses rows of another organization."""
        base: Any = super().related_manager_cls

        class TenantGenericRelatedManager(base):  # type: ignore[misc]  # made at run time
            def add(self, *objs: Any, **kwargs: Any) -> None:
                require_own_rows((self.instance, *objs))
                super().add(*objs, **kwargs)

            add.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

            def remove(self, *objs: Any, **kwargs: Any) -> None:
                require_own_rows((self.instance, *objs))
                super().remove(*objs, **kwargs)

            remove.alters_data = True  # type: ignore[attr-defined]  # as above

            def create(self, **kwargs: Any) -> Any:
                require_own_rows([self.instance])
                return super().create(**kwargs)

            create.alters_data = True  # type: ignore[attr-defined]  # as above

            def get_or_create(self, **kwargs: Any) -> Any:
                require_own_rows([self.instance])
                return super().get_or_create(**kwargs)

            get_or_create.alters_data = True  # type: ignore[attr-defined]  # as above

            def update_or_create(self, **kwargs: Any) -> Any:
                require_own_rows([self.instance])
                return super().update_or_create(**kwargs)

            update_or_create.alters_data = True  # type: ignore[attr-defined]  # as above

        return TenantGenericRelatedManager
