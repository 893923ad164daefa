"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""

user_banned = Signal()
"""Sent when a ban is committed; ``user`` is the one who is kept out."""

user_ban_lifted = Signal()
"""Sent when the end of a ban is committed; ``user`` is the one who may come back."""

impersonation_started = Signal()
"""Sent once a superuser acts in another's name; ``request``, ``user`` (in whose name),
``impersonator`` (the superuser), ``reason`` (str)."""

impersonation_stopped = Signal()
"""Sent once that has ended; ``request``, ``user`` and ``impersonator``."""
