"""The names of hosts, as browsers send them and as the database keeps them."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.texts import HOST_LENGTH

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# Where the last label begins with a digit, browsers take the name for an IP address.
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?=[a-z]){_LABEL}")

# What Python's IDNA, of 2003, writes as other letters than browsers do.
_DEVIATING = frozenset("ßς\u200c\u200d")


def normalize_host(text: str) -> str:
    """Return a host's name as browsers send it: lower case, in ASCII, no last dot.

    Args:
        text (str): what somebody typed; not an address with a scheme or a port.
    Raises:
        ValidationError: it is no name of a host, or an IP address.
    """
    host = text.strip().lower().removesuffix(".")
    try:
        # One that IDNA makes too long, and one with an empty label, raises too.
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _malformed() from None
    if _DEVIATING & set(text) or not is_host(host):
        raise _malformed()
    return host


def is_host(text: str) -> bool:
    """Return whether a text is a host's name as normalize_host() returns them."""
    return len(text) <= HOST_LENGTH and _HOST.fullmatch(text) is not None


def validate_host(host: str) -> None:
    """Refuse a host that an organization cannot have.

    Raises:
        ValidationError: it is not well-formed, or is the site's own.
    """
    if normalize_host(host) != host:
        raise _malformed()
    if is_own_host(host):
        raise ValidationError(
            _("This domain is the site's own. Choose one of your own."), code="own"
        )
    if len(conf.domain_record()) + 1 + len(host) > HOST_LENGTH:
        raise ValidationError(
            _("This domain is too long for the name of its record."), code="max_length"
        )


def own_domain() -> str | None:
    """Return TENANCY_BASE_DOMAIN as browsers send it, or None."""
    domain = conf.base_domain()
    # A browser sends a name in other letters as IDNA writes it.
    return domain and domain.strip(".").lower().encode("idna").decode("ascii")


def is_own_host(host: str) -> bool:
    """Return whether a host is TENANCY_BASE_DOMAIN, or is below it."""
    domain = own_domain()
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _malformed() -> ValidationError:
    return ValidationError(
        _("Give a domain alone, as in “tasks.example.com”."), code="invalid"
    )
