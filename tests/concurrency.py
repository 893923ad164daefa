"""What runs at the same time, on real threads with connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

WAIT_SECONDS = 60


def run_at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions on a thread each, all let go at one moment.

    Returns:
        list: what each returned, or the exception that it raised, in their order.
    """
    barrier = threading.Barrier(len(functions), timeout=WAIT_SECONDS)

    def run(function: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return function()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))
