from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenancy.context import require_organization
from tenancy.exceptions import AlreadyMember
from tenancy.fields import TenantForeignKey
from tenancy.limits import require_seat
from tenancy.managers import TenantManager
from tenancy.models.role import Role
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.policies import OwnRowsPolicy
from tenancy.querysets import TenantQuerySet
from tenancy.transactions import find_alias, take_locks, verb


class MembershipQuerySet(TenantQuerySet["Membership"]):
    """Memberships of the scope: an organization's, or a user's own."""

    def live(self) -> MembershipQuerySet:
        """Keep those that have not ended."""
        return self.filter(ended_at__isnull=True)

    def for_user(self, user: Any) -> MembershipQuerySet:
        """Keep those of the user."""
        return self.filter(user=user)


class MembershipManager(TenantManager["Membership"]):
    """The manager of memberships."""

    _queryset_class = MembershipQuerySet

    def live(self) -> MembershipQuerySet:
        """Keep those that have not ended."""
        return MembershipQuerySet.live(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def for_user(self, user: Any) -> MembershipQuerySet:
        """Keep those of the user."""
        return MembershipQuerySet.for_user(self.get_queryset(), user)  # type: ignore[arg-type]  # as above

    @verb
    def add(self, *, user: Any, role: Any = None) -> Membership:
        """Make a user a member of the scope's organization, or one again.

        Args:
            user (AbstractBaseUser): the user.
            role (Role | None): a role of the organization; None for "member".
        Raises:
            AlreadyMember: the user is a live member.
            SeatLimitReached: members and pending invitations fill the seats.
        """
        alias = find_alias(self)
        organization_id = require_organization()
        take_locks(alias, users=[user.pk], organizations=[organization_id])
        found = self.using(alias).filter(user=user, organization=organization_id)
        membership = found.first() or self.model(user=user)
        if not membership._state.adding and membership.is_live:
            raise AlreadyMember(
                f"{str(user.pk)!r} is a live member. Use Membership.change_role()."
            )
        require_seat(organization_id, using=alias)
        membership.role, membership.ended_at = role, None
        membership.save(using=alias)
        return membership


class Membership(StampedModel, TenantModel):
    """A user in an organization, with a role.

    There is one for each user and organization. A membership that has ended stays, as
    history, and can be taken up again.
    """

    user = TenantForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="memberships",
    )
    role = TenantForeignKey(
        Role,
        verbose_name=_("role"),
        on_delete=models.RESTRICT,
        related_name="memberships",
        blank=True,
    )
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    last_active_at = models.DateTimeField(
        _("last active at"), null=True, blank=True, editable=False
    )

    objects: ClassVar[MembershipManager] = MembershipManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organization"], name="tenancy_membership_once"
            ),
            OwnRowsPolicy(name="tenancy_membership_own_rows"),
        ]

    def __str__(self) -> str:
        return str(self.user)

    @property
    def is_live(self) -> bool:
        """Whether the user is a member now."""
        return self.ended_at is None

    def clean_fields(self, exclude: Any = None) -> None:
        """Validate the fields, with the role "member" when none is given."""
        self._fill_role()
        super().clean_fields(exclude=exclude)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the membership, with the role "member" when none is given."""
        self._fill_role()
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def _fill_role(self) -> None:
        self._fill_organization()
        if self.role_id is None and self.organization_id is not None:
            self.role = Role.objects.built_in(self.organization_id, Role.BuiltIn.MEMBER)
