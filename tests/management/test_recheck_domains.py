"""The command that looks for the records of verified domains again."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

import tenancy
from tenancy.context import scope_of_any_status
from tenancy.management.commands import recheck_domains
from tenancy.models import AuditEvent, Domain, Organization
from tenancy.testing import DomainFactory
from tests.nameserver import FAILING, NameServer

pytestmark = pytest.mark.django_db


def run() -> tuple[str, int]:
    """Return what the command prints, and its exit status."""
    output = io.StringIO()
    try:
        call_command("recheck_domains", stdout=output, no_color=True)
    except CommandError as error:
        return f"{output.getvalue()}{error}", error.returncode
    return output.getvalue(), 0


def make_verified(organization: Organization, host: str, server: NameServer) -> Any:
    """Return a domain of an organization, verified, whose record is published."""
    domain = DomainFactory(organization=organization, host=host, is_verified=True)
    server.publish(host, domain.token)
    return domain


def read(domain: Domain) -> Domain:
    """Return a domain as it is stored."""
    with tenancy.unscoped("what the command did"):
        stored: Domain = Domain.objects.get(pk=domain.pk)
    return stored


def test_recheck_when_all_are_found_succeeds(
    acme: Organization,
    globex: Organization,
    name_server: NameServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Domains of each organization are looked at, batch by batch; no other one is."""
    monkeypatch.setattr(recheck_domains, "BATCH_SIZE", 1)
    domains = [
        make_verified(acme, "a.example", name_server),
        make_verified(globex, "b.example", name_server),
    ]
    DomainFactory(organization=acme, host="c.example")

    output, status = run()

    assert status == 0 and len(name_server.asked) == 2
    assert "[1/2] a.example: found" in output and "[2/2] b.example: found" in output
    assert all(read(one).checked_at > one.checked_at for one in domains)


def test_recheck_when_records_are_missing_tells_and_withdraws(
    acme: Organization,
    globex: Organization,
    name_server: NameServer,
    settings: Settings,
) -> None:
    """A missing record fails the command, and withdraws the domain after the grace.

    That of an archived organization too; an unanswered look-up withdraws nothing.
    """
    gone = make_verified(acme, "gone.example", name_server)
    silent = make_verified(globex, "silent.example", name_server)
    name_server.withdraw("gone.example")
    name_server.publish("silent.example", FAILING)
    with tenancy.scope(acme):
        acme.archive()

    first, first_status = run()
    settings.TENANCY_DOMAIN_GRACE = timedelta()
    second, second_status = run()
    third, _status = run()

    assert (first_status, second_status) == (1, 1)
    assert "gone.example: absent, failing since 20" in first
    assert "silent.example: unanswered" in first and "2 of 2 records" in first
    assert "gone.example: absent, withdrawn" in second
    assert "gone.example" not in third and "unanswered: 1" in third
    assert [read(one).is_verified for one in (gone, silent)] == [False, True]
    with scope_of_any_status(acme):
        assert AuditEvent.objects.filter(action="domain.withdrawn").count() == 1


@pytest.mark.django_db(transaction=True)
def test_recheck_when_removed_meanwhile_goes_on(
    acme: Organization, name_server: NameServer
) -> None:
    """A domain that is removed while DNS is asked is none of those that fail."""
    domain = make_verified(acme, "a.example", name_server)

    def remove() -> None:
        with tenancy.scope(acme):
            domain.remove()
        connection.close()

    name_server.on_question = remove

    output, status = run()

    assert status == 0 and "a.example: removed" in output
