from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenancy.fields import TenantForeignKey
from tenancy.identifiers import make_id
from tenancy.models.membership import Membership
from tenancy.models.role import Role
from tenancy.models.tenant_model import TenantModel
from tenancy.ownership import OWNER
from tenancy.policies import Kept, SameValue
from tenancy.texts import ExactCharField


class Ownership(TenantModel):
    """One of an organization's live owners, whom the database lets nobody take away.

    There is one for each organization that has an owner. It repeats what makes one, and
    composite keys hold the membership and its role to that: while the row is there, raw
    SQL too neither ends, demotes nor deletes that member, nor changes the role's key.
    What writes memberships by the ORM moves it; see tenancy.ownership.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=make_id, editable=False)
    membership = TenantForeignKey(
        Membership,
        verbose_name=_("membership"),
        on_delete=models.CASCADE,
        related_name="+",
    )
    role = TenantForeignKey(
        Role, verbose_name=_("role"), on_delete=models.RESTRICT, related_name="+"
    )
    live = models.BooleanField(_("live"), default=True, editable=False)
    key = ExactCharField(_("key"), max_length=63, default=OWNER, editable=False)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("ownership")
        verbose_name_plural = _("ownerships")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["organization"], name="tenancy_ownership_once"
            ),
            models.CheckConstraint(
                condition=models.Q(key=OWNER, live=True),
                name="tenancy_ownership_of_live_owner",
            ),
            SameValue(
                field="membership",
                to="tenancy.Membership",
                value="live",
                name="tenancy_ownership_live",
            ),
            SameValue(
                field="membership",
                to="tenancy.Membership",
                value="role",
                name="tenancy_ownership_role",
            ),
            SameValue(
                field="role",
                to="tenancy.Role",
                value="key",
                name="tenancy_ownership_key",
            ),
            Kept(name="tenancy_ownership_kept"),
        ]

    def __str__(self) -> str:
        return str(self.membership)
