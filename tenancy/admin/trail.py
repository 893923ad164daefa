"""The trails: what was done, which is read and never changed."""

from __future__ import annotations

from tenancy.admin.base import ReadOnlyAdmin, SuperuserAdmin, TenantAdmin


class AuditEventAdmin(ReadOnlyAdmin, TenantAdmin):
    """The trail of an organization, which who may see it reads."""

    list_display = (
        "occurred_at",
        "action",
        "actor_key",
        "impersonator_key",
        "target_type",
        "target_key",
    )
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
