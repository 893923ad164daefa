"""The nouns, one a file."""

from __future__ import annotations

from tenancy.models.account import Account
from tenancy.models.audit_event import AuditEvent
from tenancy.models.billing_customer import aset_billing_customer, set_billing_customer
from tenancy.models.billing_event import BillingEvent
from tenancy.models.domain import Domain
from tenancy.models.invitation import Invitation
from tenancy.models.lock import Lock
from tenancy.models.membership import Membership
from tenancy.models.organization import (
    AbstractOrganization,
    Organization,
    OrganizationManager,
)
from tenancy.models.organization_slug import OrganizationSlug
from tenancy.models.ownership import Ownership
from tenancy.models.plan import Plan
from tenancy.models.purchase import Purchase
from tenancy.models.role import Role
from tenancy.models.session import Session
from tenancy.models.stamped_model import StampedModel
from tenancy.models.subscription import Subscription
from tenancy.models.system_event import SystemEvent
from tenancy.models.team import Team
from tenancy.models.team_membership import TeamMembership
from tenancy.models.tenant_model import TenantModel
from tenancy.models.user import AbstractUser, User, UserManager
from tenancy.models.verification import Verification

__all__ = [
    "AbstractOrganization",
    "AbstractUser",
    "Account",
    "AuditEvent",
    "BillingEvent",
    "Domain",
    "Invitation",
    "Lock",
    "Membership",
    "Organization",
    "OrganizationManager",
    "OrganizationSlug",
    "Ownership",
    "Plan",
    "Purchase",
    "Role",
    "Session",
    "StampedModel",
    "Subscription",
    "SystemEvent",
    "Team",
    "TeamMembership",
    "TenantModel",
    "User",
    "UserManager",
    "Verification",
    "aset_billing_customer",
    "set_billing_customer",
]
