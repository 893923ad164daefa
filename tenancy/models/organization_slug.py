from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.apps import apps
from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.context import LookUp, look_up
from tenancy.fields import TenantForeignKey
from tenancy.models.stamped_model import StampedModel
from tenancy.texts import ExactCharField, has_form_of_slug

Key = Any  # A primary key: a UUID or an int, by the organization model.


class OrganizationSlugManager(models.Manager["OrganizationSlug"]):
    """The manager of the slugs that organizations have or had."""

    def reserve(self, wanted: Mapping[str, Key]) -> set[str]:
        """Hold slugs until the transaction ends; return those that are another's.

        One statement makes the rows, or touches them, and waits for whoever did so
        before. The row of a new slug leads nowhere until give() is called.

        Args:
            wanted (Mapping[str, key | None]): the organizations, by the slugs for
                them; None for one that the database is to give its key.
        """
        made = {slug: self.model(slug=slug) for slug in sorted(wanted)}
        # MySQL and MariaDB look at every unique key, and take no list.
        features = connections[self.db].features
        takes_names = features.supports_update_conflicts_with_target
        self.bulk_create(
            made.values(),
            update_conflicts=True,
            update_fields=["updated_at"],
            unique_fields=["slug"] if takes_names else None,
        )
        return {
            row.slug
            for row in self.filter(slug__in=made)
            if row.pk != made[row.slug].pk
            # One that has no key yet has had no slug.
            and (wanted[row.slug] is None or row.organization_id != wanted[row.slug])
            and not (conf.reuse_slugs() and self._is_free(row))
        }

    def give(self, wanted: Mapping[str, Key]) -> None:
        """Make reserved slugs lead to their organizations, which are saved by now."""
        for slug, key in wanted.items():
            self.filter(slug=slug).update(organization=key)

    def _is_free(self, row: OrganizationSlug) -> bool:
        """Return whether no living organization has the slug now."""
        with look_up(LookUp.SLUG):
            model = apps.get_model(conf.organization_model())
            holders = model._base_manager.using(self.db).filter(slug=row.slug)
            return not holders.exclude(status="archived").exists()


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

    objects: ClassVar[OrganizationSlugManager] = OrganizationSlugManager()

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
