"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""

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
