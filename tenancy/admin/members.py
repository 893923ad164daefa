from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import TenantAdmin
from tenancy.models import Membership


class MembershipAdmin(TenantAdmin):
    """The admin of memberships."""

    list_display = ("user", "role", "created_at", "ended_at")
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user", "role")
    search_fields = ("user__email", "user__name")
    readonly_fields = ("last_active_at", "created_at", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the scope's memberships, with their users, by whom they are called."""
        joined = self.get_list_select_related(request)
        return super().get_queryset(request).select_related(*joined)

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why memberships cannot be deleted: an organization keeps an owner."""
        chosen = {membership.pk for membership in objs}
        for organization_id in {membership.organization_id for membership in objs}:
            owners = Membership.objects.owners().filter(organization=organization_id)
            keys = set(owners.values_list("pk", flat=True))
            if keys and keys <= chosen:
                return [str(_("An organization would be left without an owner."))]
        return []
