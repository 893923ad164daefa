"""Deleting a user, who is a member of any number of organizations."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db.models import Model, Q

from tenancy.context import LookUp, current_scope, look_up
from tenancy.exceptions import CrossOrganization, LastOwner
from tenancy.origin import refuse_impersonator
from tenancy.signals import user_erased
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

Key = Any  # A primary key: a UUID or an int, by the user model.


@verb
def erase_user(user: Model, *, reason: str) -> None:
    """Delete a user across organizations, with what is personal about them.

    Their memberships, sessions, accounts and verifications go. Invitations lose their
    name and address. The audit trails keep what they did, by a key that leads nowhere.

    Args:
        user (AbstractBaseUser): a user of any model.
        reason (str): why, for the record that stays.
    Raises:
        LastOwner: an organization would be left without an owner.
        CrossOrganization: an organization's scope is active.
        ImpersonationRefused: somebody acts in another's name.
        ValueError: the reason is blank, or the user is not saved.
        User.DoesNotExist: the user is gone already.
    """
    _refuse(user, reason)
    alias, key = find_alias(user), user.pk
    acting = current_scope()
    with look_up(LookUp.ERASURE):
        take_locks(alias, users=[key])
        rows = type(user)._base_manager.using(alias)
        # The row, too: who signs in or invites refers to it, and takes no lock.
        stored = rows.select_for_update().get(pk=key)
        # Nobody adds a membership of theirs now: that takes the same lock.
        memberships = _rows("Membership", alias).filter(user=key)
        take_locks(
            alias,
            organizations=set(memberships.values_list("organization", flat=True)),
        )
        _require_other_owners(memberships.filter(ended_at__isnull=True), alias, key)
        trail: Any = apps.get_model("tenancy", "AuditEvent")
        for membership in memberships:
            trail.objects.db_manager(alias).record_as(
                acting, "membership.erased", membership
            )
        memberships.delete()
        _forget_names(stored, alias)
        system: Any = apps.get_model("tenancy", "SystemEvent")
        system.objects.db_manager(alias).record_as(
            acting, "user.erased", user, reason=reason
        )
        stored.delete(using=alias)
        _rows("Lock", alias).filter(name=f"user:{key}").delete()
    send_on_commit(user_erased, type(user), using=alias, key=key)


async def aerase_user(user: Model, *, reason: str) -> None:
    """See erase_user()."""
    await sync_to_async(erase_user)(user, reason=reason)


def _refuse(user: Model, reason: str) -> None:
    refuse_impersonator("The user")
    if not reason.strip():
        raise ValueError(
            f"tenancy.erasure.erase_user() was given the reason {reason!r}. Say in "
            "words why."
        )
    if user.pk is None:
        raise ValueError(
            "tenancy.erasure.erase_user() was given a user that is not saved. Pass one "
            "that exists."
        )
    scope = current_scope()
    if scope is not None and scope.organization_id is not None:
        raise CrossOrganization(
            "tenancy.erasure.erase_user() was called in the scope of an organization, "
            "and reaches all those of the user. Say tenancy.unscoped(reason) around it."
        )


def _rows(name: str, alias: str) -> Any:  # The models stand beside this file.
    return apps.get_model("tenancy", name)._default_manager.using(alias)


def _require_other_owners(live: Any, alias: str, key: Key) -> None:
    """Refuse to leave an organization without an owner.

    How many is all that is said: which ones is those organizations' own.
    """
    owned = set(live.filter(role__key="owner").values_list("organization", flat=True))
    others = _rows("Membership", alias).filter(
        organization__in=owned, role__key="owner", ended_at__isnull=True
    )
    kept = set(others.exclude(user=key).values_list("organization", flat=True))
    count = len(owned - kept)
    if count:
        what = "an organization" if count == 1 else f"{count} organizations"
        raise LastOwner(
            f"The user is the last owner of {what}. Transfer the ownership, or delete "
            "what has no other member, first."
        )


def _forget_names(user: Any, alias: str) -> None:
    """Take the user's name and address out of what stays."""
    invitations = _rows("Invitation", alias)
    invitations.filter(invited_by=user.pk).update(invited_by_name="")
    invitations.filter(answered_by=user.pk).update(answered_by_name="")
    identifiers = {str(user.pk)}
    name = getattr(type(user), "EMAIL_FIELD", "") or ""
    address = str(getattr(user, name, None) or "").strip().lower() if name else ""
    if address:
        identifiers.add(address)
        invitations.filter(~Q(status="pending"), email=address).update(email=None)
    _rows("Verification", alias).filter(identifier__in=identifiers).delete()
