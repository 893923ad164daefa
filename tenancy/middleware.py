from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.views import PasswordResetView, redirect_to_login
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.handlers.exception import response_for_exception
from django.http import (
    Http404,
    HttpRequest,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.urls import get_script_prefix, set_script_prefix
from django.utils.cache import patch_cache_control, patch_vary_headers

from tenancy.context import Key, deferred, scope
from tenancy.models import Membership
from tenancy.origin import acting_from
from tenancy.provenance import (
    FIELD_NAME,
    answer_changed,
    is_form,
    is_of_active_organization,
)
from tenancy.resolvers import Resolvers, build_site_url
from tenancy.sessions import SessionStore
from tenancy.visits import SESSION_KEY, Visit, describe, find_visit, require_visit

__all__ = ["SESSION_KEY", "TenancyMiddleware", "switch_organization"]

SUSPENDED_TEMPLATE = "tenancy/suspended.html"


class TenancyMiddleware:
    """Run each request in the scope of the signed-in user's organization.

    It stands after Django's AuthenticationMiddleware. TENANCY_RESOLVERS tells which
    organization that is; the user is a live member of it now, and it is active. An
    address that names one answers everybody else with 404, as it does where there is no
    such organization; members of a suspended one with a page that says so; and those
    who use a former slug with a redirect. At an organization's own domain, where no
    session of the site's host is known, others can sign in, and do nothing else.

    Without an address, it is the organization that was chosen by switch_organization();
    a user who has chosen none and is a member of one only is in that one.
    ``request.organization`` and ``request.membership`` tell. They are None for a user
    who is in none, whose own memberships are in scope, and for an anonymous request,
    which has no scope. ``request.has_chosen_organization`` tells a choice from the
    only membership.

    With SESSION_ENGINE "tenancy.sessions" all of it is read in one query when something
    is first asked for; before an async view, which could not wait for it, unless the
    view is marked by tenancy.decorators.organization_not_required(). The choice then is
    the session's active membership, and current_origin() tells who impersonates. A
    banned user is signed out.

    View, exception handling and template responses run in the scope, and so does each
    step of a streaming body.

    Raises:
        ImproperlyConfigured: no AuthenticationMiddleware stands before it, or
            TENANCY_RESOLVERS is not right.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.resolvers = Resolvers()
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request in its scope."""
        _require_user(request)
        visit = Visit(request, self.resolvers)
        describe(request, visit)
        if self.is_async:
            return self._answer_async(request, visit)
        if not visit.is_lazy:
            visit.load()
        if visit.addresses and visit.membership is None and not visit.is_open:
            return _keep_private(_refuse(request, visit), visit)
        _route(request, visit)
        with _Acting(visit):
            response = self.get_response(request)
        return _keep_scope(response, visit)

    async def _answer_async(
        self, request: HttpRequest, visit: Visit
    ) -> HttpResponseBase:
        if not visit.is_lazy:
            await visit.aload()
        if visit.addresses and visit.membership is None and not visit.is_open:
            refused = await sync_to_async(_refuse)(request, visit)
            return _keep_private(refused, visit)
        _route(request, visit)
        async with _Acting(visit):
            response = await self.get_response(request)
        return _keep_scope(response, visit)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Read what an async view could not wait for; judge a form's organization.

        Returns:
            HttpResponseBase | None: the page with status 409 in answer to a form that
                was made in another organization; the way to the sign-in page for
                others at an organization's own domain.
        """
        visit = require_visit(request)
        if any(address.host is not None for address in visit.addresses):
            elsewhere = _lead_away(request, visit, view)
            if elsewhere is not None:
                return elsewhere
        if iscoroutinefunction(view) and getattr(view, "organization_required", True):
            visit.load()
        # What has no CSRF token is no form, and may be a body that is read in parts.
        if not is_form(request) or getattr(view, "csrf_exempt", False):
            return None
        if FIELD_NAME not in request.POST:
            return None
        membership = visit.membership
        organization = None if membership is None else membership.organization
        if is_of_active_organization(request, organization):
            return None
        return answer_changed(request, organization, archived=visit.archived)


def switch_organization(request: HttpRequest, key: Key) -> Membership:
    """Choose the organization of the session's next requests.

    Call it from a view that answers POST only. At an organization's own domain, which
    is that one's alone, nothing is chosen: lead to ``{% organization_url %}``.

    Args:
        request (HttpRequest): of a signed-in user.
        key (key): of the organization; its text will do.
    Returns:
        Membership: the user's membership in it.
    Raises:
        Http404: the user is no live member of it, or there is no such organization:
            the two cannot be told apart.
    """
    with scope(user=request.user.pk):
        rows = Membership.objects.live().filter(
            user=request.user.pk, organization__status="active"
        )
        try:
            rows = rows.filter(organization__pk=key or "")
        except (ValidationError, ValueError):
            rows = rows.none()
        membership = rows.select_related("organization").first()
    if membership is None:
        raise Http404("The user is in no organization of this key.")
    visit = find_visit(request)
    if visit is not None and visit.is_at_domain:
        # The domain tells. Another choice would close every page there, for good.
        return membership
    request.session[SESSION_KEY] = str(membership.organization_id)
    if isinstance(request.session, SessionStore):
        request.session.membership_id = membership.pk
    return membership


def _require_user(request: HttpRequest) -> None:
    if not hasattr(request, "auser"):
        raise ImproperlyConfigured(
            "TenancyMiddleware found no 'request.user'. Put "
            "'django.contrib.auth.middleware.AuthenticationMiddleware' before "
            "'tenancy.middleware.TenancyMiddleware' in MIDDLEWARE."
        )


def _route(request: HttpRequest, visit: Visit) -> None:
    """Take what names the organization off the path, which is routed without it."""
    for address in visit.addresses:
        if address.prefix:
            # Both are kept when they are first read, with what is before them then.
            _ = settings.STATIC_URL, settings.MEDIA_URL
            request.path_info = request.path_info.removeprefix(address.prefix) or "/"


def _refuse(request: HttpRequest, visit: Visit) -> HttpResponseBase:
    """Return the answer to an address in which the user does not act.

    That of a stranger's, of none and of two that differ is one and the same.
    """
    if visit.suspended is not None:
        context = {"organization": visit.suspended}
        return render(request, SUSPENDED_TEMPLATE, context, status=403)
    if visit.former is not None and request.method in ("GET", "HEAD"):
        url = visit.rebuild_url(visit.former.slug)
        if url is not None:
            return HttpResponsePermanentRedirect(url)
    return response_for_exception(
        request, Http404("There is no organization of this address.")
    )


def _lead_away(
    request: HttpRequest, visit: Visit, view: Callable[..., Any]
) -> HttpResponseBase | None:
    """Return the way to where a request at an organization's own domain belongs.

    Its members choose the host that a mail would name: what resets the password of
    whoever is named is asked for at the site's own.
    """
    is_reset = issubclass(getattr(view, "view_class", object), PasswordResetView)
    if is_reset or getattr(view, "site_host_required", False):
        return HttpResponseRedirect(build_site_url(request, request.get_full_path()))
    if not visit.is_open or getattr(view, "sign_in_step", False):
        return None
    if request.path == urlsplit(resolve_url(settings.LOGIN_URL)).path:
        return None
    is_page = request.method in ("GET", "HEAD")
    return redirect_to_login(request.get_full_path() if is_page else "/")


class _Acting:
    """A request's scope, where it comes from, and what is before its paths."""

    def __init__(self, visit: Visit) -> None:
        self._within = deferred(visit.find_scope)
        self._visit = visit
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._within.__enter__()
        self._act()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        self._within.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Self:
        await self._within.__aenter__()
        self._act()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        await self._within.__aexit__(kind, error, traceback)

    def _act(self) -> None:
        self._stack.enter_context(acting_from(self._visit.find_origin))
        self._stack.callback(set_script_prefix, get_script_prefix())
        set_script_prefix(self._visit.prefix)


def _keep_private(response: HttpResponseBase, visit: Visit) -> HttpResponseBase:
    """Keep the response from shared caches, where it is or may be of one user."""
    if visit.headers:
        patch_vary_headers(response, visit.headers)
    if visit.addresses or _is_streaming(response):
        # What a stream asks for is not known before it is sent.
        patch_vary_headers(response, ["Cookie"])
        patch_cache_control(response, private=True)
    elif visit.is_loaded and visit.user.is_authenticated:
        patch_cache_control(response, private=True)
    return response


def _is_streaming(response: HttpResponseBase) -> bool:
    # The bytes of a plain file need no scope, and the server may send them itself.
    is_file = getattr(response, "file_to_stream", None) is not None
    return isinstance(response, StreamingHttpResponse) and not is_file


def _keep_scope(response: HttpResponseBase, visit: Visit) -> HttpResponseBase:
    """Keep the response private, and its streaming body in the scope."""
    _keep_private(response, visit)
    if _is_streaming(response):
        streaming = cast(StreamingHttpResponse, response)
        body = _ScopedAsyncBody if streaming.is_async else _ScopedBody
        # The two are what streaming_content takes, sync or async.
        streaming.streaming_content = body(streaming.streaming_content, visit)  # type: ignore[arg-type]
    return response


class _ScopedBody:
    """A streaming body whose every step runs in the scope; between them there is none.

    Entering it in a generator would leave the server in the scope at each yield.
    """

    def __init__(self, parts: Iterator[bytes], visit: Visit) -> None:
        self._parts = iter(parts)
        self._visit = visit

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with _Acting(self._visit):
            return next(self._parts)


class _ScopedAsyncBody:
    """See _ScopedBody."""

    def __init__(self, parts: AsyncIterator[bytes], visit: Visit) -> None:
        self._parts = aiter(parts)
        self._visit = visit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        async with _Acting(self._visit):
            return await anext(self._parts)
