from __future__ import annotations

import asyncio
import contextlib
import contextvars
import pickle
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

import tenancy
from tenancy.context import LookUp, look_up
from tenancy.exceptions import CrossOrganization, ScopeInterleaved, ScopeRequired
from tenancy.models import Organization, Role, User
from tenancy.signals import unscoped_entered


def test_scope_when_entered_is_current(acme: Organization) -> None:
    """Inside the block the organization is active, outside none is."""
    with tenancy.scope(acme) as entered:
        assert tenancy.current_scope() is entered
        assert tenancy.require_organization() == acme.pk

    assert tenancy.current_scope() is None


def test_scope_when_given_user_holds_both(acme: Organization, alice: User) -> None:
    """A scope may say who acts, beside for which organization."""
    with tenancy.scope(acme, user=alice):
        scope = tenancy.current_scope()

    assert scope == tenancy.Scope(organization_id=acme.pk, user_id=alice.pk)


def test_scope_when_given_key_looks_it_up(acme: Organization) -> None:
    """A key, or its text, serves as well as the instance."""
    with tenancy.scope(str(acme.pk)):
        assert tenancy.require_organization() == acme.pk


def test_require_organization_when_no_scope_raises() -> None:
    """No scope is an error that says what to do."""
    with pytest.raises(ScopeRequired, match=r"Enter one with tenancy\.scope"):
        tenancy.require_organization()


def test_require_organization_when_user_only_raises(alice: User) -> None:
    """A user's own scope names no organization."""
    with (
        tenancy.scope(user=alice),
        pytest.raises(ScopeRequired, match="names no organization"),
    ):
        tenancy.require_organization()


@pytest.mark.parametrize("value", [None, True, 1.5])
def test_scope_when_given_no_key_raises_type_error(value: Any) -> None:
    """What can be no key is refused by its type."""
    with pytest.raises(TypeError, match="Pass an instance of 'tenancy.Organization'"):
        tenancy.scope(value)


@pytest.mark.parametrize("value", ["acme", "", "0", b"x", [], {}])
def test_scope_when_given_wrong_key_raises_value_error(value: Any) -> None:
    """A text that is no key of an organization is refused."""
    with pytest.raises(ValueError, match="is no key of 'tenancy.Organization'"):
        tenancy.scope(value)


def test_scope_when_given_nothing_raises() -> None:
    """A scope of nobody is refused, never taken for all rows."""
    with pytest.raises(TypeError, match="neither an organization nor a user"):
        tenancy.scope()


def test_scope_when_unsaved_raises() -> None:
    """An organization that the database does not have is refused."""
    with pytest.raises(ValueError, match="is not saved, or was deleted"):
        tenancy.scope(Organization(name="Acme"))


def test_scope_when_deleted_raises(acme: Organization) -> None:
    """A deleted organization is refused, by instance and by key."""
    key = acme.pk
    with tenancy.unscoped("deletion"):
        Organization.objects.get(pk=key).delete()

    with (
        pytest.raises(ValueError, match="there is no organization"),
        tenancy.scope(key),
    ):
        pass


def test_scope_when_archived_raises(acme: Organization) -> None:
    """An archived organization is refused, by instance and by key."""
    with tenancy.unscoped("archive"):
        Organization.objects.filter(pk=acme.pk).update(status="archived")
        acme.refresh_from_db()

    with pytest.raises(ValueError, match="archived organization"):
        tenancy.scope(acme)
    with pytest.raises(ValueError, match="archived"), tenancy.scope(acme.pk):
        pass


def test_scope_when_archived_since_made_raises(acme: Organization) -> None:
    """What is refused is judged at entrance, not when the block is made."""
    block = tenancy.scope(acme)
    acme.status = "archived"

    with pytest.raises(ValueError, match="archived organization"), block:
        pass


def test_scope_when_other_database_raises(acme: Organization) -> None:
    """An organization of an alias that holds other tables is refused."""
    acme._state.db = "elsewhere"

    with pytest.raises(ValueError, match="of the database 'elsewhere'"):
        tenancy.scope(acme)


def test_scope_when_other_database_is_named_passes(
    acme: Organization, settings: Any
) -> None:
    """TENANCY_DATABASES names the aliases that hold the same organizations."""
    settings.TENANCY_DATABASES = ["default", "elsewhere"]
    acme._state.db = "elsewhere"

    with tenancy.scope(acme):
        assert tenancy.require_organization() == acme.pk


def test_scope_when_given_another_model_raises(acme: Organization) -> None:
    """An instance of another model is refused."""
    with pytest.raises(TypeError, match="was given a Role"):
        tenancy.scope(Role(organization=acme))


@pytest.mark.parametrize("user", [AnonymousUser(), Organization(), 1.5])
def test_scope_when_user_is_none_raises(user: Any) -> None:
    """What is no user of the project is refused."""
    with pytest.raises(TypeError, match="as its user"):
        tenancy.scope(user=user)


def test_scope_when_inside_another_raises(
    acme: Organization, globex: Organization
) -> None:
    """Another organization's scope cannot be entered by mistake."""
    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization, match="another organization"),
        tenancy.scope(globex),
    ):
        pass


def test_scope_when_inside_itself_keeps_the_user(
    acme: Organization, alice: User
) -> None:
    """The same organization may be entered again; the user stays."""
    with tenancy.scope(acme, user=alice), tenancy.scope(acme) as inner:
        assert inner == tenancy.Scope(acme.pk, alice.pk)


def test_scope_when_another_user_raises(
    acme: Organization, alice: User, bob: User
) -> None:
    """One user's scope is not entered inside another's."""
    with (
        tenancy.scope(acme, user=alice),
        pytest.raises(CrossOrganization, match="another user"),
        tenancy.scope(acme, user=bob),
    ):
        pass


def test_scope_when_own_user_inside_organization_passes(
    acme: Organization, alice: User
) -> None:
    """A signed-in user lists their own organizations from within one."""
    with tenancy.scope(acme, user=alice), tenancy.scope(user=alice) as inner:
        assert inner == tenancy.Scope(user_id=alice.pk)


def test_scope_when_user_inside_unnamed_organization_raises(
    acme: Organization, alice: User
) -> None:
    """Nobody's memberships are listed from a scope that does not name them."""
    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization, match="another organization"),
        tenancy.scope(user=alice),
    ):
        pass


def test_scope_when_unscoped_between_passes(
    acme: Organization, globex: Organization
) -> None:
    """Saying unscoped() allows another organization inside."""
    with tenancy.scope(acme), tenancy.unscoped("comparison"), tenancy.scope(globex):
        assert tenancy.require_organization() == globex.pk


def test_scope_when_body_fails_ends(acme: Organization) -> None:
    """An exception leaves no scope behind."""
    with pytest.raises(KeyError), tenancy.scope(acme):
        raise KeyError

    assert tenancy.current_scope() is None


def test_unscoped_when_entered_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Going unscoped is logged with its reason, and sent as a signal."""
    said: list[str] = []

    def listen(reason: str, **kwargs: Any) -> None:
        said.append(reason)

    unscoped_entered.connect(listen)
    with caplog.at_level("INFO", logger="tenancy"), tenancy.unscoped("invoices"):
        scope = tenancy.current_scope()
    unscoped_entered.disconnect(listen)

    assert scope is not None and scope.is_unscoped
    assert said == ["invoices"]
    assert "unscoped: invoices" in caplog.text


@pytest.mark.parametrize(
    ("reason", "error"), [(None, TypeError), (print, TypeError), (" ", ValueError)]
)
def test_unscoped_when_no_reason_raises(reason: Any, error: type[Exception]) -> None:
    """The reason is required, in words."""
    with pytest.raises(error, match=r'tenancy\.unscoped\("nightly invoices"\)'):
        tenancy.unscoped(reason)


def test_look_ups_are_the_enumerated_ones() -> None:
    """The package goes unscoped by itself for these purposes, and no others."""
    assert {purpose.name for purpose in LookUp} == {
        "BILLING_CUSTOMER",
        "CONSTRAINT_CHECK",
        "CREATION",
        "ERASURE",
        "DELETION_OF_USER",
        "DOMAIN",
        "DOMAIN_RECHECK",
        "FLUSH",
        "INVITATION_EXPIRY",
        "INVITATION_BY_TOKEN",
        "INTROSPECTION",
        "IMPERSONATION",
        "MIGRATION",
        "ORGANIZATIONS_OF_USER",
        "ORGANIZATION_BY_KEY",
        "PLAN_USE",
        "RESTORATION",
        "SEQUENCE_RESET",
        "SLUG",
        "SESSION",
        "TEST_SERIALIZATION",
    }
    with pytest.raises(ValueError, match="is not a valid LookUp"):
        look_up("curiosity")  # type: ignore[arg-type]  # what the test is about


def test_decorator_when_called_runs_in_scope(acme: Organization) -> None:
    """A decorated function runs in its scope, again and again."""

    @tenancy.scope(acme)
    def read() -> Any:
        return tenancy.require_organization()

    assert [read(), read()] == [acme.pk, acme.pk]
    assert tenancy.current_scope() is None


def test_decorator_when_recursive_runs_in_scope(acme: Organization) -> None:
    """A decorated function may call itself."""

    @tenancy.scope(acme)
    def count(depth: int) -> int:
        assert tenancy.require_organization() == acme.pk
        return 0 if depth == 0 else 1 + count(depth - 1)

    assert count(3) == 3


def test_decorator_when_async_runs_in_scope(acme: Organization) -> None:
    """A decorated coroutine function stays one."""

    @tenancy.scope(acme)
    async def read() -> Any:
        await asyncio.sleep(0)
        return tenancy.require_organization()

    assert asyncio.run(read()) == acme.pk


def test_decorator_when_generator_raises() -> None:
    """A generator function's body would run after the scope has ended."""

    def rows() -> Iterator[int]:
        yield 1

    for block in (tenancy.unscoped("rows"), tenancy.bind):
        with pytest.raises(TypeError, match="is a generator function"):
            block(rows)


def test_scope_when_in_generator_raises(acme: Organization) -> None:
    """A generator's caller would stay in the scope after each yield."""

    def rows() -> Iterator[int]:
        with tenancy.scope(acme):
            yield 1

    with pytest.raises(TypeError, match="in_generator=True"):
        next(rows())
    assert tenancy.current_scope() is None


def test_scope_when_in_generator_by_exit_stack_raises(acme: Organization) -> None:
    """An ExitStack does not hide the generator from the check."""

    def rows() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(tenancy.scope(acme))
            yield 1

    with pytest.raises(TypeError, match="in_generator=True"):
        next(rows())


def test_scope_when_in_async_generator_raises(acme: Organization) -> None:
    """An async generator is refused like a plain one."""

    async def rows() -> Any:
        async with tenancy.scope(acme):
            yield 1

    async def consume() -> None:
        async for _ in rows():
            raise AssertionError

    with pytest.raises(TypeError, match="in_generator=True"):
        asyncio.run(consume())


def test_scope_when_meant_in_generator_passes(acme: Organization) -> None:
    """A context manager that means it says so."""

    @contextlib.contextmanager
    def acting() -> Iterator[None]:
        with tenancy.scope(acme, in_generator=True):
            yield

    with acting():
        assert tenancy.require_organization() == acme.pk
    assert tenancy.current_scope() is None


def test_scope_when_left_out_of_order_raises(
    acme: Organization, globex: Organization
) -> None:
    """Two blocks that overlap are an error, and neither stays in force."""
    first, second = tenancy.scope(acme), tenancy.unscoped("overlap")
    first.__enter__()
    second.__enter__()

    with pytest.raises(ScopeInterleaved, match="reverse order"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)

    assert tenancy.current_scope() is None


def test_scope_when_copied_context_outlives_it_is_none(acme: Organization) -> None:
    """A context that was copied in a scope has none once the scope has ended."""
    with tenancy.scope(acme):
        copied = contextvars.copy_context()
        assert copied.run(tenancy.current_scope) is not None

    assert copied.run(tenancy.current_scope) is None
    with pytest.raises(ScopeRequired, match="an ended scope"):
        copied.run(tenancy.require_organization)


def test_scope_when_task_outlives_it_is_none(acme: Organization) -> None:
    """A task that goes on after the scope finds none."""

    async def later(gate: asyncio.Event) -> Any:
        await gate.wait()
        return tenancy.current_scope()

    async def main() -> Any:
        gate = asyncio.Event()
        async with tenancy.scope(acme):
            task = asyncio.create_task(later(gate))
            await asyncio.sleep(0)
        gate.set()
        return await task

    assert asyncio.run(main()) is None


def test_scope_when_tasks_interleave_is_each_ones_own(
    acme: Organization, globex: Organization
) -> None:
    """Two tasks under gather() each stay in their own scope."""

    async def act(organization: Organization) -> bool:
        seen = set()
        async with tenancy.scope(organization):
            for _ in range(5):
                await asyncio.sleep(0)
                seen.add(tenancy.require_organization())
        return seen == {organization.pk}

    async def main() -> list[bool]:
        return await asyncio.gather(*[act(o) for o in [acme, globex] * 8])

    assert all(asyncio.run(main()))


def test_scope_when_task_is_cancelled_ends(acme: Organization) -> None:
    """A cancelled task leaves no scope behind."""

    async def act() -> None:
        async with tenancy.scope(acme):
            await asyncio.sleep(10)

    async def main() -> Any:
        task = asyncio.create_task(act())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return tenancy.current_scope()

    assert asyncio.run(main()) is None


def test_scope_when_new_thread_is_none(acme: Organization) -> None:
    """A new thread begins with no scope."""
    seen: list[Any] = []

    with tenancy.scope(acme):
        context = contextvars.Context()
        thread = threading.Thread(
            target=lambda: seen.append(context.run(tenancy.current_scope))
        )
        thread.start()
        thread.join()

    assert seen == [None]


def test_bind_when_run_later_restores_scope(acme: Organization) -> None:
    """A bound function runs in the scope in which it was bound."""
    with tenancy.scope(acme):
        bound = tenancy.bind(tenancy.require_organization)

    assert bound() == acme.pk
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(bound).result() == acme.pk


def test_bind_when_run_in_another_scope_keeps_its_own(
    acme: Organization, globex: Organization
) -> None:
    """A bound function never takes the scope of who happens to run it."""
    with tenancy.scope(acme):
        bound = tenancy.bind(tenancy.require_organization)

    with tenancy.scope(globex):
        assert bound() == acme.pk
        assert tenancy.require_organization() == globex.pk


def test_bind_when_bound_in_none_runs_in_none(acme: Organization) -> None:
    """A function that was bound in no scope runs in none."""
    bound = tenancy.bind(tenancy.current_scope)

    with tenancy.scope(acme):
        assert bound() is None


def test_bind_when_async_restores_scope(acme: Organization) -> None:
    """A bound coroutine function stays one."""

    async def read() -> Any:
        await asyncio.sleep(0)
        return tenancy.require_organization()

    with tenancy.scope(acme):
        bound = tenancy.bind(read)

    assert asyncio.run(bound()) == acme.pk


def test_scope_when_pickled_is_equal() -> None:
    """A Scope travels to other processes."""
    scope = tenancy.Scope(organization_id=uuid.uuid4(), user_id=1)

    assert pickle.loads(pickle.dumps(scope)) == scope
    assert hash(scope) == hash(pickle.loads(pickle.dumps(scope)))
