from __future__ import annotations

from typing import Any

from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import RefusingAdmin, is_superuser, pickable_users
from tenancy.exceptions import HasMemberships
from tenancy.models import User
from tenancy.models.membership import require_without_memberships


class UserCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = ("email",)


class UserForm(UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = "__all__"


class UserAdmin(RefusingAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The admin of users: superusers edit all, others see their fellow members."""

    form = UserForm
    add_form = UserCreationForm
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (_("Profile"), {"fields": ("name", "image", "locale", "time_zone")}),
        (
            _("Permissions"),
            {
                "fields": (
                    "is_active",
                    "is_staff",
                    "is_superuser",
                    "groups",
                    "user_permissions",
                )
            },
        ),
        (_("Dates"), {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all users to a superuser, and fellow members to others."""
        visible = pickable_users(request)
        return super().get_queryset(request).filter(pk__in=visible.values("pk"))

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why users cannot be deleted: the same wherever they are members."""
        try:
            for user in objs:
                require_without_memberships(user, using=user._state.db)
        except HasMemberships as refusal:
            return [str(refusal)]
        return []

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let superusers add users; others invite them."""
        return is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers change users, who may be members of several organizations."""
        return is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete users."""
        return is_superuser(request) and super().has_delete_permission(request, obj)
