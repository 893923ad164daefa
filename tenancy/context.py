"""Who is acting, for which organization, now.

The active scope lives in a ContextVar, so that threads and tasks do not see each
other's. What the ContextVar holds is an *entry*, which dies when its ``with`` block
ends: a context that was copied inside the block and outlives it (a thread, a task)
finds a dead entry, which counts as no scope.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, models, router

from tenancy import conf
from tenancy.exceptions import CrossOrganization, ScopeInterleaved, ScopeRequired
from tenancy.signals import unscoped_entered

P = ParamSpec("P")
R = TypeVar("R")
Key = Any  # A primary key: a UUID or an int, by the organization model.

logger = logging.getLogger("tenancy")

_GENERATOR_FLAGS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_LOOKUP = (
    "By its slug an organization is found in no scope: organization, is_current = "
    "{}.objects.find_by_slug(slug)."
)
_UNSET: Any = object()  # Tells scope() from scope(None); neither is a value.


@dataclass(frozen=True, slots=True)
class Scope:
    """Who is acting, for which organization; or deliberately for none.

    Args:
        organization_id (key | None): the organization whose rows are reached.
        user_id (key | None): the user who acts. Without an organization, the user's
            live memberships and their organizations are reached, and nothing else.
        unscoped_reason (str | None): why every organization's rows are reached.
    """

    organization_id: Key | None = None
    user_id: Key | None = None
    unscoped_reason: str | None = None
    # The key as each column is compared with it, made once a scope.
    parameters: dict[Any, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __reduce__(self) -> tuple[type[Scope], tuple[Key, Key, str | None]]:
        return Scope, (self.organization_id, self.user_id, self.unscoped_reason)

    @property
    def is_unscoped(self) -> bool:
        """Whether every organization's rows are reached."""
        return self.unscoped_reason is not None

    def reaches_same_rows(self, other: Scope | None) -> bool:
        """Return whether a query gives the same rows in both scopes."""
        if other is self:
            return True
        if other is None or self.is_unscoped is not other.is_unscoped:
            return False
        if self.is_unscoped:
            return True
        if self.organization_id is None:
            return other.organization_id is None and self.user_id == other.user_id
        return bool(self.organization_id == other.organization_id)

    def __str__(self) -> str:
        if self.is_unscoped:
            return f"unscoped({self.unscoped_reason!r})"
        if self.organization_id is None:
            return f"scope(user={str(self.user_id)!r})"
        return f"scope({str(self.organization_id)!r})"


class LookUp(Enum):
    """The package's own unscoped look-ups; there are no others."""

    ORGANIZATION_BY_KEY = "tenancy: organization by key, to enter its scope"
    MIGRATION = "tenancy: migrate"
    FLUSH = "tenancy: flush"
    INTROSPECTION = "tenancy: description of a table"
    CONSTRAINT_CHECK = "tenancy: check_constraints"
    TEST_SERIALIZATION = "tenancy: serialization of a test database"
    SEQUENCE_RESET = "tenancy: reset of sequences after loaddata"
    CREATION = "tenancy: creation of an organization with its owner and roles"
    INVITATION_EXPIRY = "tenancy: invitations past their time, by purge_expired"
    INVITATION_BY_TOKEN = "tenancy: invitation by its token, to answer it"
    BILLING_CUSTOMER = "tenancy: organization by a payment provider's customer"
    PLAN_USE = "tenancy: whether any organization subscribes to a plan"
    SLUG = "tenancy: organization by slug, and whether a slug is taken"
    RESTORATION = "tenancy: archived organization, to restore it"
    ERASURE = "tenancy: memberships and invitations of a user to be erased"
    ORGANIZATIONS_OF_USER = "tenancy: number of organizations of a user, for the limit"
    DELETION_OF_USER = "tenancy: whether a user that is deleted has memberships"
    DOMAIN = "tenancy: organization by its verified domain"
    DOMAIN_RECHECK = "tenancy: verified domains, by recheck_domains"
    SESSION = "tenancy: the active membership of a session, by the user's key"
    IMPERSONATION = "tenancy: the organizations in which an impersonation is recorded"


class _Entry:
    """One entered ``with`` block: its scope, what was active before, its owner."""

    __slots__ = ("alive", "outer", "owner", "scope")

    def __init__(
        self, scope: Scope | None, outer: _Entry | None, owner: object
    ) -> None:
        self.scope = scope
        self.outer = outer
        self.owner = owner
        self.alive = True


class _DeferredEntry(_Entry):
    """An entry whose scope is found when it is first asked for."""

    __slots__ = ("_find", "_found")

    def __init__(
        self,
        find: Callable[[], Scope | None],
        outer: _Entry | None,
        owner: object,
    ) -> None:
        self.outer, self.owner, self.alive = outer, owner, True
        self._find = find
        self._found: Scope | None = _UNSET

    @property
    def scope(self) -> Scope | None:  # type: ignore[override]  # read only, here
        if self._found is _UNSET:
            # What finds it may run queries, which must not ask for it in turn.
            with in_no_scope():
                self._found = self._find()
        return self._found


_active: ContextVar[_Entry | None] = ContextVar("tenancy_scope", default=None)


# Where it is a list, what admits statements notes each that concerns tenant rows.
tenant_statements: ContextVar[list[None] | None] = ContextVar(
    "tenancy_tenant_statements", default=None
)


def current_scope() -> Scope | None:
    """Return the active scope, or None.

    Returns:
        Scope | None: None also where a scope was copied into a thread or a task and
            has ended since.
    """
    entry = _active.get()
    if entry is None or not entry.alive:
        return None
    return entry.scope


def require_scope(subject: str) -> Scope:
    """Return the active scope, whatever its kind.

    Args:
        subject (str): what was used, for the message: "Note.objects".
    Raises:
        ScopeRequired: no scope is active, or the active one has ended.
    """
    entry = _active.get()
    if entry is not None and entry.alive and entry.scope is not None:
        return entry.scope
    state = "no active scope" if entry is None or entry.alive else "an ended scope"
    label = _organization_class().__name__
    lookup = f" {_LOOKUP.format(label)}" if subject == label else ""
    raise ScopeRequired(
        f"{subject} was used with {state}. Enter one with "
        "tenancy.scope(organization), or say tenancy.unscoped(reason) to reach every "
        "organization's rows; for a thread, a task or on_commit(), wrap the function "
        f"in tenancy.bind().{lookup}"
    )


def require_organization() -> Key:
    """Return the primary key of the one active organization.

    Raises:
        ScopeRequired: no scope is active, or it names no organization.
    """
    scope = require_scope("tenancy.require_organization()")
    if scope.organization_id is None:
        raise ScopeRequired(
            f"tenancy.require_organization() was called in {scope}, which names no "
            "organization. Enter one with tenancy.scope(organization)."
        )
    return scope.organization_id


def reaches_rows() -> bool:
    """Return whether tenant rows can be asked for in the active scope."""
    active = current_scope()
    return active is not None and (
        active.is_unscoped or active.organization_id is not None
    )


class _Block:
    """A ``with`` block, an ``async with`` block and a decorator, of one scope."""

    _in_generator: bool

    def _resolve(self) -> Scope | None:
        """Return the scope to enter; called at each entrance."""
        raise NotImplementedError

    async def _aresolve(self) -> Scope | None:
        return self._resolve()

    def _copy(self) -> Self:
        """Return a block of its own for one call of a decorated function."""
        return self

    def __enter__(self) -> Scope | None:
        self._refuse_generator(sys._getframe(1))
        return self._push(self._resolve())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pop()

    def __aenter__(self) -> Coroutine[Any, Any, Scope | None]:
        self._refuse_generator(sys._getframe(1))
        return self._apush()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a sync or async function to run in this scope."""
        _refuse_generator_function(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self._copy():
                    return await function(*args, **kwargs)

            # A coroutine function is again one; Callable[P, R] cannot say so.
            return cast(Callable[P, R], run_async)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._copy():
                return function(*args, **kwargs)

        return run

    async def _apush(self) -> Scope | None:
        return self._push(await self._aresolve())

    def _push(self, scope: Scope | None) -> Scope | None:
        _active.set(_Entry(scope, _active.get(), self))
        return scope

    def _pop(self) -> None:
        entry = _active.get()
        if entry is not None and entry.owner is self:
            entry.alive = False
            _active.set(entry.outer)
            return
        inner = entry
        while entry is not None and entry.owner is not self:
            inner, entry = entry, entry.outer
        if inner is not None and entry is not None:
            # What was entered later is left later, and must not bring this one back.
            entry.alive = False
            inner.outer = entry.outer
        raise ScopeInterleaved(
            f"{self} was left while another scope was active. Leave scopes in the "
            "reverse order of entering them, in the task that entered them."
        )

    def _refuse_generator(self, frame: FrameType | None) -> None:
        """Refuse a generator body: between its steps the caller would be in scope."""
        # ExitStack.enter_context() and its like call __enter__ from contextlib.
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:
            frame = frame.f_back
        if frame is None or self._in_generator or not _is_generator(frame.f_code):
            return
        raise TypeError(
            f"{self} was entered in the generator '{frame.f_code.co_qualname}', "
            "whose caller would stay in the scope after each yield. Enter it in the "
            "caller, or, where that is meant (a fixture, a context manager), pass "
            "in_generator=True."
        )


class scope(_Block):  # noqa: N801 - reads as a function, like contextlib.suppress
    """Act for one organization, or list one user's own memberships.

    A context manager, sync and async, and a decorator of sync and async functions.
    Inside it, tenant rows are those of the organization. With ``user`` alone, only
    the user's live memberships and their organizations are reached.

    Args:
        organization (AbstractOrganization | key): the organization; a key is looked
            up once, at entrance.
        user (AbstractBaseUser | key | None): who acts. None keeps the user of the
            scope around this one.
        in_generator (bool): allow entrance in a generator's body, for fixtures and
            context managers, whose caller is meant to be in the scope.
    Raises:
        TypeError: the organization or user is None, unsaved or of another type, or
            the block stands in a generator's body.
        ValueError: the organization is archived, deleted, from a database that
            TENANCY_DATABASES does not name, or the key is none of an organization.
        CrossOrganization: another organization's scope is active, and no
            tenancy.unscoped() lies between.
    """

    def __init__(
        self,
        organization: models.Model | Key = _UNSET,
        *,
        user: models.Model | Key | None = None,
        in_generator: bool = False,
    ) -> None:
        self._organization = organization
        self._user = user
        self._in_generator = in_generator
        self._user_id = None if user is None else _key_of_user(user)
        if organization is _UNSET:
            if user is None:
                raise TypeError(
                    "tenancy.scope() was called with neither an organization nor a "
                    "user. Pass an organization, or user=... to list the user's own "
                    "memberships."
                )
            self._organization_id = None
        else:
            self._organization_id = _key_of_organization(organization)

    def __repr__(self) -> str:
        return str(Scope(self._organization_id, self._user_id)).replace(
            "scope(", "tenancy.scope("
        )

    def _copy(self) -> Self:
        return type(self)(
            self._organization, user=self._user, in_generator=self._in_generator
        )

    def _resolve(self) -> Scope:
        entered = self._combine(current_scope())
        if self._needs_look_up():
            _require_live_organization(entered.organization_id)
        return entered

    async def _aresolve(self) -> Scope:
        entered = self._combine(current_scope())
        if self._needs_look_up():
            await sync_to_async(_require_live_organization)(entered.organization_id)
        return entered

    def _needs_look_up(self) -> bool:
        if self._organization is _UNSET:
            return False
        if isinstance(self._organization, models.Model):
            # The instance may have changed since the block was made.
            _key_of_organization(self._organization)
            return False
        active = current_scope()
        return active is None or active.organization_id != self._organization_id

    def _combine(self, outer: Scope | None) -> Scope:
        """Return the scope to enter inside ``outer``, or refuse it."""
        entered = Scope(self._organization_id, self._user_id)
        if outer is None or outer.is_unscoped:
            return entered
        if self._user_id is None:
            entered = Scope(self._organization_id, outer.user_id)
        elif outer.user_id not in (None, self._user_id):
            raise CrossOrganization(
                f"{self!r} was entered in the scope of another user. Leave that scope "
                "first, or say tenancy.unscoped(reason) between the two."
            )
        if outer.organization_id is None:
            return entered
        if self._organization_id is None and outer.user_id == self._user_id:
            # A signed-in user may always list the organizations to switch to.
            return entered
        if outer.organization_id != self._organization_id:
            raise CrossOrganization(
                f"{self!r} was entered in the scope of another organization. Leave "
                "that scope first, or say tenancy.unscoped(reason) between the two."
            )
        return entered


class scope_of_any_status(scope):  # noqa: N801 - a block like scope()
    """Act for an organization that may be archived; not public.

    For what happens to it elsewhere, as at a payment provider.

    Args:
        organization (AbstractOrganization): a saved one.
    """

    def __init__(self, organization: models.Model) -> None:
        self._organization = _UNSET
        self._organization_id = organization.pk
        self._user = self._user_id = None
        self._in_generator = False


class unscoped(_Block):  # noqa: N801 - reads as a function, like contextlib.suppress
    """Reach every organization's rows, deliberately.

    A context manager, sync and async, and a decorator. Each entrance is logged to
    the logger "tenancy" at INFO and sent as the signal ``unscoped_entered``.

    Args:
        reason (str): why, for whoever reads the code and the log.
        in_generator (bool): as for scope().
    Raises:
        TypeError: the reason is not a str, or the block stands in a generator.
        ValueError: the reason is blank.
    """

    def __init__(self, reason: str, *, in_generator: bool = False) -> None:
        if not isinstance(reason, str):
            raise TypeError(
                f"tenancy.unscoped() was given {reason!r} as its reason. Pass a text "
                'that says why: tenancy.unscoped("nightly invoices").'
            )
        if not reason.strip():
            raise ValueError(
                f"tenancy.unscoped() was given the reason {reason!r}. Say in words "
                'why: tenancy.unscoped("nightly invoices").'
            )
        self._reason = reason
        self._in_generator = in_generator

    def __repr__(self) -> str:
        return f"tenancy.unscoped({self._reason!r})"

    def _resolve(self) -> Scope:
        logger.info("unscoped: %s", self._reason)
        unscoped_entered.send(sender=unscoped, reason=self._reason)
        outer = current_scope()
        user_id = None if outer is None else outer.user_id
        return Scope(user_id=user_id, unscoped_reason=self._reason)


class look_up(_Block):  # noqa: N801 - a block like unscoped()
    """Go unscoped for one of the package's own look-ups; not public.

    Args:
        purpose (LookUp): which of the enumerated look-ups it is.
        in_generator (bool): as for scope().
    """

    def __init__(self, purpose: LookUp, *, in_generator: bool = False) -> None:
        self._purpose = LookUp(purpose)
        self._in_generator = in_generator

    def _resolve(self) -> Scope:
        logger.debug("unscoped: %s", self._purpose.value)
        return Scope(unscoped_reason=self._purpose.value)


class _Restore(_Block):
    """Run in a scope that was active before, whatever is active now."""

    _in_generator = False

    def __init__(self, remembered: Scope | None) -> None:
        self._remembered = remembered

    def __repr__(self) -> str:
        return f"tenancy.bind() to {self._remembered}"

    def _resolve(self) -> Scope | None:
        return self._remembered


def in_no_scope() -> _Block:
    """Return a block in which no scope is active; not public."""
    return _Restore(None)


class deferred(_Block):  # noqa: N801 - a block like scope()
    """Act in a scope that is found when it is first asked for; not public.

    Args:
        find (Callable): returns the scope, or None for none. It runs in no scope, and
            what it raises is raised where the scope was asked for.
    """

    _in_generator = False

    def __init__(self, find: Callable[[], Scope | None]) -> None:
        self._find = find

    def __repr__(self) -> str:
        return "The scope of a request"

    def _resolve(self) -> None:
        return None

    def _push(self, scope: Scope | None) -> Scope | None:
        _active.set(_DeferredEntry(self._find, _active.get(), self))
        return scope


def bind(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that runs in today's scope, whenever and wherever it runs.

    For on_commit(), threads, executors and signals::

        transaction.on_commit(tenancy.bind(send_mail))

    Args:
        function (Callable): a sync or async function, with any signature.
    Returns:
        Callable: the same function; bound where no scope is active, it runs in none.
    Raises:
        TypeError: it is a generator function, whose caller would stay in the scope.
    """
    return _Restore(current_scope())(function)


def _is_generator(code: CodeType) -> bool:
    return bool(code.co_flags & _GENERATOR_FLAGS)


def _refuse_generator_function(function: Callable[..., Any]) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"'{function.__qualname__}' is a generator function, whose body runs after "
            "the scope has ended. Enter the scope where the generator is consumed."
        )


def _organization_class() -> type[models.Model]:
    return apps.get_model(conf.organization_model(), require_ready=False)


def _key_of_organization(organization: models.Model | Key) -> Key:
    """Return the key of a live organization, or of what may be a key of one."""
    expected = _organization_class()
    if isinstance(organization, models.Model):
        if not isinstance(organization, expected):
            raise TypeError(
                f"tenancy.scope() was given a {type(organization).__name__}. Pass an "
                f"instance of '{conf.organization_model()}' or its primary key."
            )
        _require_usable(organization)
        return organization.pk
    if organization is None or isinstance(organization, (bool, float)):
        raise TypeError(
            f"tenancy.scope() was given {organization!r}. Pass an instance of "
            f"'{conf.organization_model()}' or its primary key."
        )
    return _to_key(expected, organization)


def _to_key(model: type[models.Model], value: Key) -> Key:
    label = model._meta.label
    lookup = ""
    if isinstance(value, str) and model is _organization_class():
        lookup = f" {_LOOKUP.format(model.__name__)}"
    refusal = ValueError(
        f"tenancy.scope() was given {value!r}, which is no key of '{label}'. Pass "
        f"an instance of '{label}' or its primary key.{lookup}"
    )
    try:
        key = model._meta.pk.to_python(value)
    except (ValidationError, TypeError, ValueError, AttributeError) as error:
        raise refusal from error
    if key is None or key == "":
        raise refusal
    return key


def _require_usable(organization: models.Model) -> None:
    """Refuse an organization that is unsaved, archived or of another database."""
    if organization.pk is None or organization._state.adding:
        raise ValueError(
            "tenancy.scope() was given an organization that is not saved, or was "
            "deleted. Save it first, or pass one that exists."
        )
    if getattr(organization, "status", None) == "archived":
        raise ValueError(
            f"tenancy.scope() was given the archived organization "
            f"{str(organization.pk)!r}. Restore it first, or read its rows in "
            "tenancy.unscoped(reason)."
        )
    alias = organization._state.db
    if alias is not None and alias not in _aliases(type(organization)):
        raise ValueError(
            f"tenancy.scope() was given an organization of the database {alias!r}. "
            "Pass one of the database that holds the tenant tables, or name the alias "
            "in TENANCY_DATABASES."
        )


def _aliases(model: type[models.Model]) -> set[str]:
    configured = conf.database_aliases()
    if configured is not None:
        return set(configured)
    aliases = {router.db_for_read(model), router.db_for_write(model)}
    for alias in connections:
        if connections[alias].settings_dict["TEST"].get("MIRROR") in aliases:
            aliases.add(alias)
    return aliases


def _key_of_user(user: models.Model | Key) -> Key:
    from django.contrib.auth import get_user_model

    expected = get_user_model()
    if isinstance(user, expected):
        if user.pk is None:
            raise TypeError(
                "tenancy.scope() was given a user that is not saved. Save it first."
            )
        return user.pk
    if isinstance(user, (models.Model, bool, float)) or hasattr(user, "is_anonymous"):
        raise TypeError(
            f"tenancy.scope() was given {type(user).__name__} as its user. Pass an "
            f"instance of '{expected._meta.label}' or its primary key."
        )
    return _to_key(expected, user)


def _require_live_organization(key: Key) -> None:
    with look_up(LookUp.ORGANIZATION_BY_KEY):
        organization = _organization_class()._base_manager.filter(pk=key).first()
    if organization is None:
        raise ValueError(
            f"tenancy.scope() was given the key {str(key)!r}, of which there is no "
            "organization. Pass one that exists."
        )
    _require_usable(organization)
