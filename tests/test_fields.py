from __future__ import annotations

from typing import Any, assert_type

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState
from django.test.utils import CaptureQueriesContext, isolate_apps

import tenancy
from project.tracker.models import Bookmark, Comment, Label, Project, Task
from tenancy.exceptions import CrossOrganization, ScopeRequired
from tenancy.fields import (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManyToManyField,
    TenantOneToOneField,
)
from tenancy.models import Membership, Organization, TenantModel, User
from tenancy.policies import OrganizationPolicy, SameOrganization
from tenancy.predicates import InScope, tenant_field
from tests.apps.notebook.models import Cover, Folder, LoudNote, Note, Pin

LABEL = "notebook"


@pytest.fixture
def project(acme: Organization) -> Project:
    """A project of acme."""
    with tenancy.scope(acme):
        project: Project = Project.objects.create(name="one")
        return project


def constraints_of(model: Any, kind: type[Any]) -> list[Any]:
    """Return the constraints of one kind."""
    return [one for one in model._meta.constraints if isinstance(one, kind)]


# OrganizationForeignKey


def test_organization_when_scope_is_active_is_default(acme: Organization) -> None:
    """A new instance is the scope's; one that is made in none has no organization."""
    with tenancy.scope(acme):
        assert Project().organization_id == acme.pk
    assert Project().organization_id is None
    with tenancy.unscoped("tests: everybody's rows"):
        assert Project().organization_id is None


def test_organization_when_missing_at_save_is_filled(acme: Organization) -> None:
    """What was made in none goes into the scope that saves it."""
    project = Project(name="x")

    with tenancy.scope(acme):
        project.save()

    assert project.organization_id == acme.pk


def test_organization_when_missing_and_unscoped_raises(acme: Organization) -> None:
    """Unscoped, a row says whose it is."""
    with (
        tenancy.unscoped("tests: a repair"),
        pytest.raises(ScopeRequired, match="A Project was saved with no organization"),
    ):
        Project(name="x").save()


def test_organization_when_missing_beside_a_relation_raises(
    acme: Organization,
) -> None:
    """What is missing is named, though a row that is referred to has one."""
    with tenancy.scope(acme):
        project = Project.objects.create(name="Atlas")

    with (
        tenancy.unscoped("test"),
        pytest.raises(ScopeRequired, match="A Task was saved with no organization"),
    ):
        Task.objects.create(project=project, title="Survey")


def test_organization_when_an_expression_raises(
    acme: Organization, project: Project
) -> None:
    """An expression in its place cannot be judged, and is refused."""
    with tenancy.scope(acme):
        project.organization_id = models.F("organization_id")  # type: ignore[assignment]  # what the test is about
        with pytest.raises((CrossOrganization, ValidationError)):
            project.save()
        with pytest.raises(CrossOrganization, match="was given another organization"):
            Project.organization.field.get_db_prep_save(models.F("pk"), connection)


def test_organization_when_deconstructed_is_bare() -> None:
    """A migration names no target: it is the setting's."""
    field = Project._meta.get_field("organization")

    assert field.deconstruct()[1:] == (
        "tenancy.fields.OrganizationForeignKey",
        [],
        {"verbose_name": "organization"},
    )
    named = OrganizationForeignKey(db_column="org", verbose_name="owner")
    assert named.deconstruct()[3] == {"db_column": "org", "verbose_name": "owner"}


def test_organization_when_given_another_on_delete_keeps_djangos() -> None:
    """A database's own cascade would see no scope: Django refuses it beside this."""
    field = OrganizationForeignKey(on_delete=models.DO_NOTHING)

    assert field.remote_field.on_delete is models.CASCADE


def test_organization_when_cloned_is_equal() -> None:
    """Migrations clone fields."""
    field: Any = Project._meta.get_field("organization").clone()

    assert isinstance(field, OrganizationForeignKey)
    assert field.remote_field.model == "tenancy.Organization"
    options: Any = field
    assert (options.editable, options.db_index) == (False, False)
    assert field.remote_field.on_delete is models.CASCADE


def test_organization_when_in_mixin_or_abstract_parent_protects() -> None:
    """The policy comes with the field, by whatever way the field comes."""
    with isolate_apps("tests.apps.notebook"):

        class Base(TenantModel):
            class Meta:
                abstract = True

        class Own(Base):
            class Meta:
                app_label = LABEL
                constraints = [
                    models.CheckConstraint(condition=~models.Q(pk=0), name="own_pk")
                ]

        class Mixed(Base):
            class Meta:
                app_label = LABEL

    assert not Base._meta.constraints
    assert tenant_field(Base) is None
    for model in (Own, Mixed):
        (policy,) = constraints_of(model, OrganizationPolicy)
        assert policy.field == "organization"
        assert model._meta.original_attrs["constraints"] == model._meta.constraints
    assert len(Own._meta.constraints) == 2


def test_proxy_when_made_adds_no_constraint() -> None:
    """A proxy has no table, and so no policy of its own."""
    assert LoudNote._meta.constraints == []
    assert tenant_field(LoudNote) is tenant_field(Note)


# TenantForeignKey, TenantOneToOneField


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Task, {"project": "tracker.project", "assignee": "tenancy.membership"}),
        (Comment, {"task": "tracker.task", "author": "tenancy.membership"}),
        (Membership, {"role": "tenancy.role"}),
        (Folder, {"parent": "notebook.folder"}),
        (Note, {"folder": "notebook.folder"}),
        (Cover, {"note": "notebook.note"}),
        (Bookmark, {}),
        (Pin, {}),
        (Task.labels.through, {"task": "tracker.task", "label": "tracker.label"}),
        (
            Note.friends.through,
            {"from_note": "notebook.note", "to_note": "notebook.note"},
        ),
        (Note.readers.through, {"note": "notebook.note"}),
    ],
    ids=range(11),
)
def test_relation_when_both_ends_are_tenants_is_tied(
    model: Any, expected: dict[str, str]
) -> None:
    """A composite key stands where both ends have an organization, and only there."""
    found = {one.field: one.to for one in constraints_of(model, SameOrganization)}

    assert found == expected


def test_relation_when_target_is_a_string_is_tied_later() -> None:
    """A target that is named before it is made is tied when it is."""
    with isolate_apps("tests.apps.notebook"):

        class Early(TenantModel):
            late = TenantForeignKey("notebook.Late", models.CASCADE)

            class Meta:
                app_label = LABEL

        assert constraints_of(Early, SameOrganization) == []

        class Late(TenantModel):
            class Meta:
                app_label = LABEL

        (key,) = constraints_of(Early, SameOrganization)
        assert key.to == "notebook.late"


@pytest.mark.parametrize("field", [TenantForeignKey, TenantOneToOneField])
def test_relation_when_deconstructed_is_itself(field: Any) -> None:
    """A migration writes the field's own path."""
    _name, path, args, kwargs = field(Project, models.CASCADE).deconstruct()

    assert path == f"tenancy.fields.{field.__name__}"
    assert args == []
    assert kwargs["to"] == "tracker.project"


def test_relation_when_joined_restricts_remote_side() -> None:
    """The ON clause gets a predicate of the table that is joined, and of no other."""
    field: Any = Task._meta.get_field("project")

    forward = field.get_extra_restriction("p", "t")
    reverse = field.remote_field.get_extra_restriction("t", "p")
    trimmed = field.get_extra_restriction(None, "t")

    for restriction, alias in ((forward, "p"), (reverse, "t"), (trimmed, "t")):
        (predicate,) = restriction.children
        assert isinstance(predicate, InScope)
        assert predicate.column.alias == alias
        assert predicate.in_join


def test_relation_when_remote_is_global_restricts_nothing() -> None:
    """A join to a global table has no predicate; back it has one."""
    field: Any = Note._meta.get_field("author")

    assert field.get_extra_restriction("u", "n") is None
    assert field.remote_field.get_extra_restriction("n", "u").children


def test_relation_when_read_has_the_related_type(acme: Organization) -> None:
    """A type checker knows what a relation gives, and what a manager finds."""
    with tenancy.scope(acme):
        project = Project.objects.create(name="Atlas")
        task = Task.objects.create(project=project, title="Survey")

        assert_type(Task.objects.get(pk=task.pk), Task)
        assert_type(Task.objects.filter(title="Survey"), models.QuerySet[Task, Task])
        assert_type(task.project, Project)
        assert_type(task.assignee, Membership | None)
        assert_type(task.labels.first(), Label | None)
        assert_type(task.organization, Organization)


def test_relation_when_row_is_held_is_judged_without_query(
    acme: Organization, globex: Organization, project: Project
) -> None:
    """A held row of another organization is refused before any query."""
    with tenancy.scope(globex):
        other = Project.objects.create(name="two")

    with (
        tenancy.scope(acme),
        CaptureQueriesContext(connection) as queries,
        pytest.raises(CrossOrganization, match="'Task.project' refers to a row"),
    ):
        Task(project=other, title="x").save_base()

    assert not [query for query in queries if "tracker" in query["sql"]]


def test_relation_when_own_row_is_held_costs_no_query(
    acme: Organization, project: Project
) -> None:
    """Saving a row whose relation is held is one statement."""
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        Task(project=project, title="x").save()

    statements = [query["sql"].split()[0] for query in queries]
    assert statements == ["INSERT"]


def test_relation_when_global_row_is_saved_looks_the_key_up_once(
    acme: Organization, project: Project, alice: User
) -> None:
    """No composite key holds a global row's relation: one look-up does."""
    with tenancy.scope(acme):
        task = Task.objects.create(project=project, title="x")
        with CaptureQueriesContext(connection) as queries:
            Bookmark.objects.create(user=alice, task=task)

    statements = [query["sql"].split()[0] for query in queries]
    assert statements == ["SELECT", "INSERT"]


def test_relation_when_global_row_is_saved_in_no_scope_takes_any_key(
    acme: Organization, project: Project, alice: User
) -> None:
    """In no scope, and unscoped, a global row's key is the database's to judge."""
    with tenancy.scope(acme):
        task = Task.objects.create(project=project, title="x")

    bookmark = Bookmark.objects.create(user=alice, task_id=task.pk)
    with tenancy.unscoped("tests: everybody's rows"):
        bookmark.save()

    assert Bookmark.objects.filter(pk=bookmark.pk).exists()


# TenantManyToManyField


def test_many_when_made_has_a_tenant_table() -> None:
    """The table between two models is named and shaped as Django's, and protected."""
    through: Any = Task.labels.through  # Any: Django's is in the stubs.

    assert through._meta.db_table == "tracker_task_labels"
    assert through._meta.auto_created is Task
    assert through._meta.unique_together == (("task", "label"),)
    assert [field.name for field in through._meta.fields] == [
        "id",
        "organization",
        "task",
        "label",
    ]
    assert len(constraints_of(through, OrganizationPolicy)) == 1


def test_many_when_to_self_names_both_sides() -> None:
    """A relation to the model itself has a "from" and a "to"."""
    names = [field.name for field in Task.blocked_by.through._meta.fields]

    assert names == ["id", "organization", "from_task", "to_task"]


def test_many_when_through_is_given_makes_no_table() -> None:
    """A table of the project's own stays what it is."""
    through: Any = Note.places.through  # Any: the stubs do not find it.

    assert through._meta.auto_created is False
    assert through is apps.get_model("notebook", "Placing")


def test_many_when_deconstructed_is_itself() -> None:
    """A migration writes the field's own path, and no table."""
    _name, path, _args, kwargs = Task._meta.get_field("labels").deconstruct()

    assert path == "tenancy.fields.TenantManyToManyField"
    assert "through" not in kwargs
    assert isinstance(Task._meta.get_field("labels").clone(), TenantManyToManyField)


def test_many_when_reverse_is_hidden_has_no_accessor() -> None:
    """related_name="+" makes none."""
    with isolate_apps("tests.apps.notebook"):

        class Target(TenantModel):
            class Meta:
                app_label = LABEL

        class Source(TenantModel):
            targets = TenantManyToManyField(Target, related_name="+")

            class Meta:
                app_label = LABEL

    assert Source.targets.through._meta.db_table == "notebook_source_targets"
    assert not hasattr(Target, "source_set")


def test_many_when_model_is_abstract_makes_a_table_each() -> None:
    """An abstract parent's field makes a table for each child."""
    with isolate_apps("tests.apps.notebook"):

        class Target(TenantModel):
            class Meta:
                app_label = LABEL

        class Base(TenantModel):
            targets = TenantManyToManyField(Target)

            class Meta:
                abstract = True

        class One(Base):
            class Meta:
                app_label = LABEL

        class Two(Base):
            class Meta:
                app_label = LABEL

    tables = [model.targets.through._meta.db_table for model in (One, Two)]
    assert tables == ["notebook_one_targets", "notebook_two_targets"]


# Migrations


def test_migrations_when_detected_again_are_none(db: None) -> None:
    """makemigrations finds nothing to do on a second run."""
    loader = MigrationLoader(None)
    detector = MigrationAutodetector(
        loader.project_state(), ProjectState.from_apps(apps)
    )

    changes = detector.changes(graph=loader.graph)

    assert {
        label: [
            str(operation) for migration in found for operation in migration.operations
        ]
        for label, found in changes.items()
    } == {}


@pytest.mark.parametrize("model", [Note, Task, Organization, Membership])
def test_historical_model_when_rendered_is_plain(model: Any) -> None:
    """A migration's model has the constraints that are recorded, and no more."""
    state = ModelState.from_model(model)
    count = len(state.options["constraints"])
    historical = ProjectState.from_apps(apps).apps.get_model(model._meta.label)

    assert len(historical._meta.constraints) == count
    assert tenant_field(historical) is None
    assert historical._base_manager.__class__ is models.Manager


def test_historical_model_when_read_unscoped_is_everybodys(
    acme: Organization, globex: Organization
) -> None:
    """A data migration reads every organization's rows, as `migrate` is unscoped."""
    historical = ProjectState.from_apps(apps).apps.get_model("tenancy.Organization")

    with tenancy.unscoped("tests: a data migration"):
        assert historical._default_manager.count() == 2
