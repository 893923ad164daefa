"""Plots, as what a template draws: each position is a text that no language formats.

A plot is as wide as its place, so that what is across is in percent, and what is
upright in pixels: letters keep their size. In a language that is written from right
to left, time runs so, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import get_language_bidi

TOP, BASE = 20, 170
"""Where the greatest value of the scale stands, and where zero does."""

HEIGHT = 196
"""Of a plot, with the names below it."""

WIDEST_LABEL = 4
"""How many characters fit over a column."""

LEAST_SHARE = 0.5
"""How much of a bar is drawn of what is there at all, in percent."""

SCALES = (2, 4, 6, 8, 10)
"""The first digits of the greatest value of a scale, each of which has a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One value of a plot.

    Args:
        x, y, width, height (str): of the column.
        center (str): over which its labels stand.
        name (str): what stands below it.
        label (str): the value, where it is written over the column.
        edge (str): where a long label of the last column ends; empty for others.
        label_y (str): where the label stands.
        is_last (bool): whether it is the last of its series.
        is_between (bool): whether its name is left out where there is no room.
        is_second (bool): whether it is of the second series.
    """

    x: str
    y: str
    width: str
    height: str
    center: str
    name: str
    label: str
    edge: str
    label_y: str
    is_last: bool
    is_between: bool
    is_second: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Columns over one scale.

    Args:
        columns (tuple[Column, ...]): of each series in turn.
        ticks (tuple[str, ...]): the numbers of the scale, from above.
        lines (tuple[str, ...]): where their lines stand.
        is_crowded (bool): whether the names have no room beside each other.
    """

    columns: tuple[Column, ...]
    ticks: tuple[str, ...]
    lines: tuple[str, ...]
    is_crowded: bool
    height: str = str(HEIGHT)
    name_y: str = str(BASE + 18)


def write_number(number: int) -> str:
    """Return a number as the language writes it, with its groups of digits."""
    return str(number_format(number, use_l10n=True, force_grouping=True))


def find_share(number: int, whole: int) -> str:
    """Return how long the bar of a part is, in percent of the whole."""
    if number <= 0 or whole <= 0:
        return "0%"
    return _percent(min(100, max(LEAST_SHARE, 100 * number / whole)))


def find_scale(greatest: int) -> int:
    """Return the even number, easy to read, up to which a scale goes."""
    power = 1
    while True:
        for digit in SCALES:
            if digit * power >= greatest:
                return digit * power
        power *= 10


def draw_columns(
    names: Sequence[str], *series: Sequence[int], has_labels: bool = True
) -> Plot:
    """Return the columns of one series, or of two side by side.

    Args:
        names (Sequence[str]): what stands below each.
        series (Sequence[int]): as many values each.
        has_labels (bool): whether values are written over the columns.
    """
    scale = find_scale(max(map(max, series)))
    place = 100 / len(names)
    width = place * 0.7 / len(series)
    columns = []
    for number, values in enumerate(series):
        for position, value in enumerate(values):
            start = place * (position + 0.15) + width * number
            height = round((BASE - TOP) * value / scale)
            if value:
                height = max(1, height)
            is_last = position == len(values) - 1
            label = write_number(value) if has_labels else ""
            is_long = len(label) > WIDEST_LABEL
            columns.append(
                Column(
                    x=_across(start, width),
                    y=str(BASE - height),
                    width=_percent(width),
                    height=str(height),
                    center=_across(place * (position + 0.5)),
                    # Of two series, the names stand below once.
                    name=names[position] if number == 0 else "",
                    label=label if is_last or not is_long else "",
                    edge=_across(100) if is_last and is_long else "",
                    label_y=str(BASE - height - 5),
                    is_last=is_last,
                    is_between=(len(values) - position) % 2 == 0,
                    is_second=number > 0,
                )
            )
    return Plot(
        columns=tuple(columns),
        ticks=tuple(map(write_number, (scale, scale // 2, 0))),
        lines=(str(TOP), str((TOP + BASE) // 2), str(BASE)),
        is_crowded=max(map(len, names)) > WIDEST_LABEL,
    )


def _across(start: float, width: float = 0) -> str:
    """Return where something begins that is so wide, by the direction of writing."""
    return _percent(100 - start - width if get_language_bidi() else start)


def _percent(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".") + "%"
