"""What the verbs share: one transaction each, locks in one order, signals on commit."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.apps import apps
from django.db import OperationalError, connections, router, transaction
from django.db.models import Manager, Model, QuerySet
from django.dispatch import Signal

from tenancy.backends import get_backend
from tenancy.backends.enforcement import get_enforcement
from tenancy.context import bind

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Model | Manager[Any] | QuerySet[Any, Any]")

ATTEMPTS = 5
"""How often a verb is run that others' transactions got in the way of."""

PAUSE_SECONDS = 0.05
"""About how long it waits before the second run; each later wait is twice as long."""


def verb(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method of a model or a manager as one transaction.

    A deadlock or a serialization failure is met by another run, where the transaction
    is the outermost one. Inside a caller's own transaction it cannot be: the database
    has undone the caller's work too, so that the error is the caller's to meet, by
    running their whole transaction again.

    The function may therefore run more than once: it reads what it changes anew,
    after it has taken its locks.
    """

    @functools.wraps(function)
    def run(subject: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        alias = find_alias(subject)
        attempts = 1 if connections[alias].in_atomic_block else ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                with transaction.atomic(using=alias):
                    return function(subject, *args, **kwargs)
            except OperationalError as error:
                is_passing = get_enforcement(connections[alias]).is_passing(error)
                if attempt == attempts or not is_passing:
                    raise
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1) * (0.5 + random.random()))
        raise AssertionError("unreachable")  # for the type checker

    return run


def find_alias(subject: Model | Manager[Any] | QuerySet[Any, Any]) -> str:
    """Return the database to which an instance, a manager or a queryset writes."""
    if isinstance(subject, Model):
        return router.db_for_write(type(subject), instance=subject)
    # Their property "db" is the alias for reads; the stubs leave "_db" out.
    chosen: str | None = getattr(subject, "_db")  # noqa: B009 - as above
    return chosen or router.db_for_write(subject.model)


def take_locks(alias: str, *, users: Any = (), organizations: Any = ()) -> None:
    """Lock users, then organizations, until the transaction ends.

    Whoever counts members, owners, seats, invitations, teams or subscriptions takes
    the organization's lock before counting, and holds it while writing.

    Args:
        alias (str): the database.
        users (Iterable[key]): the keys of users.
        organizations (Iterable[key]): the keys of organizations.
    Raises:
        TransactionManagementError: no transaction is open.
    """
    locks: Any = apps.get_model("tenancy", "Lock")._default_manager  # Our own model.
    locks.db_manager(alias).take(
        *(f"user:{key}" for key in users),
        *(f"organization:{key}" for key in organizations),
    )


@contextmanager
def deleting(alias: str) -> Iterator[None]:
    """Let rows that the policy Kept keeps go with what is deleted in the block.

    Args:
        alias (str): the database, of which a transaction is open; or which is flushed.
    """
    with get_backend(connections[alias]).deleting():
        yield


def send_on_commit(
    signal: Signal, sender: type[Model], *, using: str, **values: Any
) -> None:
    """Send a signal once the transaction is committed, in today's scope.

    A receiver that fails is logged by Django, and keeps nobody from the verb's result.
    """
    transaction.on_commit(
        bind(functools.partial(signal.send_robust, sender, **values)),
        using=using,
    )
