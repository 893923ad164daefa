from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.base import TenantAdmin, TenantTabularInline, find_user_fields, say
from tenancy.context import current_scope
from tenancy.exceptions import TeamLimitReached
from tenancy.limits import require_team_room
from tenancy.models import Membership, Team, TeamMembership


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Team
        fields = ("name", "description")

    def clean(self) -> Any:  # As Django's.
        """Refuse one more team than there may be."""
        active = current_scope()
        if self.instance._state.adding and active is not None:
            try:
                require_team_room(
                    active.organization_id, using=router.db_for_write(Team)
                )
            except TeamLimitReached as refusal:
                raise ValidationError(say(refusal), code="limit") from None
        return super().clean()


class TeamMembershipInline(TenantTabularInline):
    """The members of a team, who join and leave, and are not changed into others."""

    model = TeamMembership
    fields = ("membership", "created_at")
    readonly_fields = ("created_at",)
    raw_id_fields = ()
    verbose_name = _("member")
    verbose_name_plural = _("members")

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer live members."""
        if db_field.name == "membership":
            kwargs["queryset"] = Membership.objects.live().select_related("user")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the members, with their users, by whom they are called."""
        return super().get_queryset(request).select_related("membership__user", "team")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody turn one member into another."""
        return False


class TeamAdmin(TenantAdmin):
    """The admin of teams, with their members."""

    form = TeamForm
    list_display = ("name", "description", "created_at")
    list_filter = ("created_at",)
    search_fields = (
        "name",
        "description",
        *find_user_fields("team_memberships__membership__user__"),
    )
    ordering = ("name",)
    date_hierarchy = "created_at"
    readonly_fields = ("created_at", "updated_at")
    fields = ("name", "description", "created_at", "updated_at")
    inlines = (TeamMembershipInline,)
    verb_records = frozenset({"added"})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        """Make a team by the verb."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made = Team.objects.create_team(name=obj.name, description=obj.description)
        obj.pk, obj._state = made.pk, made._state

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: Any
    ) -> None:
        """Let members join and leave by the verbs."""
        if formset.model is not TeamMembership:
            super().save_formset(request, form, formset, change)
            return
        rows = formset.save(commit=False)
        for row in formset.deleted_objects:
            form.instance.remove(row.membership)
        for row in rows:
            form.instance.add(row.membership)
