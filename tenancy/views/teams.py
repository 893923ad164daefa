from __future__ import annotations

from abc import abstractmethod
from typing import Any

from django.db.models import Count
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from tenancy.forms import TeamForm, TeamMemberForm, list_members, name_user
from tenancy.models import Team
from tenancy.views.access import (
    ChangeView,
    FormPageView,
    MemberView,
    PageView,
    require_valid,
)

ADD = "tenancy.add_team"
CHANGE = "tenancy.change_team"
DELETE = "tenancy.delete_team"


class TeamListView(MemberView, PageView):
    """The organization's teams."""

    template_name = "tenancy/team_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the teams, with the number of their members."""
        teams = Team.objects.annotate(size=Count("team_memberships")).order_by("name")
        may_add = self.request.membership.has_perm(ADD)
        return super().get_context_data(teams=teams, may_add=may_add, **kwargs)


class TeamCreateView(MemberView, FormPageView):
    """The form of a new team."""

    permission = ADD
    form_class = TeamForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the words of the page."""
        return super().get_context_data(
            title=_("New team"),
            submit=_("Create team"),
            cancel=reverse("tenancy:team-list"),
            **kwargs,
        )

    def change(self, form: Any) -> str:
        """Create the team."""
        self.team = Team.objects.create_team(**form.cleaned_data)
        return _("The team “%(team)s” is made.") % {"team": self.team}

    def get_success_url(self) -> str:
        """Show the team."""
        return _url_of(self.team.pk)


class TeamDetailView(MemberView, PageView):
    """A team and its members."""

    template_name = "tenancy/team_detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the team, its members, and who could be one."""
        team = get_object_or_404(Team, pk=self.kwargs["pk"])
        own = self.request.membership
        may_change = own.has_perm(CHANGE)
        return super().get_context_data(
            team=team,
            members=list_members().filter(team_memberships__team=team),
            form=TeamMemberForm(team=team) if may_change else None,
            may_change=may_change,
            may_delete=own.has_perm(DELETE),
            **kwargs,
        )


class TeamChangeView(MemberView, ChangeView):
    """Changes one team of the scope."""

    permission = CHANGE

    def change(self, **kwargs: Any) -> str:
        """Find the team, and change it."""
        self.team = get_object_or_404(Team, pk=kwargs["pk"])
        return self.change_team(**kwargs)

    @abstractmethod
    def change_team(self, **kwargs: Any) -> str:
        """Change the team; return what to tell."""

    def get_success_url(self) -> str:
        """Show the team."""
        return _url_of(self.kwargs["pk"])


class TeamMemberAddView(TeamChangeView):
    """Puts a member into a team."""

    def change_team(self, **kwargs: Any) -> str:
        """Add the member."""
        form = TeamMemberForm(self.request.POST, team=self.team)
        member = require_valid(form)["member"]
        self.team.add(member)
        return _("%(name)s is in the team.") % {"name": name_user(member.user)}


class TeamMemberRemoveView(TeamChangeView):
    """Takes a member out of a team."""

    def change_team(self, **kwargs: Any) -> str:
        """Remove the member."""
        member = get_object_or_404(list_members(), pk=kwargs["member"])
        self.team.remove(member)
        return _("%(name)s is not in the team any more.") % {
            "name": name_user(member.user)
        }


class TeamDeleteView(TeamChangeView):
    """Deletes a team; its members stay in the organization."""

    permission = DELETE

    def change_team(self, **kwargs: Any) -> str:
        """Delete the team."""
        self.team.delete()
        return _("The team “%(team)s” is deleted.") % {"team": self.team}

    def get_success_url(self) -> str:
        """Show the other teams."""
        return reverse("tenancy:team-list")


def _url_of(pk: Any) -> str:
    return reverse("tenancy:team-detail", kwargs={"pk": pk})
