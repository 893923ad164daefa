"""Forms that carry the organization they were made in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.response import SimpleTemplateResponse

from tenancy.context import current_scope

FIELD_NAME = "tenancy_organization"
"""The name of the hidden field that carries the organization."""

SCOPE_FIELD_NAME = "tenancy_scope"
"""The name of the hidden field of the admin's forms, whose superusers have a scope of
their own: of whichever organization, or of all of them."""

CHANGED_TEMPLATE = "tenancy/changed_organization.html"

_SALT = "tenancy.provenance"
_EVERY = "*"

# As Django's tag writes it.
_TOKEN = re.compile(rb'<input type="hidden" name="csrfmiddlewaretoken" value="[^"]*">')


class OrganizationFormMixin(forms.Form):
    """A form that carries the active organization in a hidden field.

    Mix it into a Form or ModelForm. TenancyMiddleware answers a form that is posted in
    another organization with a page that says so, before the view.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whatever the prefix, it is found by the middleware; and it is no value of the
        # form's, which would stand in cleaned_data.
        self.fields[FIELD_NAME] = _OrganizationField()

    def add_prefix(self, field_name: str) -> str:
        """Return the name of a field in the page."""
        if field_name == FIELD_NAME:
            return field_name
        return super().add_prefix(field_name)

    def get_initial_for_field(self, field: forms.Field, field_name: str) -> Any:
        """Return the value that a field begins with."""
        if field_name == FIELD_NAME:
            return sign_organization()
        return super().get_initial_for_field(field, field_name)

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]  # django-stubs leaves it out
        self.cleaned_data.pop(FIELD_NAME, None)


class _OrganizationField(forms.CharField):
    """The hidden field; a form that is shown again keeps what it was made in."""

    def __init__(self) -> None:
        super().__init__(required=False, widget=forms.HiddenInput)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


def sign_organization() -> str:
    """Return the active organization's key, signed; empty where none is active."""
    active = current_scope()
    if active is None or active.organization_id is None:
        return ""
    return _sign(str(active.organization_id))


def is_of_active_organization(request: HttpRequest, organization: Any) -> bool:
    """Return whether a posted form was made in an organization, or says nothing.

    Args:
        request (HttpRequest): whose form is read.
        organization (AbstractOrganization | None): in which the request acts.
    """
    values = [value for value in request.POST.getlist(FIELD_NAME) if value]
    return _are_signed(values, None if organization is None else str(organization.pk))


def is_form(request: HttpRequest) -> bool:
    """Return whether a form is posted."""
    return request.method == "POST" and request.content_type in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    )


def answer_changed(
    request: HttpRequest,
    organization: Any,
    *,
    archived: Any = None,
    is_over_all: bool = False,
) -> HttpResponse:
    """Return the page that answers a form which was made in another organization.

    Args:
        request (HttpRequest): whose form is refused.
        organization (AbstractOrganization | None): in which the request acts.
        archived (AbstractOrganization | None): in which it would act.
        is_over_all (bool): whether it acts in all of them.
    """
    context = {
        "organization": organization,
        "archived": archived,
        "is_over_all": is_over_all,
        "back_url": request.get_full_path(),
    }
    return render(request, CHANGED_TEMPLATE, context, status=409)


def carry_scope(response: HttpResponseBase) -> HttpResponseBase:
    """Put the active scope into the forms of a page, each beside its CSRF token.

    Each form of the admin and of a project's own pages there has a token, and Django's
    templates that ask before a deletion have no block in which a field could be added.
    """
    field = forms.HiddenInput().render(SCOPE_FIELD_NAME, _sign(_name_scope()))

    def put(page: HttpResponse) -> None:
        if page.headers.get("Content-Type", "").startswith("text/html"):
            page.content = _TOKEN.sub(rb"\g<0>" + field.encode(), page.content)

    if isinstance(response, SimpleTemplateResponse):
        # At once, if it is rendered.
        response.add_post_render_callback(put)
    elif isinstance(response, HttpResponse):
        put(response)
    return response


def is_of_active_scope(request: HttpRequest) -> bool:
    """Return whether a form was made in the active scope, or says nothing."""
    return _are_signed(request.POST.getlist(SCOPE_FIELD_NAME), _name_scope())


def _name_scope() -> str:
    active = current_scope()
    if active is None:
        return ""
    if active.organization_id is not None:
        return str(active.organization_id)
    return _EVERY if active.is_unscoped else ""


def _sign(name: str) -> str:
    return Signer(salt=_SALT).sign(name)


def _are_signed(values: Iterable[str], expected: str | None) -> bool:
    """Return whether each is of the scope: a second one does not hide the first."""
    try:
        return all(Signer(salt=_SALT).unsign(one) == expected for one in values)
    except BadSignature:
        return False
