"""What tells the organization of a request: TENANCY_RESOLVERS names them, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import quote

from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.module_loading import import_string

from tenancy import conf
from tenancy.context import LookUp, look_up
from tenancy.hosts import is_host, is_own_host, own_domain
from tenancy.models import Domain
from tenancy.texts import SLUG


@dataclass(frozen=True, slots=True)
class Address:
    """An organization as a request names it; whether there is one is not known yet.

    Args:
        slug (str | None): as it stands in the address. Made empty, which is no
            organization's, where no organization can have it. None where it is the
            host alone that names one.
        prefix (str): the part of the path that names it, such as "/o/acme". What
            follows is routed, and reverse() puts it before each path.
        host (str | None): a domain that may be an organization's own.
    """

    slug: str | None = None
    prefix: str = ""
    host: str | None = None

    def __post_init__(self) -> None:
        is_by_host = self.slug is None and self.host is not None
        if not is_by_host and not re.fullmatch(SLUG.regex, self.slug or ""):
            object.__setattr__(self, "slug", "")

    def filter(self, rows: Any, path: str = "organization") -> Any:
        """Keep the rows of the organization that is named, if there is one.

        Args:
            rows (QuerySet): of a model that refers to the organization.
            path (str): by what it does.
        """
        if self.slug is not None:
            rows = rows.filter(**{f"{path}__living_slug": self.slug})
        if self.host is not None:
            verified = Domain._base_manager.filter(verified_host=self.host)
            rows = rows.filter(**{f"{path}__in": verified.values("organization")})
        return rows


class Resolver:
    """Tells which organization a request names.

    A subclass says find_address(), which asks the request and nothing else: whether the
    user is a live member is asked for all alike. What it raises is not caught.
    """

    is_session: ClassVar[bool] = False
    """Whether it is the session that tells."""

    is_of_domains: ClassVar[bool] = False
    """Whether it tells of hosts that are not below TENANCY_BASE_DOMAIN."""

    headers: Sequence[str] = ()
    """The headers of a request, beside its host, that tell; each response varies."""

    def find_address(self, request: HttpRequest) -> Address | None:
        """Return the organization that the request names; None where it names none.

        Raises:
            DisallowedHost: the host is none of this site's.
        """
        raise NotImplementedError

    def build_url(self, request: HttpRequest, slug: str, path: str) -> str | None:
        """Return the address of a page of an organization.

        Args:
            request (HttpRequest): the present one, which tells the scheme and the port.
            slug (str): the organization's.
            path (str): of the page, with the query, without the script's name and what
                names an organization.
        Returns:
            str | None: None where an address cannot name one, as in a header.
        """
        return None


class SubdomainResolver(Resolver):
    """The organization is the host's first label: acme.example.com.

    TENANCY_BASE_DOMAIN and its "www" name none. A host of more labels names none that
    exists, and one that is not below the base domain is refused as Django refuses
    those that ALLOWED_HOSTS leaves out, unless TENANCY_RESOLVERS names DomainResolver
    too, which is asked then.

    Raises:
        ImproperlyConfigured: TENANCY_BASE_DOMAIN is not set.
    """

    refuses_others = True
    """Whether a host that is not below the base domain is refused."""

    def __init__(self) -> None:
        self._domain = _require_own_domain(type(self))

    def find_address(self, request: HttpRequest) -> Address | None:
        """Return the organization of the subdomain; see Resolver.find_address()."""
        host, _port = _split_host(request)
        if host in (self._domain, f"www.{self._domain}"):
            return None
        if not self.refuses_others and not is_own_host(host):
            return None
        if not host.endswith(f".{self._domain}"):
            raise DisallowedHost(
                f"The host {host!r} is not below TENANCY_BASE_DOMAIN. Answer requests "
                f"for {self._domain!r} and its subdomains only, by ALLOWED_HOSTS."
            )
        label = host.removesuffix(f".{self._domain}")
        return Address(label)

    def build_url(self, request: HttpRequest, slug: str, path: str) -> str:
        """Return the address on the organization's host."""
        origin = _make_origin(request, f"{slug}.{self._domain}")
        return f"{origin}{_script_name(request)}{path}"


class DomainResolver(Resolver):
    """The organization is the one for which the host is verified: tasks.acme.com.

    TENANCY_BASE_DOMAIN and what is below it name none: those are the site's own. What
    is no host's name, such as an IP address, is refused as Django refuses hosts that
    ALLOWED_HOSTS leaves out; every other host that is nobody's is answered as an
    organization that does not exist.

    Raises:
        ImproperlyConfigured: TENANCY_BASE_DOMAIN is not set.
    """

    is_of_domains = True

    def __init__(self) -> None:
        _require_own_domain(type(self))

    def find_address(self, request: HttpRequest) -> Address | None:
        """Return the organization of the domain; see Resolver.find_address()."""
        host, _port = _split_host(request)
        if is_own_host(host):
            return None
        if not is_host(host):
            raise DisallowedHost(
                f"The host {host!r} is neither below TENANCY_BASE_DOMAIN nor a name "
                "that an organization can have verified. Ask for the site by a name."
            )
        return Address(host=host)

    def build_url(self, request: HttpRequest, slug: str, path: str) -> str | None:
        """Return the address on the organization's first domain; None without one.

        It is one query.
        """
        with look_up(LookUp.DOMAIN):
            domains = Domain.objects.verified().filter(organization__living_slug=slug)
            hosts = domains.order_by("verified_at", "pk").values_list("host", flat=True)
            host = hosts.first()
        if host is None:
            return None
        return f"{_make_origin(request, host)}{_script_name(request)}{path}"


class PathResolver(Resolver):
    """The organization is named by the path: /o/acme/tasks/ is /tasks/ of acme's.

    TENANCY_PATH_PREFIX is the first segment. The rest is routed by the same URLconf.
    """

    def __init__(self) -> None:
        self._prefix = conf.path_prefix().strip("/")

    def find_address(self, request: HttpRequest) -> Address | None:
        """Return the organization of the path; see Resolver.find_address()."""
        start = f"/{self._prefix}/"
        if not request.path_info.startswith(start):
            return None
        slug = request.path_info.removeprefix(start).partition("/")[0]
        return Address(slug, prefix=f"{start}{slug}")

    def build_url(self, request: HttpRequest, slug: str, path: str) -> str:
        """Return the address under the organization's path."""
        return f"{_script_name(request)}/{self._prefix}/{slug}{path}"


class HeaderResolver(Resolver):
    """The organization is named by TENANCY_ORGANIZATION_HEADER.

    For an API behind a gateway that sets the header, and drops what clients send.
    """

    def __init__(self) -> None:
        self.headers = [conf.organization_header()]

    def find_address(self, request: HttpRequest) -> Address | None:
        """Return the organization of the header; see Resolver.find_address()."""
        slug = request.headers.get(self.headers[0])
        return None if slug is None else Address(slug)


class SessionResolver(Resolver):
    """The organization is the one that was chosen by switch_organization().

    It stands last. A choice that differs from what an address names is answered with
    404: leave this resolver out where the address alone is to tell.
    """

    is_session = True

    def find_address(self, request: HttpRequest) -> None:
        """Return None: the session is read together with the memberships."""
        return


class Resolvers:
    """The resolvers of TENANCY_RESOLVERS.

    Args:
        resolvers (Sequence[Resolver] | None): others, in order.
    Raises:
        ImproperlyConfigured: something stands behind the session's.
    """

    def __init__(self, resolvers: Sequence[Resolver] | None = None) -> None:
        if resolvers is None:
            resolvers = [import_string(name)() for name in conf.resolvers()]
        if any(resolver.is_session for resolver in resolvers[:-1]):
            raise ImproperlyConfigured(
                "TENANCY_RESOLVERS names another resolver behind SessionResolver. Put "
                "SessionResolver last."
            )
        self.uses_domains = any(resolver.is_of_domains for resolver in resolvers)
        if self.uses_domains:
            for resolver in resolvers:
                if isinstance(resolver, SubdomainResolver):
                    resolver.refuses_others = False
        self.asks_session = bool(resolvers) and resolvers[-1].is_session
        self._addresses = [one for one in resolvers if not one.is_session]
        self.headers = [header for one in resolvers for header in one.headers]

    def find_addresses(self, request: HttpRequest) -> list[Address]:
        """Return what the request names, from each resolver that finds something.

        Where two name different organizations, none is named that exists.

        Raises:
            Exception: whatever a resolver raises; the next is not asked then.
        """
        found = [resolver.find_address(request) for resolver in self._addresses]
        named = [address for address in found if address is not None]
        slugs = {address.slug for address in named if address.slug is not None}
        if len(slugs) > 1:
            return [replace(address, slug="") for address in named]
        return named

    def build_url(self, request: HttpRequest, slug: str, path: str) -> str | None:
        """Return a page's address by the first resolver that can build one."""
        for resolver in self._addresses:
            url = resolver.build_url(request, slug, path)
            if url is not None:
                return url
        return None


def merge_addresses(addresses: Sequence[Address]) -> Address | None:
    """Return what the addresses of one request name together; None for none.

    Where a path names an organization on another one's domain, that is nobody.
    """
    if not addresses:
        return None
    slugs = [one.slug for one in addresses if one.slug is not None]
    hosts = [one.host for one in addresses if one.host is not None]
    return Address(slug=slugs[0] if slugs else None, host=hosts[0] if hosts else None)


def build_site_url(request: HttpRequest, path: str) -> str:
    """Return an address on the site's own host, wherever the request was sent.

    For links in mails, which an organization must not have on a domain of its own: its
    members could read the secrets in them of whoever follows one.

    Args:
        request (HttpRequest): the present one.
        path (str): as reverse() returns it.
    """
    domain = own_domain()
    host, _port = _split_host(request)
    if domain is None or is_own_host(host):
        return request.build_absolute_uri(path)
    return f"{_make_origin(request, domain)}{path}"


def _require_own_domain(resolver: type[Resolver]) -> str:
    domain = own_domain()
    if not domain:
        raise ImproperlyConfigured(
            f"TENANCY_BASE_DOMAIN is {domain!r}, and TENANCY_RESOLVERS names "
            f"{resolver.__name__}. Set it to the site's own domain, of which "
            "organizations may have subdomains, such as 'example.com'."
        )
    return domain


def _split_host(request: HttpRequest) -> tuple[str, str]:
    """Return the host, in lower case and without the dot at its end, and the port."""
    return split_domain_port(request.get_host())


def _make_origin(request: HttpRequest, host: str) -> str:
    _host, port = _split_host(request)
    return f"{request.scheme}://{host}{f':{port}' if port else ''}"


def _script_name(request: HttpRequest) -> str:
    """Return under which path the server runs the site, as in "/app"."""
    script_name: str = request.META.get("SCRIPT_NAME", "")
    return quote(script_name.rstrip("/"))
