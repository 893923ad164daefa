"""The history of a row in the admin: what the organization's trail tells of it."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from tenancy.context import reaches_rows
from tenancy.models import AuditEvent
from tenancy.trail import describe_events

TEMPLATE = "tenancy/admin/history.html"


def show_history(
    model_admin: Any,  # A ModelAdmin, of whose methods the stubs lack one.
    request: HttpRequest,
    object_id: str,
    extra_context: dict[str, Any] | None = None,
) -> HttpResponseBase:
    """Show what the audit trail tells of a row; nothing outside of organizations.

    Args:
        model_admin (ModelAdmin): the admin of the row's model.
        request (HttpRequest): whose user reads.
        object_id (str): the row's key, as it stands in the address.
        extra_context (dict | None): what the template is given beside.
    Raises:
        PermissionDenied: the user may not view the row.
    """
    row = model_admin.get_object(request, unquote(object_id))
    if row is None:
        # As Django's own view answers.
        missing: HttpResponseBase = model_admin._get_obj_does_not_exist_redirect(
            request, model_admin.opts, object_id
        )
        return missing
    if not model_admin.has_view_or_change_permission(request, row):
        raise PermissionDenied
    events: Any = []
    if reaches_rows():
        events = AuditEvent.objects.for_target(row).order_by("-occurred_at", "-pk")
    page = model_admin.get_paginator(request, events, 100).get_page(
        request.GET.get(PAGE_VAR, 1)
    )
    return TemplateResponse(
        request,
        model_admin.object_history_template or TEMPLATE,
        {
            **model_admin.admin_site.each_context(request),
            "title": _("Change history: %s") % row,
            "subtitle": None,
            "entries": describe_events(page.object_list, viewer=request.user),
            "page": page,
            "page_var": PAGE_VAR,
            "module_name": str(capfirst(model_admin.opts.verbose_name_plural)),
            "object": row,
            "opts": model_admin.opts,
            "preserved_filters": model_admin.get_preserved_filters(request),
            **(extra_context or {}),
        },
    )
