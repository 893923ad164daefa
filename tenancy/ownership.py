"""Never ownerless: whoever takes a member away is held to leave an owner.

The organization's lock is taken before the owners are counted, and they are counted
again after the write. What is counted is live memberships with the built-in role
"owner", not active users: a fraudulent owner can be banned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import QuerySet

from tenancy import conf
from tenancy.exceptions import LastOwner
from tenancy.transactions import take_locks

Key = Any  # A primary key: a UUID or an int, by the organization model.

OWNER = "owner"
"""The key of the built-in role that makes a member an owner."""


@contextmanager
def keep_owners(alias: str, organizations: Iterable[Key]) -> Iterator[None]:
    """Run a write in a transaction that leaves an owner where there was one.

    Args:
        alias (str): the database.
        organizations (Iterable[key]): whose members are written.
    Raises:
        LastOwner: an organization that had an owner has none after the write.
    """
    keys = set(organizations)
    with transaction.atomic(using=alias):
        owned = lock_owned(alias, keys)
        yield
        require_owned(alias, owned)


def lock_owned(alias: str, organizations: set[Key]) -> set[Key]:
    """Lock organizations, and return those of them that have an owner."""
    take_locks(alias, organizations=organizations)
    return find_owned(alias, organizations)


def require_owned(alias: str, organizations: set[Key]) -> None:
    """Refuse a write after which an organization has no owner.

    Raises:
        LastOwner: one of them has none.
    """
    if organizations - find_owned(alias, organizations):
        raise LastOwner(
            "The organization would be left without an owner. Make another member an "
            "owner first, with membership.transfer_ownership(to=...) or "
            "change_role('owner')."
        )


def find_owned(alias: str, organizations: set[Key]) -> set[Key]:
    """Return those of the organizations that have a live owner."""
    if not organizations:
        return set()
    memberships: Any = apps.get_model("tenancy", "Membership")._base_manager
    owners = memberships.using(alias).filter(
        organization__in=organizations, ended_at__isnull=True, role__key=OWNER
    )
    return set(owners.order_by().values_list("organization", flat=True).distinct())


def is_of_organization(origin: Any) -> bool:
    """Return whether a deletion began at organizations: its ``origin`` in signals."""
    model = origin.model if isinstance(origin, QuerySet) else type(origin)
    return issubclass(model, apps.get_model(conf.organization_model()))
