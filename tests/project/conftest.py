"""The demo site, as its settings run it, with a project and a task on each side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import url_matches
from selenium.webdriver.support.wait import WebDriverWait

import tenancy
from project import settings as demo
from project.tracker.models import Attachment, Label, Project, Task
from tenancy.models import Organization, User
from tests.sharing import share

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
)
SECONDS = 20


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


@share
def ours(acme: Organization) -> Task:
    """A task of acme."""
    return make_task(acme, "Rocket skates stop")


@share
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


# Browsers


@pytest.fixture
def server(_site: None) -> Iterator[LiveServer]:
    """The site, started with the settings of the test."""
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def open_browser() -> Iterator[Callable[[], WebDriver]]:
    """Open browsers, each with cookies of its own."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    opened: list[WebDriver] = []

    def open_one() -> WebDriver:
        options = webdriver.ChromeOptions()
        options.binary_location = str(program)
        for flag in FLAGS:
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=str(driver))
        browser = webdriver.Chrome(options=options, service=service)
        opened.append(browser)
        return browser

    yield open_one
    for browser in opened:
        browser.quit()


@pytest.fixture
def sign_in(
    server: LiveServer, open_browser: Callable[[], WebDriver]
) -> Callable[[str], WebDriver]:
    """Open a browser of its own and sign somebody of the demo in, by the page."""
    call_command("seed_demo", tasks=60, stdout=StringIO())

    def open_as(name: str) -> WebDriver:
        browser = open_browser()
        browser.get(f"{server.url}/sign-in/")
        label = f"button[aria-label='Sign in as {name}']"
        browser.find_element(By.CSS_SELECTOR, label).click()
        wait_for(browser, "/(projects|organizations)/")
        return browser

    return open_as


def wait_for(browser: WebDriver, pattern: str) -> None:
    """Wait until the address matches."""
    WebDriverWait(browser, SECONDS).until(url_matches(pattern))
