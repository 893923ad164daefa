"""Decorators of views, sync and async, that ask for the organization."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url

from tenancy import conf
from tenancy.middleware import SUSPENDED_TEMPLATE
from tenancy.models import Membership
from tenancy.visits import require_visit

V = TypeVar("V", bound=Callable[..., Any])


def organization_not_required(view: V) -> V:
    """Mark an async view that asks for neither user nor organization at once.

    Nothing is read before it. What it asks for later, it awaits: ``await
    request.auser()`` reads the organization too.
    """
    # A view is a function, which takes whatever attributes it is given.
    cast(Any, view).organization_required = False
    return view


def sign_in_step(view: V) -> V:
    """Mark a view that is a step of signing in, as the page of a second factor is.

    Who is not signed in reaches it at an organization's own domain, as they reach the
    page of LOGIN_URL. It sends no mail that names the host it was asked at.
    """
    # A view is a function, which takes whatever attributes it is given.
    cast(Any, view).sign_in_step = True
    return view


def site_host_required(view: V) -> V:
    """Mark a view that is asked for at the site's own host only.

    A request at an organization's own domain is led there. For what mails a secret, or
    takes one: the domain's owner can have its name answered by another server.
    """
    # A view is a function, which takes whatever attributes it is given.
    cast(Any, view).site_host_required = True
    return view


def organization_required(view: V) -> V:
    """Let in those who act in an organization.

    Somebody who is not signed in is sent to the sign-in; who is in a suspended
    organization sees its page; who is in none is sent to TENANCY_CHOICE_URL.

    Raises:
        PermissionDenied: by the view, where the user is in no organization and
            TENANCY_CHOICE_URL names no page.
    """
    return _require(view, lambda membership: True)


def role_required(*keys: str) -> Callable[[V], V]:
    """Let in the members who have one of some roles; see organization_required().

    Args:
        keys (str): of roles, such as "owner".
    Raises:
        TypeError: no key is given, or the view in place of one.
        PermissionDenied: by the view, where the member has another role.
    """
    if not keys or not all(isinstance(key, str) for key in keys):
        raise TypeError(
            f"role_required() was given {keys!r}. Name the keys of roles, as in "
            '@role_required("owner", "admin").'
        )
    return lambda view: _require(view, lambda membership: membership.role.key in keys)


def permission_required(*permissions: str) -> Callable[[V], V]:
    """Let in the members whose role grants permissions; see organization_required().

    Args:
        permissions (str): "app_label.codename"; all of them are needed.
    Raises:
        TypeError: no permission is given, or the view in place of one.
        PermissionDenied: by the view, where the member's role does not grant them.
    """
    if not permissions or not all(isinstance(name, str) for name in permissions):
        raise TypeError(
            f"permission_required() was given {permissions!r}. Name permissions, as in "
            '@permission_required("tracker.change_task").'
        )
    return lambda view: _require(
        view, lambda membership: all(map(membership.has_perm, permissions))
    )


def find_refusal(
    request: HttpRequest, may_enter: Callable[[Membership], bool]
) -> HttpResponseBase | None:
    """Return the answer to who may not enter a view, or None.

    Args:
        request (HttpRequest): behind TenancyMiddleware.
        may_enter (Callable): whether a member may.
    Raises:
        PermissionDenied: the member may not, or the user is in no organization and
            TENANCY_CHOICE_URL names no page.
    """
    visit = require_visit(request)
    if not visit.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if visit.membership is None:
        return _send_to_choice(request, visit.suspended)
    if not may_enter(visit.membership):
        raise PermissionDenied(
            "The member's role does not allow it. Ask an owner for another role."
        )
    return None


def _send_to_choice(request: HttpRequest, suspended: Any) -> HttpResponseBase:
    if suspended is not None:
        context = {"organization": suspended}
        return render(request, SUSPENDED_TEMPLATE, context, status=403)
    url = conf.choice_url()
    if url is None:
        raise PermissionDenied(
            "No organization is chosen, or the user is in none. Set "
            "TENANCY_CHOICE_URL to where one is chosen."
        )
    return redirect_to_login(request.get_full_path(), resolve_url(url))


def _require(view: V, may_enter: Callable[[Membership], bool]) -> V:
    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def run_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = await sync_to_async(find_refusal)(request, may_enter)
            if refusal is not None:
                return refusal
            return await view(request, *args, **kwargs)

        # It takes and returns what the view does.
        return cast(V, run_async)

    @functools.wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = find_refusal(request, may_enter)
        return view(request, *args, **kwargs) if refusal is None else refusal

    return cast(V, run)  # as above
