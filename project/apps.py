from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class DemoAdminConfig(AdminConfig):
    """The admin, on the site that knows scopes."""

    default_site = "tenancy.sites.TenantAdminSite"

    def ready(self) -> None:
        """Limit the failed sign-ins of the admin's own page, too."""
        super().ready()
        from tenancy.forms import AdminSignInForm

        admin.site.login_form = AdminSignInForm
        admin.site.site_header = "Tracker administration"
        admin.site.site_title = "Tracker administration"
