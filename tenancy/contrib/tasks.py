"""Tasks of Django 6.0 and later, each in the scope in which it was enqueued::

    from tenancy.contrib.tasks import tenant_task

    @tenant_task
    def send_report(report_pk): ...

The organization's and the user's keys travel among the arguments by name, whichever
backend takes them. The organization is looked up when the task runs. One that was
enqueued in no scope, or in tenancy.unscoped(), runs in none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.tasks import Task

from tenancy.envelopes import run_sealed, seal_scope, take_sealed


class TenantTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """A task that runs in the scope in which it was enqueued."""

    def enqueue(self, *args: Any, **kwargs: Any) -> Any:  # A TaskResult.
        """Queue the task, with the active scope."""
        return super().enqueue(*args, **kwargs | seal_scope())

    async def aenqueue(self, *args: Any, **kwargs: Any) -> Any:  # A TaskResult.
        """See enqueue()."""
        return await super().aenqueue(*args, **kwargs | seal_scope())

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function in the scope that came with the arguments."""
        sealed = take_sealed(kwargs)
        own = {name: value for name, value in kwargs.items() if name not in sealed}
        return run_sealed(super().call, sealed)(*args, **own)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """See call()."""
        sealed = take_sealed(kwargs)
        own = {name: value for name, value in kwargs.items() if name not in sealed}
        return await run_sealed(super().acall, sealed)(*args, **own)


def tenant_task(
    function: Callable[..., Any] | None = None,
    **options: Any,
) -> Any:  # A task, or the decorator that makes one.
    """Make a function a task that runs in the scope in which it was enqueued.

    Args:
        function (Callable | None): sync or async; None where options are given.
        **options: those of django.tasks.task(): priority, queue_name, backend,
            takes_context.
    """
    if function is None:
        return lambda given: TenantTask(func=given, **options)
    return TenantTask(func=function, **options)
