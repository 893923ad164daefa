"""The project's pages, and an admin of everything that an admin can be asked for."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.contenttypes.admin import GenericTabularInline
from django.urls import path

from project.urls import urlpatterns as of_project
from tenancy.admin import TenantAdmin, TenantTabularInline
from tenancy.admin.base import ScopedFields
from tenancy.sites import TenantAdminSite
from tests.apps.notebook.models import Cover, Folder, Note, Placing, Remark


class PlacingInline(TenantTabularInline):
    model = Placing
    raw_id_fields = ("folder",)


class RemarkInline(ScopedFields, GenericTabularInline):
    model = Remark
    extra = 0


class NoteAdmin(TenantAdmin):
    list_display = ("code", "folder", "author", "weight")
    list_editable = ("folder", "weight")
    list_filter = ("folder", "category", "author", "readers", "is_archived")
    search_fields = ("code", "folder__name", "author__email", "placings__shelf")
    date_hierarchy = "written_at"
    raw_id_fields = ("author", "friends")
    autocomplete_fields = ("folder",)
    filter_horizontal = ("readers",)
    inlines = (PlacingInline, RemarkInline)
    view_on_site = True


class FolderAdmin(TenantAdmin):
    list_display = ("name", "parent")
    list_filter = ("parent", "notes")
    search_fields = ("name",)
    ordering = ("name",)


class CoverAdmin(TenantAdmin):
    radio_fields = {"note": admin.VERTICAL}  # noqa: RUF012  # as Django's own


site = TenantAdminSite()
# The index shows the same list, once and not on every page.
site.enable_nav_sidebar = False
for model, model_admin in admin.site._registry.items():
    site.register(model, type(model_admin))
site.register(Note, NoteAdmin)
site.register(Folder, FolderAdmin)
site.register(Cover, CoverAdmin)
site.register([Placing, Remark], TenantAdmin)

urlpatterns: list[Any] = [
    path("admin/", site.urls),
    # What takes the place of the project's own admin.
    *of_project[1:],
]
