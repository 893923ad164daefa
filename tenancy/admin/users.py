from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, ActionForm, RowAction
from tenancy.admin.base import is_superuser, pickable_users
from tenancy.context import reaches_rows
from tenancy.exceptions import HasMemberships
from tenancy.impersonation import impersonate
from tenancy.models import Session, User
from tenancy.models.membership import require_without_memberships


class UserCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = ("email",)


class UserForm(UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = "__all__"


class BanForm(ActionForm):
    reason = forms.CharField(label=_("Reason"), max_length=500, required=False)
    until = forms.DateTimeField(
        label=_("Until"),
        required=False,
        help_text=_("Leave it empty for a ban without end."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def clean_until(self) -> Any:  # A time, or None.
        """Refuse a time that is past."""
        until = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError(_("Give a time in the future."), code="past")
        return until


class ReasonForm(ActionForm):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("It stands in the audit trail."),
    )


def _ban(request: HttpRequest, user: Any, data: dict[str, Any]) -> None:
    if user.pk == request.user.pk:
        raise ValidationError(_("You cannot ban yourself."), code="self")
    user.ban(reason=data["reason"], until=data["until"])


def _lift_ban(request: HttpRequest, user: Any, data: dict[str, Any]) -> None:
    user.lift_ban()


def _end_sessions(request: HttpRequest, user: Any, data: dict[str, Any]) -> None:
    if user.pk == request.user.pk:
        # Whoever asks stays signed in here.
        Session.objects.end_others(user, keep=request.session)
    else:
        Session.objects.end_all(user)


def _impersonate(
    request: HttpRequest, user: Any, data: dict[str, Any]
) -> HttpResponseRedirect:
    impersonate(request, user, reason=data["reason"])
    return HttpResponseRedirect(resolve_url(settings.LOGIN_REDIRECT_URL))


def _can_be_impersonated(user: Any) -> bool:
    return user.is_active and not (user.is_staff or user.is_superuser or user.is_banned)


_PUBLIC_LOOKUPS = {
    "pk",
    "id",
    "id__exact",
    # Of the hierarchy of dates.
    "created_at__year",
    "created_at__month",
    "created_at__day",
}


class UserAdmin(ActingAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The admin of users: superusers edit all, others see their fellow members."""

    form = UserForm
    add_form = UserCreationForm
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser")
    list_filter = ("is_active", "is_staff", "is_superuser", "created_at")
    search_fields = ("email", "name")
    ordering = ("email",)
    date_hierarchy = "created_at"
    filter_horizontal = ("groups", "user_permissions")
    readonly_fields = (
        "email_verified_at",
        "banned_at",
        "banned_until",
        "ban_reason",
        "last_login",
        "created_at",
        "updated_at",
    )
    fieldsets = (
        (None, {"fields": ("email", "email_verified_at", "password")}),
        (_("Profile"), {"fields": ("name", "image", "locale", "time_zone")}),
        (
            _("Permissions"),
            {
                "fields": (
                    "is_active",
                    "is_staff",
                    "is_superuser",
                    "groups",
                    "user_permissions",
                )
            },
        ),
        (_("Ban"), {"fields": ("banned_at", "banned_until", "ban_reason")}),
        (_("Dates"), {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )
    row_actions = (
        RowAction(
            name="end_sessions",
            label=_("End sessions"),
            question=_("Sign them out on every device?"),
            run=_end_sessions,
            is_for_superusers=True,
        ),
        RowAction(
            name="ban",
            label=_("Ban"),
            question=_("Keep them out, and end all their sessions?"),
            run=_ban,
            form=BanForm,
            applies=lambda user: not user.is_banned,
            is_danger=True,
            is_for_superusers=True,
        ),
        RowAction(
            name="lift_ban",
            label=_("Lift the ban"),
            question=_("Let them in again?"),
            run=_lift_ban,
            applies=lambda user: user.banned_at is not None,
            is_for_superusers=True,
        ),
        RowAction(
            name="impersonate",
            label=_("Impersonate"),
            question=_(
                "Act in their name? It ends by itself after a while, and everything "
                "that is done meanwhile is written down with your name."
            ),
            run=_impersonate,
            form=ReasonForm,
            applies=_can_be_impersonated,
            takes_many=False,
            is_for_superusers=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all users to a superuser, and fellow members to others."""
        rows = super().get_queryset(request)
        if is_superuser(request):
            return rows
        return rows.filter(pk__in=pickable_users(request).values("pk"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is shown; of fellow members, who they are and no more."""
        if is_superuser(request):
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": ("email", "name", "image")}),)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns; of fellow members, who they are and no more."""
        columns = super().get_list_display(request)
        return columns if is_superuser(request) else ("email", "name")

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters, which superusers have."""
        return super().get_list_filter(request) if is_superuser(request) else ()

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Return whether an address may filter by a field; few, for others."""
        if request is not None and not is_superuser(request):
            return lookup in _PUBLIC_LOOKUPS
        return super().lookup_allowed(lookup, value, request)

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why users cannot be deleted: the same wherever they are members."""
        try:
            for user in objs:
                require_without_memberships(user, using=user._state.db)
        except HasMemberships as refusal:
            return [str(refusal)]
        return []

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to who may see one of them."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show fellow members to who may see the memberships."""
        if super().has_view_permission(request, obj):
            return True
        user: Any = request.user  # Any: a project's own, or an anonymous one.
        return reaches_rows() and user.has_perm("tenancy.view_membership")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let superusers add users; others invite them."""
        return is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers change users, who may be members of several organizations."""
        return is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete users."""
        return is_superuser(request) and super().has_delete_permission(request, obj)
