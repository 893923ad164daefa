from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

import tenancy
from tenancy.exceptions import CrossOrganization, NotAMember, TeamLimitReached
from tenancy.models import (
    AuditEvent,
    Membership,
    Organization,
    Team,
    TeamMembership,
    User,
)
from tenancy.signals import team_joined, team_left
from tests.concurrency import run_at_once

MANY = 16


@pytest.fixture
def team(acme: Organization) -> Team:
    """A team of acme."""
    with tenancy.scope(acme):
        made: Team = Team.objects.create_team(name="Rockets", description="Skates too")
        return made


@pytest.fixture
def owner(acme: Organization, alice: User) -> Membership:
    """Alice's membership of acme."""
    with tenancy.scope(acme):
        return Membership.objects.get(user=alice)


@pytest.fixture
def stranger(globex: Organization, bob: User) -> Membership:
    """Bob's membership of globex."""
    with tenancy.scope(globex):
        return Membership.objects.get(user=bob)


def test_create_team_when_name_is_taken_is_refused(
    acme: Organization, globex: Organization, team: Team
) -> None:
    """A name is taken in any case, in the organization only."""
    with (
        tenancy.scope(acme),
        pytest.raises(ValidationError, match="a team of that name"),
    ):
        Team.objects.create_team(name="ROCKETS")
    with tenancy.scope(globex):
        assert Team.objects.create_team(name="Rockets").name == "Rockets"


def test_create_team_when_limit_is_reached_is_refused(
    acme: Organization, team: Team, settings: Settings
) -> None:
    """One more than TENANCY_LIMITS allows is refused."""
    settings.TENANCY_LIMITS = {"teams": 1}

    with tenancy.scope(acme), pytest.raises(TeamLimitReached, match="1 of 1"):
        Team.objects.create_team(name="Anvils")


@pytest.mark.django_db(transaction=True)
def test_create_team_when_limited_under_threads_is_exact(
    acme: Organization, settings: Settings
) -> None:
    """Of sixteen at once, as many are made as may be."""
    settings.TENANCY_LIMITS = {"teams": 5}

    def creating(number: int) -> Callable[[], Any]:
        def create() -> Any:
            with tenancy.scope(acme):
                return Team.objects.create_team(name=f"Team {number}")

        return create

    results = run_at_once([creating(number) for number in range(MANY)])

    assert sum(isinstance(one, Team) for one in results) == 5
    assert sum(isinstance(one, TeamLimitReached) for one in results) == 11


def test_add_when_member_joins_once(
    acme: Organization,
    team: Team,
    owner: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """A member joins once, and leaves once; each is recorded and told of."""
    told: list[str] = []

    def join(**values: Any) -> None:
        told.append(f"joined {values['team']}")

    def leave(**values: Any) -> None:
        told.append(f"left {values['team']}")

    team_joined.connect(join)
    team_left.connect(leave)
    with tenancy.scope(acme), django_capture_on_commit_callbacks(execute=True):
        team.add(owner).add(owner)
        assert [one.membership for one in team.team_memberships.all()] == [owner]
        team.remove(owner).remove(owner)
        assert not team.team_memberships.exists()
        actions = AuditEvent.objects.filter(target_type="tenancy.team")
        assert [one.action for one in actions.order_by("occurred_at")] == [
            "team.created",
            "team.joined",
            "team.left",
        ]
    assert told == ["joined Rockets", "left Rockets"]


def test_add_when_no_live_member_is_refused(
    acme: Organization, team: Team, bob: User
) -> None:
    """Who has left the organization joins none of its teams, by no form either."""
    with tenancy.scope(acme):
        membership = Membership.objects.add(user=bob)
        membership.end()

        with pytest.raises(NotAMember):
            team.add(membership)
        with pytest.raises(ValidationError, match="who has not left"):
            TeamMembership(team=team, membership=membership).full_clean()
        TeamMembership(team=team).full_clean(exclude=["membership"])


def test_team_when_of_another_organization_is_refused(
    acme: Organization, team: Team, owner: Membership, stranger: Membership
) -> None:
    """Neither globex's member joins acme's team, nor does globex change it."""
    with tenancy.scope(acme):
        for change in (team.add, team.remove):
            with pytest.raises(CrossOrganization):
                change(stranger)
    with tenancy.scope(stranger.organization_id):
        with pytest.raises(CrossOrganization):
            team.add(stranger)
        with pytest.raises(CrossOrganization):
            team.rename("Stolen")


def test_team_membership_when_across_by_raw_sql_is_refused(
    team: Team, owner: Membership, stranger: Membership
) -> None:
    """The composite key refuses a member of another organization, unscoped too."""
    with tenancy.unscoped("raw SQL"):
        link = TeamMembership.objects.create(
            organization_id=team.organization_id, team=team, membership=owner
        )
        field = TeamMembership._meta.pk
        prepare = field.get_db_prep_value
        with (
            pytest.raises((DatabaseError, CrossOrganization)),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "UPDATE tenancy_teammembership SET membership_id = %s WHERE id = %s",
                [prepare(stranger.pk, connection), prepare(link.pk, connection)],
            )
        assert TeamMembership.objects.get().membership_id == owner.pk


def test_rename_when_allowed_is_recorded(acme: Organization, team: Team) -> None:
    """The name changes; a taken one is refused."""
    with tenancy.scope(acme):
        Team.objects.create_team(name="Anvils")
        assert team.rename("Skates").name == "Skates"
        with pytest.raises(ValidationError, match="a team of that name"):
            team.rename("anvils")
        details = AuditEvent.objects.get(action="team.renamed").details

    assert details == {"before": "Rockets", "after": "Skates"}


def test_team_when_deleted_leaves_members(
    acme: Organization, team: Team, owner: Membership
) -> None:
    """A team goes with its links, and without its members."""
    with tenancy.scope(acme):
        team.add(owner).delete()

        assert not TeamMembership.objects.exists()
        assert Membership.objects.live().count() == 1


def test_async_verbs_do_the_same(acme: Organization, owner: Membership) -> None:
    """Each verb has a twin that runs in the task's scope."""

    async def run() -> Team:
        async with tenancy.scope(acme):
            team = await Team.objects.acreate_team(name="Rockets")
            await team.aadd(owner)
            await team.aremove(owner)
            renamed: Team = await team.arename("Skates")
            return renamed

    assert async_to_sync(run)().name == "Skates"
