from __future__ import annotations

from django.contrib import admin

from tenancy.apps import TenantAdminConfig


class DemoAdminConfig(TenantAdminConfig):
    """The admin of the demo."""

    def ready(self) -> None:
        """Limit the failed sign-ins of the admin's own page, too."""
        super().ready()
        from tenancy.forms import AdminSignInForm

        admin.site.login_form = AdminSignInForm
        admin.site.site_header = "Tracker administration"
        admin.site.site_title = "Tracker administration"
