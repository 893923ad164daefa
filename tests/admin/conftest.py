"""The admin's site, and browsers of who works there."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django import Settings

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import Membership, Organization, User
from tests.sharing import share


@pytest.fixture(autouse=True)
def _site(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


@share
def ours(acme: Organization) -> Task:
    """A task of acme."""
    return make_task(acme, "Rocket skates stop")


@share
def theirs(globex: Organization) -> Task:
    """A task of globex."""
    return make_task(globex, "Turbine 3 stops")


def make_task(organization: Organization, title: str, **key: int) -> Task:
    """Return a new task in a new project, both of the key if one is given."""
    with tenancy.scope(organization):
        project = Project.objects.create(name=f"{organization} project", **key)
        task: Task = Task.objects.create(project=project, title=title, **key)
        return task


@pytest.fixture
def staff(alice: User, acme: Organization) -> Client:
    """A browser of alice, who may do everything in acme's admin."""
    alice.is_staff = True
    alice.save()
    alice.user_permissions.set(Permission.objects.all())
    return sign_in(alice)


@pytest.fixture
def superuser(db: None) -> Client:
    """A browser of a superuser, who is a member of no organization."""
    return sign_in(User.objects.create_superuser("admin@example.com", "demo"))


@pytest.fixture
def root(acme: Organization) -> Client:
    """A browser of a superuser who works in acme."""
    user = User.objects.create_superuser("root@example.com", "demo")
    with tenancy.scope(acme):
        Membership.objects.create(user=user)
    client = sign_in(user)
    client.post("/admin/switch-organization/", {"organization": acme.pk})
    return client


def sign_in(user: User) -> Client:
    """Return a browser in which the user is signed in."""
    client = Client()
    client.force_login(user)
    return client
