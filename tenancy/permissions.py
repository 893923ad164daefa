"""The permissions that roles grant: Django's, of tenant models only."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.predicates import tenant_field

EVERY = "*"
"""Every permission of tenant models, in the built-in roles of owners and admins."""

_OWN_APP = "tenancy"

_counter = itertools.count(1)
_generation = 0


def find_permissions() -> frozenset[str]:
    """Return what roles can grant: "app_label.codename" of each tenant model.

    Permissions of global models, such as users and plans, are none of them: a role
    would otherwise reach into other organizations.
    """
    return frozenset(
        f"{model._meta.app_label}.{codename}"
        for model in apps.get_models()
        if tenant_field(model) is not None
        for codename in _codenames(model._meta)
    )


def member_permissions() -> frozenset[str]:
    """Return what the built-in role "member" grants."""
    chosen = conf.member_permissions()
    known = find_permissions()
    if chosen is not None:
        return known & frozenset(chosen)
    return frozenset(
        name
        for name in known
        if name.split(".")[1].startswith("view_") and name.split(".")[0] != _OWN_APP
    )


def require_grantable(permissions: Any, *, allows_every: bool = False) -> None:
    """Refuse what no role can grant.

    Args:
        permissions (Any): what is given: a list of "app_label.codename".
        allows_every (bool): whether "*" is one of them.
    Raises:
        ValidationError: it is no list of str, or one of them is unknown, or of a model
            that is no tenant model.
    """
    if not isinstance(permissions, list) or not all(
        isinstance(name, str) for name in permissions
    ):
        raise ValidationError(
            _("Give a list of permissions, each as “app_label.codename”."),
            code="invalid",
        )
    known = find_permissions() | ({EVERY} if allows_every else set())
    for name in permissions:
        if name not in known:
            raise ValidationError(
                _("“%(name)s” is no permission that a role can grant."),
                code="unknown",
                params={"name": name},
            )


def current_generation() -> int:
    """Return a number that changes whenever this process changes who may do what."""
    return _generation


def forget_permissions() -> None:
    """Let every user's permissions be asked for anew; memberships or roles changed."""
    global _generation
    _generation = next(_counter)


def _codenames(options: Any) -> Iterator[str]:  # Any: Options is generic in the stubs.
    for action in options.default_permissions:
        yield get_permission_codename(action, options)
    permissions: Collection[tuple[str, str]] = options.permissions
    for codename, _name in permissions:
        yield codename
