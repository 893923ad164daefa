from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenancy.managers import TenantManager
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug


class RoleManager(TenantManager["Role"]):
    """The manager of roles."""

    def create_built_in(self, organization: Any) -> dict[str, Role]:
        """Create the built-in roles of a new organization, of any model.

        Returns:
            dict[str, Role]: the roles by their keys.
        """
        roles = [
            self.model(organization=organization, key=key, name=str(key.label))
            for key in Role.BuiltIn
        ]
        return {role.key: role for role in self.bulk_create(roles)}

    def built_in(self, organization_id: Any, key: str) -> Role:
        """Return a built-in role of the organization, made if it is missing.

        Raises:
            ValueError: there is no built-in role of that key.
        """
        built_in = Role.BuiltIn(key)
        role, _created = self.get_or_create(
            organization_id=organization_id,
            key=built_in.value,
            defaults={"name": str(built_in.label)},
        )
        return role


class Role(StampedModel, TenantModel):
    """What a member may do: a built-in role, or one that the organization made.

    The key is unique in the organization. Built-in roles have the keys "owner",
    "admin" and "member".
    """

    class BuiltIn(models.TextChoices):
        OWNER = "owner", _("owner")
        ADMIN = "admin", _("admin")
        MEMBER = "member", _("member")

    rule_fields: ClassVar[dict[str, str]] = {"name_key": "name"}

    key = ExactCharField(_("key"), max_length=63, validators=[SLUG])
    name = models.CharField(_("name"), max_length=100)
    name_key = models.GeneratedField(
        expression=Lower("name"),
        output_field=ExactCharField(max_length=100),
        db_persist=True,
        verbose_name=_("name in lower case"),
    )
    permissions = models.JSONField(_("permissions"), default=list, blank=True)

    objects: ClassVar[RoleManager] = RoleManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "key"], name="tenancy_role_key_once"
            ),
            models.UniqueConstraint(
                fields=["organization", "name_key"],
                name="tenancy_role_name_once",
                violation_error_message=_("The organization has a role of that name."),
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("key"), name="tenancy_role_key_formed"
            ),
            models.CheckConstraint(
                condition=~models.Q(name=""), name="tenancy_role_name_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_built_in(self) -> bool:
        """Whether the role comes with each organization."""
        return self.key in Role.BuiltIn.values
