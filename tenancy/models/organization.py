from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models, router, transaction
from django.db.models import Case, F, Q, When
from django.db.models.signals import class_prepared
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.context import LookUp, look_up
from tenancy.fields import protect
from tenancy.managers import TenantManager
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import ProtectedModel
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug

M = TypeVar("M", bound="AbstractOrganization")


class OrganizationManager(TenantManager[M]):
    """The manager of organizations: a scope holds its own organization only."""

    def create_with_owner(self, *, name: str, owner: Any, **fields: Any) -> M:
        """Create an organization, its built-in roles and its owner's membership.

        All of them, or none. It needs no scope: nobody is in the organization yet.

        Args:
            name (str): its name, not empty.
            owner (AbstractBaseUser): the user who becomes its first owner.
            **fields: other fields of the organization, such as ``slug``.
        Returns:
            AbstractOrganization: the saved organization.
        Raises:
            ValidationError: a field is not valid, such as a slug that is taken.
        """
        alias = self._db or router.db_for_write(self.model)
        # Both refer to the organization, and so stand above this file.
        roles: Any = apps.get_model("tenancy", "Role")
        memberships: Any = apps.get_model("tenancy", "Membership")
        with look_up(LookUp.CREATION), transaction.atomic(using=alias):
            organization = self.model(name=name, **fields)
            organization.full_clean()
            organization.save(using=alias)
            built_in = roles.objects.db_manager(alias).create_built_in(organization)
            memberships._default_manager.using(alias).create(
                organization=organization, user=owner, role=built_in["owner"]
            )
        return organization


class AbstractOrganization(StampedModel, ProtectedModel):
    """An organization, whose members share rows that nobody else sees.

    For a project that adds fields: derive from it and name the model in
    TENANCY_ORGANIZATION_MODEL. The slug is well-formed, lower-case and unique.
    """

    class Status(models.TextChoices):
        ACTIVE = "active", _("active")
        SUSPENDED = "suspended", _("suspended")
        ARCHIVED = "archived", _("archived")

    tenant_key = "pk"
    # The generated columns, whichever app they stand in.
    rule_fields: ClassVar[dict[str, str]] = {"living_slug": "slug"}

    name = models.CharField(_("name"), max_length=200)
    slug = ExactCharField(_("slug"), max_length=63, blank=True, validators=[SLUG])
    # Not a URLField, whose form field warns on Django 5.2 of a scheme to come.
    logo = models.CharField(
        _("logo"),
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["https"])],
    )
    status = ExactCharField(
        _("status"), max_length=16, choices=Status, default=Status.ACTIVE
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    billing_customer_id = ExactCharField(
        _("billing customer"),
        max_length=255,
        null=True,
        blank=True,
        unique=True,
        editable=False,
    )
    living_slug = models.GeneratedField(
        expression=Case(When(~Q(status="archived"), then=F("slug")), default=None),
        output_field=ExactCharField(max_length=63, null=True),
        db_persist=True,
        verbose_name=_("slug while not archived"),
    )

    objects: ClassVar[OrganizationManager[Self]] = OrganizationManager()

    class Meta:
        abstract = True
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(name=""),
                name="%(app_label)s_%(class)s_name_not_empty",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["active", "suspended", "archived"]),
                name="%(app_label)s_%(class)s_status_known",
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("slug"),
                name="%(app_label)s_%(class)s_slug_formed",
            ),
            models.UniqueConstraint(
                fields=["living_slug"], name="%(app_label)s_%(class)s_slug_once"
            ),
            models.CheckConstraint(
                condition=Q(billing_customer_id=None) | ~Q(billing_customer_id=""),
                name="%(app_label)s_%(class)s_customer_not_empty",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Make the slug from the name when it is left out; refuse a reserved one."""
        super().clean()
        if not self.slug:
            self.slug = self._make_slug()
        if self.slug in conf.reserved_slugs():
            raise ValidationError(
                {"slug": _("This slug is reserved. Choose another one.")},
                code="reserved",
            )
        # A slug is an address, which is no secret; validate_unique() looks for it
        # among the scope's organizations only.
        if self._is_taken(self.slug):
            raise ValidationError(
                {"slug": _("This slug is taken. Choose another one.")}, code="unique"
            )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the organization, with a slug made from the name when it has none."""
        if not self.slug:
            self.slug = self._make_slug()
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def _make_slug(self) -> str:
        """Return a slug of the name; a part of the id makes it unique if need be."""
        stem = slugify(self.name)[:50].strip("-") or "organization"
        if stem in conf.reserved_slugs() or self._is_taken(stem):
            # The last hexadecimal digits of a UUID of version 7 are random.
            return f"{stem}-{str(self.pk).replace('-', '')[-8:]}"
        return stem

    def _is_taken(self, slug: str) -> bool:
        with look_up(LookUp.CREATION):
            others = type(self)._base_manager.exclude(pk=self.pk)
            return others.filter(slug=slug).exists()


def _protect(sender: type[models.Model], **kwargs: Any) -> None:
    """Protect each concrete organization model, by its own primary key."""
    if issubclass(sender, AbstractOrganization):
        protect(sender, "pk")


# Before the first concrete class is made, which sends the signal.
class_prepared.connect(_protect)


class Organization(AbstractOrganization):
    """The organization that a project gets when it names no model of its own."""

    class Meta(AbstractOrganization.Meta):
        app_label = "tenancy"
        swappable = "TENANCY_ORGANIZATION_MODEL"
