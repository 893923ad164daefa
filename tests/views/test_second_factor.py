"""A project's own second step between password and session, by the documented hook."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.test import Client
from django.urls import include, path
from django.views.generic import RedirectView
from pytest_django import Settings

from tenancy.models import Organization, Session, User
from tenancy.views import people

CODE = "271828"

pytestmark = pytest.mark.django_db


class SignInView(people.SignInView):
    """Asks for a code after the password."""

    def admit(self, user: Any) -> HttpResponse:
        """Remember who gave the password, and where they go; sign nobody in."""
        self.request.session["waiting"] = {
            "user": str(user.pk),
            "backend": user.backend,
            "next": self.get_success_url(),
        }
        return redirect("/sign-in/code/")


def ask_for_code(request: HttpRequest) -> HttpResponse:
    """Sign in who gives the code."""
    if request.POST.get("code") != CODE:
        return HttpResponse("Type the code.")
    waiting = request.session.pop("waiting")
    login(request, User.objects.get(pk=waiting["user"]), backend=waiting["backend"])
    return redirect(waiting["next"])


urlpatterns = [
    path("sign-in/", SignInView.as_view()),
    path("sign-in/code/", ask_for_code),
    # The admin's own page would pass the second step by.
    path(
        "admin/login/",
        RedirectView.as_view(pattern_name="tenancy:sign-in", query_string=True),
    ),
    path("admin/", admin.site.urls),
    path("", include("tenancy.urls")),
]


@pytest.fixture(autouse=True)
def _urls(_pages: None, settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def test_second_step_stands_between_password_and_session(
    alice: User, acme: Organization
) -> None:
    """The password alone opens nothing; the code leads to the page that was asked for.

    A member of staff does not pass it by on the admin's page.
    """
    client = Client()
    data = {"username": alice.email, "password": "demo"}

    asked = client.post("/sign-in/?next=/members/", data)
    between = client.get("/members/")
    wrong = client.post("/sign-in/code/", {"code": "000000"})
    done = client.post("/sign-in/code/", {"code": CODE})
    by_admin = Client().get("/admin/login/?next=/admin/")

    assert asked.headers["Location"] == "/sign-in/code/"
    assert between.headers["Location"] == "/sign-in/?next=/members/"
    assert wrong.content == b"Type the code."
    assert done.headers["Location"] == "/members/"
    assert client.get("/members/").status_code == 200
    assert Session.objects.for_user(alice).live().count() == 1
    assert by_admin.headers["Location"] == "/sign-in/?next=/admin/"
