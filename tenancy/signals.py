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
