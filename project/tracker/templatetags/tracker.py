from __future__ import annotations

import zlib
from typing import Any

from django import template

from tenancy import scope
from tenancy.models import Organization

register = template.Library()

ACCENTS = 6


@register.simple_tag(takes_context=True)
def own_organizations(context: Any) -> list[Organization]:
    """Return the user's active organizations, which the scope of the user alone has."""
    with scope(user=context["request"].user):
        return list(Organization.objects.filter(status="active"))


@register.filter
def accent(organization: Organization | None) -> int:
    """Return the number of the organization's colour, by which pages differ."""
    if organization is None:
        return 0
    return zlib.crc32(organization.name.encode()) % ACCENTS + 1


@register.filter
def initials(name: str) -> str:
    """Return the initials of a name, or of an address."""
    words = name.replace("@", " ").replace(".", " ").split()
    return "".join(word[0] for word in words[:2]).upper()
