"""Cached pages and template fragments, which are kept apart by scope.

Django makes their keys of the address, of headers and of the fragment's name. None of
them tells which organization's rows are in what is cached.
"""

from __future__ import annotations

import functools
from typing import Any
from uuid import uuid4

from django.core.cache import utils as fragments
from django.core.exceptions import SynchronousOnlyOperation
from django.utils import cache as pages

from tenancy.context import current_scope


def separate_keys() -> None:
    """Put the active scope into the keys of cached pages and template fragments.

    What is cached in no scope has Django's own keys. Other keys are the project's.
    """
    private: Any = pages  # Any: what Django keeps private is not typed.
    suffix = private._i18n_cache_key_suffix
    if hasattr(suffix, "__wrapped__"):
        return

    @functools.wraps(suffix)
    def with_scope(request: Any, cache_key: str) -> str:
        return _add_scope(suffix(request, cache_key))

    # Both of a page's keys, that of its headers and its own, come by.
    private._i18n_cache_key_suffix = with_scope
    # Not the function, which who imported it before would call as it was.
    fragments.TEMPLATE_FRAGMENT_KEY_TEMPLATE = _KeyTemplate(
        fragments.TEMPLATE_FRAGMENT_KEY_TEMPLATE
    )


class _KeyTemplate(str):
    """What make_template_fragment_key() fills, and the scope after it."""

    __slots__ = ()

    def __mod__(self, values: Any) -> str:
        return _add_scope(super().__mod__(values))


def _add_scope(key: str) -> str:
    try:
        scope = current_scope()
    except SynchronousOnlyOperation:
        # An async view that asks for no organization, whose visitor may be in one:
        # nobody is given what it caches.
        return f"{key}.{uuid4()}"
    if scope is None:
        return key
    if scope.is_unscoped:
        return f"{key}.unscoped"
    if scope.organization_id is None:
        return f"{key}.user-{scope.user_id}"
    return f"{key}.organization-{scope.organization_id}"
