"""Which admin each model has, on the default site."""

from __future__ import annotations

from django.contrib import admin

from tenancy.admin.members import MembershipAdmin
from tenancy.admin.organizations import OrganizationAdmin
from tenancy.admin.roles import RoleAdmin
from tenancy.admin.trail import SystemEventAdmin
from tenancy.admin.users import UserAdmin
from tenancy.models import Membership, Organization, Role, SystemEvent, User

# A model that another one takes the place of is not registered.
admin.site.register(User, UserAdmin)
admin.site.register(Organization, OrganizationAdmin)
admin.site.register(Membership, MembershipAdmin)
admin.site.register(Role, RoleAdmin)
admin.site.register(SystemEvent, SystemEventAdmin)
