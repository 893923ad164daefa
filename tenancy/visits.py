"""Who asks, and in which organization: found once a request, when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import Manager
from django.http import HttpRequest
from django.urls import get_script_prefix, set_script_prefix
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject, empty

from tenancy.context import Key, LookUp, Scope, in_no_scope, look_up
from tenancy.models import Domain, Membership
from tenancy.origin import Origin
from tenancy.resolvers import Resolvers, build_site_url, merge_addresses
from tenancy.sessions import SessionStore, find_ip_address, is_of_domain

SESSION_KEY = "tenancy_organization"
"""The key of the session under which the chosen organization's key is kept."""


class Visit:
    """Who sent a request, and in which organization it acts.

    With SESSION_ENGINE "tenancy.sessions", one query reads all of it when something is
    first asked for, and none is made for what asks for nothing.

    Args:
        request (HttpRequest): behind Django's AuthenticationMiddleware.
        resolvers (Resolvers): those of the middleware.
    """

    def __init__(self, request: HttpRequest, resolvers: Resolvers) -> None:
        self._request, self._resolvers = request, resolvers
        self.addresses = resolvers.find_addresses(request)
        """How the request names its organization; each names the same."""
        address = self._address = merge_addresses(self.addresses)
        # What reverse() puts before each path outside of an organization's.
        self._script_prefix = get_script_prefix()
        self._lazy_user: Any = None
        self._membership: Membership | None = None
        self._has_chosen = False
        self._suspended: Any = None
        self._is_open = False
        self._archived: Any = None
        self._former: Any = None
        self._user: Any = None
        self._scope: Scope | None = None
        self._origin = Origin(find_ip_address(request))
        self.is_loaded = False
        """Whether anything was asked for."""
        if isinstance(request.session, SessionStore) and request.session.is_read:
            self._leave_foreign_session()
        session = request.session
        self._store = session if isinstance(session, SessionStore) else None
        if self._store is not None:
            self._store.note_device(request)
            self._store.note_domain(self._domain)
            self._store.join_memberships(address)
            if _is_unread(request.user):
                self._promise_user()

    @property
    def headers(self) -> list[str]:
        """The headers on which each response depends."""
        return self._resolvers.headers

    @property
    def uses_domains(self) -> bool:
        """Whether organizations are reached at domains of their own."""
        return self._resolvers.uses_domains

    @property
    def is_at_domain(self) -> bool:
        """Whether the request was sent to a host that may be an organization's own."""
        return self._domain is not None

    @property
    def _domain(self) -> str | None:
        return None if self._address is None else self._address.host

    @property
    def prefix(self) -> str:
        """What reverse() puts before each path, with what names the organization."""
        prefix = self._script_prefix
        for address in self.addresses:
            if address.prefix:
                prefix = f"{prefix.rstrip('/')}{address.prefix}/"
        return prefix

    def build_url(self, slug: str, make_path: Callable[[], str]) -> str:
        """Return the address of a page in an organization.

        On a domain of its own, it is on that one.

        Args:
            slug (str): the organization's.
            make_path (Callable): returns the page's path, by reverse().
        """
        if self._is_at_domain_of(slug):
            return make_path()
        before = get_script_prefix()
        set_script_prefix(self._script_prefix)
        try:
            path = make_path()
        finally:
            set_script_prefix(before)
        script = self._script_prefix.rstrip("/")
        url = self._resolvers.build_url(self._request, slug, path.removeprefix(script))
        url = path if url is None else url
        is_path = url.startswith("/")
        # A path of the domain would be its own organization's.
        return (
            build_site_url(self._request, url) if self.is_at_domain and is_path else url
        )

    def rebuild_url(self, slug: str) -> str | None:
        """Return the request's own address, with another slug in it."""
        path = self._request.get_full_path()
        path = path.removeprefix(self._script_prefix.rstrip("/"))
        path = path.removeprefix(self.addresses[0].prefix)
        return self._resolvers.build_url(self._request, slug, path or "/")

    @property
    def is_lazy(self) -> bool:
        """Whether nothing needs to be read before it is asked for."""
        return self._store is not None and self._address is None

    @property
    def user(self) -> Any:
        """Who is signed in."""
        self.load()
        return self._user

    @property
    def membership(self) -> Membership | None:
        """The live membership in which the request acts, or None."""
        self.load()
        return self._membership

    @property
    def has_chosen(self) -> bool:
        """Whether the organization was chosen, and is not the only one."""
        self.load()
        return self._has_chosen

    @property
    def suspended(self) -> Any:
        """The suspended organization of a live membership that was asked for."""
        self.load()
        return self._suspended

    @property
    def is_open(self) -> bool:
        """Whether somebody who is not signed in is at an organization's own domain.

        They can sign in there, and nothing else.
        """
        self.load()
        return self._is_open

    def admits(self, user: Any) -> bool:
        """Return whether a user could enter the organization of the domain asked for.

        Where it is no domain that names one, who signs in has others to go to.
        """
        if self._address is None or self._address.host is None:
            return True
        with look_up(LookUp.DOMAIN):
            rows = self._address.filter(Membership.objects.live().filter(user=user.pk))
            return bool(rows.exclude(organization__status="archived").exists())

    @property
    def archived(self) -> Any:
        """The archived organization of a live membership that the session chose."""
        self.load()
        return self._archived

    @property
    def former(self) -> Any:
        """The member's organization that had the address's slug, and has another."""
        self.load()
        return self._former

    def find_scope(self) -> Scope | None:
        """Return the scope in which the request runs, or None for none."""
        self.load()
        return self._scope

    def find_origin(self) -> Origin:
        """Return where the request comes from."""
        self.load()
        return self._origin

    async def aload(self) -> None:
        """See load()."""
        if not self.is_loaded:
            await sync_to_async(self.load)()

    def load(self) -> None:
        """Find out, once."""
        if not self.is_loaded:
            # What runs queries here must not ask for the scope in turn.
            with in_no_scope():
                self._load()

    def _load(self) -> None:
        user = self._find_user()
        if getattr(user, "is_banned", False):
            self._request.user = user
            auth.logout(self._request)
            user = AnonymousUser()
        if user.is_authenticated:
            self._find_membership(user)
            membership = self._membership
            organization_id = membership and membership.organization_id
            self._scope = Scope(organization_id, user.pk)
            if self._store is not None:
                self._origin = Origin(
                    self._origin.ip_address, self._store.impersonator_id
                )
        else:
            self._is_open = self._find_open()
        self._user = user
        self.is_loaded = True
        if self._lazy_user is None:
            self._tell_user(user)

    # The user.

    def _promise_user(self) -> None:
        """Give the request a user that is read together with the rest."""

        async def auser() -> Any:
            await self.aload()
            return self._user

        self._lazy_user = SimpleLazyObject(lambda: self.user)
        self._request.user, self._request.auser = self._lazy_user, auser

    def _leave_foreign_session(self) -> None:
        """Take another session, of nobody's, in place of one of another host."""
        if not is_of_domain(self._request.session, self._domain):
            self._request.session = type(self._request.session)()
            self._tell_user(AnonymousUser())

    def _tell_user(self, user: Any) -> None:
        """Keep Django from asking again, and from awaiting on its own."""

        async def auser() -> Any:
            return user

        self._request.user, self._request.auser = user, auser

    def _find_user(self) -> Any:
        request, store = self._request, self._store
        if store is None:
            self._leave_foreign_session()
        if self._lazy_user is None:
            return request.user
        if request.user is not self._lazy_user:
            # Who signs in meanwhile does not move the request that does it.
            return AnonymousUser()
        assert store is not None
        # Read now, and with it what is joined.
        known = store.get(auth.HASH_SESSION_KEY)
        user = store.joined_user
        if user is not None and self._is_verified(user, known):
            return user
        # Another backend, a fallback of the secret key, or nobody.
        return auth.get_user(request)

    def _is_verified(self, user: Any, known: str | None) -> bool:
        """Return whether Django would find this very user, by the current secret."""
        path = self._request.session.get(auth.BACKEND_SESSION_KEY)
        if path not in settings.AUTHENTICATION_BACKENDS or not path or not known:
            return False
        backend = auth.load_backend(path)
        if not isinstance(backend, ModelBackend):
            return False
        is_plain = (
            type(backend).get_user is ModelBackend.get_user
            and type(user._meta.model._default_manager).get_queryset
            is Manager.get_queryset
        )
        return (
            is_plain
            and hasattr(user, "get_session_auth_hash")
            and backend.user_can_authenticate(user)
            and constant_time_compare(known, user.get_session_auth_hash())
        )

    # The membership.

    def _find_membership(self, user: Any) -> None:
        chosen, is_membership = self._read_choice()
        found = self._find_candidates(user, chosen, is_membership)
        for membership in found:
            Membership.user.field.set_cached_value(membership, user)
        if self._address is not None:
            self._choose_addressed(user, found, chosen, is_membership)
        elif self._resolvers.asks_session:
            self._choose_of_session(found, chosen)

    def _read_choice(self) -> tuple[Key | None, bool]:
        """Return the session's choice, and whether it is the key of a membership.

        A membership that ended is taken out of the session, which remembers that there
        was a choice: an empty one, which is nobody's. The user is then in no
        organization, and not in the only one left.
        """
        if not self._resolvers.asks_session:
            return None, True
        chosen: Key | None = self._request.session.get(SESSION_KEY)
        if self._store is None:
            return chosen, False
        membership_id = self._store.membership_id
        if membership_id is None and chosen is not None:
            return "", True
        return membership_id, True

    def _find_candidates(
        self, user: Any, chosen: Key | None, is_membership: bool
    ) -> list[Membership]:
        joined = None if self._store is None else self._store.joined_memberships
        if joined is not None:
            own = [one for one in joined if one.user_id == user.pk]
            if self._address is not None or chosen is None:
                return own
            return [one for one in own if _is_chosen(one, chosen, is_membership)]
        with look_up(LookUp.SESSION):
            rows = Membership.objects.live().filter(user=user.pk)
            rows = rows.select_related("organization", "role")
            rows = rows.order_by("organization__status")
            if self._address is not None:
                rows = self._address.filter(rows)
            elif chosen is not None:
                name = "pk" if is_membership else "organization"
                try:
                    rows = rows.filter(**{name: chosen})
                except (ValidationError, ValueError):
                    return []
            return list(rows[:2])

    def _choose_addressed(
        self,
        user: Any,
        found: list[Membership],
        chosen: Key | None,
        is_membership: bool,
    ) -> None:
        """Take the membership in the organization that the address names.

        None is taken where the session's choice is another one.
        """
        assert self._address is not None
        if not found:
            if self._address.slug is not None and self._address.host is None:
                self._former = self._find_former(user, self._address.slug)
            return
        (membership,) = found
        if chosen and not _is_chosen(membership, chosen, is_membership):
            return
        self._take(membership, has_chosen=True)

    def _find_former(self, user: Any, slug: str) -> Any:
        """Return the member's organization that had a slug, or None.

        It is asked for every address that leads the user nowhere, so that another
        organization's takes as many queries as that of none.
        """
        with look_up(LookUp.SLUG):
            rows = Membership.objects.live().filter(
                user=user.pk, organization__slugs__slug=slug
            )
            rows = rows.exclude(organization__status="archived")
            membership = rows.select_related("organization").first()
        return None if membership is None else membership.organization

    def _find_open(self) -> bool:
        """Return whether the request is at the domain of an active organization."""
        address = self._address
        if address is None or address.host is None or address.slug is not None:
            return False
        with look_up(LookUp.DOMAIN):
            rows = address.filter(Domain.objects.verified())
            return bool(rows.filter(organization__status="active").exists())

    def _is_at_domain_of(self, slug: str) -> bool:
        membership = self.membership if self.is_at_domain else None
        return membership is not None and membership.organization.slug == slug

    def _choose_of_session(self, found: list[Membership], chosen: Key | None) -> None:
        if chosen is None:
            found = [one for one in found if one.organization.status == "active"]
        if len(found) == 1:
            self._take(found[0], has_chosen=chosen is not None)

    def _take(self, membership: Membership, *, has_chosen: bool) -> None:
        organization = membership.organization
        if organization.status == "suspended":
            self._suspended = organization
        elif organization.status == "active":
            self._membership, self._has_chosen = membership, has_chosen
        else:
            self._archived = organization


def require_visit(request: Any) -> Visit:
    """Return the visit of a request.

    Raises:
        ImproperlyConfigured: no TenancyMiddleware stands before whoever asks.
    """
    visit = find_visit(request)
    if visit is None:
        raise ImproperlyConfigured(
            "A request was asked for its organization that TenancyMiddleware has not "
            "seen. Put 'tenancy.middleware.TenancyMiddleware' in MIDDLEWARE."
        )
    return visit


def find_visit(request: Any) -> Visit | None:
    """Return the visit of a request; None of one that the middleware has not seen."""
    visit = getattr(request, "_tenancy_visit", None)
    return visit if isinstance(visit, Visit) else None


def describe(request: Any, visit: Visit) -> None:
    """Give a request the attributes that tell its organization."""
    request._tenancy_visit = visit
    if not issubclass(type(request), _TenantRequest):
        # SimpleLazyObject would not do: it never "is None".
        kind: Any = type(request)
        request.__class__ = _tenant_class(kind)


class _TenantRequest:
    """What TenancyMiddleware adds to a request, read when it is asked for."""

    _tenancy_visit: ClassVar[Any]

    @property
    def membership(self) -> Membership | None:
        """The live membership in which the request acts, or None."""
        membership: Membership | None = self._ask(lambda visit: visit.membership)
        return membership

    @property
    def organization(self) -> Any:
        """The organization in which the request acts, or None."""
        membership = self.membership
        return None if membership is None else membership.organization

    @property
    def has_chosen_organization(self) -> bool:
        """Whether the organization was chosen, and is not the only one."""
        return bool(self._ask(lambda visit: visit.has_chosen))

    def _ask(self, question: Callable[[Visit], Any]) -> Any:
        try:
            return question(self._tenancy_visit)
        except AttributeError as error:
            # As itself it would tell getattr(request, "organization", None) that the
            # request is in none.
            raise RuntimeError(
                f"The organization of a request could not be found: {error}. Mend what "
                "raised it, which stands above."
            ) from error


@functools.cache
def _tenant_class(base: type[HttpRequest]) -> type[HttpRequest]:
    return type(base.__name__, (_TenantRequest, base), {"__module__": base.__module__})


def _is_unread(user: Any) -> bool:
    """Return whether it is Django's own lazy user, and nobody has asked for it."""
    return isinstance(user, SimpleLazyObject) and user._wrapped is empty


def _is_chosen(membership: Membership, chosen: Key, is_membership: bool) -> bool:
    key = membership.pk if is_membership else membership.organization_id
    return str(key) == str(chosen)
