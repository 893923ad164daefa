from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from tenancy.context import Key, scope
from tenancy.models import Membership

SESSION_KEY = "tenancy_organization"
"""The key of the session under which the chosen organization's key is kept."""


class TenancyMiddleware:
    """Run each request in the scope of the signed-in user's organization.

    It stands after Django's AuthenticationMiddleware. The organization is the one that
    was chosen by switch_organization(), if the user is a live member of it now and it
    is active; a user who has chosen none and is a member of one only is in that one.
    ``request.organization`` and ``request.membership`` tell. They are None for a user
    who is in none, whose own memberships are in scope, and for an anonymous request,
    which has no scope. ``request.has_chosen_organization`` tells a choice from the
    only membership.

    View, exception handling and template responses run in the scope, and so does each
    step of a streaming body.

    Raises:
        ImproperlyConfigured: no AuthenticationMiddleware stands before it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request in its scope."""
        _require_user(request)
        _describe(request, None)
        if self.is_async:
            return self._answer_async(request)
        user = request.user
        if not user.is_authenticated:
            return cast(HttpResponseBase, self.get_response(request))
        chosen = request.session.get(SESSION_KEY)
        with scope(user=user.pk):
            found = list(_candidates(user, chosen))
        enter = _admit(request, found, chosen)
        with enter():
            response = self.get_response(request)
        return _keep_scope(response, enter)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        # Loaded once: request.user would ask the database again, and not from here.
        user = request.user = await request.auser()
        if not user.is_authenticated:
            return cast(HttpResponseBase, await self.get_response(request))
        chosen = await request.session.aget(SESSION_KEY)
        async with scope(user=user.pk):
            found = [membership async for membership in _candidates(user, chosen)]
        enter = _admit(request, found, chosen)
        async with enter():
            response = await self.get_response(request)
        return _keep_scope(response, enter)


def switch_organization(request: HttpRequest, key: Key) -> Membership:
    """Choose the organization of the session's next requests.

    Call it from a view that answers POST only.

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
        found = list(_candidates(request.user, key or ""))
    if not found:
        raise Http404("The user is in no organization of this key.")
    membership: Membership = found[0]
    request.session[SESSION_KEY] = str(membership.organization_id)
    return membership


def _require_user(request: HttpRequest) -> None:
    if not hasattr(request, "auser"):
        raise ImproperlyConfigured(
            "TenancyMiddleware found no 'request.user'. Put "
            "'django.contrib.auth.middleware.AuthenticationMiddleware' before "
            "'tenancy.middleware.TenancyMiddleware' in MIDDLEWARE."
        )


def _candidates(user: Any, chosen: Key | None) -> Any:
    """Return the user's live memberships in active organizations, two at most.

    Args:
        user (AbstractBaseUser): any user model's.
        chosen (key | None): the only organization that counts; None for each.
    """
    memberships = Membership.objects.live()
    if chosen is not None:
        try:
            memberships = memberships.filter(organization=chosen)
        except (ValidationError, ValueError):
            return memberships.none()
    return memberships.filter(
        user=user.pk, organization__status="active"
    ).select_related("organization")[:2]


def _admit(
    request: HttpRequest, found: list[Membership], chosen: Key | None
) -> Callable[[], scope]:
    """Tell the request its membership, and return what enters its scope."""
    # Kept, since a view may sign the user out.
    user_id = request.user.pk
    if len(found) != 1:
        return lambda: scope(user=user_id)
    (membership,) = found
    _describe(request, membership, has_chosen=chosen is not None)
    organization = membership.organization
    return lambda: scope(organization, user=user_id)


def _describe(
    request: HttpRequest, membership: Membership | None, *, has_chosen: bool = False
) -> None:
    # A request takes whatever attributes a middleware gives it.
    state: Any = request
    state.membership = membership
    state.organization = None if membership is None else membership.organization
    state.has_chosen_organization = has_chosen


def _keep_scope(
    response: HttpResponseBase, enter: Callable[[], scope]
) -> HttpResponseBase:
    """Keep the response from shared caches, and its streaming body in the scope."""
    patch_cache_control(response, private=True)
    # The bytes of a plain file need no scope, and the server may send them itself.
    is_file = getattr(response, "file_to_stream", None) is not None
    if isinstance(response, StreamingHttpResponse) and not is_file:
        body = _ScopedAsyncBody if response.is_async else _ScopedBody
        # The two are what streaming_content takes, sync or async.
        response.streaming_content = body(response.streaming_content, enter)  # type: ignore[arg-type]
    return response


class _ScopedBody:
    """A streaming body whose every step runs in the scope; between them there is none.

    Entering it in a generator would leave the server in the scope at each yield.
    """

    def __init__(self, parts: Iterator[bytes], enter: Callable[[], scope]) -> None:
        self._parts = iter(parts)
        self._enter = enter

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._enter():
            return next(self._parts)


class _ScopedAsyncBody:
    """See _ScopedBody."""

    def __init__(self, parts: AsyncIterator[bytes], enter: Callable[[], scope]) -> None:
        self._parts = aiter(parts)
        self._enter = enter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        async with self._enter():
            return await anext(self._parts)
