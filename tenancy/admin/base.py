"""What the admins of one organization's rows share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Exists, Field, Model, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponseRedirect

from tenancy.context import current_scope, scope
from tenancy.exceptions import BuiltInRole, HasMemberships, LastOwner, RoleInUse
from tenancy.models import Membership
from tenancy.predicates import tenant_field
from tenancy.sites import View, render_in_scope

REFUSALS = (BuiltInRole, HasMemberships, LastOwner, RoleInUse)
"""What verbs and models refuse, and a page then says."""


class RefusingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Says what a rule refuses, where it is found when the row is written."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list, or run an action."""
        return self._say_refusal(request, super().changelist_view, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show and take the form of a row."""
        return self._say_refusal(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Ask before deleting a row."""
        return self._say_refusal(request, super().delete_view, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted, and what protects it."""
        *found, protected = super().get_deleted_objects(objs, request)
        return *found, [*protected, *self.find_refusals(objs)]

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why the rows cannot be deleted."""
        return []

    def _say_refusal(
        self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return view(request, *args, **kwargs)
        except REFUSALS as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ScopedAdmin(RefusingAdmin):
    """What the admins of tenant rows and of organizations share."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app where the scope reaches its rows."""
        return reaches_rows() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show rows where the scope reaches them."""
        return reaches_rows() and super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Change rows where the scope reaches them."""
        return reaches_rows() and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete rows where the scope reaches them."""
        return reaches_rows() and super().has_delete_permission(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show and take the form of a row, in the row's organization."""
        return self._in_row_scope(
            request,
            object_id,
            super().changeform_view,
            form_url=form_url,
            extra_context=extra_context,
        )

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Ask before deleting a row, in the row's organization."""
        return self._in_row_scope(
            request, object_id, super().delete_view, extra_context=extra_context
        )

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the history of a row, in the row's organization."""
        return self._in_row_scope(
            request, object_id, super().history_view, extra_context=extra_context
        )

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer fellow members only where a user is picked."""
        if db_field.remote_field.model is get_user_model():
            kwargs.setdefault("queryset", pickable_users(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _in_row_scope(
        self, request: HttpRequest, object_id: str | None, view: View, **kwargs: Any
    ) -> Any:
        """Call the view in the organization of the row, when it is called unscoped."""
        row = None
        if object_id is not None and is_unscoped():
            row = self.get_object(request, object_id)
        if row is None:
            return view(request, object_id, **kwargs)
        organization_id = getattr(row, _require_tenant_field(self.model).attname)
        # A request takes whatever attributes it is given.
        request.tenancy_row = row  # type: ignore[attr-defined]
        with scope(organization_id, user=request.user.pk):
            return render_in_scope(view(request, object_id, **kwargs))


class TenantAdmin(ScopedAdmin):
    """The admin of a tenant model, whose querysets and choices are the scope's.

    The organization of a row is shown to who works over all of them, and is edited by
    nobody. Rows are added in an organization's scope only.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Add rows where the scope says to which organization."""
        active = current_scope()
        return (
            active is not None
            and active.organization_id is not None
            # The address of the form to add names no organization.
            and not hasattr(request, "tenancy_row")
            and super().has_add_permission(request)
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, with the organization where rows are of several."""
        columns = super().get_list_display(request)
        if not is_unscoped() or not columns:
            return columns
        return (columns[0], "organization", *columns[1:])

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters, with the organization where rows are of several."""
        filters = super().get_list_filter(request)
        return ("organization", *filters) if is_unscoped() else filters

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Return what is joined, with the organization where it is shown."""
        joined = super().get_list_select_related(request)
        if not is_unscoped() or joined is True:
            return joined
        return (*(joined or ()), "organization")


def reaches_rows() -> bool:
    """Return whether tenant rows can be asked for in the active scope."""
    active = current_scope()
    return active is not None and (
        active.is_unscoped or active.organization_id is not None
    )


def is_unscoped() -> bool:
    """Return whether every organization's rows are reached."""
    active = current_scope()
    return active is not None and active.is_unscoped


def pickable_users(request: HttpRequest) -> QuerySet[Any]:
    """Return the users whom a picker offers: fellow members, or all to a superuser."""
    users: QuerySet[Any] = get_user_model()._default_manager.all()
    if request.user.is_superuser:
        return users
    if not reaches_rows():
        return users.none()
    return users.filter(Exists(Membership.objects.filter(user=OuterRef("pk"))))


def _require_tenant_field(model: type[Model]) -> Field[Any, Any]:
    field = tenant_field(model)
    assert field is not None
    return field


def is_superuser(request: HttpRequest) -> bool:
    """Return whether a superuser asks."""
    return bool(request.user.is_superuser)
