"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""

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
