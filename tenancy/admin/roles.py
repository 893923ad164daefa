from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import TenantAdmin
from tenancy.models import Role
from tenancy.permissions import find_permissions


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    permissions = forms.MultipleChoiceField(
        label=_("Permissions"),
        required=False,
        choices=lambda: [(name, name) for name in sorted(find_permissions())],
        widget=FilteredSelectMultiple(_("permissions"), is_stacked=False),
    )

    class Meta:
        model = Role
        fields = ("name", "key", "permissions")


class RoleAdmin(TenantAdmin):
    """The admin of roles; those that are built in keep what they grant."""

    form = RoleForm
    list_display = ("name", "key", "is_built_in", "created_at")
    list_filter = ("created_at",)
    search_fields = ("name", "key")
    ordering = ("name",)
    prepopulated_fields: ClassVar[Any] = {"key": ("name",)}
    readonly_fields = ("created_at", "updated_at")
    fields = ("name", "key", "permissions", "created_at", "updated_at")
    verb_records = frozenset({"added"})

    @admin.display(description=_("built in"), boolean=True)
    def is_built_in(self, role: Role) -> bool:
        """Whether the role comes with each organization."""
        return role.is_built_in

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is shown only: the key, and what a built-in role grants."""
        fields = super().get_readonly_fields(request, obj)
        if obj is None:
            return fields
        return ("key", "permissions", *fields) if obj.is_built_in else ("key", *fields)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is made of what: the key of a new role of its name."""
        fields = super().get_prepopulated_fields(request, obj)
        return fields if obj is None and self.has_add_permission(request) else {}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        """Make a role by the verb; a changed one is judged by the model."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made = Role.objects.create_role(
            name=obj.name, permissions=obj.permissions, key=obj.key
        )
        obj.pk, obj._state = made.pk, made._state

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why roles cannot be deleted: those that are built in stay."""
        return [
            str(_("“%s” is a built-in role.") % role)
            for role in objs
            if role.is_built_in
        ]
