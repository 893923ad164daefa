from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from tenancy.seals import seal, unseal
from tenancy.tokens import make_token


def test_unseal_of_what_was_sealed_returns_it() -> None:
    """A secret comes back under its name, and is not readable meanwhile."""
    session: dict[str, str] = {}

    seal(session, "invitation", "s\0cret")

    assert unseal(session, "invitation") == "s\0cret"
    assert "cret" not in repr(session)


def test_unseal_of_anything_else_returns_none() -> None:
    """Nothing, another kind, and what was sealed under another name are no secrets."""
    session: dict[str, object] = {"number": 1, "text": "é"}
    seal(session, "invitation", "secret")
    session["password"] = session["invitation"]

    names = ["missing", "number", "text", "password"]
    assert [unseal(session, name) for name in names] == [None] * 4


def test_unseal_when_secret_key_changes_needs_the_fallback(settings: Settings) -> None:
    """A secret outlives a SECRET_KEY that is a fallback, and no other."""
    session: dict[str, str] = {}
    settings.SECRET_KEY = "first"
    seal(session, "invitation", "secret")

    settings.SECRET_KEY = "second"
    assert unseal(session, "invitation") is None
    settings.SECRET_KEY_FALLBACKS = ["first"]

    assert unseal(session, "invitation") == "secret"


@pytest.mark.django_db
@pytest.mark.urls("tests.views.urls")
@pytest.mark.parametrize(
    "name", ["invitation-open", "email-open", "password-reset-open", "sign-up-open"]
)
def test_token_of_a_link_is_not_readable_in_the_session(
    name: str, client: Client
) -> None:
    """Whoever reads the stored session finds no token of a link that was followed."""
    token = make_token()

    response = client.get(reverse(f"tenancy:{name}", kwargs={"token": token}))

    assert response.status_code == 302
    kept = dict(client.session.items())
    assert kept
    assert token not in repr(kept)
