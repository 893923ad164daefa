"""The DNS record by which an organization proves that a domain is its own."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from tenancy import conf

DNS_PORT = 53

SECONDS_OF_ONE = 2.0
"""How long one server is waited for, while others are left."""


class Finding(TextChoices):
    """What a look-up of a record came to."""

    FOUND = "found", _("found")
    ABSENT = "absent", _("no record")
    WRONG = "wrong", _("another record")
    UNANSWERED = "unanswered", _("no answer")


def make_challenge() -> str:
    """Return 256 random bits in hexadecimal, which nobody guesses."""
    return secrets.token_hex(32)


def name_record(host: str) -> str:
    """Return the name of a domain's record."""
    return f"{conf.domain_record()}.{host}"


def find_record(host: str, token: str) -> Finding:
    """Ask DNS whether a domain's TXT record holds a token.

    Nothing but that is asked for, and nothing that is found is connected to. It takes
    as long as TENANCY_DNS_TIMEOUT at most.

    Args:
        host (str): the domain, as normalize_host() returns it.
        token (str): what one of the records at its name is to be.
    Raises:
        ImproperlyConfigured: dnspython is not installed, or TENANCY_DNS_SERVERS names
            none.
    """
    dns = import_dns()
    servers = [_read_server(dns, server) for server in conf.dns_servers()]
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
        if servers:
            resolver.nameservers = servers
        resolver.lifetime = conf.dns_timeout().total_seconds()
        resolver.timeout = min(SECONDS_OF_ONE, resolver.lifetime)
        answer = resolver.resolve(f"{name_record(host)}.", "TXT", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Finding.ABSENT
    # Of a server that fails, refuses, is silent or talks nonsense.
    except (dns.exception.DNSException, OSError):
        return Finding.UNANSWERED
    # A long text comes in pieces.
    texts = {b"".join(record.strings).strip() for record in answer}
    return Finding.FOUND if token.encode() in texts else Finding.WRONG


def import_dns() -> Any:  # Any: a package that need not be there.
    """Return dnspython.

    Raises:
        ImproperlyConfigured: it is not installed.
    """
    try:
        import dns.exception
        import dns.inet
        import dns.nameserver
        import dns.resolver
    except ImportError as error:
        raise ImproperlyConfigured(
            "dnspython is not installed, which asks for the records of domains. Run "
            "pip install 'django-org-tenancy[domains]'."
        ) from error
    return dns


def _read_server(dns: Any, server: str) -> Any:  # As import_dns().
    """Return the server of a text such as "192.0.2.53:5353"."""
    # An address of version 6 without a port has no brackets.
    is_bare = server.count(":") > 1 and not server.startswith("[")
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//[{server}]" if is_bare else f"//{server}")
        if parts.hostname and dns.inet.is_address(parts.hostname):
            return dns.nameserver.Do53Nameserver(parts.hostname, parts.port or DNS_PORT)
    raise ImproperlyConfigured(
        f"TENANCY_DNS_SERVERS names {server!r}, which is no IP address. Give each as "
        "'192.0.2.53' or '192.0.2.53:5353'."
    )
