"""Forms that carry the organization they were made in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest

from tenancy.context import current_scope

FIELD_NAME = "tenancy_organization"
"""The name of the hidden field that carries the organization."""

_SALT = "tenancy.provenance"


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
    return Signer(salt=_SALT).sign(str(active.organization_id))


def is_of_active_organization(request: HttpRequest, organization: Any) -> bool:
    """Return whether a posted form was made in an organization, or says nothing.

    Args:
        request (HttpRequest): whose form is read.
        organization (AbstractOrganization | None): in which the request acts.
    """
    # getlist(): a second value does not hide the first.
    values = [value for value in request.POST.getlist(FIELD_NAME) if value]
    expected = None if organization is None else str(organization.pk)
    try:
        return all(Signer(salt=_SALT).unsign(one) == expected for one in values)
    except BadSignature:
        return False
