"""The users whom a relation of a tenant model offers.

Users belong to no organization, so that nothing else would keep a form from listing
everybody's.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FullResultSet, ValidationError
from django.db.models import Exists, Model, OuterRef, Q

from tenancy.context import current_scope
from tenancy.predicates import tenant_field
from tenancy.querysets import scoped_query


def is_user_model(model: type[Model] | None) -> bool:
    """Return whether rows of a model are users; those of a proxy are, too."""
    users: Any = get_user_model()  # Any: a project's own.
    concrete = getattr(getattr(model, "_meta", None), "concrete_model", None)
    return concrete is users._meta.concrete_model


class FellowMembers(Exists):
    """The condition of users who are members in the active organization.

    It binds late, whichever scope it is made in: classes of forms and of filters keep
    it. Unscoped, everybody meets it. Who has left does not, of whom the organization
    would else be told for ever.
    """

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        """Return the SQL.

        Raises:
            FullResultSet: everybody's rows are asked for.
            ScopeRequired: no scope is active.
        """
        scope = current_scope()
        if scope is not None and scope.is_unscoped:
            raise FullResultSet
        return super().as_sql(*args, **kwargs)


def fellow_members() -> FellowMembers:
    """Return the condition of users who are members in the active organization."""
    query = scoped_query(apps.get_model("tenancy", "Membership"), None)
    query.add_q(Q(user=OuterRef("pk"), ended_at__isnull=True))
    return FellowMembers(query)


def offer_anybody(field: Any) -> Any:
    """Return a copy of a relation that offers whomever the project's own limit lets.

    Args:
        field (Field): any relation.
    """
    copied = copy.copy(field)
    copied.offers_anybody = True
    return copied


class LimitedChoices:
    """The part of a relation that says which rows are offered, to whatever asks.

    Forms ask, and so do Django's admin and other packages. It is no part of the
    relation that migrations see.
    """

    # The attributes below belong to Field, beside which this class is a base.
    model: type[Model]
    remote_field: Any

    offers_anybody = False

    def get_limit_choices_to(self) -> Any:
        """Return the project's own limit; of users, fellow members within it."""
        # Field has it.
        own = super().get_limit_choices_to()  # type: ignore[misc]
        if (
            self.offers_anybody
            or tenant_field(self.model) is None
            or not is_user_model(self.remote_field.model)
        ):
            return own
        limit = own if isinstance(own, Q) else Q(**(own or {}))
        return limit & Q(fellow_members())

    def formfield(self, **kwargs: Any) -> Any:
        """Return the form's field, which asks for the limit when a form is made."""
        options = {"limit_choices_to": self.get_limit_choices_to, **kwargs}
        # Field has it.
        field = super().formfield(**options)  # type: ignore[misc]
        widget: Any = getattr(field, "widget", None)  # Any: a parent link has none.
        is_key = not self.many_to_many  # type: ignore[attr-defined]  # Field has it.
        if is_key and hasattr(widget, "label_and_url_for_value"):
            # The admin's, of a raw key: it names whatever row is posted.
            widget.label_and_url_for_value = functools.partial(
                _name_offered, widget.label_and_url_for_value, field
            )
        return field


def _name_offered(
    name: Callable[[Any], tuple[str, str]], field: Any, value: Any
) -> tuple[str, str]:
    """Return what a row is called, and its page; nothing of one that is no choice."""
    rows = field.queryset.complex_filter(field.get_limit_choices_to() or {})
    try:
        is_offered = rows.filter(**{field.to_field_name or "pk": value}).exists()
    except (ValueError, ValidationError):
        is_offered = False
    return name(value) if is_offered else ("", "")
