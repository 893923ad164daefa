"""Celery's tasks, each in the scope in which it was sent.

In the module that makes the app::

    from tenancy.contrib.celery import TenantTask

    app = Celery("project", task_cls=TenantTask)

A message carries the organization's and the user's keys in its headers. The worker
looks the organization up before it runs the task. A message without them, as one of
Celery beat's, is run in no scope, whatever was run before it; so is one that was sent
in tenancy.unscoped(), which the task says itself.
"""

from __future__ import annotations

import functools
from typing import Any

from celery import Task, current_task
from celery.signals import before_task_publish

from tenancy.context import current_scope
from tenancy.envelopes import ORGANIZATION, USER, run_sealed, seal_scope, take_sealed


class TenantTask(Task):
    """A task that runs in the scope in which it was sent, retried and chained too.

    Called as a function it runs where it is called. Run eagerly, it is in the scope
    that a message would carry.
    """

    run: Any  # A function of any signature.

    def __init__(self) -> None:
        super().__init__()
        self.run = self._enclose(self.run)

    def _enclose(self, body: Any) -> Any:  # A function of any signature.
        @functools.wraps(body)
        def run(*args: Any, **kwargs: Any) -> Any:
            request = self.request
            if request.called_directly:
                return body(*args, **kwargs)
            sealed = seal_scope() if request.is_eager else request.headers
            return run_sealed(body, sealed or {})(*args, **kwargs)

        return run


@before_task_publish.connect(weak=False)  # type: ignore[untyped-decorator]  # Celery's
def carry_scope(headers: dict[str, Any], **kwargs: Any) -> None:
    """Put the active scope into the headers of a message.

    What Celery sends for a task that has ended, such as the next of a chain, is sent
    in the scope which that task was sent in.
    """
    sealed = seal_scope()
    if current_scope() is None and current_task:
        sealed = take_sealed(current_task.request.headers or {})
    # A retry has those of the message that is retried.
    for name in (ORGANIZATION, USER):
        headers.pop(name, None)
    headers.update(sealed)
