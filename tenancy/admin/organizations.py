from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, ActionForm, RowAction
from tenancy.admin.base import (
    ReadOnlyAdmin,
    ScopedAdmin,
    SuperuserAdmin,
    is_superuser,
    is_unscoped,
)
from tenancy.admin.figures import Figure
from tenancy.admin.overview import Reader
from tenancy.models import Subscription
from tenancy.sites import View, choose_organization


class SuspendForm(ActionForm):
    reason = forms.CharField(label=_("Reason"), max_length=500)


class RestoreForm(ActionForm):
    slug = forms.SlugField(
        label=_("Another slug"),
        max_length=63,
        required=False,
        help_text=_("Needed only where the former one is taken."),
    )


def _enter(
    request: HttpRequest, organization: Any, data: dict[str, Any]
) -> HttpResponseRedirect:
    choose_organization(request, str(organization.pk))
    return HttpResponseRedirect(reverse("admin:index"))


def _suspend(request: HttpRequest, organization: Any, data: dict[str, Any]) -> None:
    organization.suspend(reason=data["reason"])


def _reactivate(request: HttpRequest, organization: Any, data: dict[str, Any]) -> None:
    organization.reactivate()


def _archive(request: HttpRequest, organization: Any, data: dict[str, Any]) -> None:
    organization.archive()


def _restore(request: HttpRequest, organization: Any, data: dict[str, Any]) -> None:
    organization.restore(slug=data["slug"] or None)


def _has_status(*statuses: str) -> Any:  # A function of a row.
    return lambda organization: organization.status in statuses


class OrganizationAdmin(ActingAdmin, ScopedAdmin):
    """The admin of organizations; actions, not the form, change their status."""

    list_display = ("name", "slug", "status", "created_at")
    list_filter = ("status", "created_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    date_hierarchy = "created_at"
    readonly_fields = (
        "id",
        "status",
        "billing_customer_id",
        "created_at",
        "updated_at",
    )
    fieldsets = (
        (None, {"fields": ("name", "slug", "logo", "status")}),
        (_("More"), {"fields": ("metadata", "billing_customer_id")}),
        (_("Dates"), {"fields": ("id", "created_at", "updated_at")}),
    )
    add_fieldsets = ((None, {"fields": ("name", "slug", "logo", "metadata")}),)
    verb_records = frozenset({"deleted"})
    row_actions = (
        RowAction(
            name="enter",
            label=_("Work in this organization"),
            question=_("Work in this organization until you choose another one?"),
            run=_enter,
            applies=_has_status("active", "suspended"),
            takes_many=False,
            is_for_superusers=True,
        ),
        RowAction(
            name="suspend",
            label=_("Suspend"),
            question=_("Keep its members out until it is reactivated?"),
            run=_suspend,
            form=SuspendForm,
            applies=_has_status("active"),
            is_danger=True,
            is_for_superusers=True,
        ),
        RowAction(
            name="reactivate",
            label=_("Reactivate"),
            question=_("Let its members in again?"),
            run=_reactivate,
            applies=_has_status("suspended"),
            is_for_superusers=True,
        ),
        RowAction(
            name="archive",
            label=_("Archive"),
            question=_(
                "Let nobody enter it any more? Everything of it stays, and it can be "
                "restored."
            ),
            run=_archive,
            applies=_has_status("active", "suspended"),
            is_danger=True,
            is_for_superusers=True,
        ),
        RowAction(
            name="restore",
            label=_("Restore"),
            question=_("Make it active again?"),
            run=_restore,
            form=RestoreForm,
            applies=_has_status("archived"),
            is_for_superusers=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of an organization in numbers."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_overview"
        view = self.admin_site.admin_view(self.overview_view)
        return [path("<path:object_id>/overview/", view, name=name)] + (
            super().get_urls()
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is shown; to add one, what can be said of it."""
        shown = super().get_fieldsets(request, obj)
        return self.add_fieldsets if obj is None else shown

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Show the form, with the way to the organization in numbers."""
        row = kwargs.get("obj")
        if row is not None:
            context["overview_address"] = self.find_overview(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    def overview_view(self, request: HttpRequest, object_id: str) -> Any:
        """Show an organization in numbers, in its own scope."""
        return self._in_row_scope(request, object_id, self._show_overview)

    def find_overview(self, request: HttpRequest, organization: Any) -> str:
        """Return where the organization is shown in numbers; empty to who may not."""
        is_archived = organization.status == organization.Status.ARCHIVED
        if is_archived or not self.has_view_or_change_permission(request, organization):
            return ""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_overview"
        key = quote(organization.pk)
        return reverse(name, args=[key], current_app=self.admin_site.name)

    def summarize(
        self, request: HttpRequest, organization: Any
    ) -> tuple[Figure, ...] | None:
        """Return the numbers that lead the index, in the organization's scope."""
        if not self.has_view_or_change_permission(request, organization):
            return None
        return Reader(self.admin_site, request, organization).summarize()

    def _show_overview(self, request: HttpRequest, object_id: str) -> Any:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        organization = self.get_object(request, unquote(object_id))
        if organization is None:
            # As Django's own views answer.
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]  # not in the stubs
        if is_unscoped():
            text = _("Nobody can enter “%s”, which is archived.") % organization
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self._find_page(organization))
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "tenancy/admin/overview.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Overview: %s") % organization,
                "overview": Reader(self.admin_site, request, organization).describe(),
                "organization": organization,
                "page": self._find_page(organization),
                "opts": self.opts,
            },
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes, and live subscriptions as what keeps it from going."""
        deleted, count, needed, kept = super().get_deleted_objects(objs, request)
        live = Subscription.objects.filter(
            organization__in=[row.pk for row in objs], live_product__isnull=False
        )
        return deleted, count, needed, [*kept, *map(str, live.select_related("plan"))]

    def _call_in_scope_of(
        self, row: Any, request: HttpRequest, object_id: Any, view: View, **kwargs: Any
    ) -> Any:
        """Call the view in the organization, or unscoped where nobody can enter it."""
        if row.status == row.Status.ARCHIVED:
            return view(request, object_id, **kwargs)
        return super()._call_in_scope_of(row, request, object_id, view, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let those add organizations who work over all of them."""
        return is_unscoped() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete organizations."""
        return is_superuser(request) and super().has_delete_permission(request, obj)


class OrganizationSlugAdmin(ReadOnlyAdmin, SuperuserAdmin):
    """The slugs that organizations have or had, which lead to them."""

    list_display = ("slug", "organization", "created_at")
    list_filter = (("organization", admin.EmptyFieldListFilter),)
    list_select_related = ("organization",)
    search_fields = ("slug",)
    ordering = ("slug",)
    date_hierarchy = "created_at"
    fields = ("slug", "organization", "created_at", "updated_at")

    def narrow(self, rows: QuerySet[Any], organization_id: Any) -> QuerySet[Any]:
        """Keep the slugs of one organization."""
        return rows.filter(organization=organization_id)
