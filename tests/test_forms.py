from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.forms import AuthenticationForm
from django.core.cache import cache
from django.test import RequestFactory
from pytest_django import Settings

from tenancy.forms import AdminSignInForm, SignInForm, SignUpForm, name_user
from tenancy.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty() -> None:
    cache.clear()


@pytest.mark.parametrize(
    ("model", "kind"), [("tenancy.User", "email"), ("auth.User", "text")]
)
def test_sign_in_form_asks_for_what_users_have(
    model: str, kind: str, settings: Settings
) -> None:
    """An address where users sign in by it, and a name where they have one."""
    settings.AUTH_USER_MODEL = model

    for form in (SignInForm(), AdminSignInForm()):
        widget: Any = form.fields["username"].widget
        assert (widget.input_type, widget.attrs["autocomplete"]) == (kind, "username")


@pytest.mark.parametrize("model", ["tenancy.User", "auth.User"])
def test_sign_up_form_keeps_the_name(model: str, settings: Settings) -> None:
    """The name is the user's, in one field or in two."""
    settings.AUTH_USER_MODEL = model
    form = SignUpForm(is_invited=True)

    # Django's user has no table here, with which a whole form is validated.
    user = form._make_user("ann@acme.example", "Ann de Wit")

    assert user.get_full_name() == "Ann de Wit"


def fill(
    rf: RequestFactory, kind: type[AuthenticationForm], password: str = "demo"
) -> Any:
    """Return the form as alice fills it in."""
    data = {"username": "alice@acme.example", "password": password}
    return kind(rf.post("/"), data=data)


@pytest.mark.parametrize("kind", [SignInForm, AdminSignInForm])
def test_sign_in_form_when_tried_too_often_refuses(
    kind: type[AuthenticationForm], rf: RequestFactory, alice: User, settings: Settings
) -> None:
    """The right password is refused after a wrong one too many."""
    settings.TENANCY_SIGN_IN_ATTEMPTS = 1
    User.objects.update(is_staff=True)

    wrong, right = fill(rf, kind, "wrong"), fill(rf, kind)

    assert not wrong.is_valid() and not wrong.is_throttled
    assert not right.is_valid() and right.is_throttled


def test_admin_sign_in_form_admits_staff_only(rf: RequestFactory, alice: User) -> None:
    """Whoever is no staff is refused as with a wrong password."""
    refused = fill(rf, AdminSignInForm).is_valid()
    User.objects.update(is_staff=True)

    assert not refused
    assert fill(rf, AdminSignInForm).is_valid()


def test_user_is_called_by_name_or_address() -> None:
    """A user who gave no name, or whose model has none, has the address."""
    assert name_user(User(email="dora@example.com", name="Dora")) == "Dora"
    assert name_user(User(email="dora@example.com")) == "dora@example.com"
    assert name_user("somebody") == "somebody"
