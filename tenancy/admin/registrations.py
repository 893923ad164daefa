"""Which admin each model has, on the default site."""

from __future__ import annotations

from django.contrib import admin

from tenancy.admin.accounts import AccountAdmin, VerificationAdmin
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
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Membership,
    Organization,
    OrganizationSlug,
    Plan,
    Purchase,
    Role,
    Session,
    Subscription,
    SystemEvent,
    Team,
    User,
    Verification,
)

# A model that another one takes the place of is not registered.
admin.site.register(User, UserAdmin)
admin.site.register(Organization, OrganizationAdmin)
admin.site.register(OrganizationSlug, OrganizationSlugAdmin)
admin.site.register(Membership, MembershipAdmin)
admin.site.register(Role, RoleAdmin)
admin.site.register(Team, TeamAdmin)
admin.site.register(Domain, DomainAdmin)
admin.site.register(Invitation, InvitationAdmin)
admin.site.register(Session, SessionAdmin)
admin.site.register(Account, AccountAdmin)
admin.site.register(Verification, VerificationAdmin)
admin.site.register(Plan, PlanAdmin)
admin.site.register(Subscription, SubscriptionAdmin)
admin.site.register(Purchase, PurchaseAdmin)
admin.site.register(BillingEvent, BillingEventAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
admin.site.register(SystemEvent, SystemEventAdmin)
