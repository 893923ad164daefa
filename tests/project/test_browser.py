"""Two browsers side by side: alice of acme in one, bob of globex in the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

import tenancy
from project.tracker.models import Task
from tests.project.conftest import SECONDS, wait_for

RANDOM_KEY = 7_340_231

pytestmark = pytest.mark.django_db(transaction=True)


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


def fill(browser: WebDriver, **values: str) -> None:
    """Fill the page's form in, and send it."""
    for name, value in values.items():
        browser.find_element(By.NAME, name).send_keys(value)
    browser.find_element(By.CSS_SELECTOR, "main button.primary").click()


def test_newcomer_signs_up_and_invites(
    server: LiveServer, open_browser: Callable[[], WebDriver]
) -> None:
    """Dora signs up and invites; Erik accepts, and sees the tracker of both."""
    dora, erik = open_browser(), open_browser()
    password = {"password1": "correct horse", "password2": "correct horse"}
    dora.get(f"{server.url}/sign-in/")
    dora.find_element(By.LINK_TEXT, "Sign up").click()
    fill(
        dora,
        name="Dora",
        email="dora@initech.example",
        organization_name="Initech",
        **password,
    )
    wait_for(dora, "/projects/")

    dora.get(f"{server.url}/invitations/")
    fill(dora, email="erik@initech.example")
    WebDriverWait(dora, SECONDS).until(
        presence_of_element_located((By.CSS_SELECTOR, "[role='status']"))
    )
    message = next(sent for sent in mail.outbox if sent.to == ["erik@initech.example"])
    (link,) = re.findall(r"http://\S+/invitations/\S+", str(message.body))
    erik.get(link)
    invitation = erik.page_source
    erik.find_element(By.LINK_TEXT, "Sign up to accept").click()
    fill(erik, name="Erik", email="erik@initech.example", **password)
    wait_for(erik, "/projects/")

    assert "Join Initech" in invitation and "Dora" in invitation
    assert "Initech" in erik.page_source
    assert "Erik" in read(dora, f"{server.url}/members/")


def test_pages_of_app_fit_telephones(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """None of them overflows or has an error, and each heading is the first."""
    alice: Any = sign_in("Alice Archer")  # Any: get_log() is Chrome's own.
    alice.set_window_size(390, 844)
    width = "return document.documentElement.scrollWidth - window.innerWidth"
    for path in (
        "members",
        "teams",
        "teams/new",
        "invitations",
        "organization",
        "organization/danger",
        "organizations",
        "devices",
        "account",
        "account/password",
    ):
        alice.get(f"{server.url}/{path}/")

        assert alice.execute_script(width) <= 0, path
        assert alice.get_log("browser") == [], path
        assert len(alice.find_elements(By.TAG_NAME, "h1")) == 1, path


def test_device_is_signed_out_from_another(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """Alice ends her other browser's session, which is then asked to sign in."""
    here, there = sign_in("Alice Archer"), sign_in("Alice Archer")

    here.get(f"{server.url}/devices/")
    here.find_element(By.XPATH, "//main//button[contains(., 'every other')]").click()
    WebDriverWait(here, SECONDS).until(
        presence_of_element_located((By.CSS_SELECTOR, "[role='status']"))
    )
    there.get(f"{server.url}/tasks/")

    assert "/sign-in/" in there.current_url
    assert "Devices" in read(here, f"{server.url}/devices/")
