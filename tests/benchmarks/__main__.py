"""Time a scoped query against the same query of plain Django.

    python -m tests.benchmarks [--rows 1000000] [--rounds 400] [--database sqlite]

Four ways are timed in turn, round by round, so that whatever slows the machine slows
all of them: ``scoped``; ``plain``, a bare manager on a twin table without organization
filter or policy; ``by hand``, the same with ``.filter(organization=...)``;
``unscoped``, the tenant table in tenancy.unscoped(), with that filter by hand.

In a round each way enters its scope and a transaction, as a request does, acts once
untimed and then REPEATS times, of which the fastest counts, and takes back what it
wrote. A ratio is the median of the rounds' ratios, each of two times that were taken a
moment apart; behind it stand the quarters between which the middle half of them lies.
A server is that of TENANCY_TEST_POSTGRESQL_URL, _MYSQL_URL or _MARIADB_URL.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import django

REPEATS = 5
"""How often each way acts, one time after the other, in a round."""

WARM_UP = 5
"""How many rounds are run before those that count."""

SERVERS = {
    "postgresql": "TENANCY_TEST_POSTGRESQL_URL",
    "mariadb": "TENANCY_TEST_MARIADB_URL",
    "mysql": "TENANCY_TEST_MYSQL_URL",
}


@dataclass(frozen=True)
class Way:
    """One way to write a query: its scope, its models, and what it filters by."""

    name: str
    enter: Callable[[], AbstractContextManager[Any]]
    tasks: Any  # A manager or queryset of either model.
    task_class: Any
    project: Any
    key: Any
    values: dict[str, Any]


def get(way: Way) -> None:
    """Get one row by its key."""
    way.tasks().get(pk=way.key)


def list_fifty(way: Way) -> None:
    """List fifty rows in order."""
    list(way.tasks().order_by("-priority", "-id")[:50])


def list_status(way: Way) -> None:
    """List fifty rows of a status in order."""
    list(way.tasks().filter(status="todo").order_by("-priority", "-id")[:50])


def join(way: Way) -> None:
    """List fifty rows with what they refer to."""
    list(way.tasks().select_related("project").order_by("-priority", "-id")[:50])


def create(way: Way) -> None:
    """Insert one row."""
    way.task_class.objects.create(project=way.project, title="Task", **way.values)


def create_hundred(way: Way) -> None:
    """Insert a hundred rows at once."""
    way.task_class.objects.bulk_create(
        [
            way.task_class(project=way.project, title="Task", **way.values)
            for _ in range(100)
        ]
    )


# Each with the part of the rounds that it gets.
ACTIONS: list[tuple[str, Callable[[Way], None], float]] = [
    ("get by key", get, 1.0),
    ("list 50", list_fifty, 0.5),
    ("list 50 of a status", list_status, 0.5),
    ("join, 50", join, 0.5),
    ("create", create, 1.0),
    ("bulk_create(100)", create_hundred, 0.25),
]


def make_twins() -> None:
    """Make the twin tables and copy the rows."""
    from django.db import connection

    import tenancy
    from project.tracker.models import Project, Task
    from tenancy.models import Membership, Organization
    from tests.benchmarks.models import Holder, PlainMember, PlainProject, PlainTask

    with tenancy.unscoped("twin tables"):
        with connection.schema_editor() as editor:
            for model in (Holder, PlainMember, PlainProject, PlainTask):
                editor.create_model(model)
        with connection.cursor() as cursor:
            for source, target in (
                (Organization, Holder),
                (Membership, PlainMember),
                (Project, PlainProject),
                (Task, PlainTask),
            ):
                columns = ", ".join(str(field.column) for field in target._meta.fields)
                cursor.execute(
                    f"INSERT INTO {target._meta.db_table} ({columns})"
                    f" SELECT {columns} FROM {source._meta.db_table}"
                )
                if connection.vendor == "postgresql":
                    cursor.execute(
                        f"SELECT setval(pg_get_serial_sequence(%s, 'id'), {2**40})"
                        if target in (PlainProject, PlainTask)
                        else "SELECT %s",
                        [target._meta.db_table],
                    )
                if connection.vendor == "mysql":
                    cursor.execute(f"ANALYZE TABLE {target._meta.db_table}")
                    cursor.fetchall()
            if connection.vendor != "mysql":
                cursor.execute("ANALYZE")


def make_ways(organization: Any) -> list[Way]:
    """Return the four ways, for one organization."""
    import tenancy
    from project.tracker.models import Project, Task
    from tests.benchmarks.models import PlainProject, PlainTask

    key = organization.pk
    with tenancy.scope(organization):
        project = Project.objects.get()
        task = Task.objects.order_by("pk")[5].pk
    plain_project = PlainProject.objects.get(pk=project.pk)

    def in_scope() -> Any:
        return tenancy.scope(organization)

    def in_unscoped() -> Any:
        return tenancy.unscoped("a benchmark")

    own = {"organization_id": key}
    return [
        Way("scoped", in_scope, Task.objects.all, Task, project, task, {}),
        Way(
            "plain",
            in_scope,
            PlainTask.objects.all,
            PlainTask,
            plain_project,
            task,
            own,
        ),
        Way(
            "by hand",
            in_scope,
            lambda: PlainTask.objects.filter(organization=key),
            PlainTask,
            plain_project,
            task,
            own,
        ),
        Way(
            "unscoped",
            in_unscoped,
            lambda: Task.objects.filter(organization=key),
            Task,
            project,
            task,
            own,
        ),
    ]


def measure(
    action: Callable[[Way], None], ways: list[Way], rounds: int
) -> dict[str, list[float]]:
    """Return the time of each way in microseconds, one for each round."""
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    gc.collect()
    gc.disable()
    try:
        for number in range(WARM_UP + rounds):
            turn = number % len(ways)
            for way in ways[turn:] + ways[:turn]:
                spent = time_once(action, way)
                if number >= WARM_UP:
                    times[way.name].append(spent)
            gc.collect(0)
    finally:
        gc.enable()
    return times


def time_once(action: Callable[[Way], None], way: Way) -> float:
    """Return how long a way takes, in microseconds."""
    from django.db import transaction

    # What is written is taken back, so that the tables stay as they are.
    with way.enter(), transaction.atomic():
        action(way)
        spent = []
        for _ in range(REPEATS):
            started = time.perf_counter_ns()
            action(way)
            spent.append(time.perf_counter_ns() - started)
        transaction.set_rollback(True)
    return min(spent) / 1000


def write_ratio(times: list[float], others: list[float]) -> str:
    """Return the median of the ratios, and their first and third quartile."""
    ratios = [one / other for one, other in zip(times, others, strict=True)]
    first, middle, third = quantiles(ratios, n=4)
    return f"{middle:.2f} ({first:.2f}-{third:.2f})"


def run_here(rows: int, rounds: int) -> None:
    """Run the benchmark on the configured database, and print its table."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    import logging

    from django.db import connection

    from tests.isolation import skew

    logging.getLogger("tenancy").setLevel(logging.ERROR)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        great, small, *_ = skew.make_organizations()
        skew.fill(rows)
        make_twins()
        version = ".".join(map(str, connection.get_database_version()))
        print(
            f"\n{connection.display_name} {version}, Django {django.get_version()}, "
            f"Python {sys.version.split()[0]}: {rows} tasks of "
            f"{skew.ORGANIZATIONS} organizations, medians in microseconds, and of the "
            f"ratios, in so many rounds of {REPEATS}\n"
        )
        names = ("scoped", "plain", "by hand", "unscoped")
        ratios = ("scoped/plain", "scoped/by hand", "scoped/unscoped")
        heads = ["action", "organization", "rounds", *names, *ratios]
        print("| " + " | ".join(heads) + " |")
        print("|---" * len(heads) + "|")
        for which, organization in (("greatest", great), ("small", small)):
            ways = make_ways(organization)
            for title, action, part in ACTIONS:
                count = max(20, int(rounds * part))
                spent = measure(action, ways, count)
                cells = [title, which, str(count)]
                cells += [f"{median(spent[name]):.0f}" for name in names]
                cells += [write_ratio(spent["scoped"], spent[one]) for one in names[1:]]
                print("| " + " | ".join(cells) + " |", flush=True)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], 0)


def main() -> int:
    """Run the benchmark on each database that is asked for, in its own process."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--database", choices=["sqlite", *SERVERS], action="append")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        run_here(options.rows, options.rounds)
        return 0
    codes = []
    for database in options.database or ["sqlite", "postgresql"]:
        environment = dict(os.environ)
        environment.pop("TENANCY_TEST_DATABASE_URL", None)
        if variable := SERVERS.get(database):
            url = os.environ.get(variable, "")
            if not url:
                print(f"{database}: NOT RUN, {variable} is not set.")
                codes.append(1)
                continue
            environment["TENANCY_TEST_DATABASE_URL"] = url
        command = [sys.executable, "-m", "tests.benchmarks", "--here"]
        command += [f"--rows={options.rows}", f"--rounds={options.rounds}"]
        codes.append(subprocess.run(command, env=environment, check=False).returncode)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
