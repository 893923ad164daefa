from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.db import models
from django.db.models import QuerySet
from django.test.utils import isolate_apps

import tenancy
from project.tracker.models import Label, Project, Task
from tenancy.exceptions import CrossOrganization
from tenancy.managers import TenantManager
from tenancy.models import Organization, TenantModel
from tenancy.querysets import TenantQuerySet
from tests.apps.notebook.models import Folder, LiveManager, Note
from tests.deferral import check_deferred


@pytest.fixture
def task(acme: Organization) -> Task:
    """A task of acme."""
    with tenancy.scope(acme):
        project = Project.objects.create(name="one")
        task: Task = Task.objects.create(project=project, title="one")
        return task


@pytest.fixture
def theirs(globex: Organization) -> Task:
    """A task of globex, with a label."""
    with tenancy.scope(globex):
        project = Project.objects.create(name="two")
        task: Task = Task.objects.create(project=project, title="two")
        task.labels.create(name="two")
        return task


def test_from_queryset_when_derived_has_its_methods(acme: Organization) -> None:
    """A manager that is made from a queryset class has the methods of it."""

    class Named(TenantQuerySet[Any]):
        def named(self, name: str) -> Any:
            return self.filter(name=name)

    manager = TenantManager.from_queryset(Named)()
    manager.model = Project

    with tenancy.scope(acme):
        assert isinstance(manager.named("x"), Named)


def test_from_queryset_when_plain_raises() -> None:
    """A queryset class that is none of ours would hold everybody's rows."""
    with pytest.raises(TypeError, match="'QuerySet' is no TenantQuerySet"):
        TenantManager.from_queryset(QuerySet)


@pytest.mark.parametrize("model", [Project, Task, Folder, Note, Organization])
def test_managers_when_model_is_made_are_tenant_managers(model: Any) -> None:
    """The default and the base manager are ours, whatever Meta the model has."""
    assert isinstance(model._default_manager, TenantManager)
    assert isinstance(model._base_manager, TenantManager)
    assert model._meta.base_manager_name in ("objects", "_tenant_rows")


def test_base_manager_when_default_narrows_is_not_it() -> None:
    """A default manager whose get_queryset() is its own is no base manager."""
    with isolate_apps("tests.apps.notebook"):

        class Narrow(TenantModel):
            objects: ClassVar[LiveManager] = LiveManager()  # type: ignore[assignment]  # it is of notes

            class Meta:
                app_label = "notebook"

    assert Narrow._default_manager.name == "objects"
    assert Narrow._base_manager.name == "_tenant_rows"


def test_base_manager_when_default_narrows_is_wide(acme: Organization) -> None:
    """A project's narrowing manager does not narrow what Django looks up by itself."""
    with tenancy.scope(acme):
        note = Note.objects.create(code="x", is_archived=True)

        assert not Note.live.exists()
        note.refresh_from_db()


def test_reverse_manager_when_used_is_scoped(
    task: Task, theirs: Task, acme: Organization
) -> None:
    """A reverse manager keeps the default manager's class and the scope."""
    with tenancy.scope(acme):
        assert isinstance(task.project.tasks, TenantManager)
        assert [row.pk for row in task.project.tasks.all()] == [task.pk]
        manager: Any = task.project.tasks
        assert manager(manager="objects").count() == 1
        assert theirs.project.tasks.count() == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda manager, row: manager.add(row),
        lambda manager, row: manager.set([row]),
    ],
    ids=["add", "set"],
)
def test_reverse_manager_when_row_is_theirs_raises(
    write: Any, task: Task, theirs: Task, acme: Organization
) -> None:
    """It takes no row of another organization."""
    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization, match="A Task of another organization"),
    ):
        write(task.project.tasks, theirs)


def test_reverse_manager_when_nullable_removes(acme: Organization) -> None:
    """remove() is there where the key may be null, and only there."""
    with tenancy.scope(acme):
        folder = Folder.objects.create(name="x")
        note = folder.notes.create(code="x")
        folder.notes.remove(note)

        assert folder.notes.count() == 0
        assert not hasattr(Project(pk=1).tasks, "remove")


def test_many_manager_when_used_is_scoped(
    task: Task, theirs: Task, acme: Organization
) -> None:
    """A many-to-many manager writes the organization, and keeps the scope."""
    with tenancy.scope(acme):
        label = task.labels.create(name="one")
        link: Any = Task.labels.through.objects.get()  # Any: Django's is in the stubs.

        assert link.organization_id == acme.pk
        assert list(label.tasks.all()) == [task]
        assert Label.objects.count() == 1
        task.labels.clear()
        assert not task.labels.exists()


def test_many_manager_when_unscoped_takes_organization_of_row(
    task: Task, acme: Organization
) -> None:
    """Unscoped, a link is of its row's organization."""
    with tenancy.unscoped("tests: a repair"):
        label = Label.objects.create(name="x", organization=acme)
        task.labels.add(label)

        link: Any = Task.labels.through.objects.get()  # Any: as above
        assert link.organization_id == acme.pk


def test_many_manager_when_unscoped_and_of_two_raises(task: Task, theirs: Task) -> None:
    """Even unscoped, a link between two organizations is refused."""
    from django.db import IntegrityError, transaction

    with (
        tenancy.unscoped("tests: an accident"),
        pytest.raises((CrossOrganization, IntegrityError)),
        transaction.atomic(),
    ):
        task.labels.add(*theirs.labels.all())
        if not Task.labels.through.objects.filter(task=task).exists():
            # MySQL and MariaDB insert with IGNORE.
            raise CrossOrganization
        check_deferred()


def test_prefetch_when_many_is_scoped(
    task: Task, theirs: Task, acme: Organization
) -> None:
    """Prefetched relations are the scope's."""
    with tenancy.scope(acme):
        (row,) = Task.objects.prefetch_related("labels", "blocks", "comments")

        assert list(row.labels.all()) == []


def test_manager_when_inherited_by_a_subclass_is_kept(acme: Organization) -> None:
    """A manager's subclass that filters keeps the predicate."""
    assert models.Manager in TenantManager.__mro__
    with tenancy.scope(acme):
        assert "organization_id" in str(Note.live.all().query)
