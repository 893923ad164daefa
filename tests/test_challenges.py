"""The look-up of a domain's record, by a name server on the loopback."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tenancy.challenges import Finding, find_record, make_challenge, name_record
from tests.nameserver import NameServer

HOST = "tasks.acme.example"


def test_record_when_one_of_several_is_found(name_server: NameServer) -> None:
    """The token among other texts, in pieces as DNS keeps long ones, is found."""
    token = make_challenge()
    name_server.publish(HOST, "v=spf1 -all", f" {token} ", "x" * 200)

    assert find_record(HOST, token) == Finding.FOUND
    assert find_record(HOST, token[1:]) == Finding.WRONG
    assert find_record(f"x.{HOST}", token) == Finding.ABSENT


def test_record_is_named_by_the_setting(
    name_server: NameServer, settings: Settings
) -> None:
    """TENANCY_DOMAIN_RECORD is the label before the domain."""
    settings.TENANCY_DOMAIN_RECORD = "_acme"
    name_server.publish(HOST, "token")

    assert name_record(HOST) == f"_acme.{HOST}"
    assert find_record(HOST, "token") == Finding.FOUND
    assert name_server.asked == [(f"_acme.{HOST}.", "TXT")]


def test_server_when_no_address_is_refused(settings: Settings) -> None:
    """TENANCY_DNS_SERVERS names IP addresses."""
    for server in ("name.example", "192.0.2.1:port", "", "1.2.3"):
        settings.TENANCY_DNS_SERVERS = [server]

        with pytest.raises(ImproperlyConfigured, match="TENANCY_DNS_SERVERS names"):
            find_record(HOST, "token")


def test_server_of_version_six_takes_a_port(settings: Settings) -> None:
    """Addresses of both versions are taken, with and without a port."""
    settings.TENANCY_DNS_SERVERS = ["[::1]:9", "::1", "127.0.0.1:9"]
    settings.TENANCY_DNS_TIMEOUT = timedelta(seconds=0.1)

    assert find_record(HOST, "token") == Finding.UNANSWERED


def test_look_up_without_dnspython_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has not installed the extra is told which."""
    monkeypatch.setitem(sys.modules, "dns.resolver", None)

    with pytest.raises(ImproperlyConfigured, match=r"django-org-tenancy\[domains\]"):
        find_record(HOST, "token")
