"""The pages of the app alone, as a project includes them, and an impersonation."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tenancy.impersonation import impersonate
from tenancy.models import User


def start(request: HttpRequest, email: str) -> HttpResponse:
    """Act in somebody's name."""
    impersonate(request, User.objects.get(email=email), reason="a test")
    return HttpResponse()


urlpatterns = [
    path("", include("tenancy.urls")),
    path("impersonate/<str:email>/", start),
]
