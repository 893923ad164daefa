"""The manager of tenant models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Manager, Model, QuerySet

from tenancy.querysets import TenantQuerySet

M = TypeVar("M", bound=Model, covariant=True)


if TYPE_CHECKING:
    _Manager = Manager
else:
    _Manager = Manager.from_queryset(TenantQuerySet)


class TenantManager(_Manager[M]):
    """The manager of a tenant model: its querysets hold the active scope's rows."""

    @classmethod
    def from_queryset(
        cls, queryset_class: type[QuerySet[Any, Any]], class_name: str | None = None
    ) -> Any:
        """Return a subclass with the methods of a tenant queryset class.

        Raises:
            TypeError: the queryset class is no TenantQuerySet.
        """
        if not issubclass(queryset_class, TenantQuerySet):
            raise TypeError(
                f"'{queryset_class.__name__}' is no TenantQuerySet. Derive it from "
                "tenancy.querysets.TenantQuerySet."
            )
        return super().from_queryset(queryset_class, class_name)
