from __future__ import annotations

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404, resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _

from tenancy.forms import MemberRoleForm, list_members, list_roles, name_user
from tenancy.models import Membership
from tenancy.views.access import (
    INVITE,
    ChangeView,
    MemberView,
    PageView,
    require_valid,
)

CHANGE = "tenancy.change_membership"
REMOVE = "tenancy.delete_membership"


class MemberListView(MemberView, PageView):
    """The organization's members, with what the one who looks may do."""

    template_name = "tenancy/member_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the members, and the roles that can be given."""
        own = self.request.membership
        return super().get_context_data(
            members=list_members(),
            roles=list_roles(own) if own.has_perm(CHANGE) else [],
            may_remove=own.has_perm(REMOVE),
            may_invite=own.has_perm(INVITE),
            **kwargs,
        )


class MemberChangeView(MemberView, ChangeView):
    """Changes one live membership of the scope."""

    def find_member(self, pk: Any) -> Membership:
        """Return the membership.

        Raises:
            Http404: the scope has no live one of that key.
        """
        member: Membership = get_object_or_404(list_members(), pk=pk)
        return member

    def get_success_url(self) -> str:
        """Show the list."""
        return reverse("tenancy:member-list")


class RoleView(MemberChangeView):
    """Gives a member another role."""

    permission = CHANGE

    def change(self, **kwargs: Any) -> str:
        """Change the role."""
        member = self.find_member(kwargs["pk"])
        form = MemberRoleForm(self.request.POST, membership=self.request.membership)
        role = require_valid(form)["role"]
        member.change_role(role)
        return _("%(name)s has the role “%(role)s” now.") % {
            "name": name_user(member.user),
            "role": role,
        }


class RemoveView(MemberChangeView):
    """Removes a member."""

    permission = REMOVE

    def change(self, **kwargs: Any) -> str:
        """End the membership; one's own is left, by another page."""
        member = self.find_member(kwargs["pk"])
        if member.pk == self.request.membership.pk:
            raise Http404("One's own membership is left, not removed.")
        member.end()
        return _("%(name)s is no member any more.") % {"name": name_user(member.user)}


class LeaveView(MemberView, ChangeView):
    """Ends the membership of who asks."""

    has_left = False

    def change(self, **kwargs: Any) -> str:
        """Leave."""
        # Found anew: the request's own goes on to say who asked.
        get_object_or_404(Membership, pk=self.request.membership.pk).end()
        self.has_left = True
        return _("You have left %(organization)s.") % {
            "organization": self.request.organization
        }

    def get_success_url(self) -> str:
        """Show the other organizations; the members where somebody had to stay."""
        page = "organization-list" if self.has_left else "member-list"
        return resolve_url(f"tenancy:{page}")
