"""Plots of little, of much, and from right to left."""

from __future__ import annotations

import pytest
from django.utils import translation

from tenancy.admin.plots import (
    draw_columns,
    find_scale,
    find_share,
    write_number,
)

NAMES = ["Jan", "Feb"]


@pytest.mark.parametrize(
    ("greatest", "scale"),
    [
        (0, 2),
        (1, 2),
        (2, 2),
        (3, 4),
        (9, 10),
        (11, 20),
        (61, 80),
        (1_000_001, 2_000_000),
    ],
)
def test_scale_is_easy_to_read(greatest: int, scale: int) -> None:
    """A scale holds the greatest value, and its half is a whole number."""
    assert find_scale(greatest) == scale
    assert scale % 2 == 0


def test_share_of_little_is_seen() -> None:
    """What is there has a bar, what is not has none, and none is longer than all."""
    assert find_share(1, 1_000_000) == "0.5%"
    assert find_share(0, 5) == find_share(0, 0) == "0%"
    assert find_share(7, 5) == "100%"


def test_columns_stand_on_the_base() -> None:
    """A column is as high as its value; nothing has no height, and little has some."""
    plot = draw_columns(["a", "b", "c"], [0, 1, 1_000_000])

    assert [column.height for column in plot.columns] == ["0", "1", "150"]
    assert [column.y for column in plot.columns] == ["170", "169", "20"]
    assert plot.ticks == ("1,000,000", "500,000", "0")


def test_long_label_ends_with_the_plot() -> None:
    """Of long numbers only the last is written, so that it is not cut."""
    first, last = draw_columns(NAMES, [1_000_000, 1_000_000]).columns

    assert (first.label, last.label, last.edge) == ("", "1,000,000", "100%")


def test_two_series_stand_side_by_side() -> None:
    """The second series stands beside the first, and names stand below once."""
    columns = draw_columns(NAMES, [2, 2], [1, 1], has_labels=False).columns

    assert [column.x for column in columns] == ["7.5%", "57.5%", "25%", "75%"]
    assert [column.name for column in columns] == ["Jan", "Feb", "", ""]
    assert [column.is_second for column in columns] == [False, False, True, True]


def test_names_without_room_are_left_out() -> None:
    """Where names are long, each second is left out, and the last stays."""
    short = draw_columns(["Jan", "Feb", "Mar"], [1, 1, 1])
    long = draw_columns(["January", "February", "March"], [1, 1, 1])

    assert [column.is_between for column in long.columns] == [False, True, False]
    assert (short.is_crowded, long.is_crowded) == (False, True)


def test_time_runs_as_the_language_is_written() -> None:
    """From right to left, the first column is the one on the right."""
    with translation.override("he"):
        first, last = draw_columns(NAMES, [1, 10_000]).columns

    assert (first.x, last.x) == ("57.5%", "7.5%")
    assert (first.center, last.edge) == ("75%", "0%")


def test_number_has_its_groups() -> None:
    """A number is written as the language groups its digits."""
    assert write_number(1_000_000) == "1,000,000"
    with translation.override("de"):
        assert write_number(1_000_000) == "1.000.000"
