"""The admin of tenant rows: each page shows what its scope holds, and no more."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.core.exceptions import ValidationError
from django.db.models import Exists, Field, Model, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from tenancy.context import current_scope, scope
from tenancy.exceptions import (
    BuiltInRole,
    HasMemberships,
    LastOwner,
    RoleInUse,
    TransitionRefused,
)
from tenancy.models import (
    Membership,
    Organization,
    Role,
    Subscription,
    SystemEvent,
    User,
)
from tenancy.models.membership import require_without_memberships
from tenancy.predicates import tenant_field
from tenancy.sites import View, render_in_scope

REFUSALS = (BuiltInRole, HasMemberships, LastOwner, RoleInUse)
"""What verbs and models refuse, and a page then says."""


class RefusingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Says what a rule refuses, where it is found when the row is written."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list, or run an action."""
        return self._say_refusal(request, super().changelist_view, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show and take the form of a row."""
        return self._say_refusal(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Ask before deleting a row."""
        return self._say_refusal(request, super().delete_view, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted, and what protects it."""
        *found, protected = super().get_deleted_objects(objs, request)
        return *found, [*protected, *self.find_refusals(objs)]

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why the rows cannot be deleted."""
        return []

    def _say_refusal(
        self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return view(request, *args, **kwargs)
        except REFUSALS as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ScopedAdmin(RefusingAdmin):
    """What the admins of tenant rows and of organizations share."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app where the scope reaches its rows."""
        return reaches_rows() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show rows where the scope reaches them."""
        return reaches_rows() and super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Change rows where the scope reaches them."""
        return reaches_rows() and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete rows where the scope reaches them."""
        return reaches_rows() and super().has_delete_permission(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show and take the form of a row, in the row's organization."""
        return self._in_row_scope(
            request,
            object_id,
            super().changeform_view,
            form_url=form_url,
            extra_context=extra_context,
        )

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Ask before deleting a row, in the row's organization."""
        return self._in_row_scope(
            request, object_id, super().delete_view, extra_context=extra_context
        )

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the history of a row, in the row's organization."""
        return self._in_row_scope(
            request, object_id, super().history_view, extra_context=extra_context
        )

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer fellow members only where a user is picked."""
        if db_field.remote_field.model is get_user_model():
            kwargs.setdefault("queryset", pickable_users(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _in_row_scope(
        self, request: HttpRequest, object_id: str | None, view: View, **kwargs: Any
    ) -> Any:
        """Call the view in the organization of the row, when it is called unscoped."""
        row = None
        if object_id is not None and is_unscoped():
            row = self.get_object(request, object_id)
        if row is None:
            return view(request, object_id, **kwargs)
        organization_id = getattr(row, _tenant_field(self.model).attname)
        # A request takes whatever attributes it is given.
        request.tenancy_row = row  # type: ignore[attr-defined]
        with scope(organization_id, user=request.user.pk):
            return render_in_scope(view(request, object_id, **kwargs))


class TenantAdmin(ScopedAdmin):
    """The admin of a tenant model, whose querysets and choices are the scope's.

    The organization of a row is shown to who works over all of them, and is edited by
    nobody. Rows are added in an organization's scope only.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Add rows where the scope says to which organization."""
        active = current_scope()
        return (
            active is not None
            and active.organization_id is not None
            # The address of the form to add names no organization.
            and not hasattr(request, "tenancy_row")
            and super().has_add_permission(request)
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, with the organization where rows are of several."""
        columns = super().get_list_display(request)
        if not is_unscoped() or not columns:
            return columns
        return (columns[0], "organization", *columns[1:])

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters, with the organization where rows are of several."""
        filters = super().get_list_filter(request)
        return ("organization", *filters) if is_unscoped() else filters

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Return what is joined, with the organization where it is shown."""
        joined = super().get_list_select_related(request)
        if not is_unscoped() or joined is True:
            return joined
        return (*(joined or ()), "organization")


def reaches_rows() -> bool:
    """Return whether tenant rows can be asked for in the active scope."""
    active = current_scope()
    return active is not None and (
        active.is_unscoped or active.organization_id is not None
    )


def is_unscoped() -> bool:
    """Return whether every organization's rows are reached."""
    active = current_scope()
    return active is not None and active.is_unscoped


def pickable_users(request: HttpRequest) -> QuerySet[Any]:
    """Return the users whom a picker offers: fellow members, or all to a superuser."""
    users: QuerySet[Any] = get_user_model()._default_manager.all()
    if request.user.is_superuser:
        return users
    if not reaches_rows():
        return users.none()
    return users.filter(Exists(Membership.objects.filter(user=OuterRef("pk"))))


def _tenant_field(model: type[Model]) -> Field[Any, Any]:
    field = tenant_field(model)
    assert field is not None
    return field


class UserCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = ("email",)


class UserForm(UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = User
        fields = "__all__"


class UserAdmin(RefusingAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The admin of users: superusers edit all, others see their fellow members."""

    form = UserForm
    add_form = UserCreationForm
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all users to a superuser, and fellow members to others."""
        visible = pickable_users(request)
        return super().get_queryset(request).filter(pk__in=visible.values("pk"))

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why users cannot be deleted: the same wherever they are members."""
        try:
            for user in objs:
                require_without_memberships(user, using=user._state.db)
        except HasMemberships as refusal:
            return [str(refusal)]
        return []

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let superusers add users; others invite them."""
        return _is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers change users, who may be members of several organizations."""
        return _is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete users."""
        return _is_superuser(request) and super().has_delete_permission(request, obj)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


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
        return _is_superuser(request) and self.has_change_permission(request)

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
        return _is_superuser(request) and super().has_delete_permission(request, obj)


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


class SystemEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The trail of the whole system, which superusers read and nobody changes."""

    list_display = ("occurred_at", "action", "subject_type", "subject_key", "reason")
    list_filter = ("action",)
    search_fields = ("=subject_key", "=actor_key")
    readonly_fields = (
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

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to superusers."""
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers read it."""
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody write by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change what is written once."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete what is written once."""
        return False


# A model that another one takes the place of is not registered.
admin.site.register(User, UserAdmin)
admin.site.register(Organization, OrganizationAdmin)
admin.site.register(Membership, MembershipAdmin)
admin.site.register(Role, RoleAdmin)
admin.site.register(SystemEvent, SystemEventAdmin)
