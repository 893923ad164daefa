from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _

from tenancy import conf


class TenancyConfig(AppConfig):
    """Organizations that share one database and cannot see each other."""

    name = "tenancy"
    # Of the two here, the one that "tenancy" in INSTALLED_APPS means.
    default = True
    verbose_name = _("Organizations and people")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        # A project's migrations refer to the setting by name, as they do to
        # AUTH_USER_MODEL, so it exists where it is left at its default too.
        if not hasattr(settings, "TENANCY_ORGANIZATION_MODEL"):
            settings.TENANCY_ORGANIZATION_MODEL = conf.DEFAULT_ORGANIZATION_MODEL

    def ready(self) -> None:
        """Register what watches connections, queries and caches, and the checks."""
        from tenancy import caches, checks, connections, querysets, rows

        connections.install()
        querysets.restrict_trimmed_queries()
        querysets.restrict_batches()
        rows.watch_rows()
        caches.separate_keys()
        checks.register()


# By its module: Django takes an imported AdminConfig for one of this app's own.
class TenantAdminConfig(admin_apps.AdminConfig):
    """Django's admin, on the site that knows organizations.

    It takes the place of "django.contrib.admin" in INSTALLED_APPS.
    """

    default = False
    default_site = "tenancy.sites.TenantAdminSite"
