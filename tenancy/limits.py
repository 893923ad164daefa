"""How many members, invitations, teams and organizations there may be.

Who asks holds the lock of what is counted (transactions.take_locks()) until the new
row is committed: only so does a limit hold under concurrency.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from tenancy import conf
from tenancy.context import LookUp, look_up
from tenancy.exceptions import (
    InvitationLimitReached,
    LimitReached,
    OrganizationLimitReached,
    SeatLimitReached,
    TeamLimitReached,
)

Key = Any  # A primary key: a UUID or an int, by the organization model.


def find_limit(name: str, organization_id: Key, *, using: str) -> int | None:
    """Return how many of a kind an organization may have.

    The least of its live subscriptions' plans that state a limit of the name; the
    setting TENANCY_LIMITS where none does.

    Args:
        name (str): "members", "invitations", "teams", or a name of the project's own.
        organization_id (key): the organization.
        using (str): the database.
    Returns:
        int | None: None for no limit.
    Raises:
        ImproperlyConfigured: a plan's limit is no whole number, which another client
            has written.
    """
    return find_limits([name], organization_id, using=using)[name]


def find_limits(
    names: Iterable[str], organization_id: Key, *, using: str
) -> dict[str, int | None]:
    """Return several limits by name, as find_limit() does, by one query.

    Raises:
        ImproperlyConfigured: as find_limit() does.
    """
    subscriptions: Any = apps.get_model("tenancy", "Subscription")._default_manager
    live = subscriptions.using(using).filter(
        organization=organization_id, live_product__isnull=False
    )
    plans = list(live.values_list("plan__limits", flat=True))
    found: dict[str, int | None] = {}
    for name in names:
        read = [_read(each, name) for each in plans]
        stated = [limit for limit in read if limit is not None]
        found[name] = min(stated) if stated else conf.limits().get(name)
    return found


def require_seat(organization_id: Key, *, using: str) -> None:
    """Refuse one more member or invitation than the organization has seats for.

    Raises:
        SeatLimitReached: live members and pending invitations fill the seats.
    """
    limit = find_limit("members", organization_id, using=using)
    if limit is None:
        return
    taken = count_members(organization_id, using=using) + count_invitations(
        organization_id, using=using
    )
    _require_room(
        SeatLimitReached, taken, limit, "Revoke an invitation, or change the plan."
    )


def require_invitation_room(organization_id: Key, *, using: str) -> None:
    """Refuse one more pending invitation than the organization may have.

    Raises:
        InvitationLimitReached: there are as many as the limit allows.
    """
    limit = find_limit("invitations", organization_id, using=using)
    if limit is not None:
        taken = count_invitations(organization_id, using=using)
        _require_room(InvitationLimitReached, taken, limit, "Revoke one of them.")


def require_team_room(organization_id: Key, *, using: str) -> None:
    """Refuse one more team than the organization may have.

    Raises:
        TeamLimitReached: there are as many as the limit allows.
    """
    limit = find_limit("teams", organization_id, using=using)
    if limit is not None:
        teams: Any = apps.get_model("tenancy", "Team")._default_manager
        taken = teams.using(using).filter(organization=organization_id).count()
        _require_room(TeamLimitReached, taken, limit, "Delete one of them.")


def require_organization_room(user_id: Key, *, using: str) -> None:
    """Refuse one more organization than a user may be a member of.

    It counts across organizations, in a look-up of its own.

    Raises:
        OrganizationLimitReached: there are as many as TENANCY_LIMITS allows.
    """
    limit = conf.limits().get("organizations")
    if limit is not None:
        memberships: Any = apps.get_model("tenancy", "Membership")._default_manager
        with look_up(LookUp.ORGANIZATIONS_OF_USER):
            live = memberships.using(using).filter(user=user_id, ended_at__isnull=True)
            taken = live.count()
        _require_room(
            OrganizationLimitReached, taken, limit, "Leave one of them first."
        )


def count_members(organization_id: Key, *, using: str) -> int:
    """Return how many live members an organization has."""
    memberships: Any = apps.get_model("tenancy", "Membership")._default_manager
    live = memberships.using(using).filter(
        organization=organization_id, ended_at__isnull=True
    )
    return int(live.count())


def count_invitations(organization_id: Key, *, using: str) -> int:
    """Return how many invitations of an organization can still be accepted."""
    invitations: Any = apps.get_model("tenancy", "Invitation")._default_manager
    pending = invitations.using(using).filter(
        organization=organization_id, status="pending", expires_at__gt=timezone.now()
    )
    return int(pending.count())


def _read(limits: Any, name: str) -> int | None:  # Any: JSON of any kind.
    """Return the limit of a name; what cannot be read does not count as none."""
    limit = limits.get(name) if isinstance(limits, dict) else limits
    is_whole = isinstance(limit, int) and not isinstance(limit, bool)
    if isinstance(limits, dict) and (limit is None or is_whole):
        return limit
    raise ImproperlyConfigured(
        f"A plan states the limit {name!r} as {limit!r}. Set Plan.limits to an object "
        "of whole numbers by name."
    )


def _require_room(
    refusal: type[LimitReached], taken: int, limit: int, mend: str
) -> None:
    if taken >= limit:
        raise refusal(f"{taken} of {limit} are taken. {mend}", limit)
