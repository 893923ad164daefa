"""The pages of the app alone, with two organizations and a stranger."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

import tenancy
from tenancy.models import Invitation, Membership, Organization, User


@pytest.fixture(autouse=True)
def _pages(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.views.urls"
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.LOGIN_URL = "tenancy:sign-in"
    settings.LOGIN_REDIRECT_URL = "tenancy:organization-list"
    settings.AUTHENTICATION_BACKENDS = ["tenancy.auth.OrganizationBackend"]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]
    # What was counted for another test.
    cache.clear()


def sign_in(user: User) -> Client:
    """Return a browser in which somebody is signed in."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def as_alice(alice: User, acme: Organization) -> Client:
    """A browser in which alice, who owns acme, is signed in."""
    return sign_in(alice)


@pytest.fixture
def as_bob(bob: User, globex: Organization) -> Client:
    """A browser in which bob, who owns globex, is signed in."""
    return sign_in(bob)


@pytest.fixture
def carol(acme: Organization) -> User:
    """A plain member of acme."""
    carol = User.objects.create_user("carol@acme.example", "demo", name="Carol")
    with tenancy.scope(acme):
        Membership.objects.add(user=carol)
    return carol


@pytest.fixture
def dora(db: None) -> User:
    """A user who is in no organization."""
    return User.objects.create_user("dora@example.com", "demo", name="Dora")


def invite(
    organization: Organization, email: str | None = None, role: str = "member"
) -> str:
    """Invite somebody into an organization, and return the token."""
    with tenancy.scope(organization):
        _invitation, token = Invitation.objects.invite(email=email, role=role)
    return token


def membership_of(organization: Organization, user: User) -> Membership:
    """Return somebody's membership, as it is stored."""
    with tenancy.scope(organization):
        found: Membership = Membership.objects.select_related("role").get(user=user)
    return found
