"""What templates know of the organization: "tenancy.context_processors.tenancy"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from tenancy.context import LookUp, look_up
from tenancy.models import Membership
from tenancy.visits import Visit, require_visit


def tenancy(request: HttpRequest) -> dict[str, Callable[[], Any]]:
    """Return ``organization``, ``membership``, and the user's ``organizations``.

    Each is found when the template asks for it. The last are the active ones of which
    the user is a live member, by name.
    """
    visit = require_visit(request)
    found: list[list[Any]] = []

    def organizations() -> list[Any]:
        if not found:
            found.append(_find_organizations(visit))
        return found[0]

    return {
        "organization": lambda: visit.membership and visit.membership.organization,
        "membership": lambda: visit.membership,
        "organizations": organizations,
    }


def _find_organizations(visit: Visit) -> list[Any]:
    if not visit.user.is_authenticated:
        return []
    with look_up(LookUp.SESSION):
        rows = Membership.objects.live().filter(
            user=visit.user.pk, organization__status="active"
        )
        rows = rows.select_related("organization").order_by("organization__name")
        return [membership.organization for membership in rows]
