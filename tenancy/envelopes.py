"""What a message carries of a scope: the keys, as texts, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from tenancy.context import current_scope, in_no_scope, scope

P = ParamSpec("P")
R = TypeVar("R")

ORGANIZATION = "tenancy_organization"
USER = "tenancy_user"


def seal_scope() -> dict[str, str]:
    """Return what to send of the active scope: nothing of none, nor of unscoped.

    Going unscoped stands in the code that does it, which is the receiver's.
    """
    active = current_scope()
    if active is None or active.is_unscoped:
        return {}
    keys = {ORGANIZATION: active.organization_id, USER: active.user_id}
    return {name: str(key) for name, key in keys.items() if key is not None}


def take_sealed(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what of some values seal_scope() has made."""
    return {name: values[name] for name in (ORGANIZATION, USER) if values.get(name)}


def run_sealed(function: Callable[P, R], sealed: Mapping[str, Any]) -> Callable[P, R]:
    """Return a function that runs in a scope that was sent, and in no other.

    The organization is looked up at each call, and refused where it is archived.

    Args:
        function (Callable): sync or async.
        sealed (Mapping): what seal_scope() returned; empty for no scope.
    Raises:
        ValueError: by the function that is returned: see tenancy.scope().
    """
    names = {"user": sealed[USER]} if sealed.get(USER) else {}
    # In none first: whoever calls may be in a scope, which is not meant.
    if sealed.get(ORGANIZATION):
        function = scope(sealed[ORGANIZATION], **names)(function)
    elif names:
        function = scope(**names)(function)
    return in_no_scope()(function)
