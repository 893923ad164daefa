"""The admin beside the pages of the app, as a project has them."""

from __future__ import annotations

from django.urls import include, path

from tests.admin.urls import site

urlpatterns = [
    path("admin/", site.urls),
    path("", include("tenancy.urls")),
]
