"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""

# Accounts and users.

account_linked = Signal()
"""Sent when an account is linked, or linked again; ``account``, ``is_new`` (bool)."""

account_unlinked = Signal()
"""Sent when an account is unlinked; ``account``, which is deleted."""

email_changed = Signal()
"""Sent when a user's address has changed; ``user``, ``previous`` (str)."""

email_verified = Signal()
"""Sent when a user has verified their address; ``user``."""
# Of invitations. None of them carries the token, which only the caller gets.

invitation_sent = Signal()
"""Sent when somebody is invited; ``invitation`` (Invitation)."""

invitation_renewed = Signal()
"""Sent when a pending invitation got another token; ``invitation`` (Invitation)."""

invitation_revoked = Signal()
"""Sent when an invitation is taken back; ``invitation`` (Invitation)."""

invitation_accepted = Signal()
"""Sent when somebody accepts; ``invitation`` and ``membership`` (Membership)."""

invitation_declined = Signal()
"""Sent when an invitation is turned down; ``invitation`` (Invitation)."""
subscription_started = Signal()
"""Sent when a subscription is started; ``subscription``."""

subscription_changed = Signal()
"""Sent when a live subscription has changed; ``subscription``."""

subscription_ended = Signal()
"""Sent when a subscription has ended; ``subscription``."""

purchase_recorded = Signal()
"""Sent when a purchase is recorded, once for each; ``purchase``."""

billing_event_applied = Signal()
"""Sent when a provider's event has changed the state; ``billing_event``."""
# Of organizations and erased users.

organization_created = Signal()
"""Sent when an organization was made; ``organization``, and ``owner`` (the user)."""

organization_suspended = Signal()
"""Sent when an organization was suspended; ``organization``, ``reason`` (str)."""

organization_reactivated = Signal()
"""Sent when a suspended organization was made active again; ``organization``."""

organization_archived = Signal()
"""Sent when an organization was archived; ``organization``."""

organization_restored = Signal()
"""Sent when an archived organization was restored; ``organization``."""

organization_deleted = Signal()
"""Sent when an organization was deleted; its ``key`` and its ``slug``."""

user_erased = Signal()
"""Sent when a user was erased by erase_user(); the ``key`` they had."""
# Members

member_added = Signal()
"""Sent when a user became a member, for the first time or again; ``membership``."""

member_ended = Signal()
"""Sent when a member left or was removed; ``membership``."""

role_changed = Signal()
"""Sent when a member got another role; ``membership``, ``before`` (Role)."""

ownership_transferred = Signal()
"""Sent when an owner handed over; ``membership``, now an admin's, ``to``, an owner's.

role_changed is not sent for the two.
"""

team_joined = Signal()
"""Sent when a member was put into a team; ``team``, ``membership``."""

team_left = Signal()
"""Sent when a member was taken out of a team that stays; ``team``, ``membership``.

Not where the membership ended, which sends member_ended.
"""

# Domains

domain_added = Signal()
"""Sent when an organization has named a domain, not verified yet; ``domain``."""

domain_verified = Signal()
"""Sent when a domain was verified; ``domain``."""

domain_failing = Signal()
"""Sent when a verified domain's record is found missing or wrong, once; ``domain``."""

domain_withdrawn = Signal()
"""Sent when a domain's verification was withdrawn; ``domain``, which stays."""

domain_removed = Signal()
"""Sent when a domain was removed; ``domain``, which is deleted."""

user_banned = Signal()
"""Sent when a ban is committed; ``user`` is the one who is kept out."""

user_ban_lifted = Signal()
"""Sent when the end of a ban is committed; ``user`` is the one who may come back."""

impersonation_started = Signal()
"""Sent once a superuser acts in another's name; ``request``, ``user`` (in whose name),
``impersonator`` (the superuser), ``reason`` (str)."""

impersonation_stopped = Signal()
"""Sent once that has ended; ``request``, ``user`` and ``impersonator``."""
