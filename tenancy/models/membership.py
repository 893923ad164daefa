from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Self

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import (
    Case,
    DateTimeField,
    ExpressionWrapper,
    F,
    Q,
    Value,
    When,
)
from django.db.models.signals import class_prepared, post_delete, pre_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.context import (
    LookUp,
    current_scope,
    look_up,
    require_organization,
    require_scope,
)
from tenancy.exceptions import (
    AlreadyMember,
    HasMemberships,
    LastOwner,
    LimitReached,
    NotAMember,
    PermissionNotHeld,
)
from tenancy.fields import TenantForeignKey
from tenancy.limits import require_organization_room, require_seat
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.role import Role
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.origin import refuse_impersonator
from tenancy.ownership import (
    OWNER,
    is_of_organization,
    keep_owners,
    lock_owned,
    name_owners,
    require_owned,
)
from tenancy.permissions import forget_permissions
from tenancy.policies import OwnRowsPolicy
from tenancy.querysets import TenantQuerySet, require_own, unknown_relation
from tenancy.signals import (
    member_added,
    member_ended,
    ownership_transferred,
    role_changed,
)
from tenancy.transactions import (
    deleting,
    find_alias,
    send_on_commit,
    take_locks,
    verb,
)

_WATCHED = frozenset(
    {"role", "role_id", "ended_at", "user", "user_id", "organization"}
    | {"organization_id"}
)
"""The fields whose change can take an owner away, or a member's sessions and teams."""


class MembershipQuerySet(TenantQuerySet["Membership"]):
    """Memberships of the scope: an organization's, or a user's own."""

    def live(self) -> MembershipQuerySet:
        """Keep those that have not ended."""
        return self.filter(ended_at__isnull=True)

    def ended(self) -> MembershipQuerySet:
        """Keep those that have ended."""
        return self.filter(ended_at__isnull=False)

    def owners(self) -> MembershipQuerySet:
        """Keep those of live owners."""
        return self.live().filter(role__key=Role.BuiltIn.OWNER.value)

    def for_user(self, user: Any) -> MembershipQuerySet:
        """Keep those of the user."""
        return self.filter(user=user)

    def update(self, **kwargs: Any) -> int:
        """Update the rows; those that it ends leave their teams and sessions.

        Raises:
            LastOwner: an organization would be left without an owner.
        """
        if self.query.is_sliced or not _WATCHED & kwargs.keys():
            return super().update(**kwargs)
        alias = find_alias(self)
        with keep_owners(alias, self._find_organizations(), self._list_keys) as keys:
            if "ended_at" in kwargs:
                _leave_teams(alias, self._find_ending(keys, kwargs["ended_at"]))
            changed = super().update(**kwargs)
            _leave_sessions(alias, keys)
        forget_permissions()
        return changed

    update.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def bulk_update(
        self,
        objs: Iterable[Membership],
        fields: Iterable[str],
        batch_size: int | None = None,
    ) -> int:
        """Update the fields of the rows, all or none.

        Raises:
            LastOwner: an organization would be left without an owner.
        """
        with transaction.atomic(using=find_alias(self)):
            return super().bulk_update(objs, fields, batch_size=batch_size)

    def bulk_create(
        self,
        objs: Iterable[Membership],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list[Membership]:
        """Insert the rows, or update those that are there if asked to.

        Raises:
            LastOwner: an update would leave an organization without an owner.
        """
        rows = list(objs)
        for row in rows:
            require_own(row)
        alias = find_alias(self)
        if not update_conflicts:
            with transaction.atomic(using=alias, savepoint=False):
                made = super().bulk_create(
                    rows, batch_size, ignore_conflicts, False, *args, **kwargs
                )
                name_owners(alias, _find_founded(alias, rows))
            return made
        organizations = {row.organization_id for row in rows}
        written: Any = Membership._base_manager.using(alias).filter(  # As our queryset.
            organization__in=organizations, user__in={row.user_id for row in rows}
        )
        with keep_owners(alias, organizations, written._list_keys):
            ending = [row for row in rows if row.ended_at is not None]
            for row in ending:
                own = written.filter(organization=row.organization_id, user=row.user_id)
                _leave_teams(alias, own._list_keys())
            made = super().bulk_create(
                rows, batch_size, ignore_conflicts, update_conflicts, *args, **kwargs
            )
            _leave_sessions(alias, written._list_keys())
        forget_permissions()
        return made

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows, all or none.

        Raises:
            LastOwner: an organization would be left without an owner.
        """
        alias = find_alias(self)
        with transaction.atomic(using=alias), deleting(alias):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]  # as above
    delete.queryset_only = True  # type: ignore[attr-defined]  # as above

    def _find_organizations(self) -> set[Any]:  # Any: keys.
        """Return the organizations of the rows; no query in an organization's scope."""
        active = require_scope("Membership.objects")
        if active.organization_id is not None:
            return {active.organization_id}
        return set(self.order_by().values_list("organization_id", flat=True).distinct())

    def _find_ending(self, keys: Collection[Any], ended_at: Any) -> Collection[Any]:
        """Return those of the keys that an update ends: a time, or an expression."""
        if not hasattr(ended_at, "resolve_expression"):
            return keys if ended_at is not None else []
        rows = self.order_by().annotate(
            tenancy_end=ExpressionWrapper(ended_at, output_field=DateTimeField())
        )
        return list(rows.filter(tenancy_end__isnull=False).values_list("pk", flat=True))

    def _list_keys(self) -> list[Any]:  # Any: as above.
        return list(self.order_by().values_list("pk", flat=True))


class MembershipManager(TenantManager["Membership"]):
    """The manager of memberships."""

    _queryset_class = MembershipQuerySet

    def live(self) -> MembershipQuerySet:
        """Keep those that have not ended."""
        return MembershipQuerySet.live(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def ended(self) -> MembershipQuerySet:
        """Keep those that have ended."""
        return MembershipQuerySet.ended(self.get_queryset())  # type: ignore[arg-type]  # as above

    def owners(self) -> MembershipQuerySet:
        """Keep those of live owners."""
        return MembershipQuerySet.owners(self.get_queryset())  # type: ignore[arg-type]  # as above

    def for_user(self, user: Any) -> MembershipQuerySet:
        """Keep those of the user."""
        return MembershipQuerySet.for_user(self.get_queryset(), user)  # type: ignore[arg-type]  # as above

    @verb
    def add(self, *, user: Any, role: Role | str | None = None) -> Membership:
        """Make a user a member of the active organization, for the first time or again.

        A membership that has ended is taken up again, with the role that is given
        now. Where the acting user is the new member, as who accepts an invitation is,
        whoever let them in has judged the role.

        Args:
            user (AbstractBaseUser): a saved user.
            role (Role | str | None): a role of the organization, or the key of a
                built-in one; None for "member".
        Returns:
            Membership: the saved membership.
        Raises:
            AlreadyMember: the user is a live member.
            SeatLimitReached: members and pending invitations fill the seats.
            OrganizationLimitReached: the user is a member of as many organizations as
                they may be.
            PermissionNotHeld: the acting user does not hold what the role grants.
            CrossOrganization: the role is another organization's.
            ImpersonationRefused: an impersonator makes an owner.
            ScopeRequired: no organization's scope is active.
        """
        organization_id = require_organization()
        alias = find_alias(self)
        user_id = _require_user(user).pk
        take_locks(alias, users=[user_id], organizations=[organization_id])
        chosen = _find_role(alias, organization_id, role)
        rows = Membership._base_manager.using(alias)
        membership = rows.filter(user=user_id).first()
        if membership is not None and membership.is_live:
            raise _already_member()
        require_seat(organization_id, using=alias)
        require_organization_room(user_id, using=alias)
        active = current_scope()
        if active is None or active.user_id != user_id:
            chosen.require_held()
        if chosen.is_owner:
            refuse_impersonator("The ownership")
        is_back = membership is not None
        if membership is None:
            membership = Membership(user=user, organization_id=organization_id)
        membership.role, membership.ended_at = chosen, None
        try:
            with transaction.atomic(using=alias):
                membership.save(using=alias)
        except IntegrityError as error:
            # A row that was made without this verb, and so without its locks.
            if not rows.filter(user=user_id).exists():
                raise
            raise _already_member() from error
        _record(
            alias,
            "membership.added",
            membership,
            role=chosen.key,
            is_back=is_back,
        )
        send_on_commit(member_added, Membership, using=alias, membership=membership)
        return membership

    async def aadd(self, *, user: Any, role: Role | str | None = None) -> Membership:
        """See add()."""
        return await sync_to_async(self.add)(user=user, role=role)


class Membership(StampedModel, TenantModel):
    """A user in an organization, with a role.

    There is one for each user and organization. A membership that has ended stays, as
    history, and can be taken up again. An organization that has an owner keeps one.
    """

    user = TenantForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="memberships",
        # The unique constraint of user and organization begins with it.
        db_index=False,
    )
    role = TenantForeignKey(
        Role,
        verbose_name=_("role"),
        on_delete=models.RESTRICT,
        related_name="memberships",
        blank=True,
    )
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    # To which keys refer, of rows that need a live one.
    live = models.GeneratedField(
        expression=Case(When(ended_at=None, then=Value(True)), default=Value(False)),
        output_field=models.BooleanField(),
        db_persist=True,
        verbose_name=_("live"),
    )
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
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("created_at")),
                name="tenancy_membership_end_ordered",
                violation_error_code="end_order",
                violation_error_message=_("A membership ends after it began."),
            ),
            OwnRowsPolicy(name="tenancy_membership_own_rows"),
        ]

    def __str__(self) -> str:
        return str(self.user)

    @property
    def is_live(self) -> bool:
        """Whether the user is a member now."""
        return self.ended_at is None

    @property
    def is_owner(self) -> bool:
        """Whether the user is an owner now."""
        return self.is_live and self.role.is_owner

    def has_perm(self, permission: str) -> bool:
        """Return whether the member may do something: "app_label.codename".

        user.has_perm() asks in the active organization; see tenancy.auth.
        """
        return self.is_live and permission in self.role.find_granted()

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, with the role "member" when none is given.

        Raises:
            ValidationError: on the field; also where a verb would refuse: the last
                owner, the limit of seats, a role that the acting user does not hold.
        """
        self._fill_role()
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            errors = error.update_error_dict(errors)
        if not errors:
            errors = self._find_refusal(set(exclude or ()))
        if errors:
            raise ValidationError(errors)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the membership, with the role "member" when none is given.

        One that has ended leaves its teams, and is no session's active one.

        Raises:
            LastOwner: the organization would be left without an owner.
        """
        self._fill_role()
        names = kwargs.get("update_fields")
        is_new = self._state.adding and not kwargs.get("force_update")
        alias = kwargs.get("using") or find_alias(self)
        if is_new and _find_founded(alias, [self]):
            with transaction.atomic(using=alias):
                super().save(*args, **kwargs)
                name_owners(alias, [self.organization_id])
        elif is_new or (names is not None and not _WATCHED & set(names)):
            super().save(*args, **kwargs)
        else:
            require_own(self)
            with keep_owners(alias, {self.organization_id}, lambda: [self.pk]):
                if self.ended_at is not None and (names is None or "ended_at" in names):
                    _leave_teams(alias, [self.pk])
                super().save(*args, **kwargs)
                _leave_sessions(alias, [self.pk])
        forget_permissions()

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the membership with its history; end() keeps that.

        Raises:
            LastOwner: the organization would be left without an owner.
        """
        alias = kwargs.get("using") or find_alias(self)
        with transaction.atomic(using=alias), deleting(alias):
            return super().delete(*args, **kwargs)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above

    def lock_live(self) -> str:
        """Lock the organization and read the membership anew, which is to be live.

        Returns:
            str: the database's alias.
        Raises:
            NotAMember: the membership has ended, or was deleted.
            CrossOrganization: it is another organization's.
        """
        require_own(self)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        rows = Membership._base_manager.using(alias).select_related("role")
        stored = rows.filter(pk=self.pk).first()
        if stored is None or not stored.is_live:
            raise NotAMember(
                "The membership has ended, or was deleted. Add the user again, with "
                "Membership.objects.add(user=...)."
            )
        self.role, self.user_id = stored.role, stored.user_id
        self.ended_at = stored.ended_at
        return alias

    @verb
    def end(self) -> Self:
        """End the membership: the member leaves, or is removed.

        They leave their teams, and none of their sessions is in the organization any
        more. The row stays, as history.

        Raises:
            LastOwner: they are the last owner.
            NotAMember: it has ended before.
            PermissionNotHeld: the acting user is another one, who does not hold what
                the member's role grants.
            ImpersonationRefused: an impersonator ends an owner's.
            CrossOrganization: it is another organization's.
        """
        alias = self.lock_live()
        self._require_authority()
        if self.role.is_owner:
            refuse_impersonator("The ownership")
        # The clock of the machine that added the member may be ahead.
        self.ended_at = max(timezone.now(), self.created_at)
        try:
            self.save(using=alias, update_fields=["ended_at", "updated_at"])
        except LastOwner:
            self.ended_at = None
            raise
        _record(alias, "membership.ended", self, role=self.role.key)
        send_on_commit(member_ended, Membership, using=alias, membership=self)
        return self

    end.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aend(self) -> Self:
        """See end()."""
        return await sync_to_async(self.end)()

    @verb
    def change_role(self, role: Role | str) -> Self:
        """Give the member another role.

        Args:
            role (Role | str): a role of the organization, or the key of a built-in
                one. The member's own changes nothing.
        Raises:
            LastOwner: they are the last owner, and the role is another.
            NotAMember: the membership has ended.
            PermissionNotHeld: the acting user does not hold what the role grants, or
                what the member's role granted.
            ImpersonationRefused: an impersonator makes or unmakes an owner.
            CrossOrganization: the membership or the role is another organization's.
        """
        alias = self.lock_live()
        before, after = self.role, _find_role(alias, self.organization_id, role)
        if before.pk == after.pk:
            return self
        self._require_authority()
        after.require_held()
        if before.is_owner or after.is_owner:
            refuse_impersonator("The ownership")
        self.role = after
        try:
            self.save(using=alias, update_fields=["role", "updated_at"])
        except LastOwner:
            self.role = before
            raise
        _record(
            alias, "membership.role_changed", self, before=before.key, after=after.key
        )
        send_on_commit(
            role_changed, Membership, using=alias, membership=self, before=before
        )
        return self

    change_role.alters_data = True  # type: ignore[attr-defined]  # as above

    async def achange_role(self, role: Role | str) -> Self:
        """See change_role()."""
        return await sync_to_async(self.change_role)(role)

    @verb
    def transfer_ownership(self, *, to: Membership) -> Self:
        """Make another member an owner, and this owner an admin, at once.

        Raises:
            NotAMember: one of the two has ended.
            PermissionNotHeld: this member is no owner, or the acting user is not.
            ValueError: the two are one.
            ImpersonationRefused: an impersonator acts.
            CrossOrganization: one of the two is another organization's.
        """
        alias = self.lock_live()
        refuse_impersonator("The ownership")
        if to.pk == self.pk:
            raise ValueError(
                "Membership.transfer_ownership() was given the owner's own "
                "membership. Pass another member's."
            )
        to.lock_live()
        if not self.role.is_owner:
            raise PermissionNotHeld(
                "Membership.transfer_ownership() was called on a member who is no "
                "owner. Call it on an owner's membership."
            )
        self.role.require_held()
        to.role, self.role = (
            self.role,
            Role.objects.db_manager(alias).built_in(
                self.organization_id, Role.BuiltIn.ADMIN
            ),
        )
        # The new owner first: there is one at each moment.
        to.save(using=alias, update_fields=["role", "updated_at"])
        self.save(using=alias, update_fields=["role", "updated_at"])
        _record(alias, "membership.ownership_transferred", self, to=str(to.user_id))
        send_on_commit(
            ownership_transferred, Membership, using=alias, membership=self, to=to
        )
        return self

    transfer_ownership.alters_data = True  # type: ignore[attr-defined]  # as above

    async def atransfer_ownership(self, *, to: Membership) -> Self:
        """See transfer_ownership()."""
        return await sync_to_async(self.transfer_ownership)(to=to)

    def _require_authority(self) -> None:
        """Refuse where the acting user is outranked by the member, and is another."""
        active = current_scope()
        if active is None or active.user_id != self.user_id:
            self.role.require_held()

    def _fill_role(self) -> None:
        self._fill_organization()
        if self.role_id is None and self.organization_id is not None:
            self.role = Role.objects.built_in(self.organization_id, Role.BuiltIn.MEMBER)

    def _find_refusal(self, excluded: set[str]) -> dict[str, Any]:
        """Return what a verb would refuse, by field, for forms to say it.

        The verb and save() judge again, under the lock.
        """
        alias = find_alias(self)
        rows = Membership._base_manager.using(alias).select_related("role")
        stored = None
        if not self._state.adding:
            stored = rows.filter(pk=self.pk).first()
        found: dict[str, Any] = {}
        was_live = stored is not None and stored.is_live
        field = "role" if self.is_live else "ended_at"
        if stored is not None and stored.is_owner and not self.is_owner:
            others = rows.filter(organization=self.organization_id).exclude(pk=self.pk)
            if not others.filter(
                ended_at__isnull=True, role__key=Role.BuiltIn.OWNER.value
            ).exists():
                found[field] = _(
                    "The organization would be left without an owner. Make another "
                    "member an owner first."
                )
        try:
            if self.is_live and not was_live:
                require_seat(self.organization_id, using=alias)
            if stored is None or stored.role_id != self.role_id:
                if self.is_live:
                    self.role.require_held()
                if stored is not None and was_live:
                    stored._require_authority()
        except LimitReached as error:
            found["user" if stored is None else "ended_at"] = str(error)
        except PermissionNotHeld as error:
            found["role"] = str(error)
        return {
            NON_FIELD_ERRORS if name in excluded else name: ValidationError(
                message, code="refused"
            )
            for name, message in found.items()
        }


def _require_user(user: Any) -> models.Model:
    if not isinstance(user, get_user_model()) or user._state.adding:
        raise TypeError(
            f"Membership.objects.add() was given {type(user).__name__} as its user. "
            f"Pass a saved instance of '{settings.AUTH_USER_MODEL}'."
        )
    return user


def _find_role(alias: str, organization_id: Any, role: Role | str | None) -> Role:
    """Return the role as it is stored, which is one of the organization.

    Raises:
        CrossOrganization: it is another organization's, or was deleted.
        ValueError: there is no built-in role of the key.
    """
    if not isinstance(role, Role):
        roles = Role.objects.db_manager(alias)
        return roles.built_in(organization_id, role or Role.BuiltIn.MEMBER)
    rows = Role._base_manager.using(alias).filter(organization=organization_id)
    stored = rows.filter(pk=role.pk).first()
    if stored is None:
        raise unknown_relation(Membership, Membership._meta.get_field("role"))
    return stored


def _find_founded(alias: str, rows: Iterable[Membership]) -> set[Any]:  # Any: keys.
    """Return the organizations that get an owner by new rows.

    No query where the roles are at hand, as the verbs have them.
    """
    live = [row for row in rows if row.is_live and row.role_id is not None]
    field = Membership._meta.get_field("role")
    at_hand = {row.role_id: row.role for row in live if field.is_cached(row)}
    unknown = {row.role_id for row in live} - at_hand.keys()
    owning = {key for key, role in at_hand.items() if role.is_owner}
    if unknown:
        roles = Role._base_manager.using(alias).filter(pk__in=unknown, key=OWNER)
        owning |= set(roles.values_list("pk", flat=True))
    return {row.organization_id for row in live if row.role_id in owning}


def _record(alias: str, action: str, membership: Membership, **details: Any) -> None:
    AuditEvent.objects.db_manager(alias).record(
        action, membership, user=str(membership.user_id), **details
    )


def _already_member() -> AlreadyMember:
    return AlreadyMember(
        "The user is a member of the organization. Change the role with "
        "membership.change_role()."
    )


def _leave_teams(alias: str, keys: Collection[Any]) -> None:  # Any: primary keys.
    """Take memberships out of teams, before they end: the database looks at once."""
    teams: Any = apps.get_model("tenancy", "TeamMembership")._base_manager
    teams.using(alias).filter(membership__in=keys).delete()


def _leave_sessions(alias: str, keys: Collection[Any]) -> None:  # Any: as above.
    """Take those of the memberships that have ended out of sessions."""
    rows = Membership._base_manager.using(alias).filter(pk__in=keys)
    ended = list(rows.filter(ended_at__isnull=False).values_list("pk", flat=True))
    sessions: Any = apps.get_model("tenancy", "Session")._base_manager
    if ended:
        sessions.using(alias).filter(membership__in=ended).update(membership=None)


def _lock_before_deletion(
    instance: Membership, using: str, origin: Any = None, **kwargs: Any
) -> None:
    """Note, under the lock, whether the organization has an owner to lose."""
    if is_of_organization(origin):
        return
    if _is_of_user(origin):
        raise _has_memberships()
    owned = _noted(origin)
    if owned is None:
        instance._owned = lock_owned(using, {instance.organization_id})  # type: ignore[attr-defined]  # for _count_after_deletion()
    elif instance.organization_id not in owned:
        owned[instance.organization_id] = lock_owned(using, {instance.organization_id})


def _count_after_deletion(
    instance: Membership, using: str, origin: Any = None, **kwargs: Any
) -> None:
    forget_permissions()
    if is_of_organization(origin):
        return
    noted = _noted(origin)
    if noted is None:
        require_owned(using, instance.__dict__.pop("_owned", set()))
    else:
        # All of its rows are gone when the first is told of.
        require_owned(using, noted.get(instance.organization_id, set()))
        noted[instance.organization_id] = set()


def _noted(origin: Any) -> dict[Any, set[Any]] | None:
    """Return the notes of one deletion by queryset, of which Django makes a new one."""
    if not isinstance(origin, models.QuerySet):
        return None
    notes: dict[Any, set[Any]] = origin.__dict__.setdefault("_tenancy_owned", {})
    return notes


def _is_of_user(origin: Any) -> bool:
    model = origin.model if isinstance(origin, models.QuerySet) else type(origin)
    return issubclass(model, get_user_model())


def require_without_memberships(user: models.Model, *, using: str) -> None:
    """Refuse to delete a user who has memberships, wherever they are.

    A cascade would meet the scope's only, and the database would tell of the others.

    Raises:
        HasMemberships: the user has one, live or ended.
    """
    with look_up(LookUp.DELETION_OF_USER):
        rows = Membership._base_manager.using(using).filter(user=user.pk)
        has_any = rows.exists()
    if has_any:
        raise _has_memberships()


def _keep_user(instance: models.Model, using: str, **kwargs: Any) -> None:
    require_without_memberships(instance, using=using)


def _has_memberships() -> HasMemberships:
    return HasMemberships(
        "A user who has memberships, live or ended, was to be deleted. Use "
        "erase_user(), which ends them by the rules."
    )


def _watch(model: Any) -> None:  # A model, or the label of the user model.
    if isinstance(model, type) and issubclass(model, Membership):
        pre_delete.connect(_lock_before_deletion, sender=model)
        post_delete.connect(_count_after_deletion, sender=model)
    else:
        pre_delete.connect(_keep_user, sender=model)


@receiver(class_prepared)
def watch_proxy(sender: type[models.Model], **kwargs: Any) -> None:
    """Hold a proxy to what its model is held to: signals name the class deleted."""
    if sender._meta.proxy and (
        issubclass(sender, Membership)
        or sender._meta.concrete_model._meta.label == settings.AUTH_USER_MODEL  # type: ignore[union-attr]  # a proxy has one
    ):
        _watch(sender)


_watch(Membership)
_watch(settings.AUTH_USER_MODEL)
