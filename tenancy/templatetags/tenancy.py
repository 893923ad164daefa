from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings
from django.forms import HiddenInput
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.safestring import SafeString

from tenancy.provenance import FIELD_NAME, sign_organization
from tenancy.visits import require_visit

register = template.Library()


@register.filter
def has_role(membership: Any, keys: str) -> bool:
    """Return whether a member has one of some roles: "owner,admin".

    Args:
        membership (Membership | None): None has none.
        keys (str): of roles, with commas between them.
    """
    if not membership:
        return False
    wanted = {key.strip() for key in keys.split(",")}
    return membership.is_live and membership.role.key in wanted


@register.filter
def has_permission(membership: Any, permission: str) -> bool:
    """Return whether a member may do something: "app_label.codename".

    Args:
        membership (Membership | None): None may nothing.
        permission (str): what.
    """
    return bool(membership) and membership.has_perm(permission)


@register.simple_tag(takes_context=True)
def organization_url(
    context: Any, organization: Any, view_name: str, *args: Any, **kwargs: Any
) -> str:
    """Return the address of a page in an organization.

    It is on the organization's host or under its path, by the first resolver of
    TENANCY_RESOLVERS that can tell; where none can, it is the page's plain address.

    Args:
        organization (AbstractOrganization): any of the user's.
        view_name (str): as for the tag "url", with the arguments that follow.
    Raises:
        NoReverseMatch: there is no such page.
    """
    visit = require_visit(context["request"])
    return visit.build_url(
        organization.slug, lambda: reverse(view_name, args=args, kwargs=kwargs)
    )


@register.simple_tag
def home_url() -> str:
    """Return the address of LOGIN_REDIRECT_URL, where the project's own pages begin."""
    return resolve_url(settings.LOGIN_REDIRECT_URL)


@register.simple_tag
def organization_field() -> str:
    """Return the hidden field of a form, which tells the organization it was made in.

    TenancyMiddleware answers a form that is posted in another one with a page that says
    so. For forms that do not derive from tenancy.provenance.OrganizationFormMixin.
    """
    field: SafeString = HiddenInput().render(FIELD_NAME, sign_organization())
    return field
