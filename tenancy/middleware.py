from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth import alogout, logout
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from tenancy.context import Key, scope
from tenancy.models import Membership
from tenancy.origin import Origin, acting_from
from tenancy.sessions import SessionStore, find_ip_address

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

    A banned user is signed out. Where SESSION_ENGINE is "tenancy.sessions", the choice
    is the session's active membership, and current_origin() tells who impersonates.

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
        user, origin = request.user, Origin(find_ip_address(request))
        if getattr(user, "is_banned", False):
            logout(request)
            user = _forget_user(request)
        if not user.is_authenticated:
            with acting_from(origin):
                return cast(HttpResponseBase, self.get_response(request))
        chosen = request.session.get(SESSION_KEY)
        if isinstance(request.session, SessionStore):
            request.session.note_device(request)
            origin = Origin(origin.ip_address, request.session.impersonator_id)
            choice = _choose(request.session.membership_id, chosen)
        else:
            choice = _Choice(chosen, is_membership=False)
        with scope(user=user.pk):
            found = list(_candidates(user, choice))
        enter = _admit(request, found, choice, origin)
        with enter():
            response = self.get_response(request)
        return _keep_scope(response, enter)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        # Loaded once: request.user would ask the database again, and not from here.
        user = request.user = await request.auser()
        origin = Origin(find_ip_address(request))
        if getattr(user, "is_banned", False):
            await alogout(request)
            user = _forget_user(request)
        if not user.is_authenticated:
            with acting_from(origin):
                return cast(HttpResponseBase, await self.get_response(request))
        chosen = await request.session.aget(SESSION_KEY)
        if isinstance(request.session, SessionStore):
            request.session.note_device(request)
            impersonator = await request.session.aget_impersonator_id()
            origin = Origin(origin.ip_address, impersonator)
            choice = _choose(await request.session.aget_membership_id(), chosen)
        else:
            choice = _Choice(chosen, is_membership=False)
        async with scope(user=user.pk):
            found = [membership async for membership in _candidates(user, choice)]
        enter = _admit(request, found, choice, origin)
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
    choice = _Choice(key or "", is_membership=False)
    with scope(user=request.user.pk):
        found = list(_candidates(request.user, choice))
    if not found:
        raise Http404("The user is in no organization of this key.")
    membership: Membership = found[0]
    request.session[SESSION_KEY] = str(membership.organization_id)
    if isinstance(request.session, SessionStore):
        request.session.membership_id = membership.pk
    return membership


def _forget_user(request: HttpRequest) -> AnonymousUser:
    """Make the request nobody's, which Django 5.2 leaves to request.user alone."""
    user = AnonymousUser()

    async def auser() -> AnonymousUser:
        return user

    request.user, request.auser = user, auser
    return user


@dataclass(frozen=True, slots=True)
class _Choice:
    """What was chosen: an organization by its key, or a membership by its own.

    Args:
        key (key | None): None where nothing was chosen.
        is_membership (bool): whether it is a membership's.
    """

    key: Key | None
    is_membership: bool


def _require_user(request: HttpRequest) -> None:
    if not hasattr(request, "auser"):
        raise ImproperlyConfigured(
            "TenancyMiddleware found no 'request.user'. Put "
            "'django.contrib.auth.middleware.AuthenticationMiddleware' before "
            "'tenancy.middleware.TenancyMiddleware' in MIDDLEWARE."
        )


def _choose(membership: Key | None, chosen: Key | None) -> _Choice:
    """Return a session's active membership, or a choice that holds no more.

    A membership that ended is taken out of the session, which remembers that there was
    a choice: the user is then in no organization, and not in the only one left.
    """
    if membership is None and chosen is not None:
        return _Choice("", is_membership=True)
    return _Choice(membership, is_membership=True)


def _candidates(user: Any, choice: _Choice) -> Any:
    """Return the user's live memberships in active organizations, two at most."""
    memberships = Membership.objects.live()
    if choice.key is not None:
        name = "pk" if choice.is_membership else "organization"
        try:
            memberships = memberships.filter(**{name: choice.key})
        except (ValidationError, ValueError):
            return memberships.none()
    return memberships.filter(
        user=user.pk, organization__status="active"
    ).select_related("organization")[:2]


def _admit(
    request: HttpRequest, found: list[Membership], choice: _Choice, origin: Origin
) -> Callable[[], _Acting]:
    """Tell the request its membership, and return what enters its scope."""
    # Kept, since a view may sign the user out.
    user_id = request.user.pk
    if len(found) != 1:
        return lambda: _Acting(scope(user=user_id), origin)
    (membership,) = found
    _describe(request, membership, has_chosen=choice.key is not None)
    organization = membership.organization
    return lambda: _Acting(scope(organization, user=user_id), origin)


class _Acting:
    """A scope, and where the request that runs in it comes from."""

    def __init__(self, within: scope, origin: Origin) -> None:
        self._within, self._origin = within, origin
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._within.__enter__()
        self._stack.enter_context(acting_from(self._origin))
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
        self._stack.enter_context(acting_from(self._origin))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        await self._within.__aexit__(kind, error, traceback)


def _describe(
    request: HttpRequest, membership: Membership | None, *, has_chosen: bool = False
) -> None:
    # A request takes whatever attributes a middleware gives it.
    state: Any = request
    state.membership = membership
    state.organization = None if membership is None else membership.organization
    state.has_chosen_organization = has_chosen


def _keep_scope(
    response: HttpResponseBase, enter: Callable[[], _Acting]
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

    def __init__(self, parts: Iterator[bytes], enter: Callable[[], _Acting]) -> None:
        self._parts = iter(parts)
        self._enter = enter

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._enter():
            return next(self._parts)


class _ScopedAsyncBody:
    """See _ScopedBody."""

    def __init__(
        self, parts: AsyncIterator[bytes], enter: Callable[[], _Acting]
    ) -> None:
        self._parts = aiter(parts)
        self._enter = enter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        async with self._enter():
            return await anext(self._parts)
