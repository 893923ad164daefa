from __future__ import annotations

from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenancy.fields import TenantForeignKey
from tenancy.models.membership import Membership
from tenancy.models.stamped_model import StampedModel
from tenancy.models.team import Team
from tenancy.models.tenant_model import TenantModel
from tenancy.policies import SameValue


class TeamMembership(StampedModel, TenantModel):
    """A live member of the organization in one of its teams; once in each."""

    team = TenantForeignKey(
        Team,
        verbose_name=_("team"),
        on_delete=models.CASCADE,
        related_name="team_memberships",
    )
    membership = TenantForeignKey(
        Membership,
        verbose_name=_("membership"),
        on_delete=models.CASCADE,
        related_name="team_memberships",
    )

    # With the member's own, a key of the database's: who has left is in no team.
    live = models.BooleanField(_("live"), default=True, editable=False)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("team membership")
        verbose_name_plural = _("team memberships")
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "team", "membership"],
                name="tenancy_teammembership_once",
                violation_error_message=_("The member is in the team already."),
            ),
            models.CheckConstraint(
                condition=models.Q(live=True), name="tenancy_teammembership_of_live"
            ),
            SameValue(
                field="membership",
                to="tenancy.Membership",
                value="live",
                name="tenancy_teammembership_live",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.membership} – {self.team}"

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields; the member is a live one.

        Raises:
            ValidationError: on the field.
        """
        super().clean_fields(exclude=exclude)
        if "membership" in set(exclude or ()):
            return
        live = Membership.objects.live().filter(pk=self.membership_id)
        if not live.exists():
            raise ValidationError(
                {"membership": _("Choose a member who has not left.")}, code="ended"
            )
