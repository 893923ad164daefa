"""What a browser may send that no page of the site has given it, or not lately."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings as current
from django.core import mail
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

import tenancy
from project.tracker.models import Comment, Project, Task
from tenancy.models import Membership, Organization, Role, Session, Team, User

FORM = re.compile(r'name="tenancy_organization"\s+value="([^"]+)"')


def carried(client: Client, address: str) -> str:
    """Return in which organization the forms of a page were made."""
    page = client.get(address).content.decode()
    (found,) = set(FORM.findall(page))
    return str(found)


def add_carol(*organizations: Organization) -> tuple[User, Client]:
    """Return an admin of organizations, and a browser of hers."""
    carol = User.objects.create_user("carol@example.com", name="Carol")
    for organization in organizations:
        with tenancy.scope(organization):
            Membership.objects.add(user=carol, role="admin")
    client = Client()
    client.force_login(carol)
    return carol, client


def invite(organization: Organization, email: str) -> dict[str, Any]:
    """Return what the form of an invitation sends."""
    with tenancy.scope(organization):
        return {"email": email, "role": Role.objects.get(key="member").pk}


def test_forged_host_is_refused(
    as_alice: Client,
    acme: Organization,
    settings: Settings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """A host of others is no host of the site, nor is it written into a mail."""
    settings.ALLOWED_HOSTS = ["testserver"]
    forged = {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}

    refused = [
        as_alice.get("/projects/", headers={"host": host})
        for host in ("evil.example", "testserver@evil.example", "testserver, evil", "")
    ]
    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post("/invitations/", invite(acme, "d@example.com"), headers=forged)

    assert {one.status_code for one in refused} == {400}
    assert not any(b"Acme" in one.content for one in refused)
    assert "evil" not in str(mail.outbox[0].message())
    assert "http://testserver/" in str(mail.outbox[0].body)


def test_forged_name_of_organization_names_none(
    as_alice: Client, globex: Organization, ours: Task, theirs: Task
) -> None:
    """Where nothing but the session tells, no header, cookie or query does."""
    plain = as_alice.get("/projects/")
    as_alice.cookies["tenancy_organization"] = as_alice.cookies["organization"] = str(
        globex.pk
    )
    headers = {"x-organization": "globex", "x-tenant": "globex"}

    page = as_alice.get(
        "/projects/",
        {"organization": str(globex.pk), "tenancy_organization": str(globex.pk)},
        headers=headers,
    )

    hidden = re.compile(rb'csrfmiddlewaretoken" value="\w+"')
    assert hidden.sub(b"", page.content) == hidden.sub(b"", plain.content)
    assert b"Acme" in page.content and b"Globex" not in page.content


@pytest.mark.parametrize(
    "key",
    ["", "x" * 40, "x" * 5000, "é", "../../etc/passwd", "' OR 1=1 --", "{digest}"],
)
def test_forged_session_is_nobodys(
    as_bob: Client, ours: Task, theirs: Task, key: str
) -> None:
    """A made-up key, and what the database keeps of bob's, lead to the sign-in."""
    client = Client()
    digest = Session.objects.get(user__email="bob@globex.example").key_digest
    client.cookies[current.SESSION_COOKIE_NAME] = key.format(digest=digest)
    client.cookies["messages"] = client.cookies["csrftoken"] = "forged"

    page = client.get("/projects/")
    posted = client.post(f"/tasks/{theirs.pk}/delete/")

    assert page.headers["Location"] == "/sign-in/?next=/projects/"
    assert posted.headers["Location"].startswith("/sign-in/")
    with tenancy.unscoped("what is left"):
        assert Task.objects.count() == 2


def test_form_of_removed_member_writes_nothing(acme: Organization, ours: Task) -> None:
    """Who is removed while writing reads so on a page, and nothing is written."""
    carol, client = add_carol(acme)
    address = f"/tasks/{ours.pk}/"
    form = {"body": "Mine.", "tenancy_organization": carried(client, address)}
    with tenancy.scope(acme):
        Membership.objects.get(user=carol).end()

    posted = client.post(f"{address}comments/", form)
    page = client.get(address, follow=True)

    assert posted.status_code == 409 and "Acme" not in posted.content.decode()
    assert "You are a member of none." in page.content.decode()
    with tenancy.scope(acme):
        assert not Comment.objects.exists()


def test_form_when_archived_in_another_tab_is_kept(
    as_alice: Client, acme: Organization, ours: Task
) -> None:
    """Nothing is written meanwhile; once acme is restored, the same form is taken."""
    form = {
        "name": "Kept",
        "tenancy_organization": carried(as_alice, "/projects/new/"),
    }
    as_alice.post("/organization/archive/")

    refused = as_alice.post("/projects/new/", form)
    with tenancy.unscoped("the archive is a mistake"):
        Organization.objects.get(pk=acme.pk).restore()
    as_alice.post("/organizations/switch/", {"organization": acme.pk})
    taken = as_alice.post("/projects/new/", form)

    assert refused.status_code == 409 and "Acme" not in refused.content.decode()
    assert taken.status_code == 302
    with tenancy.scope(acme):
        assert Project.objects.filter(name="Kept").count() == 1


def test_double_submit_is_one(as_alice: Client, acme: Organization, ours: Task) -> None:
    """The second of two clicks is told, and does nothing that the first did not do."""
    carol, _client = add_carol(acme)
    with tenancy.scope(acme):
        member = Membership.objects.get(user=carol)
    posts: list[tuple[str, dict[str, Any], int]] = [
        ("/projects/new/", {"name": "Twins"}, 200),
        ("/teams/new/", {"name": "Twins"}, 200),
        ("/invitations/", invite(acme, "dora@example.com"), 302),
        (f"/members/{member.pk}/remove/", {}, 404),
        (f"/tasks/{ours.pk}/delete/", {}, 404),
    ]

    for address, data, status in posts:
        first, second = as_alice.post(address, data), as_alice.post(address, data)

        assert (first.status_code, second.status_code) == (302, status), address
    with tenancy.scope(acme):
        twins = Project.objects.filter(name="Twins").count(), Team.objects.count()
        assert twins == (1, 1) and Membership.objects.live().count() == 1


def test_back_after_switching_leaks_nothing(
    acme: Organization, globex: Organization, ours: Task, theirs: Task
) -> None:
    """A page of acme, gone back to in globex, is missing; its forms ask to switch."""
    _carol, client = add_carol(acme, globex)
    address = f"/tasks/{ours.pk}/"
    client.post("/organizations/switch/", {"organization": acme.pk})
    form = {"body": "For acme.", "tenancy_organization": carried(client, address)}
    client.post("/organizations/switch/", {"organization": globex.pk})

    page, none = client.get(address), client.get("/tasks/7340231/")
    posted = client.post(f"{address}comments/", form)
    client.post("/organizations/switch/", {"organization": acme.pk})
    again = client.post(f"{address}comments/", form)

    assert (page.status_code, page.content) == (404, none.content)
    assert posted.status_code == 409 and "Rocket" not in posted.content.decode()
    assert again.status_code == 302
    with tenancy.unscoped("both organizations"):
        assert [one.organization_id for one in Comment.objects.all()] == [acme.pk]
