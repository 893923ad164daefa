"""Who signs in by e-mail and password, and what a member may do.

The backend takes ModelBackend's place: permissions come from the role in the active
organization, and from nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest

from tenancy.context import Scope, current_scope
from tenancy.models import Membership, Role
from tenancy.models.role import find_granted
from tenancy.permissions import current_generation
from tenancy.predicates import tenant_field

User = Any  # A user of any model, or an AnonymousUser.

_CACHE = "_tenancy_granted"


@dataclass(frozen=True, slots=True)
class _Granted:
    """What a user was found to be granted, and in which scope, and how long ago."""

    scope: Scope
    generation: int
    permissions: frozenset[str]


class OrganizationBackend(ModelBackend):
    """Sign-in by e-mail and password, and permissions in the active organization.

    A user has the permissions of their live membership's role in the scope's
    organization; none where no scope names one. Superusers have all. Neither groups
    nor user permissions count, which would count in every organization.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:  # As ModelBackend's: a user of any model.
        """Return the user of an address and a password, or None.

        It takes as long for an address of nobody.
        """
        return super().authenticate(
            request, username=username, password=password, **kwargs
        )

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:  # As above.
        """See authenticate()."""
        return await sync_to_async(self.authenticate)(
            request, username=username, password=password, **kwargs
        )

    def user_can_authenticate(self, user: User) -> bool:
        """Return whether the user is active, and not banned."""
        return super().user_can_authenticate(user) and not getattr(
            user, "is_banned", False
        )

    def get_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """Return none: permissions are not a user's own."""
        return set()

    async def aget_user_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """See get_user_permissions()."""
        return set()

    def get_group_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """Return those of the user's role in the active organization."""
        return self.get_all_permissions(user_obj, obj)

    async def aget_group_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """See get_group_permissions()."""
        return await self.aget_all_permissions(user_obj, obj)

    def get_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """Return those of the user's role in the active organization.

        Args:
            user_obj (AbstractBaseUser | AnonymousUser): who may.
            obj (Model | None): on what; where it is no row of the active organization,
                nothing may be done.
        """
        if not user_obj.is_active or user_obj.is_anonymous:
            return set()
        if getattr(user_obj, "is_superuser", False):
            return _find_every()
        return set(_find_granted(user_obj)) if _is_own(obj) else set()

    async def aget_all_permissions(self, user_obj: User, obj: Any = None) -> set[str]:
        """See get_all_permissions()."""
        return await sync_to_async(self.get_all_permissions)(user_obj, obj)

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        """Return whether the user may do it in the active organization."""
        if not user_obj.is_active or user_obj.is_anonymous:
            return False
        if getattr(user_obj, "is_superuser", False):
            return True
        return _is_own(obj) and perm in _find_granted(user_obj)

    async def ahas_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        """See has_perm()."""
        return await sync_to_async(self.has_perm)(user_obj, perm, obj)

    def has_module_perms(self, user_obj: User, app_label: str) -> bool:
        """Return whether the user may do anything in an app."""
        if not user_obj.is_active or user_obj.is_anonymous:
            return False
        if getattr(user_obj, "is_superuser", False):
            return True
        return any(name.startswith(f"{app_label}.") for name in _find_granted(user_obj))

    async def ahas_module_perms(self, user_obj: User, app_label: str) -> bool:
        """See has_module_perms()."""
        return await sync_to_async(self.has_module_perms)(user_obj, app_label)

    def with_perm(
        self,
        perm: str | Permission,
        is_active: bool | None = True,
        include_superusers: bool = True,
        obj: Model | None = None,
    ) -> Any:  # A queryset of the user model.
        """Return the users who may do something in the active organization.

        Args:
            perm (str | Permission): "app_label.codename".
            is_active (bool | None): whether they are active; None for both.
            include_superusers (bool): whether superusers are among them.
            obj (Model | None): on what, as for has_perm().
        Raises:
            TypeError: the permission is neither a str nor a Permission.
            ValueError: the str has not the form "app_label.codename".
        """
        condition = Q(pk__in=[])
        if _is_own(obj) and _organization_scope() is not None:
            roles = [
                role.pk
                for role in Role._base_manager.all()
                if _name_of(perm) in role.find_granted()
            ]
            members = Membership.objects.live().filter(
                user=OuterRef("pk"), role__in=roles
            )
            condition |= Q(Exists(members))
        else:
            _name_of(perm)
        if include_superusers:
            condition |= Q(is_superuser=True)
        if is_active is not None:
            condition &= Q(is_active=is_active)
        users: QuerySet[Any] = get_user_model()._default_manager.filter(condition)
        return users


def _find_granted(user: User) -> frozenset[str]:
    """Return what the user's role grants, asked for once in a scope.

    What is remembered stands on the user object, and holds for the very scope in which
    it was asked for, which a request enters once, until this process changes a
    membership or a role.
    """
    active = _organization_scope()
    if active is None:
        return frozenset()
    known: _Granted | None = getattr(user, _CACHE, None)
    generation = current_generation()
    if known is None or known.scope is not active or known.generation != generation:
        rows = Membership._base_manager.filter(user=user.pk, ended_at__isnull=True)
        found = rows.values_list("role__key", "role__permissions").first()
        granted = frozenset[str]() if found is None else find_granted(*found)
        known = _Granted(active, generation, granted)
        setattr(user, _CACHE, known)
    return known.permissions


def _organization_scope() -> Scope | None:
    active = current_scope()
    if active is None or active.organization_id is None:
        return None
    return active


def _is_own(obj: Any) -> bool:
    """Return whether a permission may be asked of an object: none, or an own row."""
    if obj is None:
        return True
    active = current_scope()
    field = tenant_field(type(obj)) if isinstance(obj, Model) else None
    if field is None or active is None:
        return False
    return bool(getattr(obj, field.attname) == active.organization_id)


def _find_every() -> set[str]:
    """Return every permission there is, which superusers have."""
    rows = Permission.objects.order_by().values_list(
        "content_type__app_label", "codename"
    )
    return {f"{label}.{codename}" for label, codename in rows}


def _name_of(permission: str | Permission) -> str:
    if isinstance(permission, Permission):
        return f"{permission.content_type.app_label}.{permission.codename}"
    if not isinstance(permission, str):
        raise TypeError(
            f"OrganizationBackend.with_perm() was given {permission!r}. Pass a "
            "Permission, or a str of the form 'app_label.codename'."
        )
    if permission.count(".") != 1:
        raise ValueError(
            f"OrganizationBackend.with_perm() was given {permission!r}. Write it as "
            "'app_label.codename'."
        )
    return permission
