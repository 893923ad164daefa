"""The admin site, apart from the admin's registrations, which need it first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from tenancy.context import unscoped

View = Callable[..., HttpResponseBase]


class TenantAdminSite(admin.AdminSite):
    """An admin site on which superusers reach every organization.

    A superuser who has chosen no organization works unscoped, which the log tells at
    each request; opening a row enters its organization. Everybody else stays in the
    scope of the request. Name it as ``default_site`` of an AdminConfig.
    """

    # Any: the stubs ask for the very type of view that is given.
    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Wrap a view of the site."""

        @functools.wraps(view)
        def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not _is_over_all(request):
                answered: HttpResponseBase = view(request, *args, **kwargs)
                return answered
            with unscoped(f"admin: superuser {request.user.pk}"):
                return render_in_scope(view(request, *args, **kwargs))

        return super().admin_view(run, cacheable)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what each page shows: in its header, whose rows it is about."""
        context = super().each_context(request)
        organization = getattr(request, "organization", None)
        if _is_over_all(request):
            context["site_header"] = f"{self.site_header}: {_('all organizations')}"
        elif organization is not None:
            context["site_header"] = f"{self.site_header}: {organization}"
        return context


def render_in_scope(response: HttpResponseBase) -> HttpResponseBase:
    """Render a template response now, while the scope still is the view's.

    Django renders it after the view, where the querysets in its context would run in
    the scope around.
    """
    render: Callable[[], object] | None = getattr(response, "render", None)
    if render is not None:
        render()
    return response


def _is_over_all(request: HttpRequest) -> bool:
    # TenancyMiddleware sets it.
    has_chosen: bool = getattr(request, "has_chosen_organization", False)
    user = request.user
    return user.is_active and bool(user.is_superuser) and not has_chosen
