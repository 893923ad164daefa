"""Work that runs later: a worker is in the scope of its job, or in none."""

from __future__ import annotations

import importlib.util
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

import tenancy
from tenancy.exceptions import ScopeRequired
from tests.apps.notebook.models import Note
from tests.isolation.conftest import Rows

pytestmark = pytest.mark.django_db(transaction=True)

Job = Callable[[], Any]


def count_notes(key: Any) -> list[str]:
    """Return the codes of an organization's notes, as a task that is given its key."""
    with tenancy.scope(key):
        return list(Note.objects.values_list("code", flat=True))


@pytest.fixture
def work() -> Iterator[Callable[[list[Job]], list[Any]]]:
    """Run jobs one after another on one thread, as a worker of a queue does."""
    jobs: queue.Queue[Job | None] = queue.Queue()
    results: queue.Queue[Any] = queue.Queue()

    def serve() -> None:
        while (job := jobs.get()) is not None:
            try:
                results.put(job())
            except Exception as error:  # A worker outlives its jobs.
                results.put(error)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()

    def run(given: list[Job]) -> list[Any]:
        for job in given:
            jobs.put(job)
        return [results.get(timeout=30) for _ in given]

    yield run
    jobs.put(None)
    thread.join()


def test_worker_when_given_keys_is_in_each_jobs_scope(
    ours: Rows, theirs: Rows, work: Callable[[list[Job]], list[Any]]
) -> None:
    """Jobs of two organizations on one thread see their own rows, in turn."""
    keys = [ours.organization.pk, theirs.organization.pk] * 3

    results = work([partial(count_notes, key) for key in keys])

    expected = [count_notes(ours.organization.pk), count_notes(theirs.organization.pk)]
    assert results == expected * 3


def test_worker_when_key_is_missing_has_no_scope(
    ours: Rows, work: Callable[[list[Job]], list[Any]]
) -> None:
    """A job that was sent without its organization never gets the last job's."""
    _, error = work([lambda: count_notes(ours.organization.pk), Note.objects.count])

    assert isinstance(error, ScopeRequired)


def test_worker_when_job_fails_and_is_tried_again_keeps_its_scope(
    ours: Rows, theirs: Rows, work: Callable[[list[Job]], list[Any]]
) -> None:
    """A job that fails in its scope leaves none behind, and finds it again."""
    tries: list[Any] = []

    def flaky() -> Any:
        with tenancy.scope(ours.organization.pk):
            tries.append(tenancy.require_organization())
            if len(tries) == 1:
                raise ConnectionError("the first try fails")
            return tenancy.require_organization()

    failed, between, done = work([flaky, tenancy.current_scope, flaky])

    assert isinstance(failed, ConnectionError)
    assert between is None
    assert done == ours.organization.pk


def test_worker_when_job_is_bound_runs_in_its_scope(
    ours: Rows, theirs: Rows, work: Callable[[list[Job]], list[Any]]
) -> None:
    """Jobs that are bound where they are made run there, chained ones too."""
    jobs: list[Job] = []
    for rows in (ours, theirs):
        with tenancy.scope(rows.organization), transaction.atomic():
            bound = tenancy.bind(tenancy.require_organization)
            transaction.on_commit(partial(jobs.append, bound))

    assert work(jobs) == [ours.organization.pk, theirs.organization.pk]


if importlib.util.find_spec("django.tasks") is not None:
    from django.tasks import task

    counting = task(count_notes)

    def test_task_when_enqueued_enters_its_organization(
        ours: Rows, theirs: Rows
    ) -> None:
        """A task of Django's is given the key, and enters the scope itself."""
        results = [
            counting.enqueue(str(rows.organization.pk)).return_value
            for rows in (ours, theirs)
        ]

        assert results == [
            count_notes(ours.organization.pk),
            count_notes(theirs.organization.pk),
        ]
        assert tenancy.current_scope() is None
