from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import ScopedAdmin, is_superuser, is_unscoped
from tenancy.exceptions import TransitionRefused
from tenancy.models import Subscription
from tenancy.sites import View


class OrganizationAdmin(ScopedAdmin):
    """The admin of organizations; actions, not the form, change their status."""

    list_display = ("name", "slug", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug")
    readonly_fields = ("id", "status", "created_at", "updated_at")
    actions = ("suspend", "reactivate", "archive", "restore")

    @admin.action(description=_("Suspend"), permissions=["lifecycle"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Suspend the chosen organizations."""
        self._run(request, queryset, "suspend", reason="admin")

    @admin.action(description=_("Reactivate"), permissions=["lifecycle"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Reactivate the chosen organizations."""
        self._run(request, queryset, "reactivate")

    @admin.action(description=_("Archive"), permissions=["lifecycle"])
    def archive(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Archive the chosen organizations."""
        self._run(request, queryset, "archive")

    @admin.action(description=_("Restore"), permissions=["lifecycle"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Restore the chosen organizations."""
        self._run(request, queryset, "restore")

    def has_lifecycle_permission(self, request: HttpRequest) -> bool:
        """Let superusers change the status of organizations."""
        return is_superuser(request) and self.has_change_permission(request)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes, and live subscriptions as what keeps it from going."""
        deleted, count, needed, kept = super().get_deleted_objects(objs, request)
        live = Subscription.objects.filter(
            organization__in=[row.pk for row in objs], live_product__isnull=False
        )
        return deleted, count, needed, [*kept, *map(str, live.select_related("plan"))]

    def _in_row_scope(
        self, request: HttpRequest, object_id: str | None, view: View, **kwargs: Any
    ) -> Any:
        """Call the view in the organization, or unscoped where nobody can enter it."""
        if object_id is not None and is_unscoped():
            row = self.get_object(request, object_id)
            if row is not None and row.status == row.Status.ARCHIVED:
                return view(request, object_id, **kwargs)
        return super()._in_row_scope(request, object_id, view, **kwargs)

    def _run(
        self, request: HttpRequest, queryset: QuerySet[Any], verb: str, **kwargs: Any
    ) -> None:
        for organization in list(queryset):
            try:
                getattr(organization, verb)(**kwargs)
            except (TransitionRefused, ValidationError) as error:
                text = " ".join(getattr(error, "messages", [str(error)]))
                self.message_user(request, f"{organization}: {text}", messages.ERROR)
            else:
                self.message_user(request, _("Done: %s.") % organization)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let those add organizations who work over all of them."""
        return is_unscoped() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete organizations."""
        return is_superuser(request) and super().has_delete_permission(request, obj)
