"""The trails: what was done, which is read and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import (
    ReadOnlyAdmin,
    ScopedChangeList,
    SuperuserAdmin,
    TenantAdmin,
)
from tenancy.models import AuditEvent
from tenancy.trail import describe_events


class TrailChangeList(ScopedChangeList):
    """A list of events in words, of which all names are found by one query."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, and put each into words."""
        super().get_results(request)
        # Any: django-stubs knows a queryset there only.
        rows: Any = list(self.result_list)
        entries = describe_events(rows, viewer=request.user)
        for row, entry in zip(rows, entries, strict=True):
            row.entry = entry
        self.result_list = rows


class AuditEventAdmin(ReadOnlyAdmin, TenantAdmin):
    """The trail of an organization, which who may see it reads."""

    list_display = ("occurred_at", "show_action", "show_actor", "show_details")
    list_filter = ("action", "target_type", "occurred_at")
    search_fields = ("action", "=actor_key", "=impersonator_key", "=target_key")
    ordering = ("-occurred_at",)
    date_hierarchy = "occurred_at"
    fields = (
        "occurred_at",
        "action",
        "actor_key",
        "impersonator_key",
        "ip_address",
        "target_type",
        "target_key",
        "unscoped_reason",
        "details",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return TrailChangeList

    @admin.display(description=_("action"), ordering="action")
    def show_action(self, event: AuditEvent) -> str:
        """Return what was done, in words."""
        entry: Any = event.entry  # type: ignore[attr-defined]  # TrailChangeList gives it
        return f"{capfirst(entry.kind)}: {entry.action}"

    @admin.display(description=_("who"), ordering="actor_key")
    def show_actor(self, event: AuditEvent) -> str:
        """Return who did it."""
        return str(event.entry.actor)  # type: ignore[attr-defined]  # as above

    @admin.display(description=_("details"))
    def show_details(self, event: AuditEvent) -> str:
        """Return what is known beside it."""
        return str(event.entry.details)  # type: ignore[attr-defined]  # as above


class SystemEventAdmin(ReadOnlyAdmin, SuperuserAdmin):
    """The trail of the whole system, which superusers read."""

    list_display = ("occurred_at", "action", "subject_type", "subject_key", "reason")
    list_filter = ("action", "subject_type", "occurred_at")
    search_fields = ("action", "=subject_key", "=actor_key", "=impersonator_key")
    ordering = ("-occurred_at",)
    date_hierarchy = "occurred_at"
    fields = (
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
