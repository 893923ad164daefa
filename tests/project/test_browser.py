"""Two browsers side by side: alice of acme in one, bob of globex in the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import (
    presence_of_element_located,
    url_matches,
)
from selenium.webdriver.support.wait import WebDriverWait

import tenancy
from project.tracker.models import Task

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
RANDOM_KEY = 7_340_231
SECONDS = 20

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(_site: None) -> Iterator[LiveServer]:
    """The site, started with the settings of the test."""
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def sign_in(server: LiveServer) -> Iterator[Callable[[str], WebDriver]]:
    """Open a browser of its own and sign somebody of the demo in, by the page."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Needs a browser: chromium and chromium-driver")
    call_command("seed_demo", tasks=60, stdout=StringIO())
    opened: list[WebDriver] = []

    def open_as(name: str) -> WebDriver:
        options = webdriver.ChromeOptions()
        options.binary_location = str(program)
        for flag in FLAGS:
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=str(driver))
        browser = webdriver.Chrome(options=options, service=service)
        opened.append(browser)
        browser.get(f"{server.url}/sign-in/")
        label = f"button[aria-label='Sign in as {name}']"
        browser.find_element(By.CSS_SELECTOR, label).click()
        WebDriverWait(browser, SECONDS).until(url_matches("/(projects|organizations)/"))
        return browser

    yield open_as
    for browser in opened:
        browser.quit()


def read(browser: WebDriver, address: str) -> str:
    """Open an address and return the page's source."""
    browser.get(address)
    return browser.page_source


def find_task(slug: str) -> Task:
    """Return a task of an organization."""
    with tenancy.unscoped("a task to look for"):
        task: Task = Task.objects.filter(organization__slug=slug)[0]
    return task


def test_other_task_and_random_key_are_one_page(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """Each sees the own task, and for the other's the page of a random key."""
    alice, bob = sign_in("Alice Archer"), sign_in("Bob Brandt")
    address = f"{server.url}/tasks/{{}}/"
    ours, theirs = find_task("acme"), find_task("globex")

    for browser, own, other in ((alice, ours, theirs), (bob, theirs, ours)):
        refused = read(browser, address.format(other.pk))
        nothing = read(browser, address.format(RANDOM_KEY))

        assert own.title in read(browser, address.format(own.pk))
        assert "Nothing is here" in refused and refused == nothing


def test_member_of_two_switches(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """Carol chooses an organization, and switches in the header of any page."""
    carol = sign_in("Carol Costa")
    wait = WebDriverWait(carol, SECONDS)
    by_name = "//button[@name='organization'][normalize-space()='{}']"

    carol.find_element(By.XPATH, by_name.format("Acme")).click()
    wait.until(presence_of_element_located((By.LINK_TEXT, "Rocket skates")))
    carol.find_element(By.XPATH, "//summary[normalize-space()='Switch']").click()
    carol.find_element(By.XPATH, by_name.format("Globex")).click()
    wait.until(presence_of_element_located((By.LINK_TEXT, "Turbine hall")))

    assert "Rocket skates" not in carol.page_source


def test_pages_load_nothing_that_fails(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """No page overflows a telephone's width or has an error in its console."""
    alice: Any = sign_in("Alice Archer")  # Any: get_log() is Chrome's own.
    alice.set_window_size(390, 844)
    task = find_task("acme")
    paths = (
        "/projects/",
        "/tasks/",
        "/tasks/board/",
        "/tasks/new/",
        f"/tasks/{task.pk}/",
        "/labels/",
    )
    for path in paths:
        alice.get(server.url + path)
        width = "return document.documentElement.scrollWidth - window.innerWidth"

        assert alice.execute_script(width) <= 0, path
        assert alice.get_log("browser") == [], path
