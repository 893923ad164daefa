"""Never ownerless: whoever takes a member away is held to leave an owner.

The database keeps one live owner of each organization: an Ownership names them, and
composite keys hold what it names. What writes memberships here takes the organization's
lock, lets go of an owner whom it may take away, and names another one after the write.
A write that reaches no named owner costs one look at the name.

An owner is a live membership with the built-in role "owner", not an active user: a
fraudulent owner can be banned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from django.apps import apps
from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet

from tenancy import conf
from tenancy.exceptions import CrossOrganization, LastOwner
from tenancy.transactions import deleting, take_locks

Key = Any  # A primary key: a UUID or an int, by the organization model.

OWNER = "owner"
"""The key of the built-in role that makes a member an owner."""


@contextmanager
def keep_owners(
    alias: str,
    organizations: Iterable[Key],
    find_members: Callable[[], Collection[Key]],
) -> Iterator[Collection[Key]]:
    """Run a write in a transaction that leaves an owner where there was one.

    Args:
        alias (str): the database.
        organizations (Iterable[key]): whose members are written.
        find_members (Callable): gives the keys of the memberships that are written;
            called when the lock is held.
    Yields:
        Collection[key]: what find_members() gave.
    Raises:
        LastOwner: an organization that had an owner has none after the write.
    """
    keys = set(organizations)
    with transaction.atomic(using=alias):
        take_locks(alias, organizations=keys)
        named = find_named(alias, keys)
        members = find_members()
        loose = {key for key, membership in named.items() if membership in members}
        unnamed = keys - named.keys()
        owned = loose | find_owners(alias, unnamed).keys()
        if loose:
            with deleting(alias):
                _ownerships(alias).filter(organization__in=loose).delete()
        yield members
        name_owners(alias, loose | unnamed, owned=owned)


def lock_owned(alias: str, organizations: set[Key]) -> set[Key]:
    """Lock organizations, and return those of them that have an owner."""
    take_locks(alias, organizations=organizations)
    named = find_named(alias, organizations).keys()
    return named | find_owners(alias, organizations - named).keys()


def require_owned(alias: str, organizations: set[Key]) -> None:
    """Refuse a write after which an organization has no owner, and name one again.

    Raises:
        LastOwner: one of them has none.
    """
    if organizations:
        unnamed = organizations - find_named(alias, organizations).keys()
        name_owners(alias, unnamed, owned=unnamed)


def name_owners(
    alias: str, organizations: Collection[Key], *, owned: Collection[Key] = ()
) -> None:
    """Have the database keep a live owner of each organization that has one.

    An owner who is named already stays it.

    Args:
        owned (Collection[key]): those of the organizations that are to have one.
    Raises:
        LastOwner: one of these has none, or lost them while this was written.
    """
    found = find_owners(alias, organizations)
    if not found.keys() >= set(owned):
        raise _last_owner()
    if not found:
        return
    # MySQL and MariaDB look at every unique key, and take no list.
    takes_names = connections[alias].features.supports_update_conflicts_with_target
    model = apps.get_model("tenancy", "Ownership")
    rows = [
        model(
            id=_make_id(organization),
            organization_id=organization,
            membership_id=membership,
            role_id=role,
        )
        for organization, (membership, role) in found.items()
    ]
    try:
        _ownerships(alias).bulk_create(
            rows,
            update_conflicts=True,
            update_fields=["key"],
            unique_fields=["organization"] if takes_names else None,
        )
    except (IntegrityError, CrossOrganization) as error:
        # Raw SQL, which takes no lock, took the owner away meanwhile. SQLite does not
        # tell which key it was, so that in a scope it may be another organization's.
        raise _last_owner() from error


def find_named(alias: str, organizations: Collection[Key]) -> dict[Key, Key]:
    """Return the memberships that the database keeps, by organization."""
    if not organizations:
        return {}
    rows = _ownerships(alias).filter(organization__in=organizations).order_by()
    return dict(rows.values_list("organization", "membership"))


def find_owners(
    alias: str, organizations: Collection[Key]
) -> dict[Key, tuple[Key, Key]]:
    """Return a live owner's membership and role, by organization that has one."""
    if not organizations:
        return {}
    memberships: Any = apps.get_model("tenancy", "Membership")._base_manager
    rows = memberships.using(alias).filter(
        organization__in=organizations, ended_at__isnull=True, role__key=OWNER
    )
    # The first of them: who founded it, as a rule.
    rows = rows.order_by("-created_at", "-pk").values_list("organization", "pk", "role")
    return {organization: (key, role) for organization, key, role in rows}


def is_of_organization(origin: Any) -> bool:
    """Return whether a deletion began at organizations: its ``origin`` in signals."""
    model = origin.model if isinstance(origin, QuerySet) else type(origin)
    return issubclass(model, apps.get_model(conf.organization_model()))


def _ownerships(alias: str) -> Any:  # The model stands above this file.
    return apps.get_model("tenancy", "Ownership")._base_manager.using(alias)


def _make_id(organization: Key) -> UUID:
    """Return the key of an organization's row: the same in each dump of it."""
    return uuid5(NAMESPACE_OID, f"tenancy.ownership.{organization}")


def _last_owner() -> LastOwner:
    return LastOwner(
        "The organization would be left without an owner. Make another member an "
        "owner first, with membership.transfer_ownership(to=...) or "
        "change_role('owner')."
    )
