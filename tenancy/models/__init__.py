"""The nouns, one a file."""

from __future__ import annotations

from tenancy.models.membership import Membership
from tenancy.models.organization import (
    AbstractOrganization,
    Organization,
    OrganizationManager,
)
from tenancy.models.role import Role
from tenancy.models.tenant_model import TenantModel
from tenancy.models.user import AbstractUser, User, UserManager

__all__ = [
    "AbstractOrganization",
    "AbstractUser",
    "Membership",
    "Organization",
    "OrganizationManager",
    "Role",
    "TenantModel",
    "User",
    "UserManager",
]
