from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

import tenancy
from tenancy.exceptions import RawSQLRefused, ScopeRequired
from tenancy.models import Organization
from tenancy.predicates import protected_tables, tenant_field
from tests.isolation.conftest import Rows
from tests.isolation.shapes import (
    GLOBAL_SHAPES,
    TENANT_SHAPES,
    Shape,
    Source,
    plain,
)

KEYWORDS = (
    *("ON", "INNER", "LEFT", "WHERE", "ORDER", "GROUP", "LIMIT", "UNION", "FOR"),
    # Of a hint.
    "IGNORE",
)
NO_KEYWORD = "".join(rf"(?!{word}\b)" for word in KEYWORDS)
SOURCE = re.compile(
    r"""(?:FROM|JOIN)\s+\(?["`](?P<table>\w+)["`]"""
    rf"""(?:\s+["`]?{NO_KEYWORD}(?P<alias>\w+))?"""
)
SHAPES: dict[str, Shape] = {
    **TENANT_SHAPES,
    **{f"global {name}": shape for name, shape in GLOBAL_SHAPES.items()},
}
MakeRows = Callable[[], Rows]


def scoped(model: Any) -> QuerySet[Any, Any]:
    """Return the queryset of the model's manager."""
    queryset: QuerySet[Any, Any] = model.objects.all()
    return queryset


def based(model: Any) -> QuerySet[Any, Any]:
    """Return the queryset of the model's base manager."""
    queryset: QuerySet[Any, Any] = model._base_manager.all()
    return queryset


def bare(model: Any) -> QuerySet[Any, Any]:
    """Return a queryset that has no predicate of the ORM's."""
    return QuerySet(model).order_by("pk")


# A dataset is filled once a test, and every shape is asked of it: filling it anew for
# each took longer than all the queries.


def ask(shapes: dict[str, Shape], source: Source) -> dict[str, Any]:
    """Return the outcome of each shape, by its name."""
    return {name: plain(shape(source)) for name, shape in shapes.items()}


def find_different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the shapes whose outcomes differ, or tell of what nobody may know."""
    return [
        name
        for name, outcome in after.items()
        if outcome != before[name] or "secret" in repr(outcome)
    ]


@pytest.mark.usefixtures("open_database")
def test_shapes_when_others_have_rows_are_same(
    ours: Rows, make_theirs: MakeRows
) -> None:
    """A query's outcome does not depend on another organization's rows."""
    with tenancy.scope(ours.organization):
        before = ask(SHAPES, scoped)
    make_theirs()

    with tenancy.scope(ours.organization):
        after = ask(SHAPES, scoped)

    assert find_different(before, after) == []


@pytest.mark.usefixtures("open_database")
def test_shapes_when_on_base_manager_are_same(
    ours: Rows, make_theirs: MakeRows
) -> None:
    """The base manager, which Django uses by itself, holds the scope's rows."""
    with tenancy.scope(ours.organization):
        before = ask(TENANT_SHAPES, based)
    make_theirs()

    with tenancy.scope(ours.organization):
        assert find_different(before, ask(TENANT_SHAPES, based)) == []


def test_shapes_when_compiled_restrict_each_table(in_acme: Rows) -> None:
    """Each occurrence of a tenant table is compared with the organization's key."""
    faults = []
    for name, shape in SHAPES.items():
        with CaptureQueriesContext(connection) as queries:
            plain(shape(scoped))
        for query in queries:
            faults += [(name, found) for found in find_unrestricted(query["sql"])]

    assert faults == []


def test_shapes_when_bare_are_hidden_or_refused(
    ours: Rows, make_theirs: MakeRows, hides_raw_reads: bool
) -> None:
    """The database keeps a queryset inside the scope that the ORM left open."""
    with tenancy.scope(ours.organization):
        before = ask(TENANT_SHAPES, scoped)
    make_theirs()

    answered, refused = {}, []
    with tenancy.scope(ours.organization):
        for name, shape in TENANT_SHAPES.items():
            try:
                answered[name] = plain(shape(bare))
            except RawSQLRefused as refusal:
                assert "the organization's predicate" in str(refusal)
                refused.append(name)

    assert find_different(before, answered) == []
    assert (refused == []) is hides_raw_reads


def test_shapes_when_no_scope_raise(ours: Rows) -> None:
    """With no scope, whatever asks for a tenant row raises."""
    for name, shape in SHAPES.items():
        with pytest.raises(ScopeRequired, match=r"tenancy\.scope\(organization\)"):
            pytest.fail(f"{name}: {plain(shape(scoped))}")


def test_shapes_when_bare_in_no_scope_raise(ours: Rows) -> None:
    """With no scope, a bare queryset raises before the database hides the rows."""
    for name, shape in TENANT_SHAPES.items():
        with pytest.raises(ScopeRequired, match=r"tenancy\.unscoped\(reason\)"):
            pytest.fail(f"{name}: {plain(shape(bare))}")


def test_shapes_when_unscoped_are_answered(ours: Rows, theirs: Rows) -> None:
    """Unscoped, every query is one that the database understands."""
    with tenancy.unscoped("tests: every organization"):
        answered = ask(SHAPES, scoped)

    assert answered.keys() == SHAPES.keys()


def find_unrestricted(sql: str) -> list[str]:
    """Return the occurrences of tenant tables that no predicate holds."""
    tables = protected_tables()
    quote = connection.ops.quote_name
    found = []
    for match in SOURCE.finditer(sql):
        model = tables.get(match["table"].lower())
        if model is None:
            continue
        field = tenant_field(model)
        assert field is not None and field.column is not None
        alias: str = match["alias"] or quote(match["table"])
        column = re.escape(f".{quote(field.column)} = ")
        if not re.search(rf"(?:{re.escape(alias)}|{quote(alias)}){column}", sql):
            found.append(match[0])
    return found


def test_find_unrestricted_when_bare_finds_it() -> None:
    """The proof itself sees a table that nothing restricts."""
    with tenancy.unscoped("tests: a statement without the predicate"):
        sql = str(bare(Organization).query)

    assert len(find_unrestricted(sql)) == 1
