from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.fields import TenantForeignKey
from tenancy.models.stamped_model import StampedModel
from tenancy.texts import ExactCharField, has_form_of_slug


class OrganizationSlug(StampedModel):
    """A slug that an organization has or had, which no other one gets.

    The row outlives the organization, so that an old address never leads to somebody
    else. A slug is an address, and so no secret: the table is global.
    """

    slug = ExactCharField(_("slug"), max_length=63, unique=True)
    organization = TenantForeignKey(
        conf.organization_model(),
        verbose_name=_("organization"),
        on_delete=models.SET_NULL,
        null=True,
        related_name="slugs",
    )

    class Meta:
        app_label = "tenancy"
        verbose_name = _("slug of an organization")
        verbose_name_plural = _("slugs of organizations")
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=has_form_of_slug("slug"),
                name="tenancy_organizationslug_formed",
            ),
        ]

    def __str__(self) -> str:
        return str(self.slug)
