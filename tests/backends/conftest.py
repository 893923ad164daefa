"""Rows of two organizations, and ways to reach them past the ORM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

import tenancy
from project.tracker.models import Project
from tenancy.models import Organization

Execute = Callable[..., Any]

# What is one database's own is no test of the others, and no skipped one either.
collect_ignore = sorted({"mysql", "postgresql", "sqlite"} - {connection.vendor})


@pytest.fixture
def projects(acme: Organization, globex: Organization) -> dict[str, Project]:
    """Three projects of acme and two of globex, by their names."""
    made = {}
    for organization, names in ((acme, "abc"), (globex, "yz")):
        with tenancy.scope(organization):
            for name in names:
                made[name] = Project.objects.create(name=name)
    return made


@pytest.fixture
def execute() -> Execute:
    """Execute by Django's cursor, and return the rows, or how many were changed."""

    def run(sql: str, params: Any = None) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            if cursor.description:
                return [tuple(row) for row in cursor.fetchall()]
            return cursor.rowcount

    return run
