"""Django's tasks, which Django 6.0 has brought."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from asgiref.sync import async_to_sync

import tenancy
from tenancy.models import Organization, User

if importlib.util.find_spec("django.tasks") is not None:
    from tenancy.contrib.tasks import tenant_task

    @tenant_task
    def tell(*words: str, **more: str) -> list[Any]:
        """Return whose scope it is, and what was passed."""
        active = tenancy.current_scope()
        keys = None if active is None else [active.organization_id, active.user_id]
        return [keys and [key and str(key) for key in keys], *words, *more.values()]

    @tenant_task(queue_name="default")
    async def tell_async() -> list[Any]:
        """Return whose scope it is."""
        return [str(tenancy.require_organization())]

    @pytest.mark.django_db
    def test_task_runs_in_the_scope_in_which_it_was_enqueued(
        acme: Organization, alice: User, globex: Organization
    ) -> None:
        """Acme's, globex's and nobody's run in theirs, and get their own arguments."""
        with tenancy.scope(acme, user=alice):
            ours = tell.enqueue("one", two="two").return_value
        with tenancy.scope(globex):
            theirs = tell.enqueue().return_value
            later = tell_async.enqueue()
        with tenancy.unscoped("a test"):
            unscoped = tell.enqueue().return_value

        assert ours == [[str(acme.pk), str(alice.pk)], "one", "two"]
        assert theirs == [[str(globex.pk), None]]
        assert later.return_value == [str(globex.pk)]
        assert tell.enqueue().return_value == unscoped == [None]

    @pytest.mark.django_db(transaction=True)
    def test_task_that_is_awaited_runs_in_its_scope(acme: Organization) -> None:
        """An async caller and an async worker meet in the scope."""

        async def run() -> list[Any]:
            async with tenancy.scope(acme):
                result = await tell_async.aenqueue()
            return [
                *result.return_value,
                *await tell_async.acall(**result.kwargs),
                *await tell.acall(),
            ]

        assert async_to_sync(run)() == [str(acme.pk), str(acme.pk), None]

    @pytest.mark.django_db
    def test_task_of_archived_organization_fails(acme: Organization) -> None:
        """The organization is looked up when the task runs."""
        with tenancy.scope(acme):
            sent = tell.enqueue()
            acme.archive()

        with pytest.raises(ValueError, match="archived organization"):
            tell.call(**sent.kwargs)
