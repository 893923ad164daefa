from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import TenantAdmin


class RoleAdmin(TenantAdmin):
    """The admin of roles."""

    list_display = ("name", "key", "created_at")
    search_fields = ("name", "key")
    readonly_fields = ("created_at", "updated_at")

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why roles cannot be deleted: those that are built in stay."""
        return [
            str(_("“%s” is a built-in role.") % role)
            for role in objs
            if role.is_built_in
        ]
