from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from project.tracker import seed

MOST_ORGANIZATIONS = 10_000


class Command(BaseCommand):
    help = "Fill an empty database with organizations, people and tasks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add how much, and what to do when there is something already."""
        parser.add_argument(
            "--organizations", type=int, default=2, help="how many (default: 2)"
        )
        parser.add_argument(
            "--tasks",
            type=int,
            default=500,
            help="how many, over all organizations (default: 500)",
        )
        parser.add_argument(
            "--seed", type=int, default=1, help="the same seed gives the same data"
        )
        parser.add_argument(
            "--today",
            type=date.fromisoformat,
            default=seed.TODAY,
            help=f"the day on which the data end (default: {seed.TODAY})",
        )
        parser.add_argument(
            "--if-empty",
            action="store_true",
            help="do nothing, rather than fail, when the database holds data",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill the database and print who can sign in."""
        self._require_amounts(options["organizations"], options["tasks"])
        organizations, users = seed.count_rows()
        if organizations or users:
            found = f"{organizations} organizations and {users} users"
            if not options["if_empty"]:
                raise CommandError(
                    f"The database already holds {found}. Pass --if-empty to leave "
                    "them as they are, or empty it with 'manage.py flush'."
                )
            self.stdout.write(f"The database holds {found}: left as they are.")
        else:
            self._fill(options)
        self._print_sign_ins()

    def _require_amounts(self, organizations: int, tasks: int) -> None:
        if not 1 <= organizations <= MOST_ORGANIZATIONS:
            raise CommandError(
                f"--organizations is {organizations}. Give a number from 1 to "
                f"{MOST_ORGANIZATIONS}."
            )
        if tasks < 0:
            raise CommandError(f"--tasks is {tasks}. Give a number from 0.")

    def _fill(self, options: dict[str, Any]) -> None:
        organizations, tasks = options["organizations"], options["tasks"]
        with self._show_progress(tasks) as advance:
            seed.fill(
                organizations=organizations,
                tasks=tasks,
                seed=options["seed"],
                today=options["today"],
                advance=advance,
            )
        self.stdout.write(f"Made {organizations} organizations and {tasks} tasks.")

    @contextmanager
    def _show_progress(self, total: int) -> Iterator[Callable[[int], object]]:
        """Yield what is told each step: a bar, or lines where there is no terminal."""
        if not self.stdout.isatty():
            yield _Lines(total, self.stdout.write)
            return
        try:
            from tqdm import tqdm
        except ImportError:
            yield _Lines(total, self.stdout.write)
            return
        with tqdm(total=total, unit=" tasks", file=sys.stdout) as bar:
            yield bar.update

    def _print_sign_ins(self) -> None:
        people = seed.list_sign_ins()
        if not people:
            return
        self.stdout.write(f"\nSign in with the password '{seed.PASSWORD}':")
        for person in people:
            self.stdout.write(f"  {person.email:<20}  {person.about}")


class _Lines:
    """Progress in plain lines, one for each tenth at most."""

    def __init__(self, total: int, write: Callable[[str], object]) -> None:
        self.total = total
        self.write = write
        self.done = 0
        self.told = 0

    def __call__(self, count: int) -> None:
        self.done += count
        tenth = self.done * 10 // self.total
        if tenth > self.told:
            self.told = tenth
            self.write(f"{self.done} of {self.total} tasks")
