from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, connection, migrations, models
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.writer import MigrationWriter
from django.db.models.constraints import BaseConstraint

import tenancy
from tenancy.backends.enforcement import NOTHING, get_enforcement
from tenancy.context import LookUp, look_up
from tenancy.exceptions import CrossOrganization, UnsupportedDatabase
from tenancy.fields import OrganizationForeignKey, TenantForeignKey
from tenancy.models import Membership, Organization, User
from tenancy.policies import (
    Immutable,
    OrganizationPolicy,
    OwnRowsPolicy,
    SameOrganization,
    find_faults,
    policy_name,
    same_organization_name,
)
from tests.apps.notes.models import Note, Notebook
from tests.evolution import find_state_faults, load_state, policies_of, run, undo

LABEL = "tests_policies"
TABLES = (f"{LABEL}_page", "Renamed_PAGE", "Quoted Table", "x" * 63, "MIXED_case")
key = models.BigAutoField(primary_key=True, serialize=False)
policy = OrganizationPolicy(field="organization", name="tenancy_of_page")
parent = SameOrganization(field="parent", to=f"{LABEL}.page", name="tenancy_of_parent")


def create_page(*constraints: BaseConstraint) -> list[Any]:
    fields = [
        ("id", key),
        ("organization", OrganizationForeignKey()),
        ("parent", TenantForeignKey("self", models.CASCADE, null=True)),
    ]
    return [
        migrations.CreateModel("Page", fields),
        *(migrations.AddConstraint("page", constraint) for constraint in constraints),
    ]


@pytest.fixture
def clean(transactional_db: None) -> Iterator[None]:
    """Drop the page's table afterwards, whatever it is called by then."""
    yield
    drop_tables()


def drop_tables() -> None:
    with look_up(LookUp.MIGRATION), connection.schema_editor() as editor:
        for name in connection.introspection.table_names():
            if name in TABLES:
                editor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")


# The declarations


@pytest.mark.parametrize(
    "constraint",
    [
        policy,
        parent,
        SameOrganization(field="a", to="b.c", name="d", deferred=True),
        OwnRowsPolicy(name="own"),
        Immutable(name="once"),
    ],
)
def test_policy_when_deconstructed_can_be_made_again(constraint: Any) -> None:
    """A clone is equal, and what a migration writes makes the same."""
    text, _imports = MigrationWriter.serialize(constraint)

    assert constraint.clone() == constraint
    assert hash(constraint.clone()) == hash(constraint)
    assert "version=1" in text
    assert "violation_error_code" not in text
    assert "version=1" in repr(constraint)


def test_policies_of_other_fields_are_unequal() -> None:
    """A changed argument is a changed constraint, which migrations see."""
    assert policy != OrganizationPolicy(field="other", name=policy.name)
    assert policy != parent


def test_names_of_policies_are_short_and_apart() -> None:
    """A name fits 63 bytes with a trigger's suffix, and tells "a_b", "c" from "a"."""

    class Long(models.Model):  # noqa: DJ008 - no instance of it is ever made
        class Meta:
            app_label = "tests_of_an_application_whose_label_is_quite_long"

    name = policy_name(Long)

    assert len(name.encode()) <= 54
    assert name == policy_name(Long)
    assert name != same_organization_name(Long, "field")
    assert name.startswith("tenancy_tests_of_an")


def test_policy_without_an_editor_says_nothing() -> None:
    """A constraint that is asked for nothing in particular gives harmless SQL."""
    assert policy.constraint_sql(None, None) is None
    assert policy.create_sql(None, None) == NOTHING
    assert policy.remove_sql(None, None) == NOTHING


def test_enforcement_of_another_vendor_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that cannot keep the rules is named."""
    monkeypatch.setattr(connection, "vendor", "oracle", raising=False)

    with pytest.raises(UnsupportedDatabase, match="'oracle'"):
        get_enforcement(connection)


def test_key_to_the_organization_is_a_check_error() -> None:
    """A second relation to the organization has no composite key."""
    constraint = SameOrganization(
        field="organization", to="tenancy.organization", name="n"
    )

    (error,) = constraint.check(Note, connection)

    assert error.id == "tenancy.E015"
    assert relation_of(Note).check(Note, connection) == []


def policy_of(model: type[models.Model]) -> OrganizationPolicy:
    return next(
        one for one in policies_of(model) if isinstance(one, OrganizationPolicy)
    )


def relation_of(model: type[models.Model]) -> SameOrganization:
    return next(one for one in policies_of(model) if isinstance(one, SameOrganization))


# Validation


@pytest.mark.django_db
def test_key_of_a_missing_and_of_anothers_row_are_alike(
    acme: Organization, globex: Organization
) -> None:
    """A key that does not exist and one of globex give the same error."""
    with tenancy.scope(globex):
        theirs = Notebook.objects.create(name="secret")
    errors = []
    with tenancy.scope(acme):
        for value in (theirs.pk, theirs.pk + 1000):
            note = Note(title="t", notebook_id=value)
            with pytest.raises(ValidationError) as caught:
                relation_of(Note).validate(Note, note)
            errors.append(caught.value.message_dict)

    assert errors == [{"notebook": ["Choose one that exists."]}] * 2


@pytest.mark.django_db
def test_key_of_the_same_organization_is_valid(acme: Organization) -> None:
    """A row of acme may refer to a row of acme, or to none, or be left out."""
    constraint = relation_of(Note)
    with tenancy.scope(acme):
        notebook = Notebook.objects.create(name="ours")

        constraint.validate(Note, Note(title="t", notebook=notebook))
        constraint.validate(Note, Note(title="t"))
        constraint.validate(Note, Note(notebook_id=0), exclude={"notebook"})


@pytest.mark.django_db
def test_key_of_anothers_row_when_unscoped_is_invalid(
    acme: Organization, globex: Organization
) -> None:
    """Unscoped, a row of acme may still not refer to one of globex."""
    with tenancy.unscoped("a test"):
        theirs = Notebook.objects.create(name="secret", organization=globex)
        note = Note(title="t", notebook=theirs, organization=acme)

        with pytest.raises(ValidationError, match="Choose one that exists"):
            relation_of(Note).validate(Note, note)


@pytest.mark.django_db
def test_policy_of_anothers_row_is_invalid(
    acme: Organization, globex: Organization
) -> None:
    """In acme an instance of globex is refused, on the field or on none."""
    constraint = policy_of(Notebook)
    theirs = Notebook(name="secret", organization=globex)
    with tenancy.scope(acme):
        for exclude, name in (
            (None, "organization"),
            ({"organization"}, NON_FIELD_ERRORS),
        ):
            with pytest.raises(ValidationError) as caught:
                constraint.validate(Notebook, theirs, exclude=exclude)
            assert list(caught.value.message_dict) == [name]


@pytest.mark.django_db
def test_policy_of_own_row_is_valid(acme: Organization, alice: User) -> None:
    """A row of acme is valid in acme, with no organization, unscoped, and in none."""
    constraint = policy_of(Notebook)
    ours = Notebook(name="ours", organization=acme)

    constraint.validate(Notebook, ours)
    with tenancy.scope(acme):
        constraint.validate(Notebook, ours)
        constraint.validate(Notebook, Notebook(name="n", organization=None))
    with tenancy.unscoped("a test"):
        constraint.validate(Notebook, ours)
    with tenancy.scope(user=alice):
        policy_of(Organization).validate(Organization, acme)
        with pytest.raises(ValidationError):
            constraint.validate(Notebook, ours)
        own = next(
            one for one in policies_of(Membership) if isinstance(one, OwnRowsPolicy)
        )
        own.validate(Membership, Membership())


@pytest.mark.django_db
def test_policy_of_a_malformed_key_is_invalid(acme: Organization) -> None:
    """A key that is none is refused like another organization's."""
    with tenancy.scope(acme), pytest.raises(ValidationError):
        policy_of(Notebook).validate(Notebook, Notebook(organization_id="none"))


# Migrations


@pytest.mark.django_db
def test_database_of_the_tests_has_no_faults() -> None:
    """What the migrations made is what the models promise."""
    assert [fault for fault in find_faults(connection) if fault.kind != "role"] == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("order", list(itertools.permutations([policy, parent])))
def test_policies_added_in_any_order_are_exact(
    order: tuple[BaseConstraint, ...],
) -> None:
    """A key to the model itself may be declared before the index that it needs."""
    state = load_state()

    after = run(state, LABEL, create_page(*order))

    assert find_state_faults(after, LABEL) == []


@pytest.mark.usefixtures("clean")
def test_policies_when_squashed_are_exact() -> None:
    """Constraints that the optimizer folds into CreateModel are made with it."""
    operations = MigrationOptimizer().optimize(create_page(parent, policy), LABEL)

    after = run(load_state(), LABEL, operations)

    assert len(operations) == 1
    assert find_state_faults(after, LABEL) == []


@pytest.mark.usefixtures("clean")
def test_policies_when_renamed_in_the_same_migration_are_exact() -> None:
    """What is deferred follows renames of the table and of columns."""
    operations = [
        *create_page(policy, parent),
        migrations.AlterModelTable("page", "Renamed_PAGE"),
        migrations.AlterField(
            "page",
            "parent",
            TenantForeignKey("self", models.CASCADE, null=True, db_column="Above"),
        ),
    ]

    after = run(load_state(), LABEL, operations)

    assert find_state_faults(after, LABEL) == []


@pytest.mark.usefixtures("clean")
def test_policies_when_removed_leave_nothing() -> None:
    """Removal in the same migration, in another, and by undoing leaves no object."""
    state = load_state()
    removal = [
        migrations.RemoveConstraint("page", parent.name),
        migrations.RemoveConstraint("page", policy.name),
    ]
    bare = run(state, LABEL, [*create_page(policy, parent), *removal])
    protected = [migrations.AddConstraint("page", one) for one in (policy, parent)]

    after = run(bare, LABEL, protected)
    found = find_state_faults(after, LABEL)
    undo(bare, LABEL, protected)

    assert found == []
    page = after.apps.get_model(LABEL, "page")
    faults = policy.find_faults(page, get_enforcement(connection))
    assert {"index"} < {fault.kind for fault in faults}


@pytest.mark.usefixtures("clean")
def test_key_over_bad_rows_is_refused(acme: Organization, globex: Organization) -> None:
    """A composite key is not added while a row leads to another organization."""
    state = run(load_state(), LABEL, create_page(policy))
    page = state.apps.get_model(LABEL, "page")
    with look_up(LookUp.MIGRATION):
        theirs = page.objects.create(organization_id=globex.pk)
        page.objects.create(organization_id=acme.pk, parent=theirs)

    with pytest.raises((IntegrityError, CrossOrganization)):
        run(state, LABEL, [migrations.AddConstraint("page", parent)])

    assert find_state_faults(state, LABEL) == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("table", ['"Quoted Table"', "x" * 63, "MIXED_case"])
def test_policies_of_odd_tables_are_exact(table: str) -> None:
    """Quotes, capitals and the longest names that a database takes are fine."""
    # MySQL's editor makes names of foreign keys from the quoted name.
    quoted = table.strip('"') if connection.vendor == "mysql" else table
    operations = create_page(policy, parent)
    operations[0].options["db_table"] = quoted

    after = run(load_state(), LABEL, operations)

    assert find_state_faults(after, LABEL) == []
