"""The admin of tenant rows: each page shows what its scope holds, and no more."""

from __future__ import annotations

from tenancy.admin import registrations as registrations
from tenancy.admin.base import (
    RefusingAdmin,
    ScopedAdmin,
    TenantAdmin,
    is_unscoped,
    pickable_users,
    reaches_rows,
)
from tenancy.admin.members import MembershipAdmin
from tenancy.admin.organizations import OrganizationAdmin
from tenancy.admin.roles import RoleAdmin
from tenancy.admin.trail import SystemEventAdmin
from tenancy.admin.users import UserAdmin

__all__ = [
    "MembershipAdmin",
    "OrganizationAdmin",
    "RefusingAdmin",
    "RoleAdmin",
    "ScopedAdmin",
    "SystemEventAdmin",
    "TenantAdmin",
    "UserAdmin",
    "is_unscoped",
    "pickable_users",
    "reaches_rows",
]
