from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import Error, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

import tenancy
from project.tracker.models import Project, Task
from tenancy.backends import get_backend
from tenancy.exceptions import (
    CrossOrganization,
    RawSQLRefused,
    ScopeRequired,
    TenancyError,
)
from tenancy.models import Organization, User

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 16
ROUNDS = 4


@pytest.fixture
def organizations(transactional_db: None) -> list[Organization]:
    """Sixteen organizations, each with one project of its own name."""
    made = []
    for number in range(MANY):
        user = User.objects.create_user(f"user{number}@example.com")
        organization: Any = Organization.objects.create_with_owner(
            name=f"organization {number}", owner=user
        )
        with tenancy.scope(organization):
            Project.objects.create(name=organization.name)
        made.append(organization)
    return made


@pytest.fixture
def pair(organizations: list[Organization]) -> tuple[Organization, Organization]:
    """Two of them: acme and globex under other names."""
    return organizations[0], organizations[1]


@pytest.fixture
def closing() -> Iterator[Callable[[Callable[[], Any]], Callable[[], Any]]]:
    """Wrap a function for a thread, whose connection is closed at its end."""

    def wrap(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            try:
                return function()
            finally:
                connections.close_all()

        return run

    yield wrap


def require_scope_holds(own: Organization, foreign: Organization) -> None:
    """Require that each kind of statement is kept to the organization."""
    with tenancy.unscoped("the key of another's row"):
        theirs = Project.objects.filter(organization=foreign)[0].pk
    with tenancy.scope(own):
        assert {project.organization_id for project in Project.objects.all()} == {
            own.pk
        }
        assert len(tenancy.raw("SELECT * FROM tracker_project")) == (
            Project.objects.count()
        )
        with pytest.raises(CrossOrganization), transaction.atomic():
            Task.objects.create(project_id=theirs, title="stolen")
        with connection.cursor() as cursor:
            if get_backend(connection).hides_rows:
                cursor.execute("SELECT organization_id FROM tracker_project")
                assert {key for (key,) in cursor.fetchall()} == {own.pk}
            else:
                with pytest.raises(RawSQLRefused):
                    cursor.execute("SELECT organization_id FROM tracker_project")
                with pytest.raises(CrossOrganization), transaction.atomic():
                    cursor.execute(
                        "DELETE FROM tracker_project WHERE id = %s", [theirs]
                    )
    with pytest.raises(ScopeRequired):
        Project.objects.count()


def kill(victim: BaseDatabaseWrapper) -> None:
    """Break the connection from outside, as a server or a network does."""
    killers = {"postgresql": _kill_postgresql, "mysql": _kill_mysql}
    killers.get(victim.vendor, _close_file)(victim)


def _kill_postgresql(victim: Any) -> None:
    _run_elsewhere(
        victim, f"SELECT pg_terminate_backend({victim.connection.info.backend_pid})"
    )


def _kill_mysql(victim: Any) -> None:
    _run_elsewhere(victim, f"KILL {victim.connection.thread_id()}")


def _run_elsewhere(victim: BaseDatabaseWrapper, statement: str) -> None:
    second: Any = victim.copy()
    try:
        with tenancy.unscoped("another client"), second.cursor() as cursor:
            cursor.execute(statement)
    finally:
        second.close()


def _close_file(victim: Any) -> None:
    victim.connection.close()


# Threads


def test_threads_when_each_in_own_scope_stay_apart(
    organizations: list[Organization], closing: Any
) -> None:
    """Sixteen threads write and read at a time, and each finds its own rows."""
    barrier = threading.Barrier(MANY, timeout=60)

    def work(organization: Organization) -> None:
        with tenancy.scope(organization):
            for number in range(ROUNDS):
                barrier.wait()
                project = Project.objects.create(name=f"{organization.name}/{number}")
                Task.objects.create(project=project, title=organization.name)
                found = list(Task.objects.select_related("project"))
                assert len(found) == number + 1
                assert {task.title for task in found} == {organization.name}
                assert {task.project.organization_id for task in found} == {
                    organization.pk
                }

    with ThreadPoolExecutor(MANY) as pool:
        futures = [
            pool.submit(closing(lambda own=own: work(own))) for own in organizations
        ]
        for future in futures:
            future.result()
    with tenancy.unscoped("all tasks"):
        assert Task.objects.count() == MANY * ROUNDS


def test_threads_when_sharing_pool_keep_no_scope(
    organizations: list[Organization], closing: Any
) -> None:
    """A worker that serves one organization after another shows each its own."""

    found: dict[str, set[str]] = {}

    def work(chosen: list[Organization]) -> None:
        for organization in chosen:
            with pytest.raises(ScopeRequired):
                Project.objects.count()
            with tenancy.scope(organization):
                found[organization.name] = {row.name for row in Project.objects.all()}

    with ThreadPoolExecutor(3) as pool:
        parts = [organizations[start::3] for start in range(3)]
        for future in [
            pool.submit(closing(lambda part=part: work(part))) for part in parts
        ]:
            future.result()

    assert found == {each.name: {each.name} for each in organizations}


def test_executor_when_bound_has_scope(
    pair: tuple[Organization, Organization], closing: Any
) -> None:
    """A bound function finds its scope's rows in another thread; an unbound raises."""

    def read() -> list[str]:
        return [project.name for project in Project.objects.all()]

    with ThreadPoolExecutor(1) as pool, tenancy.scope(pair[0]):
        bound = pool.submit(closing(tenancy.bind(read)))
        unbound = pool.submit(closing(read))
        assert bound.result() == [pair[0].name]
        with pytest.raises(ScopeRequired):
            unbound.result()


def test_copied_context_when_scope_has_ended_raises(
    pair: tuple[Organization, Organization], closing: Any
) -> None:
    """A context that was copied into a thread ends with the scope it was copied in."""
    with tenancy.scope(pair[0]):
        context = copy_context()

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ScopeRequired, match="an ended scope"),
    ):
        pool.submit(context.run, closing(Project.objects.count)).result()


# Tasks


def test_tasks_when_each_in_own_scope_stay_apart(
    organizations: list[Organization],
) -> None:
    """Sixteen tasks interleave on few connections, and each finds its own rows."""

    async def work(organization: Organization) -> None:
        async with tenancy.scope(organization):
            for number in range(ROUNDS):
                name = f"{organization.name}/{number}"
                project = await Project.objects.acreate(name=name)
                await asyncio.sleep(0)
                await sync_to_async(Task.objects.create)(project=project, title=name)
                found = [task async for task in Task.objects.select_related("project")]
                assert len(found) == number + 1
                assert {task.project.organization_id for task in found} == {
                    organization.pk
                }
                assert await Project.objects.acount() == number + 2
                rows = await sync_to_async(tenancy.raw)("SELECT * FROM tracker_task")
                assert len(rows) == number + 1
                assert await Task.objects.filter(title=name).aupdate(title=name) == 1
                assert (await Task.objects.alatest("pk")).title == name

    async def main() -> None:
        await asyncio.gather(*map(work, organizations))
        with pytest.raises(ScopeRequired):
            await Project.objects.acount()
        await sync_to_async(connections.close_all)()

    asyncio.run(main())


def test_tasks_when_not_thread_sensitive_stay_apart(
    organizations: list[Organization],
) -> None:
    """Tasks whose ORM runs in many threads carry their scope into each."""

    def read() -> set[Any]:
        try:
            return {project.organization_id for project in Project.objects.all()}
        finally:
            connections.close_all()

    async def work(organization: Organization) -> None:
        async with tenancy.scope(organization):
            run = sync_to_async(read, thread_sensitive=False)
            found = await asyncio.gather(*(run() for _ in range(2)))
            assert found == [{organization.pk}] * 2

    async def main() -> None:
        await asyncio.gather(*map(work, organizations))

    asyncio.run(main())


def test_task_when_outliving_its_scope_raises(
    pair: tuple[Organization, Organization],
) -> None:
    """A task that was started in a scope and goes on after its end has none."""

    async def late(ended: asyncio.Event) -> int:
        await ended.wait()
        return await Project.objects.acount()

    async def main() -> None:
        ended = asyncio.Event()
        async with tenancy.scope(pair[0]):
            task = asyncio.create_task(late(ended))
            bound = asyncio.create_task(tenancy.bind(late)(ended))
            await asyncio.sleep(0)
        ended.set()
        with pytest.raises(ScopeRequired):
            await task
        assert await bound == 1
        await sync_to_async(connections.close_all)()

    asyncio.run(main())


def test_task_when_cancelled_leaves_no_scope(
    pair: tuple[Organization, Organization],
) -> None:
    """A task that is cancelled in a scope leaves the connection without it."""

    async def hang() -> None:
        async with tenancy.scope(pair[0]):
            await Project.objects.acount()
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(hang())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ScopeRequired):
            await Project.objects.acount()
        async with tenancy.scope(pair[1]):
            assert [row.name async for row in Project.objects.all()] == [pair[1].name]
        await sync_to_async(connections.close_all)()

    asyncio.run(main())


# Connections that break


@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
def test_connection_when_killed_in_scope_has_scope_again(
    pair: tuple[Organization, Organization], is_atomic: bool
) -> None:
    """After a reconnect in the midst of a scope each statement is in the scope."""
    with tenancy.scope(pair[0]):
        Project.objects.count()
        with pytest.raises(Error):
            if is_atomic:
                with transaction.atomic():
                    Project.objects.create(name="lost")
                    kill(connection)
                    Project.objects.count()
            else:
                kill(connection)
                Project.objects.count()
        connection.close()
        assert [project.name for project in Project.objects.all()] == [pair[0].name]

    require_scope_holds(pair[0], pair[1])
    require_scope_holds(pair[1], pair[0])


def test_connection_when_killed_in_unscoped_is_not_unscoped(
    pair: tuple[Organization, Organization],
) -> None:
    """What a lost connection was allowed, its successor is not."""
    with tenancy.unscoped("a look at all"), pytest.raises(Error):
        assert Project.objects.count() == MANY
        kill(connection)
        Project.objects.count()
    connection.close()

    require_scope_holds(pair[0], pair[1])


def test_connection_when_closed_in_scope_has_scope_again(
    pair: tuple[Organization, Organization],
) -> None:
    """A connection that was closed in the midst of a scope is guarded anew."""
    with tenancy.scope(pair[0]):
        Project.objects.count()
        connection.close()
        assert Project.objects.count() == 1
    connection.close()

    require_scope_holds(pair[1], pair[0])


def test_transaction_when_aborted_keeps_no_scope(
    pair: tuple[Organization, Organization],
) -> None:
    """After a failed statement and its rollback each statement has its own scope."""
    with (
        pytest.raises(Error),
        tenancy.scope(pair[0]),
        transaction.atomic(),
    ):
        Project.objects.bulk_create([Project(name=pair[0].name)])

    require_scope_holds(pair[1], pair[0])
    require_scope_holds(pair[0], pair[1])


def test_savepoint_when_rolled_back_keeps_scope(
    pair: tuple[Organization, Organization],
) -> None:
    """A rollback to a savepoint brings no earlier scope back."""
    with transaction.atomic():
        with tenancy.scope(pair[0]):
            assert Project.objects.count() == 1
        savepoint = connection.savepoint()
        with tenancy.scope(pair[1]):
            Project.objects.create(name="of the second")
            connection.savepoint_rollback(str(savepoint))
            assert [row.name for row in Project.objects.all()] == [pair[1].name]
        require_scope_holds(pair[1], pair[0])
        with tenancy.unscoped("all"):
            savepoint = connection.savepoint()
            assert Project.objects.count() == MANY
        connection.savepoint_rollback(str(savepoint))
        require_scope_holds(pair[0], pair[1])


def test_transaction_when_scopes_alternate_stays_apart(
    pair: tuple[Organization, Organization],
) -> None:
    """Scopes that follow one another in a transaction write into their own rows."""
    with transaction.atomic():
        for number in range(3):
            for organization in pair:
                with tenancy.scope(organization):
                    Project.objects.create(name=f"project {number}")
                    require_own_names(organization)

    for organization in pair:
        with tenancy.scope(organization):
            assert Project.objects.count() == 4


def require_own_names(organization: Organization) -> None:
    """Require that the ORM finds the organization's rows only."""
    assert set(Project.objects.values_list("organization", flat=True)) == {
        organization.pk
    }


def test_on_commit_when_bound_runs_in_its_scope(
    pair: tuple[Organization, Organization],
) -> None:
    """Functions of two scopes that run after one commit each run in their own."""
    found: dict[str, list[str]] = {}

    def note(name: str) -> Callable[[], None]:
        def run() -> None:
            found[name] = [project.name for project in Project.objects.all()]

        return run

    with transaction.atomic():
        for organization in pair:
            with tenancy.scope(organization):
                transaction.on_commit(tenancy.bind(note(organization.name)))

    assert found == {each.name: [each.name] for each in pair}


def test_on_commit_when_unbound_raises(
    pair: tuple[Organization, Organization],
) -> None:
    """A function that was not bound has no scope after the commit."""
    with pytest.raises(TenancyError), transaction.atomic(), tenancy.scope(pair[0]):
        transaction.on_commit(lambda: Project.objects.count())
