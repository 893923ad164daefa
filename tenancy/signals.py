"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""

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
