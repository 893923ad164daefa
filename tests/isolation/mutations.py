"""Break each lock in turn, and see which tests notice.

    python -m tests.isolation.mutations [--only TEXT] [--no-walk] [--reasons]

The database is that of TENANCY_TEST_DATABASE_URL (a new SQLite file when unset): a
scratch database is made beside it, broken, mended and removed. Each line names what was
broken and what went red: the random walk (``walk``), the sweep over every model
(``sweep``), the comparison of the database with the models (``catalog``).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import django
from hypothesis import HealthCheck, Phase, settings


@dataclass(frozen=True)
class Mutation:
    """One thing that is broken: its name, and a block in which it is."""

    name: str
    broken: Callable[[], AbstractContextManager[Any]]


def list_mutations() -> Iterator[Mutation]:
    """Yield what can be broken on the open database."""
    from django.core.exceptions import FullResultSet

    from tenancy import fields
    from tenancy.backends import base
    from tenancy.predicates import InScope

    def render_nothing(self: Any, compiler: Any, connection: Any) -> Any:
        if self.in_join:
            return "1 = 1", []
        raise FullResultSet

    yield Mutation(
        "InScope renders nothing",
        lambda: mock.patch.object(InScope, "as_sql", render_nothing),
    )
    yield Mutation(
        "no restriction in ON clauses",
        lambda: mock.patch.object(fields, "_join_predicate", lambda *a, **k: None),
    )
    yield Mutation(
        "the guard lets everything pass in a scope",
        lambda: mock.patch.object(base, "refuse", lambda *a, **k: None),
    )
    yield Mutation(
        "the guard lets everything pass without a scope",
        lambda: mock.patch.object(base.Backend, "_require_scope", lambda *a, **k: None),
    )
    yield from list_trigger_mutations()
    yield from list_policy_mutations()
    yield from list_key_mutations()


def list_trigger_mutations() -> Iterator[Mutation]:
    """Yield each trigger of the package: TRUNCATE's on PostgreSQL, three elsewhere."""
    from django.db import connection

    from tenancy.backends.enforcement import get_enforcement
    from tests.isolation.sweeps import list_protected_models

    enforcement = get_enforcement(connection)
    for model in list_protected_models():
        table = model._meta.db_table
        if connection.vendor == "postgresql":
            drop = f'DROP TRIGGER tenancy_refuse_truncate ON "{table}"'
            names = {"tenancy_refuse_truncate": drop}
            found = {
                name
                for (name,) in enforcement.fetch(
                    "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s)"
                    " AND NOT tgisinternal",
                    [enforcement.quote(table)],
                )
            }
            names = {
                name: f"DROP TRIGGER {enforcement.quote(name)} ON "
                f"{enforcement.quote(table)}"
                for name in sorted(found)
            }
        else:
            names = {
                name: f"DROP TRIGGER {enforcement.quote(name)}"
                for name in sorted(enforcement.find_triggers(table))
            }
        for name, drop in names.items():
            event = name.rpartition("_")[2]
            yield Mutation(
                f"trigger of {event} dropped: {table}",
                lambda model=model, drop=drop: without([drop], model),  # type: ignore[misc]
            )


def list_policy_mutations() -> Iterator[Mutation]:
    """Yield each policy of PostgreSQL, dropped, opened and not forced."""
    from django.db import connection

    from tests.isolation.sweeps import list_protected_models

    if connection.vendor != "postgresql":
        return
    for model in list_protected_models():
        table = f'"{model._meta.db_table}"'
        name = next(
            constraint.name
            for constraint in model._meta.constraints
            if type(constraint).__name__ == "OrganizationPolicy"
        )
        for what, statement in (
            ("dropped", f'DROP POLICY "{name}" ON {table}'),
            ("USING (true)", f'ALTER POLICY "{name}" ON {table} USING (true)'),
            (
                "WITH CHECK (true)",
                f'ALTER POLICY "{name}" ON {table} WITH CHECK (true)',
            ),
            (
                "row security not forced",
                f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            ),
        ):
            yield Mutation(
                f"policy {what}: {model._meta.db_table}",
                lambda model=model, statement=statement: without([statement], model),  # type: ignore[misc]
            )


def list_key_mutations() -> Iterator[Mutation]:
    """Yield each composite foreign key, dropped."""
    from tests.isolation.sweeps import list_keys

    for model, key in list_keys():
        yield Mutation(
            f"composite key dropped: {model._meta.db_table}.{key.field}",
            lambda model=model, key=key: without_constraint(model, key),  # type: ignore[misc]
        )


@contextlib.contextmanager
def without(statements: list[str], model: Any) -> Iterator[None]:
    """Run statements that break a table, and mend it by its own constraints."""
    run(statements)
    try:
        yield
    finally:
        mend(model)


@contextlib.contextmanager
def without_constraint(model: Any, constraint: Any) -> Iterator[None]:
    """Remove a constraint as a migration does, and put it back."""
    change(model, constraint, "remove_constraint")
    try:
        yield
    finally:
        change(model, constraint, "add_constraint")


def run(statements: list[str]) -> None:
    """Run statements, unscoped."""
    from django.db import connection

    import tenancy

    with tenancy.unscoped("a mutation"), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def mend(model: Any) -> None:
    """Make a table's policy anew."""
    policy = next(
        constraint
        for constraint in model._meta.constraints
        if type(constraint).__name__ == "OrganizationPolicy"
    )
    change(model, policy, "add_constraint")


def change(model: Any, constraint: Any, method: str) -> None:
    """Add or remove a constraint as a migration does, on the model of its state."""
    from django.apps import apps
    from django.db import connection
    from django.db.migrations.state import ProjectState

    import tenancy

    state = ProjectState.from_apps(apps).apps
    model = state.get_model(model._meta.app_label, model._meta.model_name)
    own = next(one for one in model._meta.constraints if one.name == constraint.name)
    if method == "remove_constraint":
        # SQLite builds the table anew from the model's own list.
        model._meta.constraints = [one for one in model._meta.constraints if one != own]
    with tenancy.unscoped("a mutation"), connection.schema_editor() as editor:
        getattr(editor, method)(model, own)


# What is run


def sweep() -> None:
    """Run every directed check, on organizations of its own."""
    from django.db import transaction

    from tests.isolation.sweeps import sweep_all
    from tests.isolation.worlds import World

    with transaction.atomic():
        try:
            world = World()
            sweep_all(world.organizations["acme"], world.organizations["globex"])
        finally:
            transaction.set_rollback(True)


def compare_catalog() -> None:
    """Compare what the database holds with what the models promise."""
    from django.db import connection

    from tenancy.policies import find_faults

    faults = find_faults(connection)
    assert not faults, faults[0]


def walk(examples: int) -> None:
    """Walk randomly until something is red."""
    from hypothesis.stateful import run_state_machine_as_test

    from tests.isolation.test_stateful import Isolation
    from tests.isolation.worlds import World

    Isolation.world = World()
    run_state_machine_as_test(
        Isolation,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
            report_multiple_bugs=False,
        ),
    )


def notices(check: Callable[[], None]) -> tuple[bool, str]:
    """Return whether a check goes red, and why."""
    try:
        check()
    except Exception as raised:  # Whatever a broken lock brings about is red.
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = (str(error).splitlines() or [""])[0]
        return True, f"{type(error).__name__}: {text[:100]}"
    return False, ""


def clear() -> None:
    """Empty the scratch database."""
    from django.core.management import call_command

    call_command("flush", verbosity=0, interactive=False)


def main() -> int:
    """Break, test and mend each lock; return 1 when a mutation stays green."""
    parser = argparse.ArgumentParser(prog="tests.isolation.mutations")
    parser.add_argument("--only", action="append", help="a part of the names to try")
    parser.add_argument("--no-walk", action="store_true")
    parser.add_argument("--examples", type=int, default=15)
    parser.add_argument("--reasons", action="store_true", help="say why it went red")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.db import connection
    from django.test.utils import setup_test_environment

    setup_test_environment()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    connection.ensure_connection()
    try:
        return report(options)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], 0)


def report(options: argparse.Namespace) -> int:
    """Print a line for each mutation; return 1 when one stays green."""
    from django.db import connection

    checks: dict[str, Callable[[], None]] = {"catalog": compare_catalog, "sweep": sweep}
    if not options.no_walk:
        checks["walk"] = lambda: walk(options.examples)
    print(f"database: {connection.display_name}; unbroken first")
    green = 0
    mutations = [
        Mutation("nothing", contextlib.nullcontext),
        *(
            each
            for each in list_mutations()
            if any(part in each.name for part in options.only or [""])
        ),
    ]
    print("| " + " | ".join(["mutation", *checks, "seconds"]) + " |")
    print("|---" * (len(checks) + 2) + "|")
    for mutation in mutations:
        started = time.monotonic()
        outcomes: dict[str, tuple[bool, str]] = {}
        with mutation.broken():
            for name, check in checks.items():
                outcomes[name] = notices(check)
                clear()
        is_red = any(red for name, (red, _) in outcomes.items() if name != "catalog")
        is_wrong = is_red if mutation.name == "nothing" else not is_red
        green += is_wrong
        cells = ["red" if red else "green" for red, _ in outcomes.values()]
        seconds = f"{time.monotonic() - started:.0f}"
        print("| " + " | ".join([mutation.name, *cells, seconds]) + " |", flush=True)
        if options.reasons or (mutation.name == "nothing" and is_wrong):
            for name, (red, reason) in outcomes.items():
                if red:
                    print(f"    {name}: {reason}")
    print(
        f"{len(mutations) - 1} mutations, {green} not noticed by behaviour", flush=True
    )
    return int(bool(green))


if __name__ == "__main__":
    sys.exit(main())
