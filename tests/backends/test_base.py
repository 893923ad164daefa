from __future__ import annotations

import pytest

from tenancy.backends.base import Catalog

PROTECTED = {"duty", "sales task", 'a "quoted" task'}


@pytest.mark.parametrize(
    ("body", "is_hiding"),
    [
        ("SELECT * FROM duty", True),
        ("SELECT * FROM `x`.`duty`", True),
        ("SELECT * FROM duties", False),
        ('SELECT * FROM "Sales Task"', True),
        ("select `Sales Task`.`id` from `x`.`Sales Task`", True),
        ('SELECT * FROM "A ""quoted"" task"', True),
        ("SELECT * FROM [an odd view]", True),
        ("SELECT * FROM other", False),
        ("", True),
        (None, True),
    ],
)
def test_catalog_sees_tables_behind_names_of_any_kind(
    body: str | None, is_hiding: bool
) -> None:
    """A name hides a table whether or not either needs quotes."""
    definitions = {"seen": body, "an odd view": "SELECT * FROM duty", "other": "SELECT"}

    hiding = Catalog(definitions=definitions).find_hiding(["seen", "x"], PROTECTED)

    assert hiding == ({"seen"} if is_hiding else set())


def test_catalog_of_views_that_name_each_other_ends() -> None:
    """A circle of views hides nothing."""
    definitions: dict[str, str | None] = {"one": "SELECT * FROM two", "two": "one"}

    assert Catalog(definitions=definitions).find_hiding(["one"], PROTECTED) == set()
