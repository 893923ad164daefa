"""Organizations that share one database and cannot see each other."""

from __future__ import annotations

from tenancy.connections import raw
from tenancy.context import (
    Scope,
    bind,
    current_scope,
    require_organization,
    scope,
    unscoped,
)

__all__ = [
    "Scope",
    "bind",
    "current_scope",
    "raw",
    "require_organization",
    "scope",
    "unscoped",
]
