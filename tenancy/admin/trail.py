"""The trails: what was done, which is read and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from tenancy.admin.base import is_superuser


class SystemEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The trail of the whole system, which superusers read and nobody changes."""

    list_display = ("occurred_at", "action", "subject_type", "subject_key", "reason")
    list_filter = ("action",)
    search_fields = ("=subject_key", "=actor_key")
    readonly_fields = (
        "occurred_at",
        "action",
        "actor_key",
        "impersonator_key",
        "ip_address",
        "reason",
        "subject_type",
        "subject_key",
        "details",
    )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to superusers."""
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers read it."""
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody write by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change what is written once."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete what is written once."""
        return False
