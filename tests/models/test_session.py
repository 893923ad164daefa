from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations import RemoveConstraint
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

import tenancy
from tenancy import testing
from tenancy.context import LookUp, look_up
from tenancy.exceptions import CrossOrganization, ScopeRequired
from tenancy.models import Membership, Organization, Session, User
from tenancy.policies import SameUser, find_faults
from tenancy.sessions import SessionStore
from tenancy.tokens import digest_token, make_token
from tests.deferral import check_deferred

pytestmark = pytest.mark.django_db


def make_session(user: User | None, **fields: Any) -> Session:
    """Return a session that expires tomorrow."""
    defaults = {
        "key_digest": digest_token(make_token()),
        "expires_at": timezone.now() + timedelta(days=1),
    }
    return Session.objects.create(user=user, **{**defaults, **fields})


def membership_of(user: User) -> Membership:
    with tenancy.scope(user=user):
        membership: Membership = Membership.objects.get()
    return membership


def execute(sql: str, *params: Any) -> None:
    """Run a statement, and all that waits for the end of the transaction."""
    values = [
        Session._meta.pk.get_db_prep_value(one, connection) if one else one
        for one in params
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        check_deferred()


def test_device_list_holds_own_live_sessions(alice: User, bob: User) -> None:
    """A user's list has their own, without those that are over."""
    first, second = make_session(alice), make_session(alice)
    make_session(bob)
    make_session(None)
    make_session(alice, expires_at=timezone.now() - timedelta(seconds=1))
    make_session(alice).end()

    own = Session.objects.for_user(alice)

    assert set(own.live()) == {first, second}
    assert own.count() == 4
    assert set(Session.objects.live().for_user(bob)) == set(bob.sessions.all())


def test_end_keeps_the_row_without_data(alice: User, acme: Organization) -> None:
    """An ended session is history: no data, no membership, and a time."""
    session = make_session(alice, data="data", membership=membership_of(alice))
    assert session.is_live

    session.end()

    assert (session.data, session.membership_id) == ("", None)
    assert session.end_reason == Session.EndReason.ENDED
    assert session.revoked_at is not None and not session.is_live


def test_end_twice_keeps_the_first_end(alice: User) -> None:
    """What was ended before stays as it is."""
    session = make_session(alice)
    alice.ban()

    session.end()

    assert session.end_reason == Session.EndReason.BAN


def test_end_others_keeps_one(alice: User, bob: User) -> None:
    """All of the user's sessions end but the one named, by row or by store."""
    here, there, bobs = make_session(alice), make_session(alice), make_session(bob)

    assert Session.objects.end_others(alice, keep=here) == 1

    assert set(Session.objects.live()) == {here, bobs}
    there.refresh_from_db()
    assert there.revoked_at is not None


def test_end_others_keeps_that_of_a_store(alice: User) -> None:
    """The session of a request can be named as it is."""
    store = SessionStore("a" * 32)
    here = make_session(alice)
    Session.objects.filter(pk=here.pk).update(key_digest=digest_token("a" * 32))
    make_session(alice)

    assert Session.objects.end_others(alice, keep=store) == 1
    assert list(Session.objects.live()) == [here]
    # A store of no key keeps none.
    assert Session.objects.end_others(alice, keep=SessionStore()) == 1


def test_end_all_reaches_impersonations(alice: User, bob: User) -> None:
    """Whoever is signed out everywhere acts in nobody's name any more."""
    make_session(alice)
    make_session(bob, impersonator=alice)
    bobs = make_session(bob)

    assert Session.objects.end_all(alice) == 2

    assert list(Session.objects.live()) == [bobs]


@pytest.mark.parametrize("is_scoped", [False, True])
def test_verbs_work_in_any_scope(
    alice: User, bob: User, acme: Organization, globex: Organization, is_scoped: bool
) -> None:
    """Sessions belong to no organization: another one's scope is no obstacle."""
    session = make_session(alice, membership=membership_of(alice))

    def act() -> None:
        assert Session.objects.clear_membership(session.membership) == 1
        session.end()
        assert Session.objects.end_all(alice) == 0

    if is_scoped:
        session.membership  # noqa: B018 - loaded outside the scope
        with tenancy.scope(globex):
            act()
    else:
        act()


def test_async_verbs_do_the_same() -> None:
    """Each async twin does what the sync verb does."""

    async def act() -> None:
        user = await User.objects.acreate(email="alice@acme.example")
        rows = [
            await Session.objects.acreate(
                key_digest=digest_token(make_token()),
                user=user,
                expires_at=timezone.now() + timedelta(days=1),
            )
            for _ in range(3)
        ]

        await rows[0].aend()
        assert await Session.objects.aend_others(user, keep=rows[1]) == 1
        assert await Session.objects.aend_all(user) == 1
        membership = Membership(id=rows[0].pk)
        assert await Session.objects.aclear_membership(membership) == 0

    async_to_sync(act)()


def test_deleted_membership_leaves_the_session(
    alice: User, bob: User, acme: Organization
) -> None:
    """The session stays signed in, with no active membership."""
    session = make_session(alice, membership=membership_of(alice))

    with tenancy.scope(acme):
        Membership.objects.add(user=bob, role="owner")
        Membership.objects.filter(user=alice).delete()

    session.refresh_from_db()
    assert (session.membership_id, session.is_live) == (None, True)


def test_no_other_user_in_full_clean(
    alice: User, bob: User, acme: Organization, globex: Organization
) -> None:
    """Another's membership is refused on the field, in the words of a wrong key."""
    session = make_session(alice)
    session.membership_id = membership_of(bob).pk

    with tenancy.unscoped("both organizations"):
        with pytest.raises(ValidationError, match="Choose one of the user's own"):
            session.validate_constraints()
        session.membership_id = membership_of_any(alice).pk
        session.validate_constraints()
        session.validate_constraints(exclude={"membership"})
        session.membership_id = None
        session.validate_constraints()


def membership_of_any(user: User) -> Membership:
    return Membership.objects.get(user=user)


def test_validation_of_a_membership_needs_a_scope(
    alice: User, acme: Organization
) -> None:
    """Out of any scope nobody learns whether the membership exists."""
    session = make_session(alice, membership=membership_of(alice))

    with pytest.raises(ScopeRequired):
        session.validate_constraints()


BAD_ROWS: dict[str, Callable[[Session, Any, Any], tuple[str, list[Any]]]] = {
    "membership of another": lambda row, alice, bob: (
        "membership_id = %s",
        [membership_of(bob).pk],
    ),
    "membership of nobody": lambda row, alice, bob: ("membership_id = %s", [row.pk]),
    "user of another membership": lambda row, alice, bob: ("user_id = %s", [bob.pk]),
    "membership without user": lambda row, alice, bob: ("user_id = NULL", []),
    "impersonator without user": lambda row, alice, bob: (
        "user_id = NULL, membership_id = NULL, impersonator_id = %s",
        [bob.pk],
    ),
    "impersonator of oneself": lambda row, alice, bob: (
        "impersonator_id = %s",
        [alice.pk],
    ),
    "key in clear": lambda row, alice, bob: ("key_digest = 'secret'", []),
    "capital digest": lambda row, alice, bob: (
        f"key_digest = '{'A' * 64}'",
        [],
    ),
    "unknown reason": lambda row, alice, bob: ("end_reason = 'whim'", []),
    "no expiry": lambda row, alice, bob: ("expires_at = NULL", []),
}


@pytest.mark.parametrize("what", list(BAD_ROWS))
def test_database_refuses_bad_row(
    alice: User, bob: User, acme: Organization, globex: Organization, what: str
) -> None:
    """Raw SQL that breaks a rule of the row is refused everywhere."""
    row = make_session(alice, membership=membership_of(alice))
    clause, params = BAD_ROWS[what](row, alice, bob)

    with tenancy.unscoped("only the database is in force"):
        # PostgreSQL's refusal of a composite key is told as CrossOrganization.
        with pytest.raises((DatabaseError, CrossOrganization)):
            execute(f"UPDATE tenancy_session SET {clause}", *params)

        assert Session.objects.get().membership_id == row.membership_id


def test_key_is_unique(alice: User) -> None:
    """Two rows of one key are refused."""
    row = make_session(alice)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_session(alice, key_digest=row.key_digest)


def session_faults() -> list[str]:
    return [
        fault.message
        for fault in find_faults(connection)
        if fault.table == Session._meta.db_table
    ]


@pytest.mark.django_db(transaction=True)
def test_key_to_own_membership_is_made_and_checked() -> None:
    """The key goes and comes with its constraint, and its lack is reported."""
    operation = RemoveConstraint("session", "tenancy_session_membership_own")
    state = MigrationLoader(connection).project_state()
    without = state.clone()
    operation.state_forwards("tenancy", without)
    assert session_faults() == []

    with look_up(LookUp.MIGRATION):
        with connection.schema_editor() as editor:
            operation.database_forwards("tenancy", editor, state, without)
        try:
            (fault,) = session_faults()
        finally:
            with connection.schema_editor() as editor:
                operation.database_backwards("tenancy", editor, without, state)

    assert "'tenancy_session_membership_own' is missing" in fault
    assert session_faults() == []


def test_same_user_says_what_it_is() -> None:
    """The constraint is written to migrations with all that it needs."""
    constraint = SameUser(field="membership", to="tenancy.Membership", name="own")

    path, _args, kwargs = constraint.deconstruct()

    assert path == "tenancy.policies.SameUser"
    assert kwargs == {
        "field": "membership",
        "to": "tenancy.membership",
        "user": "user",
        "name": "own",
        "version": 1,
    }
    assert constraint.check(Session, connection) == []


@pytest.mark.django_db
def test_session_that_was_ended_is_not_saved_alive(alice: User) -> None:
    """Whoever read the row before it was ended does not bring it back."""
    session = testing.SessionFactory(user=alice)
    held = Session.objects.get(pk=session.pk)
    session.end()
    held.user_agent = "Other/1.0"

    with pytest.raises(ValidationError, match="stays so"):
        held.save()

    session.user_agent = "Other/1.0"
    session.save()
    stored = Session.objects.get()
    assert (stored.is_live, stored.user_agent) == (False, "Other/1.0")
