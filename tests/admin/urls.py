"""The demo's admins, and the package's, on the site that knows scopes."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import View

from tenancy.sites import TenantAdminSite

site = TenantAdminSite()
# The registrations of the default site, of which this is another kind.
for model, model_admin in admin.site._registry.items():
    site.register(model, type(model_admin))


class HomeView(View):
    """The site, where who impersonates arrives."""

    def get(self, request: HttpRequest, **kwargs: str) -> HttpResponse:
        """Tell who is signed in."""
        return HttpResponse(str(request.user))


urlpatterns = [
    path("admin/", site.urls),
    path("home/", HomeView.as_view(), name="home"),
    path(
        "join/",
        include(
            (
                [path("<str:token>/", HomeView.as_view(), name="invitation-open")],
                "tenancy",
            )
        ),
    ),
]
