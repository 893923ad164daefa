from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, RowAction
from tenancy.admin.base import (
    ReadOnlyAdmin,
    SuperuserAdmin,
    find_user_fields,
    keep_members,
)
from tenancy.models import Session


def _end(request: HttpRequest, session: Any, data: dict[str, Any]) -> None:
    session.end()


class StateFilter(admin.SimpleListFilter):
    """Keeps the sessions that are live, or those that are over."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Return what can be chosen."""
        return [("live", _("live")), ("over", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the choice."""
        if self.value() not in ("live", "over"):
            return queryset
        live = Session.objects.live().values("pk")
        if self.value() == "live":
            return queryset.filter(pk__in=live)
        return queryset.exclude(pk__in=live)


class SessionAdmin(ActingAdmin, ReadOnlyAdmin, SuperuserAdmin):
    """The devices on which people are signed in; never what their sessions hold."""

    list_display = (
        "__str__",
        "user",
        "impersonator",
        "ip_address",
        "last_seen_at",
        "expires_at",
        "is_live",
    )
    list_filter = (
        StateFilter,
        "end_reason",
        ("impersonator", admin.EmptyFieldListFilter),
        "last_seen_at",
    )
    list_select_related = ("user", "impersonator")
    search_fields = (*find_user_fields("user__"), "user_agent", "=ip_address")
    ordering = ("-last_seen_at",)
    date_hierarchy = "last_seen_at"
    secret_fields = ("key_digest", "data")
    fields = (
        "user",
        "impersonator",
        "user_agent",
        "ip_address",
        "last_seen_at",
        "created_at",
        "expires_at",
        "revoked_at",
        "end_reason",
    )
    row_actions = (
        RowAction(
            name="end",
            label=_("Sign out"),
            question=_("Sign out what is listed here?"),
            run=_end,
            applies=lambda session: session.is_live,
            is_danger=True,
            is_for_superusers=True,
        ),
    )

    @admin.display(description=_("live"), boolean=True)
    def is_live(self, session: Session) -> bool:
        """Whether it has neither expired nor been ended."""
        return session.is_live

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the sessions of signed-in browsers, without what they hold."""
        rows = super().get_queryset(request).filter(user__isnull=False)
        return rows.defer("key_digest", "data")

    def narrow(self, rows: QuerySet[Any], organization_id: Any) -> QuerySet[Any]:
        """Keep those of the organization's members."""
        return keep_members(rows)
