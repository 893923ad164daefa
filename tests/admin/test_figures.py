"""Numbers as they are said: of much, of a limit, of more than there is."""

from __future__ import annotations

from tenancy.admin.figures import (
    MOST_COUNTED,
    describe_limit,
    make_bars,
    make_figure,
    make_seats,
)


def test_very_many_are_told_as_such() -> None:
    """What was not counted to its end is said to be over the limit of counting."""
    assert make_figure("Rows", MOST_COUNTED).text == "100,000"
    assert make_figure("Rows", MOST_COUNTED + 1).text == "over 100,000"


def test_bars_begin_with_the_greatest() -> None:
    """Bars are of the greatest, which is the first, unless they have an order."""
    counted = [("few", 1), ("many", 4)]

    bars = [(bar.label, bar.share) for bar in make_bars(counted)]
    ordered = [bar.label for bar in make_bars(counted, is_ordered=True)]

    assert bars == [("Many", "100%"), ("Few", "25%")]
    assert ordered == ["Few", "Many"]
    assert make_bars([]) == ()


def test_limit_is_said() -> None:
    """A limit is said, and so is that there is none."""
    assert describe_limit({"members": 1200}, "members") == "of 1,200"
    assert describe_limit({"members": None}, "members") == "no limit"
    assert describe_limit(None, "members") == "the limit cannot be read"


def test_seats_without_limit_have_no_meter() -> None:
    """Without a limit only what is used is told."""
    seats = make_seats({"members": 1, "pending": 0}, {"members": None})

    assert not seats.has_limit and not seats.is_over
    assert seats.text == "1 seats are used; no limit."
    assert seats.note == "1 member, 0 pending invitations"


def test_seats_over_the_limit_are_said() -> None:
    """More than there are seats fills the meter, and is said."""
    seats = make_seats({"members": 9, "pending": 3}, {"members": 10})

    assert seats.is_over
    assert (seats.members, seats.invitations) == ("75%", "100%")
    assert seats.note.endswith("2 more than there are seats")


def test_seats_of_no_seat_are_shown() -> None:
    """A limit of nothing divides by nothing."""
    seats = make_seats({"members": 0, "pending": 0}, {"members": 0})

    assert (seats.members, seats.is_over) == ("0%", False)
