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
from project.tracker.models import Comment, Task
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


LOOK = """
const style = (selector) => getComputedStyle(document.querySelector(selector));
return {
  border: style("main input:not([type='hidden'])").borderColor,
  weight: style("main button.primary").fontWeight,
  colon: document.querySelector("main label").textContent.trim().endsWith(":"),
};
"""


def test_pages_of_the_app_look_like_the_trackers(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """Fields, buttons and labels are the same, and the content begins where it does."""
    alice = sign_in("Alice Archer")
    left = "return document.querySelector('h1').getBoundingClientRect().left"
    looks, edges = [], []
    for form, page in (("labels/new", "tasks"), ("organization", "members")):
        alice.get(f"{server.url}/{form}/")
        looks.append(alice.execute_script(LOOK))
        alice.get(f"{server.url}/{page}/")
        edges.append(alice.execute_script(left))

    assert looks[0] == looks[1]
    assert edges[0] == edges[1]


def test_choices_of_members_are_in_line(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """One's own row, which has another word, puts its choice where the others do."""
    alice = sign_in("Alice Archer")

    alice.get(f"{server.url}/members/")
    choices = alice.find_elements(By.CSS_SELECTOR, "main select")

    assert len(choices) > 2
    assert len({choice.rect["x"] for choice in choices}) == 1


def test_navigation_is_one_row_on_a_telephone(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """The links stand side by side, and the last one is shown where it is open."""
    alice = sign_in("Alice Archer")
    alice.set_window_size(390, 844)

    alice.get(f"{server.url}/account/")
    links = alice.find_elements(By.CSS_SELECTOR, ".tenancy-nav a")

    assert len({link.rect["y"] for link in links}) == 1
    assert links[-1].is_displayed()


def test_task_in_the_admin_fits_and_names_its_authors(
    server: LiveServer, sign_in: Callable[[str], WebDriver]
) -> None:
    """Neither a screen nor a telephone scrolls aside; comments tell who wrote them."""
    alice: Any = sign_in("Alice Archer")
    with tenancy.unscoped("a comment to look for"):
        comment = Comment.objects.filter(organization__slug="acme")[0]
        author = str(comment.author)
    width = "return document.documentElement.scrollWidth - window.innerWidth"
    for size in (1280, 390):
        alice.set_window_size(size, 844)
        alice.get(f"{server.url}/admin/tracker/task/{comment.task_id}/change/")

        assert alice.execute_script(width) <= 0, size
        chosen = alice.find_elements(By.CSS_SELECTOR, "#comments-group option")
        assert author in {one.get_attribute("text") for one in chosen}
