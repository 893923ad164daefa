"""The demo site, as its settings run it, with a project and a task on each side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

import tenancy
from project import settings as demo
from project.tracker.models import Attachment, Label, Project, Task
from tenancy.models import Organization, User

# Two browsers are what this one is about; a machine without any has no such test.
collect_ignore = [] if shutil.which("chromedriver") else ["test_browser.py"]


@pytest.fixture(autouse=True)
def _site(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.TEMPLATES = demo.TEMPLATES
    settings.LOGIN_URL = demo.LOGIN_URL
    settings.LOGIN_REDIRECT_URL = demo.LOGIN_REDIRECT_URL
    settings.LOGOUT_REDIRECT_URL = demo.LOGOUT_REDIRECT_URL
    settings.AUTHENTICATION_BACKENDS = demo.AUTHENTICATION_BACKENDS
    settings.AUTH_PASSWORD_VALIDATORS = demo.AUTH_PASSWORD_VALIDATORS
    cache.clear()
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


@pytest.fixture
def as_alice(alice: User, acme: Organization) -> Client:
    """A browser in which alice of acme is signed in."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def as_bob(bob: User, globex: Organization) -> Client:
    """A browser in which bob of globex is signed in."""
    client = Client()
    client.force_login(bob)
    return client


@pytest.fixture
def ours(acme: Organization) -> Task:
    """A task of acme."""
    return make_task(acme, "Rocket skates stop")


@pytest.fixture
def theirs(globex: Organization) -> Task:
    """A task of globex."""
    return make_task(globex, "Turbine 3 stops")


def make_task(organization: Organization, title: str) -> Task:
    """Return a new task with a project, a label and an attachment."""
    with tenancy.scope(organization):
        project = Project.objects.create(name=f"{organization} project")
        task: Task = Task.objects.create(project=project, title=title)
        task.labels.add(Label.objects.create(name=f"{organization} label"))
        Attachment.objects.create(task=task, file="none.txt", name="none.txt")
    return task
