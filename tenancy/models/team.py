from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.texts import ExactCharField


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
