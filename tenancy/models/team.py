from __future__ import annotations

from typing import Any, ClassVar, Self

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenancy.context import require_organization
from tenancy.limits import require_team_room
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.membership import Membership
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.querysets import require_own
from tenancy.signals import team_joined, team_left
from tenancy.texts import ExactCharField
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb


class TeamManager(TenantManager["Team"]):
    """The manager of teams."""

    @verb
    def create_team(self, *, name: str, description: str = "") -> Team:
        """Create a team of the active organization.

        Args:
            name (str): what it is called, unique in the organization.
            description (str): what it is for.
        Returns:
            Team: the saved team.
        Raises:
            TeamLimitReached: the organization has as many as it may.
            ValidationError: a field is not valid, such as a name that is taken.
            ScopeRequired: no organization's scope is active.
        """
        organization_id = require_organization()
        alias = find_alias(self)
        take_locks(alias, organizations=[organization_id])
        team = self.model(name=name, description=description)
        team.full_clean()
        require_team_room(organization_id, using=alias)
        team.save(using=alias, force_insert=True)
        AuditEvent.objects.db_manager(alias).record(
            "team.created", team, name=team.name
        )
        return team

    async def acreate_team(self, *, name: str, description: str = "") -> Team:
        """See create_team()."""
        return await sync_to_async(self.create_team)(name=name, description=description)


class Team(StampedModel, TenantModel):
    """Members of an organization who work together.

    The name is unique in the organization, without regard to case.
    """

    rule_fields: ClassVar[dict[str, str]] = {"name_key": "name"}

    name = models.CharField(_("name"), max_length=100)
    name_key = models.GeneratedField(
        expression=Lower("name"),
        output_field=ExactCharField(max_length=100),
        db_persist=True,
        verbose_name=_("name in lower case"),
    )
    description = models.CharField(_("description"), max_length=500, blank=True)

    objects: ClassVar[TeamManager] = TeamManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name_key"],
                name="tenancy_team_name_once",
                violation_error_message=_("The organization has a team of that name."),
            ),
            models.CheckConstraint(
                condition=~models.Q(name=""), name="tenancy_team_name_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @verb
    def add(self, membership: Membership) -> Self:
        """Put a member into the team; one who is in it stays.

        Raises:
            NotAMember: the membership has ended.
            DoesNotExist: the team was deleted.
            CrossOrganization: the team or the membership is another organization's.
        """
        require_own(self)
        alias = membership.lock_live()
        Team._base_manager.using(alias).get(pk=self.pk)
        links: Any = apps.get_model("tenancy", "TeamMembership")._base_manager
        _link, is_new = links.using(alias).get_or_create(
            organization_id=self.organization_id, team=self, membership=membership
        )
        if is_new:
            self._record(alias, "team.joined", membership)
            send_on_commit(
                team_joined, Team, using=alias, team=self, membership=membership
            )
        return self

    add.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def aadd(self, membership: Membership) -> Self:
        """See add()."""
        return await sync_to_async(self.add)(membership)

    @verb
    def remove(self, membership: Membership) -> Self:
        """Take a member out of the team; one who is not in it changes nothing.

        Raises:
            CrossOrganization: the team or the membership is another organization's.
        """
        require_own(self)
        require_own(membership)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        links: Any = apps.get_model("tenancy", "TeamMembership")._base_manager
        found = links.using(alias).filter(team=self.pk, membership=membership.pk)
        if found.delete()[0]:
            self._record(alias, "team.left", membership)
            send_on_commit(
                team_left, Team, using=alias, team=self, membership=membership
            )
        return self

    remove.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aremove(self, membership: Membership) -> Self:
        """See remove()."""
        return await sync_to_async(self.remove)(membership)

    @verb
    def rename(self, name: str) -> Self:
        """Give the team another name.

        Raises:
            ValidationError: the name is empty, too long, or taken.
            CrossOrganization: the team is another organization's.
        """
        require_own(self)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        stored = Team._base_manager.using(alias).get(pk=self.pk)
        before, self.name = stored.name, name
        self.full_clean()
        self.save(using=alias, update_fields=["name", "updated_at"])
        AuditEvent.objects.db_manager(alias).record(
            "team.renamed", self, before=before, after=name
        )
        return self

    rename.alters_data = True  # type: ignore[attr-defined]  # as above

    async def arename(self, name: str) -> Self:
        """See rename()."""
        return await sync_to_async(self.rename)(name)

    def _record(self, alias: str, action: str, membership: Membership) -> None:
        AuditEvent.objects.db_manager(alias).record(
            action,
            self,
            name=self.name,
            membership=str(membership.pk),
            user=str(membership.user_id),
        )
