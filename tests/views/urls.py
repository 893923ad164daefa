"""The pages of the app alone, as a project includes them."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("tenancy.urls"))]
