"""The demo's pages: what alice of acme sees, bob of globex cannot reach."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

import tenancy
from project.tracker.models import Attachment, Bookmark, Comment, Label, Project, Task
from tenancy.models import Organization, User

RANDOM_KEY = 7_340_231


def paths_of(task: Task) -> dict[str, int]:
    """Return each address that names a row of the task's organization, by its key."""
    with tenancy.unscoped("addresses of a task"):
        label = Label.objects.get(organization=task.organization)
        attachment = Attachment.objects.get(organization=task.organization)
    return {
        "/tasks/{}/": task.pk,
        "/tasks/{}/edit/": task.pk,
        "/tasks/{}/delete/": task.pk,
        "/projects/{}/": task.project_id,
        "/projects/{}/edit/": task.project_id,
        "/labels/{}/edit/": label.pk,
        "/attachments/{}/": attachment.pk,
    }


@pytest.mark.parametrize(
    "path",
    [
        "/projects/",
        "/projects/new/",
        "/tasks/",
        "/tasks/board/",
        "/tasks/new/",
        "/labels/",
        "/labels/new/",
        "/organizations/",
    ],
)
def test_page_shows_own_organization_only(
    path: str, as_alice: Client, as_bob: Client, ours: Task, theirs: Task
) -> None:
    """A page that alice sees holds words of acme and none of globex."""
    response = as_alice.get(path)

    content = response.content.decode()
    assert response.status_code == 200
    assert "Acme" in content
    assert "Globex" not in content and "Turbine" not in content


def test_posts_to_other_organization_equal_random_key(
    as_alice: Client, ours: Task, theirs: Task
) -> None:
    """A change posted to globex's task is answered like one to no task."""
    posts: dict[str, dict[str, Any]] = {
        "status": {"status": "done"},
        "comments": {"body": "hello"},
        "bookmark": {},
        "blockers": {"blocker": ours.pk},
        "edit": {"title": "taken"},
        "delete": {},
    }
    for name, data in posts.items():
        other = as_alice.post(f"/tasks/{theirs.pk}/{name}/", data)
        none = as_alice.post(f"/tasks/{RANDOM_KEY}/{name}/", data)

        assert (other.status_code, other.content) == (404, none.content), name
    with tenancy.unscoped("what globex has"):
        after = Task.objects.get(pk=theirs.pk)
        assert (after.title, after.status) == ("Turbine 3 stops", "todo")
        assert not Comment.objects.exists() and not Bookmark.objects.exists()


def test_own_rows_are_reached(as_bob: Client, theirs: Task) -> None:
    """Bob reaches each of the addresses that alice does not."""
    for path, key in paths_of(theirs).items():
        # The attachment of the test has no file.
        if "attachments" not in path:
            assert as_bob.get(path.format(key)).status_code == 200, path


def test_lost_file_is_not_found(as_bob: Client, theirs: Task) -> None:
    """An attachment whose file is gone is a page that says so."""
    address = paths_of(theirs)

    response = as_bob.get(f"/attachments/{address['/attachments/{}/']}/")

    assert response.status_code == 404


def test_crafted_choices_are_refused(
    as_alice: Client, ours: Task, theirs: Task
) -> None:
    """A form that names rows of globex is invalid, as one that names no rows."""
    data = {"title": "x", "status": "todo", "priority": 2}
    with tenancy.unscoped("a label of globex"):
        label = theirs.labels.get().pk

    responses = [
        as_alice.post("/tasks/new/", {**data, "project": project, "labels": labels})
        for project, labels in (
            (theirs.project_id, []),
            (RANDOM_KEY, []),
            (ours.project_id, [label]),
            (ours.project_id, [RANDOM_KEY]),
        )
    ]

    assert [response.status_code for response in responses] == [200] * 4
    assert "Select a valid choice" in responses[0].content.decode()
    with tenancy.unscoped("count"):
        assert Task.objects.filter(title="x").count() == 0


def test_task_form_creates_in_own_organization(
    as_alice: Client, acme: Organization, ours: Task
) -> None:
    """A task that alice makes is acme's, with its labels."""
    with tenancy.scope(acme):
        label = Label.objects.get()
    data = {"project": ours.project_id, "title": "New", "status": "todo", "priority": 3}

    response = as_alice.post("/tasks/new/", {**data, "labels": [label.pk]})

    with tenancy.scope(acme):
        task = Task.objects.get(title="New")
        assert list(task.labels.all()) == [label]
    assert response.headers["Location"] == f"/tasks/{task.pk}/"


def test_name_taken_elsewhere_is_free_here(
    as_alice: Client, acme: Organization, ours: Task, theirs: Task
) -> None:
    """A project may have a name that globex uses, and not one that acme uses."""
    other = as_alice.post("/projects/new/", {"name": "Globex project"})
    own = as_alice.post("/projects/new/", {"name": "Acme project"})

    assert (other.status_code, own.status_code) == (302, 200)
    assert "already exists" in own.content.decode()
    with tenancy.scope(acme):
        assert Project.objects.count() == 2


def test_blocker_of_other_organization_does_not_exist(
    as_alice: Client, ours: Task, theirs: Task, acme: Organization
) -> None:
    """Naming globex's task as a blocker is answered like naming no task."""
    path = f"/tasks/{ours.pk}/blockers/"

    other = as_alice.post(path, {"blocker": theirs.pk}, follow=True)
    none = as_alice.post(path, {"blocker": RANDOM_KEY}, follow=True)

    for response in (other, none):
        assert "There is no task with this number." in response.content.decode()
    with tenancy.scope(acme):
        assert not ours.blocked_by.exists()


def test_blockers_are_added_and_removed(
    as_alice: Client, acme: Organization, ours: Task
) -> None:
    """A task waits for another until the blocker is removed, and never for itself."""
    with tenancy.scope(acme):
        other = Task.objects.create(project=ours.project, title="First")
    path = f"/tasks/{ours.pk}/blockers/"

    as_alice.post(path, {"blocker": other.pk})
    itself = as_alice.post(path, {"blocker": ours.pk}, follow=True)
    back = as_alice.post(
        f"/tasks/{other.pk}/blockers/", {"blocker": ours.pk}, follow=True
    )

    with tenancy.scope(acme):
        assert list(ours.blocked_by.all()) == [other]
    assert "cannot wait for itself" in itself.content.decode()
    assert "waits for this one already" in back.content.decode()
    as_alice.post(f"{path}{other.pk}/remove/")
    with tenancy.scope(acme):
        assert not ours.blocked_by.exists()


def test_task_is_worked_on(as_alice: Client, acme: Organization, ours: Task) -> None:
    """Comment, status and bookmark change the task that alice looks at."""
    as_alice.post(f"/tasks/{ours.pk}/comments/", {"body": "Braking now."})
    as_alice.post(f"/tasks/{ours.pk}/status/", {"status": "doing"})
    as_alice.post(f"/tasks/{ours.pk}/bookmark/")

    page = as_alice.get(f"/tasks/{ours.pk}/").content.decode()
    assert "Braking now." in page and "★ Bookmarked" in page
    assert (
        as_alice.get("/tasks/?bookmarked=on&status=doing").context["paginator"].count
        == 1
    )
    as_alice.post(f"/tasks/{ours.pk}/bookmark/")
    assert as_alice.get("/tasks/?bookmarked=on").context["paginator"].count == 0


def test_invalid_change_is_told(as_alice: Client, ours: Task) -> None:
    """An empty comment is refused with a message on the page of the task."""
    response = as_alice.post(f"/tasks/{ours.pk}/comments/", {"body": " "}, follow=True)

    assert "This field is required." in response.content.decode()


def test_attachment_is_apart_by_organization(
    as_alice: Client, as_bob: Client, acme: Organization, ours: Task
) -> None:
    """An uploaded file lies under its organization's key, and is sent to members."""
    file = SimpleUploadedFile("plan.txt", b"secret plan")
    as_alice.post(f"/tasks/{ours.pk}/attachments/", {"file": file})

    with tenancy.scope(acme):
        attachment = Attachment.objects.get(name="plan.txt")
    path = f"/attachments/{attachment.pk}/"
    assert str(acme.pk) in str(attachment.file.name) and attachment.size == 11
    assert as_alice.get(path).getvalue() == b"secret plan"
    assert as_bob.get(path).status_code == 404


def test_task_is_deleted_after_question(
    as_alice: Client, acme: Organization, ours: Task
) -> None:
    """A task is gone after its deletion was confirmed."""
    as_alice.post(f"/tasks/{ours.pk}/delete/")

    with tenancy.scope(acme):
        assert not Task.objects.exists()


def test_filter_with_other_organization_finds_nothing(
    as_alice: Client, ours: Task, theirs: Task
) -> None:
    """A filter by globex's project gives what one by no project gives."""
    counts = [
        as_alice.get(f"/tasks/?{query}").context["paginator"].count
        for query in (
            f"project={ours.project_id}",
            f"project={theirs.project_id}",
            f"project={RANDOM_KEY}",
            "q=rocket",
            "q=turbine",
        )
    ]

    assert counts == [1, 0, 0, 1, 0]


def test_list_has_pages(as_alice: Client, acme: Organization, ours: Task) -> None:
    """The list shows 25 tasks a page."""
    with tenancy.scope(acme):
        Task.objects.bulk_create(
            Task(project=ours.project, title=f"Task {number}") for number in range(30)
        )

    page = as_alice.get("/tasks/?page=2")

    assert page.content.decode().count("<article") == 6


def test_export_streams_own_tasks(as_alice: Client, ours: Task, theirs: Task) -> None:
    """The export, whose rows are read while it is sent, holds acme's tasks only."""
    text = as_alice.get("/tasks/export/").getvalue().decode()

    assert "Rocket skates stop" in text
    assert "Turbine" not in text
    assert tenancy.current_scope() is None


def test_export_defuses_formulas(
    as_alice: Client, acme: Organization, ours: Task
) -> None:
    """A title that a spreadsheet would run is exported as text."""
    with tenancy.scope(acme):
        Task.objects.update(title="=1+1")

    assert ",'=1+1," in as_alice.get("/tasks/export/").getvalue().decode()


def test_stranger_is_asked_to_sign_in(client: Client, ours: Task) -> None:
    """Somebody who is not signed in is sent to the sign-in page and back."""
    response = client.get(f"/tasks/{ours.pk}/")

    assert response.headers["Location"] == f"/sign-in/?next=/tasks/{ours.pk}/"


@pytest.mark.django_db
def test_user_without_organization_is_told(client: Client) -> None:
    """A user who is in no organization reads so."""
    client.force_login(User.objects.create_user("dora@example.com"))

    response = client.get("/tasks/", follow=True)

    assert "You are a member of none." in response.content.decode()


def test_sign_in_and_out(client: Client, alice: User, acme: Organization) -> None:
    """Alice signs in by address and password, and out by POST only."""
    client.post("/sign-in/", {"username": "Alice@acme.example", "password": "demo"})
    page = client.get("/projects/")
    refused = client.get("/sign-out/")
    client.post("/sign-out/")

    assert "Acme" in page.content.decode()
    assert refused.status_code == 405
    assert client.get("/projects/").status_code == 302
