"""What differs between databases, one folder a vendor."""

from __future__ import annotations

from tenancy.backends.base import Backend, get_backend

__all__ = ["Backend", "get_backend"]
