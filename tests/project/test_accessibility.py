"""What axe-core finds on each kind of page: nothing serious, and nothing critical."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver.remote.webdriver import WebDriver

import tenancy
from project.tracker.models import Task
from tenancy.models import AuditEvent, Invitation, Membership, Team
from tests.run import find_axe

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("axe")]

OF_DJANGO = {
    # Cells that are filled in have no label but their column's.
    "#result_list select",
    ".inline-related.tabular td",
    # The search of a completed choice, and the list of what was chosen.
    ".select2-container",
    # Links of Django 5.2's way home, that differ from its text by colour alone.
    "div.breadcrumbs",
}
"""What Django's own admin makes, and not as axe-core asks for it: neither its templates
nor its scripts are ours to change."""

RUN = """
const [left, done] = [arguments[0], arguments[1]];
axe.run({exclude: left}, {resultTypes: ["violations"]}).then(
  found => done(found.violations.map(
    one => [one.impact, one.id, one.nodes.map(node => node.html).slice(0, 3)]
  )),
  error => done([["critical", "axe", [String(error)]]])
);
"""


@pytest.fixture
def find_faults(server: LiveServer) -> Callable[..., list[Any]]:
    """Open a page, and return what is serious there."""
    program = find_axe().read_text()

    def find(browser: WebDriver, path: str) -> list[Any]:
        browser.get(server.url + path)
        browser.execute_script(program)
        left = [[one] for one in OF_DJANGO] if path.startswith("/admin/") else []
        found: list[Any] = browser.execute_async_script(RUN, left)
        assert "Nothing is here" not in browser.page_source, path
        return [(path, *one) for one in found if one[0] in ("serious", "critical")]

    return find


def test_pages_are_accessible(
    settings: Settings,
    sign_in: Callable[[str], WebDriver],
    open_browser: Callable[[], WebDriver],
    find_faults: Callable[..., list[Any]],
) -> None:
    """Each kind of page can be used by whatever means people use pages."""
    settings.ROOT_URLCONF = "tests.admin.site_urls"
    alice, stranger = sign_in("Alice Archer"), open_browser()
    with tenancy.unscoped("what the pages are about"):
        task = Task.objects.filter(organization__slug="acme")[0]
    with tenancy.scope(task.organization_id):
        team = Team.objects.create_team(name="Pilots")
        member = Membership.objects.exclude(user__name="Alice Archer")[0]
        pending, token = Invitation.objects.invite(email="dora@example.com")
        AuditEvent.objects.record("task.changed", task)

    faults = [
        fault
        for path in (
            "/sign-in/",
            "/sign-up/",
            "/password/reset/",
            f"/invitations/{token}/",
        )
        for fault in find_faults(stranger, path)
    ]
    for path in (
        "/organizations/",
        "/organizations/new/",
        "/members/",
        "/teams/",
        f"/teams/{team.pk}/",
        "/invitations/",
        "/organization/",
        "/organization/danger/",
        "/organization/domains/",
        "/devices/",
        "/account/",
        "/account/password/",
        "/projects/",
        f"/projects/{task.project_id}/",
        "/labels/",
        "/tasks/",
        "/tasks/?q=rocket",
        "/tasks/board/",
        "/tasks/new/",
        f"/tasks/{task.pk}/",
        f"/tasks/{task.pk}/delete/",
        "/admin/",
        f"/admin/tenancy/organization/{task.organization_id}/overview/",
        "/admin/tracker/task/",
        f"/admin/tracker/task/{task.pk}/change/",
        f"/admin/tracker/task/{task.pk}/history/",
        f"/admin/tenancy/membership/{member.pk}/act/end/",
        "/admin/tenancy/role/",
        f"/admin/tenancy/role/{member.role_id}/change/",
        "/admin/tenancy/invitation/add/",
        f"/admin/tenancy/invitation/{pending.pk}/act/renew/",
        "/admin/tenancy/auditevent/",
    ):
        faults += find_faults(alice, path)

    assert not faults, "\n".join(map(str, faults))
