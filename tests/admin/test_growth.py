"""Members by month, as the clock of the current time zone counts months."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

import tenancy
from tenancy.admin.growth import Growth, find_growth
from tenancy.models import Membership, Organization
from tenancy.testing import MembershipFactory

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def add(came: datetime, went: datetime | None = None) -> None:
    """Make somebody a member of the scope's organization, for a time."""
    membership = MembershipFactory()
    rows = Membership.objects.filter(pk=membership.pk)
    rows.update(created_at=came, ended_at=went)


def read() -> Growth:
    """Return the growth of the scope's organization, of which nobody is a founder."""
    return find_growth(Membership.objects.exclude(role__key="owner"))


@pytest.fixture
def _march() -> object:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.usefixtures("_march")
def test_growth_is_that_of_twelve_months(
    acme: Organization,
    globex: Organization,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """Members are those of each month's end, by one query, and globex's are others."""
    with tenancy.scope(globex):
        add(datetime(2026, 2, 2, tzinfo=UTC))
    with tenancy.scope(acme):
        add(datetime(2020, 1, 1, tzinfo=UTC))
        add(datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
        add(datetime(2025, 4, 1, tzinfo=UTC), datetime(2026, 1, 31, 23, tzinfo=UTC))
        add(datetime(2026, 3, 1, tzinfo=UTC))
        with django_assert_num_queries(1):
            growth = read()

    months = growth.months
    assert (months[0].first, months[-1].first) == (date(2025, 4, 1), date(2026, 3, 1))
    assert [month.members for month in months] == ["2"] * 9 + ["1", "1", "2"]
    assert [month.joined for month in months] == ["1", *["0"] * 10, "1"]
    assert [month.left for month in months] == [*["0"] * 9, "1", "0", "0"]
    assert (growth.joined, growth.left) == ("2", "1")


@pytest.mark.usefixtures("_march")
def test_month_is_that_of_the_time_zone(acme: Organization) -> None:
    """Half an hour before midnight of UTC, the next month has begun in Berlin."""
    with tenancy.scope(acme), timezone.override("Europe/Berlin"):
        add(datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
        joined = [month.joined for month in read().months]

    assert joined[-3:] == ["0", "1", "0"]


def test_growth_without_time_zones(acme: Organization, settings: Settings) -> None:
    """A project whose times have no zone has months as well."""
    settings.USE_TZ = False

    with tenancy.scope(acme), time_machine.travel(datetime(2026, 3, 15), tick=False):
        months = find_growth(Membership.objects.none()).months

    assert (len(months), months[-1].first) == (12, date(2026, 3, 1))
