"""Tasks of Celery's, on a worker that takes them from a broker in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chain, group
from celery.contrib.testing.worker import start_worker

import tenancy
from tenancy.contrib.celery import TenantTask
from tenancy.exceptions import ScopeRequired
from tenancy.models import Organization, User
from tests.apps.notebook.models import Note

app = Celery(
    "tests",
    broker="memory://",
    backend="cache+memory://",
    task_cls=TenantTask,
    set_as_current=False,
)
app.conf.update(
    broker_connection_retry_on_startup=False, worker_hijack_root_logger=False
)

WAIT = 20
"""Seconds after which a result is missing."""


@app.task
def tell(previous: Any = None) -> list[Any]:
    """Return whose scope it is, after what an earlier task has returned."""
    active = tenancy.current_scope()
    told = None if active is None else [active.organization_id, active.user_id]
    return [*(previous or []), told and [key and str(key) for key in told]]


@app.task
def count_notes() -> int:
    """Return how many notes the organization has."""
    return Note.objects.count()


@app.task(bind=True, default_retry_delay=0, max_retries=2)
def fail_once(self: Any) -> list[Any]:
    """Ask to be run again, and then return whose scope it is."""
    if self.request.retries == 0:
        raise self.retry()
    return [*tell()]


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0)
def break_once() -> list[Any]:
    """Break in the first run, and then return whose scope it is."""
    if break_once.request.retries == 0:
        raise ConnectionError("the first run breaks")
    return [*tell()]


@app.task
def send_on() -> list[Any]:
    """Send tasks in the task's own scope, and unscoped."""
    with tenancy.unscoped("a test"):
        unscoped = tell.apply_async(headers=dict(send_on.request.headers))
    return [tell.delay().id, unscoped.id]


@pytest.fixture
def worker(transactional_db: None) -> Iterator[None]:
    """A worker on a thread of its own."""
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        yield
    app.close()


def keys_of(organization: Organization, user: User | None = None) -> list[Any]:
    """Return what tell() returns in a scope."""
    return [str(organization.pk), user and str(user.pk)]


@pytest.mark.usefixtures("worker")
def test_tasks_run_in_the_scopes_in_which_they_were_sent(
    acme: Organization, alice: User, globex: Organization
) -> None:
    """One worker runs a task of acme's, one of none's and one of globex's, in turn."""
    with tenancy.scope(acme, user=alice):
        ours = tell.delay()
    nobody = tell.delay()
    refused = count_notes.delay()
    with tenancy.scope(globex):
        theirs = tell.delay()
        counted = count_notes.delay()
    with tenancy.scope(user=alice):
        own = tell.delay()
    with tenancy.unscoped("a test"):
        unscoped = tell.delay()

    assert ours.get(timeout=WAIT) == [keys_of(acme, alice)]
    assert nobody.get(timeout=WAIT) == [None]
    with pytest.raises(ScopeRequired):
        refused.get(timeout=WAIT)
    assert theirs.get(timeout=WAIT) == [keys_of(globex)]
    assert counted.get(timeout=WAIT) == 0
    assert own.get(timeout=WAIT) == [[None, str(alice.pk)]]
    assert unscoped.get(timeout=WAIT) == [None]


@pytest.mark.usefixtures("worker")
def test_retries_and_chains_keep_the_scope(
    acme: Organization, globex: Organization
) -> None:
    """What Celery itself sends again, or next, is in the scope of the first."""
    with tenancy.scope(acme):
        retried = [fail_once.delay(), break_once.delay()]
        chained = chain(tell.s(), tell.s(), tell.s()).apply_async()
        grouped = group(tell.s(), tell.s()).apply_async()
        sent = send_on.delay()
    with tenancy.scope(globex):
        other = chain(tell.s(), tell.s()).apply_async()

    assert [one.get(timeout=WAIT) for one in retried] == [[keys_of(acme)]] * 2
    assert chained.get(timeout=WAIT) == [keys_of(acme)] * 3
    assert grouped.get(timeout=WAIT) == [[keys_of(acme)]] * 2
    assert other.get(timeout=WAIT) == [keys_of(globex)] * 2
    results = [app.AsyncResult(key) for key in sent.get(timeout=WAIT)]
    assert [one.get(timeout=WAIT) for one in results] == [[keys_of(acme)], [None]]


@pytest.mark.usefixtures("worker")
def test_organization_is_looked_up_when_the_task_runs(acme: Organization) -> None:
    """A task of an organization that is archived or unknown by then fails, and says."""
    with tenancy.scope(acme):
        sent = [tell.s(), count_notes.s()]
        acme.archive()
        results = [one.apply_async() for one in sent]

    for result in results:
        with pytest.raises(ValueError, match="archived organization"):
            result.get(timeout=WAIT)


@pytest.mark.django_db
def test_eager_task_is_in_the_scope_that_would_be_sent(acme: Organization) -> None:
    """Run at once, a task sees what a worker's would; as a function, what its caller's.

    The scope of whoever sent it is as it was afterwards.
    """
    with tenancy.scope(acme):
        eager = [tell.apply().get(), chain(tell.s(), tell.s()).apply().get()]
        retried = fail_once.apply().get()
        assert tenancy.require_organization() == acme.pk
    with tenancy.unscoped("a test"):
        unscoped, called = tell.apply().get(), tell()

    assert eager == [[keys_of(acme)], [keys_of(acme)] * 2]
    assert retried == [keys_of(acme)]
    assert (unscoped, called) == ([None], [[None, None]])
    assert tell.apply().get() == [None]
