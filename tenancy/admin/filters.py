"""Filters of the lists of tenant rows, which offer what the rows of the list name.

Django's own offer the values of every row of another model, and users are rows of no
organization.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import AllValuesFieldListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.db.models import BooleanField, DateField, Model
from django.http import HttpRequest

from tenancy.choices import is_user_model
from tenancy.predicates import tenant_field


class NamedUsersListFilter(admin.RelatedOnlyFieldListFilter):
    """Keeps the rows that name a user, who may have left."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[Any]:
        """Return whom the rows of the list name; all, where the rows are global."""
        if tenant_field(model_admin.model) is not None:
            return super().field_choices(field, request, model_admin)
        return admin.RelatedFieldListFilter.field_choices(
            self, field, request, model_admin
        )


class NamedValuesListFilter(AllValuesFieldListFilter):
    """Keeps the rows that name a user of some value: an address, a name."""

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: Any,
        model: Any,
        model_admin: Any,
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        if tenant_field(model) is not None:
            rows = model_admin.get_queryset(request).order_by(field_path)
            self.lookup_choices = rows.values_list(field_path, flat=True).distinct()


def offer_named(model: type[Model], item: Any) -> Any:
    """Return a filter of a list; in place of Django's own that offers all, ours.

    Where a list names a path alone, ours is registered for it.

    Args:
        model (type[Model]): the model of the list.
        item (Any): what ``list_filter`` holds.
    """
    if not isinstance(item, (list, tuple)):
        return item
    path, given = item
    field = get_fields_from_path(model, path)[-1]
    if given is admin.RelatedFieldListFilter and _leads_to_users(field):
        return path, NamedUsersListFilter
    if given is AllValuesFieldListFilter and is_user_model(field.model):
        return path, NamedValuesListFilter
    return item


def _leads_to_users(field: Any) -> bool:
    return bool(field.remote_field) and is_user_model(field.related_model)


def _is_value_of_users(field: Any) -> bool:
    """Return whether Django would offer every value that there is."""
    if field.is_relation or not is_user_model(field.model):
        return False
    return not field.choices and not isinstance(field, (BooleanField, DateField))


admin.FieldListFilter.register(
    _leads_to_users, NamedUsersListFilter, take_priority=True
)
admin.FieldListFilter.register(
    _is_value_of_users, NamedValuesListFilter, take_priority=True
)
