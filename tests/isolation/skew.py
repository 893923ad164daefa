"""Tasks of many organizations, the greatest of which has a fifth of all."""

from __future__ import annotations

from django.db import connection

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import Organization

ORGANIZATIONS = 100


def make_organizations() -> list[Organization]:
    """Make organizations with a project each; the first one is the greatest."""
    with tenancy.unscoped("many organizations at once"):
        organizations = Organization.objects.bulk_create(
            Organization(name=f"Organization {number}", slug=f"organization-{number}")
            for number in range(ORGANIZATIONS)
        )
        for organization in organizations:
            Project.objects.create(name="Project", organization=organization)
    return organizations


def fill(rows: int) -> None:
    """Insert the tasks by one statement, and have the database count them."""
    table = Task._meta.db_table
    second = "CURRENT_TIMESTAMP"
    with tenancy.unscoped("many rows at once"), connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN(id) FROM {Project._meta.db_table}")
        (first,) = cursor.fetchone()
        # g counts the rows; a fifth are the first project's, the rest are spread.
        cursor.execute(
            f"INSERT INTO {table} (organization_id, project_id, title, description,"
            " status, priority, created_at, updated_at)"
            " WITH RECURSIVE digits (d) AS ("
            "SELECT 0 UNION ALL SELECT d + 1 FROM digits WHERE d < 9"
            "), numbers (g) AS ("
            "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d"
            " + 100000 * h.d"
            " FROM digits a, digits b, digits c, digits e, digits f, digits h"
            ") SELECT p.organization_id, p.id, 'Task', '',"
            " CASE g / 11 % 10 WHEN 0 THEN 'doing' WHEN 1 THEN 'todo' ELSE 'done' END,"
            f" 1 + g % 4, {second}, {second}"
            f" FROM numbers JOIN {Project._meta.db_table} p"
            f" ON p.id = {int(first)} + CASE WHEN g % 5 = 2 THEN 0"
            f" ELSE 1 + (g / 7) % {ORGANIZATIONS - 1} END"
            f" WHERE g < {int(rows)}".replace("g / 7", _floor("g", 7))
            .replace("g / 11", _floor("g", 11))
            .replace("%", "%%"),
            [],
        )
        analyze = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
        for name in (table, Project._meta.db_table):
            cursor.execute(f"{analyze} {name}")


def _floor(name: str, divisor: int) -> str:
    """Return a division of integers, which MySQL's slash is not."""
    return (
        f"FLOOR({name} / {divisor})"
        if connection.vendor == "mysql"
        else (f"{name} / {divisor}")
    )
