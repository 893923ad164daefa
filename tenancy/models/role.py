from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Lower
from django.db.models.signals import pre_delete
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.context import current_scope, require_organization
from tenancy.documents import is_array
from tenancy.exceptions import (
    BuiltInRole,
    OrganizationNotActive,
    PermissionNotHeld,
    RoleInUse,
)
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.ownership import is_of_organization
from tenancy.permissions import (
    EVERY,
    find_permissions,
    forget_permissions,
    member_permissions,
    require_grantable,
)
from tenancy.querysets import TenantQuerySet, require_own
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug
from tenancy.transactions import find_alias, take_locks, verb


class RoleQuerySet(TenantQuerySet["Role"]):
    """Roles of the scope's organization."""

    def custom(self) -> RoleQuerySet:
        """Keep those that the organization made."""
        return self.exclude(key__in=Role.BuiltIn.values)

    def update(self, **kwargs: Any) -> int:
        """Update the rows; no key becomes, or was, that of a built-in role.

        Raises:
            BuiltInRole: one would.
        """
        if "key" in kwargs and (
            kwargs["key"] in Role.BuiltIn.values
            or self.filter(key__in=Role.BuiltIn.values).exists()
        ):
            raise _fixed("another key")
        changed = super().update(**kwargs)
        forget_permissions()
        return changed

    update.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows.

        Raises:
            RoleInUse: a membership or an invitation has one of them.
            BuiltInRole: one of them is built in.
        """
        alias = find_alias(self)
        with _refusing_in_use(alias):
            keys = self.order_by().values_list("organization", flat=True).distinct()
            # Who gives somebody a role holds the lock meanwhile.
            take_locks(alias, organizations=list(keys))
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]  # as above
    delete.queryset_only = True  # type: ignore[attr-defined]  # as above


class RoleManager(TenantManager["Role"]):
    """The manager of roles."""

    _queryset_class = RoleQuerySet

    def custom(self) -> RoleQuerySet:
        """Keep those that the organization made."""
        return RoleQuerySet.custom(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def create_built_in(self, organization: Any) -> dict[str, Role]:
        """Create the built-in roles of a new organization, of any model.

        Returns:
            dict[str, Role]: the roles by their keys.
        """
        roles = [
            self.model(organization=organization, key=key.value, **_defaults(key))
            for key in Role.BuiltIn
        ]
        return {role.key: role for role in self.bulk_create(roles)}

    def built_in(self, organization_id: Any, key: str) -> Role:
        """Return a built-in role of the organization, made if it is missing.

        Raises:
            ValueError: there is no built-in role of that key.
            OrganizationNotActive: the organization was deleted.
            CrossOrganization: it is another one than the scope's.
        """
        built_in = Role.BuiltIn(key)
        rows = self.filter(organization=organization_id, key=built_in.value)
        role = rows.first()
        if role is not None:
            return role
        require_own(self.model(organization_id=organization_id))
        _require_stored(organization_id, self.db)
        role, _created = self.get_or_create(
            organization_id=organization_id,
            key=built_in.value,
            defaults=_defaults(built_in),
        )
        return role

    @verb
    def create_role(
        self, *, name: str, permissions: Iterable[str] = (), key: str | None = None
    ) -> Role:
        """Create a custom role of the active organization.

        Args:
            name (str): what it is called, unique in the organization.
            permissions (Iterable[str]): what it grants, each "app_label.codename".
            key (str | None): its name in code; None makes one from the name.
        Returns:
            Role: the saved role.
        Raises:
            ValidationError: a field is not valid, such as a name that is taken.
            PermissionNotHeld: the acting user does not hold one of the permissions.
            ScopeRequired: no organization's scope is active.
        """
        organization_id = require_organization()
        alias = find_alias(self)
        take_locks(alias, organizations=[organization_id])
        role = self.model(name=name, permissions=list(permissions))
        role.key = key or role._make_key(alias)
        role.require_held()
        role.full_clean()
        role.save(using=alias, force_insert=True)
        AuditEvent.objects.db_manager(alias).record(
            "role.created", role, permissions=role.permissions
        )
        return role

    async def acreate_role(self, **fields: Any) -> Role:
        """See create_role()."""
        return await sync_to_async(self.create_role)(**fields)


class Role(StampedModel, TenantModel):
    """What a member may do: a built-in role, or one that the organization made.

    The key is unique in the organization. Built-in roles have the keys "owner",
    "admin" and "member"; what they grant follows from the key, and not from the row.
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
            is_array("permissions", name="tenancy_role_permissions_kind"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_built_in(self) -> bool:
        """Whether the role comes with each organization."""
        return self.key in Role.BuiltIn.values

    @property
    def is_owner(self) -> bool:
        """Whether its members own the organization."""
        return bool(self.key == Role.BuiltIn.OWNER.value)

    def find_granted(self) -> frozenset[str]:
        """Return what the role grants; never what is none of a tenant model."""
        return find_granted(self.key, self.permissions)

    def outranks(self, other: Role) -> bool:
        """Return whether it grants all that another does; only owners are owners'."""
        return (self.is_owner or not other.is_owner) and (
            other.find_granted() <= self.find_granted()
        )

    def require_held(self) -> None:
        """Refuse where the acting user does not hold what the role grants.

        Whoever acts is the scope's user. Code that acts for nobody, superusers, and
        unscoped code hold everything. Only owners hold the role of owners.

        Raises:
            PermissionNotHeld: the acting user does not.
        """
        active = current_scope()
        if active is None or active.user_id is None or active.is_unscoped:
            return
        held = Role._base_manager.using(self._state.db or find_alias(self)).filter(
            memberships__user=active.user_id, memberships__ended_at__isnull=True
        )
        own = held.first()
        if own is not None and own.outranks(self):
            return
        actor: Any = get_user_model()._base_manager.filter(pk=active.user_id).first()
        # A project's user model may know no superusers.
        if actor is not None and getattr(actor, "is_superuser", False):
            return
        raise PermissionNotHeld(
            f"The role {self.name!r} grants what the acting user does not hold. Let "
            "somebody do it who holds all of that."
        )

    @verb
    def rename(self, name: str) -> Self:
        """Give the role another name; its key stays.

        Raises:
            ValidationError: the name is empty, too long, or taken.
        """
        before = self._lock().name
        self.name = name
        self.full_clean()
        self.save(update_fields=["name", "updated_at"])
        AuditEvent.objects.db_manager(find_alias(self)).record(
            "role.renamed", self, before=before, after=name
        )
        return self

    rename.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def arename(self, name: str) -> Self:
        """See rename()."""
        return await sync_to_async(self.rename)(name)

    @verb
    def set_permissions(self, permissions: Iterable[str]) -> Self:
        """Let a custom role grant these permissions, and no others.

        Raises:
            ValidationError: one is unknown, or none of a tenant model.
            PermissionNotHeld: the acting user does not hold what the role granted, or
                what it is to grant.
            BuiltInRole: the role is built in.
        """
        return self._set_permissions(self._lock(), permissions)

    set_permissions.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aset_permissions(self, permissions: Iterable[str]) -> Self:
        """See set_permissions()."""
        return await sync_to_async(self.set_permissions)(permissions)

    @verb
    def grant(self, *permissions: str) -> Self:
        """Let a custom role grant these permissions too.

        Raises:
            ValidationError: one is unknown, or none of a tenant model.
            PermissionNotHeld: the acting user does not hold all that it grants.
            BuiltInRole: the role is built in.
        """
        stored = self._lock()
        return self._set_permissions(stored, [*stored._list_known(), *permissions])

    grant.alters_data = True  # type: ignore[attr-defined]  # as above

    async def agrant(self, *permissions: str) -> Self:
        """See grant()."""
        return await sync_to_async(self.grant)(*permissions)

    @verb
    def revoke(self, *permissions: str) -> Self:
        """Let a custom role grant these permissions no more.

        Raises:
            PermissionNotHeld: the acting user does not hold all that it granted.
            BuiltInRole: the role is built in.
        """
        stored = self._lock()
        kept = [name for name in stored._list_known() if name not in permissions]
        return self._set_permissions(stored, kept)

    revoke.alters_data = True  # type: ignore[attr-defined]  # as above

    async def arevoke(self, *permissions: str) -> Self:
        """See revoke()."""
        return await sync_to_async(self.revoke)(*permissions)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, with what the role can grant, and the key's fate.

        Raises:
            ValidationError: on the field.
        """
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            errors = error.update_error_dict(errors)
        excluded = set(exclude or ()) | set(errors)
        if "key" not in excluded and self._changes_built_in_key():
            errors["key"] = [
                ValidationError(
                    _("The keys of the built-in roles are taken, and stay."),
                    code="built_in",
                )
            ]
        elif "permissions" not in excluded:
            has_every = self.key in _WITH_EVERY
            try:
                require_grantable(self.permissions, allows_every=has_every)
                self._require_held_changes()
            except ValidationError as error:
                errors["permissions"] = error.error_list
            except PermissionNotHeld as error:
                errors["permissions"] = [ValidationError(str(error), code="refused")]
        if errors:
            raise ValidationError(errors)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the role.

        Raises:
            BuiltInRole: the key becomes, or was, that of a built-in role.
        """
        names = kwargs.get("update_fields")
        if not self._state.adding and (names is None or "key" in names):
            require_own(self)
            if self._changes_built_in_key():
                raise _fixed("another key")
        super().save(*args, **kwargs)
        forget_permissions()

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the role.

        Raises:
            RoleInUse: a membership or an invitation has it.
            BuiltInRole: it is built in.
        """
        with _refusing_in_use(kwargs.get("using") or find_alias(self)):
            require_own(self)
            take_locks(
                kwargs.get("using") or find_alias(self),
                organizations=[self.organization_id],
            )
            return super().delete(*args, **kwargs)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above

    def _lock(self) -> Role:
        """Lock the organization, and return the role as it is stored.

        Raises:
            CrossOrganization: it is another organization's.
            DoesNotExist: it was deleted.
        """
        require_own(self)
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        return Role._base_manager.using(alias).get(pk=self.pk)

    def _set_permissions(self, stored: Role, permissions: Iterable[str]) -> Self:
        if stored.is_built_in:
            raise _fixed("other permissions")
        stored.require_held()
        chosen = list(dict.fromkeys(permissions))
        self.key, self.permissions = stored.key, chosen
        try:
            require_grantable(chosen)
        except ValidationError as error:
            raise ValidationError({"permissions": error}) from None
        self.require_held()
        self.save(update_fields=["permissions", "updated_at"])
        AuditEvent.objects.db_manager(find_alias(self)).record(
            "role.permissions_changed",
            self,
            before=stored.permissions,
            after=chosen,
        )
        return self

    def _list_known(self) -> list[str]:
        """Return what is stored, without what no role can grant any more.

        An app may have been removed, or another client have written something else.
        """
        known = find_permissions()
        stored = self.permissions
        return [name for name in stored if isinstance(name, str) and name in known]

    def _make_key(self, alias: str) -> str:
        """Return a key of the name; a part of the id makes it unique if need be."""
        words = slugify(self.name).replace("_", "-")[:50].split("-")
        stem = "-".join(filter(None, words)) or "role"
        taken = Role._base_manager.using(alias).filter(key=stem).exists()
        if taken or stem in Role.BuiltIn.values:
            # The last hexadecimal digits of a UUID of version 7 are random.
            return f"{stem}-{self.pk.hex[-8:]}"
        return stem

    def _require_held_changes(self) -> None:
        """Refuse in forms what the verbs refuse: permissions that are not one's own."""
        stored = None
        if not self._state.adding:
            stored = Role._base_manager.using(self._state.db).filter(pk=self.pk).first()
        if stored is None or stored.permissions != self.permissions:
            self.require_held()
            if stored is not None:
                stored.require_held()

    def _changes_built_in_key(self) -> bool:
        if self._state.adding:
            return False
        rows = Role._base_manager.using(self._state.db).filter(pk=self.pk)
        stored = rows.order_by().values_list("key", flat=True).first()
        if stored is None or stored == self.key:
            return False
        return self.is_built_in or stored in Role.BuiltIn.values


_WITH_EVERY = frozenset({Role.BuiltIn.OWNER.value, Role.BuiltIn.ADMIN.value})


def find_granted(key: str, permissions: list[Any]) -> frozenset[str]:
    """Return what a role of a key, with these permissions, grants.

    Any: a list that was not written through a verb may hold anything.
    """
    if key in _WITH_EVERY:
        return find_permissions()
    if key == Role.BuiltIn.MEMBER.value:
        return member_permissions()
    names = {name for name in permissions if isinstance(name, str)}
    return find_permissions() & names


def _defaults(key: Role.BuiltIn) -> dict[str, Any]:
    every = [EVERY] if key.value in _WITH_EVERY else []
    return {"name": str(key.label), "permissions": every}


def _require_stored(organization_id: Any, alias: str) -> None:  # Any: a key.
    model: Any = apps.get_model(conf.organization_model())
    if not model._base_manager.using(alias).filter(pk=organization_id).exists():
        raise OrganizationNotActive(
            "The organization was deleted meanwhile. Answer as for one that does not "
            "exist."
        )


def _fixed(what: str) -> BuiltInRole:
    return BuiltInRole(
        f"A built-in role was to get {what}. Make a role of your own, with "
        "Role.objects.create_role()."
    )


@contextmanager
def _refusing_in_use(alias: str) -> Iterator[None]:
    """Delete roles in a transaction that says what keeps one of them."""
    try:
        with transaction.atomic(using=alias):
            yield
    except IntegrityError as error:  # RestrictedError is one.
        raise RoleInUse(
            "A role that was to be deleted is that of a membership or an invitation, "
            "maybe of an ended one. Give them another role first, with "
            "membership.change_role()."
        ) from error


def _keep_built_in(instance: Role, origin: Any = None, **kwargs: Any) -> None:
    if instance.is_built_in and not is_of_organization(origin):
        raise BuiltInRole(
            f"The built-in role {instance.key!r} was to be deleted. Leave it: it goes "
            "with its organization."
        )


pre_delete.connect(_keep_built_in, sender=Role, dispatch_uid="tenancy.built_in")
