from __future__ import annotations

import pytest
from django.db.models import UniqueConstraint

from tenancy.constraints import UniqueEverywhere


def test_unique_everywhere_when_deconstructed_names_itself() -> None:
    """A migration states the class, by which the check knows that it is meant."""
    constraint = UniqueEverywhere(fields=["token"], name="token_once")

    path, args, kwargs = constraint.deconstruct()

    assert path == "tenancy.constraints.UniqueEverywhere"
    assert args == ()
    assert kwargs == {"fields": ("token",), "name": "token_once"}


@pytest.mark.parametrize("fields", [["token"], ["provider", "token"]])
def test_unique_everywhere_is_a_unique_constraint(fields: list[str]) -> None:
    """Django treats it as its own."""
    assert isinstance(UniqueEverywhere(fields=fields, name="once"), UniqueConstraint)
