"""How the members of an organization became more and fewer, month by month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.utils import timezone
from django.utils.formats import date_format

from tenancy.admin.plots import Plot, draw_columns, write_number

MONTHS = 12
"""How far back the growth goes, the current month included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a month has changed.

    Args:
        first (date): its first day.
        joined, left, members (str): how many came and went; how many there were at
            its end.
    """

    first: date
    joined: str
    left: str
    members: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How many members there were in the last months.

    Args:
        months (tuple[Month, ...]): from the oldest.
        members (Plot): how many there were.
        changes (Plot): how many came and went.
        joined, left (str): how many in all.
    """

    months: tuple[Month, ...]
    members: Plot
    changes: Plot
    joined: str
    left: str


def find_growth(memberships: QuerySet[Any, Any]) -> Growth:
    """Return how memberships began and ended, by one grouped query.

    The months are those of the current time zone. Their limits are found here, so
    that the database needs no table of time zones.

    Args:
        memberships (QuerySet): all of one organization's.
    """
    firsts = _list_months(timezone.now())
    starts = [_start(first) for first in firsts]
    counted = (
        memberships.order_by()
        .values_list(_find_month("created_at", starts), _find_month("ended_at", starts))
        .annotate(number=Count("pk"))
    )
    joined, left = [0] * (MONTHS + 1), [0] * (MONTHS + 1)
    for came, went, number in counted:
        joined[came] += number
        if went is not None:
            left[went] += number
    members = [
        sum(joined[: month + 1]) - sum(left[: month + 1])
        for month in range(1, MONTHS + 1)
    ]
    names = [date_format(first, "M") for first in firsts]
    changes = list(zip(firsts, joined[1:], left[1:], members, strict=True))
    return Growth(
        months=tuple(
            Month(
                first=first,
                joined=write_number(came),
                left=write_number(went),
                members=write_number(there),
            )
            for first, came, went, there in changes
        ),
        members=draw_columns(names, members),
        changes=draw_columns(names, joined[1:], left[1:], has_labels=False),
        joined=write_number(sum(joined[1:])),
        left=write_number(sum(left[1:])),
    )


def _list_months(now: datetime) -> list[date]:
    """Return the first days of the last months, from the oldest to this month's."""
    local = timezone.localtime(now) if timezone.is_aware(now) else now
    last = local.year * 12 + local.month - 1
    return [
        date(number // 12, number % 12 + 1, 1)
        for number in range(last - MONTHS + 1, last + 1)
    ]


def _start(first: date) -> datetime:
    """Return the moment at which a day begins, in the current time zone."""
    midnight = datetime(first.year, first.month, first.day)
    return timezone.make_aware(midnight) if settings.USE_TZ else midnight


def _find_month(field: str, starts: list[datetime]) -> Case:
    """Return the number of the month of a time: 0 before all, None of no time."""
    later = [
        When(**{f"{field}__lt": start}, then=Value(number))
        for number, start in enumerate(starts)
    ]
    return Case(
        When(**{field: None}, then=None),
        *later,
        default=Value(len(starts)),
        output_field=IntegerField(),
    )
