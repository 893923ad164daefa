from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy.admin.actions import (
    REFUSALS,
    ActingAdmin,
    ActionForm,
    RowAction,
    add_refusal,
)
from tenancy.admin.base import TenantAdmin
from tenancy.models import Invitation, Role

PAGE = "tenancy:invitation-open"
"""The name of the page on which an invitation is answered, given its token."""


class InviteForm(ActionForm):
    email = forms.EmailField(
        label=_("E-mail address"),
        required=False,
        help_text=_("Leave it empty for a link that one person may use."),
    )
    role: Any = forms.ModelChoiceField(label=_("Role"), queryset=None)  # of a form

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = Role.objects.order_by("name")
        self.fields["role"].queryset = roles  # type: ignore[attr-defined]  # it is a choice of rows
        self.fields["role"].initial = roles.filter(key="member").first()


def _renew(request: HttpRequest, invitation: Any, data: dict[str, Any]) -> None:
    """Do nothing: the token is made where it is shown."""


def _revoke(request: HttpRequest, invitation: Any, data: dict[str, Any]) -> None:
    invitation.revoke()


def _is_pending(invitation: Any) -> bool:
    return bool(invitation.status == "pending")


class InvitationAdmin(ActingAdmin, TenantAdmin):
    """The admin of invitations, which are made, renewed and revoked by the verbs."""

    list_display = ("__str__", "role", "status", "invited_by_name", "expires_at")
    list_filter = ("status", "role", "expires_at")
    list_select_related = ("role",)
    search_fields = ("email", "invited_by_name", "answered_by_name")
    ordering = ("-created_at",)
    date_hierarchy = "created_at"
    secret_fields = ("token_digest",)
    fields = (
        "email",
        "role",
        "status",
        "expires_at",
        "invited_by_name",
        "answered_by_name",
        "answered_at",
        "created_at",
    )
    row_actions = (
        RowAction(
            name="renew",
            label=_("Renew"),
            question=_("Give it a new time, and a new link? The old link is void."),
            run=_renew,
            applies=_is_pending,
            takes_many=False,
        ),
        RowAction(
            name="revoke",
            label=_("Revoke"),
            question=_("Take it back? Its link is void, and its seat is free."),
            run=_revoke,
            applies=_is_pending,
            is_danger=True,
        ),
    )

    # What the page to add asks; it has a row only afterwards.
    invite_action = RowAction(
        name="invite",
        label=_("Invite"),
        question=_("Whom do you invite, and what may they do?"),
        run=_renew,
        form=InviteForm,
    )

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Let those renew and revoke who may change invitations."""
        return super().has_change_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change by a form what the verbs change."""
        return False

    @sensitive_variables()
    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:  # As Django's.
        """Invite somebody, and show the link once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = InviteForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                invitation, token = Invitation.objects.invite(
                    email=form.cleaned_data["email"] or None,
                    role=form.cleaned_data["role"],
                )
            except REFUSALS as refusal:
                add_refusal(form, refusal)
            else:
                return self._show_secret(request, invitation, token)
        return self.ask(request, self.invite_action, form, back=self._find_list())

    @sensitive_variables()
    def run_action(
        self, request: HttpRequest, action: RowAction, row: Any, data: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Do it; a renewed invitation has a new link to show."""
        if action.name == "renew":
            return self._show_secret(request, row, row.renew())
        return super().run_action(request, action, row, data)

    def _show_secret(
        self, request: HttpRequest, invitation: Invitation, token: str
    ) -> HttpResponseBase:
        """Return the page that shows the token, which is kept nowhere."""
        try:
            secret = request.build_absolute_uri(reverse(PAGE, args=[token]))
        except NoReverseMatch:
            # The project has a page of its own, or none.
            secret = token
        response = TemplateResponse(
            request,
            "tenancy/admin/link.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Invitation"),
                "invitation": invitation,
                "secret": secret,
                "is_link": secret != token,
                "back": self._find_list(),
                "opts": self.opts,
            },
        )
        response.headers["Cache-Control"] = "no-store, private"
        # Under "no-referrer" browsers send the header's forms without an origin.
        response.headers["Referrer-Policy"] = "same-origin"
        return response
