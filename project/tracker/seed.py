"""The demo's data: the same seed gives the same rows, keys included."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management.color import no_style
from django.db import connection, transaction
from django.utils.text import slugify

import tenancy
from project.tracker import history, vocabulary
from project.tracker.identifiers import make_id
from project.tracker.models import (
    Attachment,
    Bookmark,
    Comment,
    Label,
    Project,
    Task,
)
from tenancy.models import (
    Membership,
    Organization,
    OrganizationSlug,
    Role,
    StampedModel,
    User,
)

PASSWORD = "demo"
STAFF = "Organization staff"
# Fixed, so that the data of a seed are the same on any day.
TODAY = date(2026, 11, 16)
TASKS_A_STEP = 1000
COLLEAGUES = 6
FORMER = 2
FILES = 6
REVIEWER = "reviewer"
REVIEWS = ["tracker.view_project", "tracker.view_task", "tracker.add_comment"]
# Of the first members of an organization; the others are plain members.
ROLES = ("owner", "member", "member", "admin", REVIEWER)


@dataclass(frozen=True)
class SignIn:
    """Somebody who can sign in to the demo."""

    email: str
    name: str
    organizations: tuple[str, ...] = ()
    is_staff: bool = True

    @property
    def about(self) -> str:
        """What the person sees."""
        if not self.organizations:
            return "superuser over all organizations"
        told = "member of " + " and ".join(self.organizations)
        return told if self.is_staff else f"{told}, without the admin"


SIGN_INS = (
    SignIn("alice@acme.example", "Alice Archer", ("Acme",)),
    SignIn("bob@globex.example", "Bob Brandt", ("Globex",)),
    SignIn("carol@example.com", "Carol Costa", ("Acme", "Globex")),
    # Whom the superuser can impersonate.
    SignIn("dave@acme.example", "Dave Dunn", ("Acme",), is_staff=False),
    SignIn("erin@globex.example", "Erin Engel", ("Globex",), is_staff=False),
    SignIn("admin@example.com", "Ada Admin"),
)


def list_sign_ins() -> list[SignIn]:
    """Return the people of the demo who exist in the database."""
    addresses = [person.email for person in SIGN_INS]
    found = set(
        User.objects.filter(email__in=addresses).values_list("email", flat=True)
    )
    return [person for person in SIGN_INS if person.email in found]


def count_rows() -> tuple[int, int]:
    """Return how many organizations and users the database holds."""
    with tenancy.unscoped("seed_demo: is the database empty?"):
        return Organization.objects.count(), User.objects.count()


@transaction.atomic
def fill(
    *,
    organizations: int,
    tasks: int,
    seed: int,
    advance: Callable[[int], object],
    today: date = TODAY,
) -> None:
    """Fill an empty database, or leave it as it is when a step fails.

    Args:
        organizations (int): how many; the first two are Acme and Globex.
        tasks (int): how many, over all organizations.
        seed (int): the same seed gives the same rows, except hashes of other hashers.
        advance (Callable): is told the number of tasks made at each step.
        today (date): the day on which the story ends.
    """
    with _keep_times():
        _fill(organizations, tasks, random.Random(seed), advance, today)
    _reset_sequences()


@contextmanager
def _keep_times() -> Iterator[None]:
    """Let rows keep the times that they are given, where Django would say now."""
    fields: list[Any] = [  # Any: a DateTimeField, which alone has 'auto_now'.
        model._meta.get_field("updated_at")
        for model in apps.get_models()
        # The slugs' rows are made by the organizations, which give no times.
        if issubclass(model, StampedModel) and model is not OrganizationSlug
    ]
    for field in fields:
        field.auto_now = False
    try:
        yield
    finally:
        for field in fields:
            field.auto_now = True


def _fill(
    organizations: int,
    tasks: int,
    source: random.Random,
    advance: Callable[[int], object],
    today: date,
) -> None:
    # The day's first moment, so that nothing is later than whoever looks.
    now = datetime.combine(today, time(tzinfo=UTC))
    people = _People(source, now)
    plans = history.make_plans(source, now)
    first_task = 1
    rows = _make_organizations(source, organizations, now)
    for number, organization in enumerate(rows):
        count = tasks // organizations + (number < tasks % organizations)
        with tenancy.scope(organization):
            tracker = _Tracker(source, organization, people, number, first_task)
            tracker.fill(count, advance)
            past = history.History(
                source,
                organization,
                members=tracker.members,
                former=people.list_former(organization),
                number=number,
                now=now,
            )
            past.fill(plans)
        first_task += count
    people.finish()


def _make_organizations(
    source: random.Random, count: int, now: datetime
) -> list[Organization]:
    names = ["Acme", "Globex"]
    pairs = [
        f"{first} {second}"
        for first in vocabulary.FIRST_WORDS
        for second in vocabulary.SECOND_WORDS
    ]
    names += source.sample(pairs, len(pairs))
    names += [f"{name} {number}" for number in range(2, 42) for name in pairs]
    rows = [
        Organization(
            id=make_id(source),
            name=name,
            slug=slugify(name),
            billing_customer_id=f"cus_{source.getrandbits(56):014x}",
            created_at=now - history.AGE + timedelta(days=number % 60, hours=9),
            updated_at=now,
        )
        for number, name in enumerate(names[:count])
    ]
    with tenancy.unscoped("seed_demo: make the organizations"):
        Organization.objects.bulk_create(rows)
    return rows


class _People:
    """The users, who are global, and what only some of them are."""

    def __init__(self, source: random.Random, now: datetime) -> None:
        self.source = source
        self.now = now
        # Computed once: a hash takes longer than a thousand rows.
        salt = "".join(source.choices(string.ascii_letters + string.digits, k=22))
        self.password = make_password(PASSWORD, salt=salt)
        self.by_email: dict[str, User] = {}
        for person in SIGN_INS:
            self.add(person.email, person.name)
        User.objects.filter(email="admin@example.com").update(
            is_staff=True, is_superuser=True
        )

    def add(self, email: str, name: str, *, is_verified: bool = True) -> User:
        """Make a user, once for each address."""
        if email not in self.by_email:
            user = User(
                id=make_id(self.source),
                email=email,
                name=name,
                password=self.password,
                created_at=self.now - history.AGE,
                email_verified_at=self.now - history.AGE if is_verified else None,
            )
            user.updated_at = user.created_at
            user.save(force_insert=True)
            self.by_email[email] = user
        return self.by_email[email]

    def list_members(self, organization: Organization) -> list[User]:
        """Return who belongs to an organization, those who sign in first."""
        members = [
            self.by_email[person.email]
            for person in SIGN_INS
            if organization.name in person.organizations
        ]
        return members + self._add_some(organization, COLLEAGUES)

    def list_former(self, organization: Organization) -> list[User]:
        """Return who belonged to an organization once."""
        return self._add_some(organization, FORMER)

    def _add_some(self, organization: Organization, count: int) -> list[User]:
        """Make users of an organization, nobody twice."""
        found: list[User] = []
        while len(found) < count:
            first = self.source.choice(vocabulary.FIRST_NAMES)
            last = self.source.choice(vocabulary.LAST_NAMES)
            email = f"{first}.{last}@{organization.slug}.example".lower()
            if email not in self.by_email:
                is_verified = self.source.random() < 0.8
                user = self.add(email, f"{first} {last}", is_verified=is_verified)
                found.append(user)
        return found

    def finish(self) -> None:
        """Let those with an organization of their own see its rows in the admin."""
        group, _ = Group.objects.get_or_create(name=STAFF)
        allowed = Permission.objects.filter(content_type__app_label="tracker")
        viewed = Permission.objects.filter(
            content_type__app_label="tenancy", codename__startswith="view_"
        )
        group.permissions.set([*allowed, *viewed])
        staff = [
            person.email
            for person in SIGN_INS
            if person.organizations and person.is_staff
        ]
        users = User.objects.filter(email__in=staff)
        group.user_set.set(users)
        users.update(is_staff=True)
        history.trace_people(self.source, list(self.by_email.values()), self.now)


class _Tracker:
    """The rows of one organization, made in its scope."""

    def __init__(
        self,
        source: random.Random,
        organization: Organization,
        people: _People,
        number: int,
        first_task: int,
    ) -> None:
        self.source = source
        self.now = people.now
        self.organization = organization
        self.theme = vocabulary.theme_of(organization.name)
        self.first_task = first_task
        self.projects = self._make_projects(number)
        self.labels = self._make_labels(number)
        self.users = people.list_members(organization)
        self.members = self._make_members()

    def _make_projects(self, number: int) -> list[Project]:
        first = number * len(self.theme.projects) + 1
        projects = [
            Project(
                id=key,
                name=name,
                description=description,
                created_at=self.organization.created_at,
            )
            for key, (name, description) in enumerate(self.theme.projects, first)
        ]
        Project.objects.bulk_create(projects)
        return projects

    def _make_labels(self, number: int) -> list[Label]:
        first = number * len(vocabulary.LABELS) + 1
        labels = [
            Label(id=key, name=name, color=color)
            for key, (name, color) in enumerate(vocabulary.LABELS, first)
        ]
        Label.objects.bulk_create(labels)
        return labels

    def _make_members(self) -> list[Membership]:
        """Make the owner, who was there first, and those who came one by one."""
        roles = self._make_roles()
        founded = self.organization.created_at
        span = (self.now - founded) // len(self.users)
        members = []
        for position, user in enumerate(self.users):
            joined = founded + position * span
            if position:
                joined += span * self.source.random()
            members.append(
                Membership(
                    id=make_id(self.source),
                    user=user,
                    role=roles[ROLES[position] if position < len(ROLES) else "member"],
                    created_at=joined,
                    updated_at=joined,
                    last_active_at=self.now - timedelta(hours=position * 7 + 1),
                )
            )
        return Membership.objects.bulk_create(members)

    def _make_roles(self) -> dict[str, Role]:
        founded = self.organization.created_at
        rows = [
            Role(key=built_in.value, name=str(built_in.label))
            for built_in in Role.BuiltIn
        ]
        rows.append(Role(key=REVIEWER, name="reviewer", permissions=REVIEWS))
        for row in rows:
            row.id = make_id(self.source)
            row.created_at = row.updated_at = founded
        return {role.key: role for role in Role.objects.bulk_create(rows)}

    def fill(self, count: int, advance: Callable[[int], object]) -> None:
        """Make the tasks, a bounded number at a time."""
        last = self.first_task + count
        for start in range(self.first_task, last, TASKS_A_STEP):
            step = range(start, min(start + TASKS_A_STEP, last))
            tasks = Task.objects.bulk_create(self._make_task(key) for key in step)
            Comment.objects.bulk_create(self._make_comments(tasks))
            self._link_labels(tasks)
            self._link_blockers(tasks)
            if start == self.first_task:
                self._make_files(tasks[:FILES])
                self._make_bookmarks(tasks)
            advance(len(step))

    def _make_task(self, key: int) -> Task:
        source = self.source
        created_at = self.now - timedelta(minutes=source.randrange(60 * 24 * 180))
        status = source.choices(["todo", "doing", "done"], [5, 2, 4])[0]
        due_on: date | None = None
        if source.random() < 0.4:
            due_on = self.now.date() + timedelta(days=source.randrange(-20, 60))
        is_assigned = status != "todo" or source.random() < 0.4
        return Task(
            id=key,
            project=source.choice(self.projects),
            title=source.choice(vocabulary.TITLES).format(
                thing=source.choice(self.theme.things), number=source.randrange(2, 40)
            ),
            description=source.choice(vocabulary.DESCRIPTIONS),
            status=status,
            priority=source.choices([1, 2, 3, 4], [3, 8, 3, 1])[0],
            assignee=source.choice(self.members) if is_assigned else None,
            due_on=due_on,
            created_at=created_at,
            updated_at=created_at,
        )

    def _make_comments(self, tasks: list[Task]) -> Iterator[Comment]:
        for task in tasks:
            for day in range(self.source.choices([0, 1, 2, 3], [4, 3, 2, 1])[0]):
                yield Comment(
                    task=task,
                    author=self.source.choice(self.members),
                    body=self.source.choice(vocabulary.COMMENTS),
                    created_at=task.created_at + timedelta(days=day, hours=2),
                )

    def _link_labels(self, tasks: list[Task]) -> None:
        # The tables between are models that the fields made.
        link: Any = Task.labels.through
        link.objects.bulk_create(
            link(task=task, label=label)
            for task in tasks
            for label in self.source.sample(self.labels, self.source.randrange(3))
        )

    def _link_blockers(self, tasks: list[Task]) -> None:
        link: Any = Task.blocked_by.through
        link.objects.bulk_create(
            # An earlier task each, so that no circle can arise.
            link(from_task=task, to_task=self.source.choice(tasks[:position]))
            for position, task in enumerate(tasks)
            if position and self.source.random() < 0.15
        )

    def _make_files(self, tasks: list[Task]) -> None:
        # Without MEDIA_ROOT the files would fall into the working directory.
        if not settings.MEDIA_ROOT:
            return
        for task in tasks:
            text = f"{self.organization}: notes about {task.title!r}.\n".encode()
            key = self.organization.pk
            path = f"attachments/{key}/{self.source.getrandbits(128):032x}.txt"
            if not default_storage.exists(path):
                default_storage.save(path, ContentFile(text))
            Attachment.objects.create(
                task=task,
                file=path,
                name=f"notes-{task.pk}.txt",
                size=len(text),
                uploaded_at=task.created_at,
            )

    def _make_bookmarks(self, tasks: list[Task]) -> None:
        known = {person.email for person in SIGN_INS}
        Bookmark.objects.bulk_create(
            Bookmark(user=user, task=task, created_at=self.now)
            for user in self.users
            if user.email in known
            for task in self.source.sample(tasks, min(4, len(tasks)))
        )


def _reset_sequences() -> None:
    """Let PostgreSQL go on after the keys that were given here."""
    statements = connection.ops.sequence_reset_sql(no_style(), [Project, Label, Task])
    with tenancy.unscoped("seed_demo: reset the sequences"), connection.cursor() as c:
        for statement in statements:
            c.execute(statement)
