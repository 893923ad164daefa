"""Numbers as a page shows them: written, linked, and with the length of a bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tenancy.admin.plots import find_share, write_number

MOST_COUNTED = 100_000
"""Up to how many rows are counted of each kind, so that the page is answered soon."""

Limits = Mapping[str, int | None] | None
"""The limits by name; None where a plan's cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, as the page shows it.

    Args:
        label (str): of what.
        number (int): how many.
        text (str): how many, written.
        note (str): what is said beside it.
        address (str): of the list of them; empty where there is none to show.
        share (str): how long its bar is.
    """

    label: str
    number: int
    text: str
    note: str = ""
    address: str = ""
    share: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """The seats of an organization, of which members and invitations take one each.

    Args:
        text (str): how many are taken, and of how many.
        note (str): by whom, and how many are free.
        members, invitations (str): how long their bars are, of the limit's.
        has_limit (bool): whether there is one.
        is_over (bool): whether more are taken than there are.
    """

    text: str
    note: str
    members: str
    invitations: str
    has_limit: bool
    is_over: bool


def make_figure(label: str, number: int, **kwargs: str) -> Figure:
    text = write_number(min(number, MOST_COUNTED))
    if number > MOST_COUNTED:
        text = _("over %s") % text
    return Figure(label=label, number=number, text=text, **kwargs)


def make_bars(
    counted: Iterable[tuple[Any, int]], *, is_ordered: bool = False
) -> tuple[Figure, ...]:
    """Return numbers with bars, the greatest first where they have no order."""
    rows = [(str(label), number) for label, number in counted]
    if not is_ordered:
        rows.sort(key=lambda row: (-row[1], row[0]))
    greatest = max((number for _label, number in rows), default=0)
    return tuple(
        Figure(
            label=str(capfirst(label)),
            number=number,
            text=write_number(number),
            share=find_share(number, greatest),
        )
        for label, number in rows
    )


def describe_limit(limits: Limits, name: str) -> str:
    if limits is None:
        return _("the limit cannot be read")
    limit = limits[name]
    if limit is None:
        return _("no limit")
    return _("of %s") % write_number(limit)


def make_seats(counts: Mapping[str, int], limits: Limits) -> Seats:
    members, invitations = counts["members"], counts["pending"]
    taken = members + invitations
    limit = limits["members"] if limits is not None else None
    parts = [
        ngettext("%s member", "%s members", members) % write_number(members),
        ngettext("%s pending invitation", "%s pending invitations", invitations)
        % write_number(invitations),
    ]
    if limit is None:
        text = _("%(taken)s seats are used; %(limit)s.") % {
            "taken": write_number(taken),
            "limit": describe_limit(limits, "members"),
        }
    else:
        text = _("%(taken)s of %(limit)s seats are used.") % {
            "taken": write_number(taken),
            "limit": write_number(limit),
        }
        free = limit - taken
        if free >= 0:
            parts.append(ngettext("%s free", "%s free", free) % write_number(free))
        else:
            parts.append(_("%s more than there are seats") % write_number(-free))
    whole = max(limit or 0, taken)
    return Seats(
        text=text,
        note=", ".join(parts),
        members=find_share(members, whole),
        invitations=find_share(taken, whole),
        has_limit=limit is not None,
        is_over=limit is not None and taken > limit,
    )
