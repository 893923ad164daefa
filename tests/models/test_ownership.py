"""The owner whom the database keeps, against another client's raw SQL."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import tenancy
from tenancy.erasure import erase_user
from tenancy.exceptions import LastOwner
from tenancy.models import Membership, Organization, Ownership, Role, User
from tenancy.transactions import deleting
from tests.concurrency import run_at_once
from tests.models.test_rules import prepare, run, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(acme: Organization, alice: User) -> Membership:
    """The membership of acme's founder."""
    with tenancy.scope(acme):
        return Membership.objects.select_related("role").get(user=alice)


@pytest.fixture
def second(acme: Organization, bob: User) -> Membership:
    """The membership of acme's other owner."""
    with tenancy.scope(acme):
        return Membership.objects.add(user=bob, role="owner")


def find_kept(organization: Organization) -> Any:
    """Return the key of the membership that the database keeps, or None."""
    with tenancy.unscoped("a look at what is kept"):
        rows = Ownership.objects.filter(organization=organization)
        return rows.values_list("membership", flat=True).first()


def find_role(organization_id: Any, key: str) -> Role:
    with tenancy.unscoped("a role of its own organization"):
        return Role.objects.built_in(organization_id, key)


def delete(row: Model) -> None:
    """Delete a row by raw SQL."""
    key = row._meta.pk
    table, column = map(
        connection.ops.quote_name, (row._meta.db_table, str(key.column))
    )
    run(f"DELETE FROM {table} WHERE {column} = %s", [prepare(key, row.pk)])


RAW: dict[str, Callable[[Membership], None]] = {
    "ends": lambda owner: update(owner, ended_at=timezone.now()),
    "demotes": lambda owner: update(
        owner, role_id=find_role(owner.organization_id, "member").pk
    ),
    "deletes": delete,
    "renames the role": lambda owner: update(owner.role, key="boss"),
}


@pytest.mark.parametrize("name", RAW)
def test_owner_when_raw_sql_takes_them_is_kept(
    acme: Organization, owner: Membership, name: str
) -> None:
    """Raw SQL, unscoped too, does not take the last owner away."""
    with pytest.raises(DatabaseError):
        RAW[name](owner)

    with tenancy.scope(acme):
        assert Membership.objects.owners().get() == owner


def test_owner_when_not_the_kept_one_may_be_taken(
    acme: Organization, owner: Membership, second: Membership
) -> None:
    """Of two owners raw SQL ends the one whom the database does not name."""
    update(second, ended_at=timezone.now())

    with tenancy.scope(acme):
        assert Membership.objects.owners().get() == owner
        with pytest.raises(LastOwner):
            owner.end()


@pytest.mark.parametrize(
    "changes", [{"key": "member"}, {"live": False}, {"role_id": "member"}]
)
def test_ownership_when_it_names_no_owner_is_refused(
    acme: Organization, owner: Membership, changes: dict[str, Any]
) -> None:
    """What the row repeats of an owner is what makes one, and nothing else."""
    with tenancy.scope(acme):
        row = Ownership.objects.get()
    if "role_id" in changes:
        changes = {"role_id": find_role(acme.pk, changes["role_id"]).pk}

    with pytest.raises(DatabaseError):
        update(row, **changes)


def test_ownership_when_of_a_plain_member_is_refused(
    acme: Organization, carol: User
) -> None:
    """The row leads to no member who is not an owner."""
    with tenancy.scope(acme):
        member = Membership.objects.add(user=carol)
        row = Ownership.objects.get()

    with pytest.raises(DatabaseError):
        update(row, membership_id=member.pk)
    with pytest.raises(DatabaseError):
        update(row, membership_id=member.pk, role_id=member.role_id)


@pytest.fixture
def carol(db: None) -> User:
    """A user who is a member of nothing yet."""
    return User.objects.create_user("carol@example.com", "demo", name="Carol")


WAYS: dict[str, Callable[[Membership], Any]] = {
    "end": lambda owner: owner.end(),
    "change_role": lambda owner: owner.change_role("admin"),
    "delete": lambda owner: owner.delete(),
    "delete all of it": lambda owner: Membership.objects.filter(pk=owner.pk).delete(),
    "update": lambda owner: Membership.objects.filter(pk=owner.pk).update(
        ended_at=timezone.now()
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_kept_owner_when_leaving_gives_way_to_another(
    acme: Organization, owner: Membership, second: Membership, name: str
) -> None:
    """Where the kept owner goes by the ORM, the database keeps the other one."""
    with tenancy.scope(acme):
        WAYS[name](owner)

    assert find_kept(acme) == second.pk
    with pytest.raises(DatabaseError):
        update(second, ended_at=timezone.now())


def test_kept_owner_when_erased_gives_way_to_another(
    acme: Organization, owner: Membership, second: Membership
) -> None:
    """A user who is erased everywhere leaves the other owner to be kept."""
    erase_user(owner.user, reason="asked for")

    assert find_kept(acme) == second.pk


def test_ownership_when_transferred_follows(
    acme: Organization, owner: Membership, carol: User
) -> None:
    """The database keeps the new owner, and lets the former one go."""
    with tenancy.scope(acme):
        member = Membership.objects.add(user=carol)
        owner.transfer_ownership(to=member)

    assert find_kept(acme) == member.pk
    update(owner, ended_at=timezone.now())


MAKING: dict[str, Callable[[Organization, User], Any]] = {
    "create": lambda organization, user: Membership.objects.create(
        user=user, role_id=find_role(organization.pk, "owner").pk
    ),
    "bulk_create": lambda organization, user: Membership.objects.bulk_create(
        [Membership(user=user, role_id=find_role(organization.pk, "owner").pk)]
    ),
    "add": lambda organization, user: Membership.objects.add(user=user, role="owner"),
    "change_role": lambda organization, user: Membership.objects.add(
        user=user
    ).change_role("owner"),
    "update": lambda organization, user: (
        Membership.objects.add(user=user),
        Membership.objects.update(role=find_role(organization.pk, "owner")),
    ),
}


@pytest.mark.parametrize("name", MAKING)
def test_first_owner_when_made_is_kept(carol: User, name: str) -> None:
    """However an organization gets its first owner, the database keeps them."""
    bare = Organization(name="Bare")
    with tenancy.unscoped("an organization of no owner"):
        bare.save()

    with tenancy.scope(bare):
        MAKING[name](bare, carol)
        owner = Membership.objects.get()

    assert find_kept(bare) == owner.pk


def test_bulk_create_when_passing_over_conflicts_keeps_the_owner(
    acme: Organization, owner: Membership, alice: User
) -> None:
    """A row that is not inserted is named by nothing."""
    again = Membership(user=alice, role=owner.role)

    with tenancy.scope(acme):
        Membership.objects.bulk_create([again], ignore_conflicts=True)

    assert find_kept(acme) == owner.pk


def test_owner_when_loaded_from_a_fixture_is_kept(
    acme: Organization, owner: Membership, second: Membership, tmp_path: Path
) -> None:
    """A dump is loaded over what has changed since, with or without what was kept."""
    output = io.StringIO()
    labels = ("tenancy.membership", "tenancy.ownership")
    call_command("dumpdata", *labels, organization=str(acme.pk), stdout=output)
    rows = json.loads(output.getvalue())
    with tenancy.scope(acme):
        owner.end()
    assert find_kept(acme) == second.pk

    for kept in (rows, [row for row in rows if row["model"] == "tenancy.membership"]):
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(kept))
        call_command("loaddata", str(path), all_organizations=True, verbosity=0)

        assert find_kept(acme) == owner.pk
        with tenancy.unscoped("nothing is kept any more"), deleting("default"):
            Ownership.objects.filter(organization=acme).delete()


def test_ownership_when_another_organizations_is_unseen(
    acme: Organization, globex: Organization
) -> None:
    """A scope sees the owner that the database keeps for its own organization."""
    with tenancy.scope(acme):
        assert [one.organization_id for one in Ownership.objects.all()] == [acme.pk]
        assert str(Ownership.objects.get()) == "alice@acme.example"


def count(function: Callable[[], Any]) -> list[str]:
    """Return the statements about kept owners that a function sends."""
    with CaptureQueriesContext(connection) as context:
        function()
    return [
        query["sql"]
        for query in context.captured_queries
        if Ownership._meta.db_table in query["sql"]
    ]


def test_members_when_written_cost_one_look_at_most(
    acme: Organization, carol: User
) -> None:
    """A new member costs nothing more, and a change of one a single look."""
    with tenancy.scope(acme):
        assert not count(lambda: Membership.objects.add(user=carol))
        member = Membership.objects.get(user=carol)
        assert len(count(lambda: member.change_role("admin"))) == 1
        assert len(count(member.end)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by_verb", [False, True])
def test_two_owners_when_leaving_by_raw_sql_leave_one(
    acme: Organization, owner: Membership, second: Membership, by_verb: bool
) -> None:
    """Raw SQL takes no lock, and yet one of two who leave at once stays."""

    def leave(membership: Membership) -> Callable[[], None]:
        return lambda: update(membership, ended_at=timezone.now())

    def leave_by_verb() -> None:
        with tenancy.scope(acme):
            owner.end()

    results = run_at_once([leave_by_verb if by_verb else leave(owner), leave(second)])

    refused = [one for one in results if one is not None]
    assert len(refused) == 1, results
    assert isinstance(refused[0], (DatabaseError, LastOwner)), results
    with tenancy.scope(acme):
        assert find_kept(acme) == Membership.objects.owners().get().pk


def test_owner_when_lost_while_they_are_named_refuses_the_verb(
    acme: Organization, owner: Membership, second: Membership
) -> None:
    """The other owner, gone by raw SQL since they were found, is no owner left."""

    def lose(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and Ownership._meta.db_table in sql:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE tenancy_membership SET ended_at = %s WHERE id = %s",
                    [
                        prepare(second._meta.get_field("ended_at"), timezone.now()),
                        prepare(second._meta.pk, second.pk),
                    ],
                )
        return execute(sql, *args)

    with tenancy.scope(acme):
        with connection.execute_wrapper(lose), pytest.raises(LastOwner):
            owner.end()
        assert Membership.objects.owners().count() == 2
