"""The signals that the package sends."""

from __future__ import annotations

from django.dispatch import Signal

unscoped_entered = Signal()
"""Sent when tenancy.unscoped() is entered; ``reason`` (str) is what was said."""
