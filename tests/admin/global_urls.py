"""An admin of a global model, below whose rows are those of organizations."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tenancy.admin import TenantTabularInline
from tenancy.sites import TenantAdminSite
from tests.apps.notebook.models import Category, Note


class NoteInline(TenantTabularInline):
    model = Note
    fields = ("code",)


class CategoryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    inlines = (NoteInline,)


site = TenantAdminSite()
site.register(Category, CategoryAdmin)
for model, model_admin in admin.site._registry.items():
    site.register(model, type(model_admin))

urlpatterns = [path("admin/", site.urls)]
