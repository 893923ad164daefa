"""Domains of organizations, with a name server on the loopback."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.dispatch import Signal
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy import signals
from tenancy.challenges import Finding
from tenancy.exceptions import (
    ChallengeFailed,
    CrossOrganization,
    DNSUnavailable,
    DomainLimitReached,
    DomainTaken,
    ScopeRequired,
)
from tenancy.models import AuditEvent, Domain, Organization, User
from tests.concurrency import run_at_once
from tests.nameserver import FAILING, SILENT, NameServer

pytestmark = pytest.mark.django_db

HOST = "tasks.acme.example"
DAY = timedelta(days=1)

Commit = Any  # pytest-django's fixture, a context manager.


def add(organization: Organization, host: str = HOST) -> Domain:
    """Add a domain to an organization."""
    with tenancy.scope(organization):
        domain: Domain = Domain.objects.add_domain(host=host)
    return domain


@pytest.fixture
def domain(acme: Organization, name_server: NameServer) -> Domain:
    """A verified domain of acme's."""
    domain = add(acme)
    name_server.publish(HOST, domain.token)
    with tenancy.scope(acme):
        domain.verify()
    return domain


def put_back(domain: Domain, age: timedelta) -> None:
    """Let everything that happened to a domain have happened earlier."""
    names = ("verified_at", "failing_since", "checked_at")
    with tenancy.unscoped("time goes by"):
        stored = Domain.objects.get(pk=domain.pk)
        for name in names:
            moment = getattr(stored, name)
            setattr(stored, name, moment and moment - age)
        stored.save(update_fields=names)


def list_actions(domain: Domain) -> list[str]:
    """Return what the audit trail says of a domain, in order."""
    events = AuditEvent.objects.for_target(domain).order_by("occurred_at", "pk")
    return [event.action.removeprefix("domain.") for event in events]


# Hosts


def test_host_is_kept_as_browsers_send_it(acme: Organization) -> None:
    """Case, the last dot and other letters make no other domain."""
    for typed, kept in (
        (" Tasks.ACME.example. ", "tasks.acme.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("chat.acme。example", "chat.acme.example"),
        (f"{'a' * 63}.example", f"{'a' * 63}.example"),
    ):
        assert add(acme, typed).host == kept
    with tenancy.scope(acme):
        for host in ("tasks.acme.example", "XN--BCHER-KVA.example"):
            with pytest.raises(ValidationError, match="The organization has this dom"):
                Domain.objects.add_domain(host=host)


def test_host_when_of_site_is_refused(acme: Organization, settings: Settings) -> None:
    """The site's own domain, and what is below it, is no organization's."""
    settings.TENANCY_BASE_DOMAIN = "Example.com"

    with tenancy.scope(acme):
        for host in ("example.com", "www.example.com", "x.y.Example.com."):
            with pytest.raises(ValidationError, match="the site's own"):
                Domain.objects.add_domain(host=host)


def test_host_when_record_is_too_long_is_refused(
    acme: Organization, settings: Settings
) -> None:
    """A domain has room for the name of its record."""
    host = ".".join(["a" * 60] * 3 + ["b" * 57, "example"])
    settings.TENANCY_DOMAIN_RECORD = "_t"

    assert add(acme, host).record_name == f"_t.{host}"
    settings.TENANCY_DOMAIN_RECORD = "_tenancy"
    with tenancy.scope(acme), pytest.raises(ValidationError, match="too long"):
        Domain.objects.add_domain(host=f"c{host[1:]}")


# Adding


def test_add_when_anybody_did_takes_it(
    acme: Organization, globex: Organization
) -> None:
    """Who names a domain first has no right to it; each has a token of their own."""
    ours, theirs = add(acme), add(globex)

    assert ours.token != theirs.token and len(ours.token) == 64
    assert not ours.is_verified
    with tenancy.scope(acme):
        assert list(Domain.objects.all()) == [ours]
        assert list_actions(ours) == ["added"]


def test_add_when_limit_is_reached_is_refused(
    acme: Organization, settings: Settings
) -> None:
    """An organization has as many domains as TENANCY_LIMITS allows."""
    settings.TENANCY_LIMITS = {"domains": 1}
    add(acme)

    with tenancy.scope(acme), pytest.raises(DomainLimitReached, match="1 of 1"):
        Domain.objects.add_domain(host="other.example")
    with pytest.raises(ScopeRequired):
        Domain.objects.add_domain(host="other.example")


# Verifying


def test_verify_when_record_is_there_verifies(
    acme: Organization, name_server: NameServer
) -> None:
    """The token among the records verifies, and one TXT record is all that is asked."""
    domain = add(acme)
    name_server.publish(HOST, "v=spf1 -all", domain.token)

    with tenancy.scope(acme):
        assert domain.verify() is domain
        assert list(Domain.objects.verified()) == [domain]
        assert list_actions(domain) == ["added", "verified"]

    assert domain.is_verified and domain.verified_host == HOST
    assert (domain.finding, domain.failing_since) == (Finding.FOUND, None)
    assert domain.record_name == f"_tenancy-challenge.{HOST}"
    assert name_server.asked == [(f"{domain.record_name}.", "TXT")]


@pytest.mark.parametrize(
    ("texts", "error", "finding"),
    [
        (None, ChallengeFailed, Finding.ABSENT),
        ([], ChallengeFailed, Finding.ABSENT),
        (["0" * 64], ChallengeFailed, Finding.WRONG),
        ([FAILING], DNSUnavailable, Finding.UNANSWERED),
        ([SILENT], DNSUnavailable, Finding.UNANSWERED),
    ],
)
def test_verify_when_record_is_not_there_keeps_finding(
    acme: Organization,
    name_server: NameServer,
    settings: Settings,
    texts: list[str] | None,
    error: type[Exception],
    finding: Finding,
) -> None:
    """What was found is kept, and verifies nothing."""
    if texts == [SILENT]:
        settings.TENANCY_DNS_TIMEOUT = timedelta(seconds=0.2)
    domain = add(acme)
    if texts is not None:
        name_server.publish(HOST, *texts)

    with tenancy.scope(acme), pytest.raises(error, match=r"Set it to|Try again later"):
        domain.verify()

    domain = _read(domain)
    assert (domain.finding, domain.is_verified) == (finding, False)
    assert domain.checked_at is not None and domain.failing_since is None


def test_verify_when_token_is_of_other_is_refused(
    acme: Organization, globex: Organization, name_server: NameServer
) -> None:
    """Globex's token proves nothing for acme."""
    ours, theirs = add(acme), add(globex)
    name_server.publish(HOST, theirs.token)

    with tenancy.scope(acme), pytest.raises(ChallengeFailed):
        ours.verify()


def test_verify_when_taken_is_refused(
    domain: Domain, globex: Organization, name_server: NameServer
) -> None:
    """One organization has it, and the other is not told which."""
    theirs = add(globex)
    name_server.publish(HOST, domain.token, theirs.token)

    with tenancy.scope(globex), pytest.raises(DomainTaken) as caught:
        theirs.verify()

    assert "acme'" not in str(caught.value).replace(HOST, "")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert not _read(theirs).is_verified


def test_verify_when_of_other_organization_is_refused(
    domain: Domain, globex: Organization, name_server: NameServer
) -> None:
    """Nobody verifies, rechecks or removes another organization's domain."""
    name_server.asked.clear()

    with tenancy.scope(globex):
        for verb in (domain.verify, domain.recheck, domain.remove):
            with pytest.raises(CrossOrganization):
                verb()

    assert name_server.asked == [] and _read(domain).is_verified


@pytest.mark.django_db(transaction=True)
def test_verify_when_two_organizations_race_is_one(
    acme: Organization, globex: Organization, name_server: NameServer
) -> None:
    """Sixteen threads of two organizations verify a domain: it is one's."""
    domains = [add(acme), add(globex)]
    name_server.publish(HOST, *(domain.token for domain in domains))

    def make(number: int) -> Callable[[], Any]:
        organization = (acme, globex)[number % 2]

        def verify() -> Any:
            with tenancy.scope(organization):
                return Domain.objects.get().verify().organization_id

        return verify

    results = run_at_once([make(number) for number in range(16)])

    refused = [one for one in results if isinstance(one, Exception)]
    assert {type(one) for one in refused} == {DomainTaken}
    assert len(refused) == 8
    (winner,) = {one for one in results if not isinstance(one, Exception)}
    assert [_read(one).is_verified for one in domains] == [
        winner == one.organization_id for one in domains
    ]


# Rechecking


def test_recheck_when_missing_withdraws_after_grace(
    domain: Domain,
    acme: Organization,
    globex: Organization,
    name_server: NameServer,
    settings: Settings,
) -> None:
    """A record that is missing for the grace withdraws, and others may verify then."""
    settings.TENANCY_DOMAIN_GRACE = 2 * DAY
    theirs = add(globex)
    name_server.publish(HOST, theirs.token)

    with tenancy.scope(acme):
        seen = []
        for _ in range(3):
            assert domain.recheck() == Finding.WRONG
            seen.append(domain.is_verified)
            put_back(domain, DAY)
        assert list_actions(domain) == ["added", "verified", "failing", "withdrawn"]

    assert seen == [True, True, False]
    with tenancy.scope(globex):
        assert theirs.verify().is_verified


def test_recheck_when_found_again_forgets_failure(
    domain: Domain, acme: Organization, name_server: NameServer
) -> None:
    """The grace begins anew with each failure."""
    name_server.withdraw(HOST)
    with tenancy.scope(acme):
        assert domain.recheck() == Finding.ABSENT
        assert domain.failing_since is not None

        name_server.publish(HOST, domain.token)
        assert domain.recheck() == Finding.FOUND
        assert domain.failing_since is None


def test_recheck_when_unanswered_changes_nothing(
    domain: Domain, acme: Organization, name_server: NameServer, settings: Settings
) -> None:
    """A name server that fails neither begins the grace nor ends it, nor withdraws."""
    settings.TENANCY_DOMAIN_GRACE = DAY
    name_server.publish(HOST, FAILING)
    with tenancy.scope(acme):
        domain.recheck()
        assert domain.is_verified and domain.failing_since is None

        domain.recheck(Finding.ABSENT)
        put_back(domain, 9 * DAY)
        assert domain.recheck() == Finding.UNANSWERED
        assert domain.is_verified
        assert domain.failing_since is not None
        with pytest.raises(DNSUnavailable):
            domain.verify()


def test_recheck_when_unverified_verifies_nothing(
    acme: Organization, name_server: NameServer
) -> None:
    """Only who asks for it verifies a domain."""
    domain = add(acme)
    name_server.publish(HOST, domain.token)

    with tenancy.scope(acme):
        assert domain.recheck() == Finding.FOUND

    assert not domain.is_verified and domain.finding == Finding.FOUND


def test_check_when_clock_went_back_is_kept(domain: Domain, acme: Organization) -> None:
    """A check is dated no earlier than the one before it."""
    put_back(domain, -DAY)

    with tenancy.scope(acme):
        domain.recheck()

    assert domain.checked_at is not None and domain.checked_at > timezone.now()


def test_verified_domain_when_made_another_is_refused(
    domain: Domain, acme: Organization
) -> None:
    """A form that edits what it finds, or an update, takes no domain unproved."""
    domain.host = "www.globex.example"
    with tenancy.scope(acme):
        with pytest.raises(ValidationError, match="does not become another") as caught:
            domain.full_clean()
        for write in (
            domain.save,
            lambda: Domain.objects.update(host="www.globex.example"),
        ):
            with pytest.raises(IntegrityError), transaction.atomic():
                write()

    assert list(caught.value.error_dict) == ["host"]
    assert _read(domain).host == HOST


# Removing


def test_remove_frees_the_domain(
    domain: Domain, acme: Organization, globex: Organization, name_server: NameServer
) -> None:
    """What was removed is gone, and another organization may verify the domain."""
    theirs = add(globex)
    name_server.publish(HOST, theirs.token)
    with tenancy.scope(acme):
        domain.remove()
        assert AuditEvent.objects.filter(action="domain.removed").count() == 1
        with pytest.raises(Domain.DoesNotExist):
            domain.remove()
        with pytest.raises(Domain.DoesNotExist):
            domain.verify()

    with tenancy.scope(globex):
        assert theirs.verify().is_verified


def test_domains_go_with_their_organization(
    domain: Domain, acme: Organization, globex: Organization
) -> None:
    """Deleting acme deletes its domains, and no others."""
    theirs = add(globex)

    with tenancy.scope(acme):
        acme.delete()

    with tenancy.unscoped("what is left"):
        assert list(Domain.objects.all()) == [theirs]


# Signals, twins, settings


def test_changes_are_sent_when_committed(
    acme: Organization,
    name_server: NameServer,
    settings: Settings,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    """Each change sends its signal with the domain, in the organization's scope."""
    settings.TENANCY_DOMAIN_GRACE = DAY
    heard: list[tuple[str, str, Any]] = []

    def listen(name: str) -> Callable[..., None]:
        def receive(domain: Domain, **kwargs: Any) -> None:
            heard.append((name, domain.host, tenancy.require_organization()))

        signal: Signal = getattr(signals, name)
        signal.connect(receive, weak=False, dispatch_uid=name)
        return receive

    names = ("added", "verified", "failing", "withdrawn", "removed")
    receivers = [listen(f"domain_{name}") for name in names]
    with django_capture_on_commit_callbacks(execute=True):
        domain = add(acme)
        name_server.publish(HOST, domain.token)
        with tenancy.scope(acme):
            domain.verify()
            domain.recheck(Finding.ABSENT)
            put_back(domain, DAY)
            domain.recheck(Finding.ABSENT)
            domain.remove()
    for name in names:
        getattr(signals, f"domain_{name}").disconnect(dispatch_uid=f"domain_{name}")

    assert len(receivers) == 5
    assert heard == [(f"domain_{name}", HOST, acme.pk) for name in names]


def test_async_twins_do_the_same(acme: Organization, name_server: NameServer) -> None:
    """Each verb has a twin for async code."""

    async def live() -> list[Any]:
        async with tenancy.scope(acme):
            domain = await Domain.objects.aadd_domain(host=HOST)
            name_server.publish(HOST, domain.token)
            seen = [(await domain.averify()).is_verified, await domain.arecheck()]
            await domain.aremove()
            return seen

    assert async_to_sync(live)() == [True, Finding.FOUND]


def _read(domain: Domain) -> Domain:
    with tenancy.unscoped("what is stored"):
        stored: Domain = Domain.objects.get(pk=domain.pk)
    return stored


def test_member_of_other_sees_none(domain: Domain, globex: Organization) -> None:
    """Globex reads nothing of acme's domains."""
    with tenancy.scope(globex):
        assert not Domain.objects.verified().exists()
        assert not Domain.objects.filter(verified_host=HOST).exists()


def test_user_who_acts_is_in_the_trail(
    acme: Organization, alice: User, name_server: NameServer
) -> None:
    """The trail says who added a domain."""
    with tenancy.scope(acme, user=alice):
        Domain.objects.add_domain(host=HOST)
        (event,) = AuditEvent.objects.filter(action="domain.added")

    assert (event.actor_key, event.details) == (str(alice.pk), {"host": HOST})
