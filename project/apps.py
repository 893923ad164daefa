from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class DemoAdminConfig(AdminConfig):
    """The admin, on the site that knows scopes."""

    default_site = "tenancy.sites.TenantAdminSite"
