from __future__ import annotations

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from tenancy.constraints import place_errors


def test_place_errors_says_them_of_fields() -> None:
    """An error with a known code moves to its field; the others stay."""
    error = ValidationError(
        {
            NON_FIELD_ERRORS: [
                ValidationError("late", code="order"),
                ValidationError("odd", code="other"),
            ],
            "name": [ValidationError("long", code="length")],
        }
    )

    placed = place_errors(error, {"order": "end"}, ())

    assert placed.message_dict == {
        "end": ["late"],
        NON_FIELD_ERRORS: ["odd"],
        "name": ["long"],
    }


def test_place_errors_when_field_is_excluded_says_them_of_the_whole() -> None:
    """A form takes errors of the fields that it shows."""
    error = ValidationError(ValidationError("late", code="order"))

    placed = place_errors(error, {"order": "end"}, {"end"})

    assert placed.message_dict == {NON_FIELD_ERRORS: ["late"]}
