from __future__ import annotations

import pytest
from django import forms
from django.core.exceptions import ValidationError

from tenancy.exceptions import LastOwner, ScopeRequired
from tenancy.models import Team
from tenancy.refusals import REFUSALS, add_refusal, explain


class NameForm(forms.Form):
    name = forms.CharField()


def test_explain_when_verb_refuses_speaks_to_people() -> None:
    """No word of a developer's message is told."""
    words = explain(LastOwner("Call something() first."))

    assert words.startswith("The organization needs an owner.")


def test_explain_when_row_is_gone_says_so() -> None:
    """A row that was deleted between the look and the change is no fault."""
    assert explain(Team.DoesNotExist("no row")) == "This was deleted meanwhile."


def test_explain_when_program_fails_raises() -> None:
    """A fault of the program is no refusal."""
    assert ScopeRequired not in REFUSALS
    with pytest.raises(ScopeRequired, match="no scope"):
        explain(ScopeRequired("There is no scope."))


def test_refusal_stands_at_its_field() -> None:
    """An error of a field that the form lacks is one of the whole form."""
    form = NameForm({"name": "x"})

    add_refusal(form, ValidationError({"name": ["Taken."], "slug": ["Reserved."]}))
    add_refusal(form, LastOwner("Call something() first."))

    assert form.errors["name"] == ["Taken."]
    assert form.non_field_errors()[0] == "Reserved."
    assert "needs an owner" in str(form.non_field_errors())
