from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, ActionForm, RowAction
from tenancy.admin.base import TenantAdmin, find_user_fields
from tenancy.models import Membership


class MemberChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """A choice of a member, by the name of the user."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the choice is called."""
        return str(obj.user)


class StateFilter(admin.SimpleListFilter):
    """Keeps the live memberships, or those that have ended."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Return what can be chosen."""
        return [("live", _("live")), ("ended", _("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the choice."""
        if self.value() in ("live", "ended"):
            return queryset.filter(ended_at__isnull=self.value() == "live")
        return queryset


class TransferForm(ActionForm):
    to = MemberChoiceField(label=_("New owner"), queryset=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Membership.objects.live().select_related("user")
        if self.row is not None:
            rows = rows.exclude(pk=self.row.pk)
        self.fields["to"].queryset = rows  # type: ignore[attr-defined]  # it is a choice of rows


def _end(request: HttpRequest, membership: Any, data: dict[str, Any]) -> None:
    membership.end()


def _take_up(request: HttpRequest, membership: Any, data: dict[str, Any]) -> None:
    Membership.objects.add(user=membership.user, role=membership.role)


def _transfer(request: HttpRequest, membership: Any, data: dict[str, Any]) -> None:
    membership.transfer_ownership(to=data["to"])


class MembershipAdmin(ActingAdmin, TenantAdmin):
    """The admin of memberships: the verbs of members, with their rules."""

    list_display = ("user", "role", "created_at", "last_active_at", "ended_at")
    list_filter = (StateFilter, "role", "created_at")
    list_select_related = ("user", "role")
    # Whatever the user model is.
    search_fields = find_user_fields("user__")
    ordering = ("created_at",)
    date_hierarchy = "created_at"
    fields = ("user", "role", "ended_at", "last_active_at", "created_at", "updated_at")
    completed_fields = ("user", "role")
    readonly_fields = ("ended_at", "last_active_at", "created_at", "updated_at")
    verb_records = frozenset({"added"})
    row_actions = (
        RowAction(
            name="end",
            label=_("End membership"),
            question=_(
                "End it? The member leaves the teams, and none of their sessions is in "
                "the organization any more. The row stays, as history."
            ),
            run=_end,
            applies=lambda membership: membership.is_live,
            is_danger=True,
        ),
        RowAction(
            name="take_up",
            label=_("Take up again"),
            question=_("Make them a member again, with the role that they had?"),
            run=_take_up,
            applies=lambda membership: not membership.is_live,
            takes_many=False,
        ),
        RowAction(
            name="transfer",
            label=_("Transfer ownership"),
            question=_("Who becomes an owner in this member's place, who is an admin?"),
            run=_transfer,
            form=TransferForm,
            applies=lambda membership: membership.is_owner,
            takes_many=False,
            is_danger=True,
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is shown only: whose a membership is stays, too."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else ("user", *fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the scope's memberships, with their users, by whom they are called."""
        joined = self.get_list_select_related(request)
        return super().get_queryset(request).select_related(*joined)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        """Add the member, or change the role, by the verb."""
        if not change:
            added = Membership.objects.add(user=obj.user, role=obj.role)
            obj.pk, obj._state = added.pk, added._state
        elif "role" in form.changed_data:
            Membership.objects.get(pk=obj.pk).change_role(obj.role)

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why memberships cannot be deleted: an organization keeps an owner."""
        chosen = {membership.pk for membership in objs}
        for organization_id in {membership.organization_id for membership in objs}:
            owners = Membership.objects.owners().filter(organization=organization_id)
            keys = set(owners.values_list("pk", flat=True))
            if keys and keys <= chosen:
                return [str(_("An organization would be left without an owner."))]
        return []
