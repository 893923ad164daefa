"""Lists in words: what is live, and who did what."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import tenancy
from tenancy.models import Membership, Organization, Session, User
from tenancy.testing import MembershipFactory, SessionFactory

pytestmark = pytest.mark.django_db


def keys(client: Client, address: str) -> set[UUID]:
    """Return the keys of the rows to which a list leads."""
    page = client.get(address).content.decode()
    return {UUID(key) for key in re.findall(r"<th.*?/([0-9a-f-]{36})/change/", page)}


def test_memberships_are_filtered_by_state(
    staff: Client, acme: Organization, globex: Organization
) -> None:
    """Live members and former ones are told apart, and a crafted state is no filter."""
    address = "/admin/tenancy/membership/"
    with tenancy.scope(acme):
        ended = MembershipFactory()
        ended.end()
        live = Membership.objects.owners().get()

    assert keys(staff, f"{address}?state=live") == {live.pk}
    assert keys(staff, f"{address}?state=ended") == {ended.pk}
    assert keys(staff, f"{address}?state=none") == {live.pk, ended.pk}


def test_sessions_are_filtered_by_state(superuser: Client, bob: User) -> None:
    """Live sessions are told apart from those that were ended or have expired."""
    address = "/admin/tenancy/session/"
    live, ended = SessionFactory(user=bob), SessionFactory(user=bob)
    ended.end()
    past = timezone.now() - timedelta(days=1)
    expired = SessionFactory(user=bob, expires_at=past)

    own = set(Session.objects.for_user(bob).values_list("pk", flat=True))
    assert keys(superuser, f"{address}?state=live") & own == {live.pk}
    assert keys(superuser, f"{address}?state=over") & own == {ended.pk, expired.pk}
    assert keys(superuser, f"{address}?state=none") & own == own


def test_trail_is_listed_in_words(
    staff: Client, acme: Organization, alice: User, bob: User, globex: Organization
) -> None:
    """The trail names people, by one query for all, and no key of who is a member."""
    with tenancy.scope(acme, user=alice):
        members = [MembershipFactory().user for _number in range(3)]
        for user in members:
            Membership.objects.for_user(user).get().end()
    address = "/admin/tenancy/auditevent/"
    staff.get(address)

    with CaptureQueriesContext(connection) as queries:
        page = staff.get(address).content.decode()

    assert "Membership: ended" in page and alice.email in page
    for user in members:
        assert user.email in page and str(user.pk) not in page
    assert bob.email not in page
    names = [one["sql"] for one in queries if "FROM" in one["sql"]]
    assert sum(members[0].pk.hex in sql.replace("-", "") for sql in names) == 1


def test_session_is_called_by_its_browser(bob: User) -> None:
    """A session is called what people call its browser."""
    agent = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"

    assert str(SessionFactory(user=bob, user_agent=agent)) == "Firefox on Linux"
