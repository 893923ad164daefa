from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    # So that the demo needs no other server although DEBUG is off.
    path("static/<path:path>", serve, {"insecure": True}),
    # For the admin, whose pages name no icon.
    path("favicon.ico", RedirectView.as_view(url="/static/tracker/icon.svg")),
    path("", include("project.tracker.urls")),
    path("", include("tenancy.urls")),
]
