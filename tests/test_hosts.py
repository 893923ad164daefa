"""The names of hosts, as browsers send them."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from tenancy.hosts import is_host, is_own_host, normalize_host

MALFORMED = [
    *("", ".", "acme", "localhost", "acme..example", ".acme.example", "a b.example"),
    *("https://acme.example", "acme.example:8000", "acme.example/x", "*.example"),
    *("-acme.example", "acme-.example", "a_b.example", "acme.example\n.x", "a\0.b"),
    *("192.0.2.1", "0x7f.1", "2130706433", "[::1]", "::1", "1.2.3.4.", "acme.1e"),
    *("straße.example", "fa\u200db.example", f"{'a' * 64}.example"),
    *(".".join(["a" * 49] * 5 + ["example"]), "xn--a.example" + "x" * 300),
]


def test_host_when_malformed_is_refused() -> None:
    """What is no domain, and an IP address in any writing, is refused."""
    for host in MALFORMED:
        with pytest.raises(ValidationError, match="Give a domain alone"):
            normalize_host(host)
        assert not is_host(host)


def test_host_when_normalized_is_ascii() -> None:
    """Names in any script are written as browsers send them."""
    for typed, kept in (
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("FAQ.Bücher.example.", "faq.xn--bcher-kva.example"),
    ):
        assert normalize_host(typed) == kept
        assert is_host(kept)


def test_own_host_is_the_base_domain_and_below(settings: Settings) -> None:
    """No organization has the site's own hosts; a name that ends alike is another."""
    settings.TENANCY_BASE_DOMAIN = ".Bücher.example"
    own = "xn--bcher-kva.example"

    assert is_own_host(own) and is_own_host(f"a.{own}")
    assert not is_own_host(f"a{own}")
    settings.TENANCY_BASE_DOMAIN = None
    assert not is_own_host(own)
