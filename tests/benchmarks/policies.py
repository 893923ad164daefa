"""Time forms of a PostgreSQL policy against a table that has none.

    python -m tests.benchmarks.policies [--rows 1000000] [--rounds 15]

Each form stands on twins of the demo's tables, filled with the same skewed rows. The
forms are timed in turn, round by round, and medians are printed, in milliseconds; a
star says that the plan differs from that without a policy. PostgreSQL is that of
TENANCY_TEST_POSTGRESQL_URL.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import django

LEAST, GREATEST = f"{0:032x}", "f" * 32
KEY = "NULLIF(current_setting('bench.{}', true), '')::uuid"
QUERIES = {
    "list": "SELECT * FROM task WHERE {own} ORDER BY priority DESC, id DESC LIMIT 50",
    "filter": "SELECT count(*) FROM task WHERE {own} AND status = 'todo'",
    "join": "SELECT count(*) FROM task JOIN project ON project.id = task.project_id"
    " WHERE {own} AND {other} AND task.status = 'todo'",
    "count": "SELECT count(*) FROM task WHERE {own}",
}


@dataclass(frozen=True)
class Form:
    """A form of a policy: its condition, and what is sent before a statement.

    Args:
        settings (Callable[[str | None], str]): SQL for an organization's key; None for
            every organization.
    """

    title: str
    slug: str
    condition: str
    settings: Callable[[str | None], str]


def make_forms() -> list[Form]:
    """Return no policy, the package's own, and others."""
    from tenancy.backends.postgresql import settings

    def send_own(key: str | None) -> str:
        every = settings.write_every(settings.UUID_MARKS)
        prefix = every if key is None else settings.write_organization(key)
        return prefix.text.decode()

    def send_range(key: str | None) -> str:
        low, high = (key, key) if key else (LEAST, GREATEST)
        return f"SET LOCAL bench.low = '{low}'; SET LOCAL bench.high = '{high}';"

    def send_flag(key: str | None) -> str:
        if key is None:
            return "SET LOCAL bench.flag = 'on';"
        return f"SET LOCAL bench.key = '{key}';"

    return [
        Form("no policy", "plain", "", lambda key: ""),
        Form(
            "= key OR (SELECT flag)",
            "flag",
            f"organization_id = {KEY.format('key')}"
            " OR (SELECT current_setting('bench.flag', true) = 'on')",
            send_flag,
        ),
        Form(
            "BETWEEN low AND high",
            "range",
            f"organization_id >= {KEY.format('low')}"
            f" AND organization_id <= {KEY.format('high')}",
            send_range,
        ),
        Form("the package's", "own", read_own_condition(), send_own),
    ]


def read_own_condition() -> str:
    """Return the condition that the migrations gave the demo's tasks."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy"
            " WHERE polrelid = 'tracker_task'::regclass"
        )
        ((condition,),) = cursor.fetchall()
    return str(condition)


def make_twins(forms: list[Form]) -> None:
    """Copy the tables once for each form, and give the copies its policy."""
    from django.db import connection

    import tenancy

    with tenancy.unscoped("twin tables"), connection.cursor() as cursor:
        for form in forms:
            for table in ("project", "task"):
                twin = f"{table}_{form.slug}"
                cursor.execute(
                    f"CREATE TABLE {twin} (LIKE tracker_{table} INCLUDING ALL)"
                )
                cursor.execute(f"INSERT INTO {twin} SELECT * FROM tracker_{table}")
                # Vacuumed now, and not at some moment of the comparison.
                cursor.execute(f"VACUUM ANALYZE {twin}")
                if form.condition:
                    cursor.execute(
                        f"CREATE POLICY one ON {twin} USING ({form.condition})"
                    )
                    cursor.execute(
                        f"ALTER TABLE {twin} ENABLE ROW LEVEL SECURITY,"
                        " FORCE ROW LEVEL SECURITY"
                    )


class Bench:
    """Sends statements past Django, each in one message with what its form sends.

    Args:
        driver (psycopg.Connection): the connection, in autocommit.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def send(self, text: str) -> Any:
        """Return the result of the last statement of a message."""
        result = self.driver.pgconn.exec_(text.encode())
        if result.error_message:
            raise RuntimeError(result.error_message.decode())
        return result

    def time(self, text: str) -> float:
        """Return how many milliseconds a message took."""
        started = time.perf_counter()
        self.send(text)
        return (time.perf_counter() - started) * 1000

    def plan(self, settings: str, query: str) -> Any:
        """Return the nodes of a plan, whatever its tables are called."""
        result = self.send(f"{settings} EXPLAIN (FORMAT JSON) {query}")
        return _shape(json.loads(result.get_value(0, 0))[0]["Plan"])


def _shape(plan: dict[str, Any]) -> Any:
    parts = [
        child
        for child in plan.get("Plans", ())
        if child.get("Parent Relationship") != "InitPlan"
    ]
    if plan["Node Type"] == "Result" and parts:
        return _shape(parts[0])
    scanned = plan.get("Index Name", "").partition("_")[0]
    return plan["Node Type"], scanned, [_shape(child) for child in parts]


def compare(
    bench: Bench, forms: list[Form], query: str, key: str | None, rounds: int, raw: bool
) -> list[str]:
    """Return a cell of the table for each form."""
    texts: dict[str, str] = {}
    plans: dict[str, Any] = {}
    for form in forms:
        own = other = "true"
        if key is not None and (not raw or not form.condition):
            own = f"task.organization_id = '{key}'"
            other = f"project.organization_id = '{key}'"
        text = query.format(own=own, other=other)
        for table in ("task", "project"):
            twin = f"{table}_{form.slug}"
            text = text.replace(f"FROM {table}", f"FROM {twin} AS {table}")
            text = text.replace(f"JOIN {table} ON", f"JOIN {twin} AS {table} ON")
        plans[form.slug] = bench.plan(form.settings(key), text)
        texts[form.slug] = f"{form.settings(key)} {text}"
    times: dict[str, list[float]] = {slug: [] for slug in texts}
    for number in range(rounds + 1):
        for slug, text in texts.items():
            spent = bench.time(text)
            if number:
                times[slug].append(spent)
    return [
        f"{median(spent):.2f}{'' if plans[slug] == plans['plain'] else '*'}"
        for slug, spent in times.items()
    ]


def run(rows: int, rounds: int) -> None:
    """Fill a test database, and print the table."""
    import logging

    from django.db import connection

    from tests.isolation import skew

    logging.getLogger("tenancy").setLevel(logging.ERROR)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        great, small, *_ = skew.make_organizations()
        skew.fill(rows)
        forms = make_forms()
        make_twins(forms)
        connection.ensure_connection()
        bench = Bench(connection.connection)
        version = ".".join(map(str, connection.get_database_version()))
        print(
            f"\nPostgreSQL {version}: {rows} tasks of {skew.ORGANIZATIONS} "
            f"organizations, {rounds} rounds, medians in milliseconds\n"
        )
        print("| query | scope | " + " | ".join(form.title for form in forms) + " |")
        print("|---" * (2 + len(forms)) + "|")
        scopes = [
            ("with predicate, greatest", str(great.pk), False),
            ("with predicate, small", str(small.pk), False),
            ("raw, greatest", str(great.pk), True),
            ("raw, small", str(small.pk), True),
            ("unscoped", None, True),
        ]
        for scope, key, raw in scopes:
            for name, query in QUERIES.items():
                cells = compare(bench, forms, query, key, rounds, raw)
                print(f"| {name} | {scope} | {' | '.join(cells)} |", flush=True)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], 0)


def main() -> int:
    """Run the benchmark on PostgreSQL."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.policies")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    url = os.environ.get("TENANCY_TEST_POSTGRESQL_URL")
    if not url:
        print("NOT RUN: TENANCY_TEST_POSTGRESQL_URL is not set.")
        return 1
    os.environ["TENANCY_TEST_DATABASE_URL"] = url
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    run(options.rows, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
