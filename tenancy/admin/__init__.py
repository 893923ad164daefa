"""The admin of tenant rows: each page shows what its scope holds, and no more."""

from __future__ import annotations

from tenancy.admin import registrations as registrations
from tenancy.admin.accounts import AccountAdmin, VerificationAdmin
from tenancy.admin.actions import ActingAdmin, ActionForm, RowAction
from tenancy.admin.base import (
    ReadOnlyAdmin,
    RefusingAdmin,
    ScopedAdmin,
    SuperuserAdmin,
    TenantAdmin,
    TenantStackedInline,
    TenantTabularInline,
    is_unscoped,
    pickable_users,
)
from tenancy.admin.billing import (
    BillingEventAdmin,
    PlanAdmin,
    PurchaseAdmin,
    SubscriptionAdmin,
)
from tenancy.admin.domains import DomainAdmin
from tenancy.admin.invitations import InvitationAdmin
from tenancy.admin.members import MembershipAdmin
from tenancy.admin.organizations import OrganizationAdmin, OrganizationSlugAdmin
from tenancy.admin.roles import RoleAdmin
from tenancy.admin.sessions import SessionAdmin
from tenancy.admin.teams import TeamAdmin
from tenancy.admin.trail import AuditEventAdmin, SystemEventAdmin
from tenancy.admin.users import UserAdmin
from tenancy.context import reaches_rows

__all__ = [
    "AccountAdmin",
    "ActingAdmin",
    "ActionForm",
    "AuditEventAdmin",
    "BillingEventAdmin",
    "DomainAdmin",
    "InvitationAdmin",
    "MembershipAdmin",
    "OrganizationAdmin",
    "OrganizationSlugAdmin",
    "PlanAdmin",
    "PurchaseAdmin",
    "ReadOnlyAdmin",
    "RefusingAdmin",
    "RoleAdmin",
    "RowAction",
    "ScopedAdmin",
    "SessionAdmin",
    "SubscriptionAdmin",
    "SuperuserAdmin",
    "SystemEventAdmin",
    "TeamAdmin",
    "TenantAdmin",
    "TenantStackedInline",
    "TenantTabularInline",
    "UserAdmin",
    "VerificationAdmin",
    "is_unscoped",
    "pickable_users",
    "reaches_rows",
]
