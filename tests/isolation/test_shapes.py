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
from tests.isolation.shapes import GLOBAL_SHAPES, TENANT_SHAPES, Shape, plain

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
EACH_TENANT_SHAPE = pytest.mark.parametrize(
    "shape", TENANT_SHAPES.values(), ids=TENANT_SHAPES
)
EACH_GLOBAL_SHAPE = pytest.mark.parametrize(
    "shape", GLOBAL_SHAPES.values(), ids=GLOBAL_SHAPES
)
EACH_SHAPE = pytest.mark.parametrize(
    "shape",
    [*TENANT_SHAPES.values(), *GLOBAL_SHAPES.values()],
    ids=[*TENANT_SHAPES, *(f"global {name}" for name in GLOBAL_SHAPES)],
)
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


@EACH_SHAPE
@pytest.mark.usefixtures("open_database", "bob")
def test_shape_when_others_have_rows_is_same(
    shape: Shape, ours: Rows, make_theirs: MakeRows
) -> None:
    """A query's outcome does not depend on another organization's rows."""
    with tenancy.scope(ours.organization):
        before = plain(shape(scoped))
    make_theirs()

    with tenancy.scope(ours.organization):
        after = plain(shape(scoped))

    assert after == before
    assert "secret" not in repr(after)


@EACH_TENANT_SHAPE
@pytest.mark.usefixtures("open_database")
def test_shape_when_on_base_manager_is_same(
    shape: Shape, ours: Rows, make_theirs: MakeRows
) -> None:
    """The base manager, which Django uses by itself, holds the scope's rows."""
    with tenancy.scope(ours.organization):
        before = plain(shape(based))
    make_theirs()

    with tenancy.scope(ours.organization):
        assert plain(shape(based)) == before


@EACH_SHAPE
def test_shape_when_compiled_restricts_each_table(shape: Shape, in_acme: Rows) -> None:
    """Each occurrence of a tenant table is compared with the organization's key."""
    with CaptureQueriesContext(connection) as queries:
        plain(shape(scoped))

    for query in queries:
        assert find_unrestricted(query["sql"]) == []


@EACH_TENANT_SHAPE
@pytest.mark.usefixtures("bob")
def test_shape_when_bare_is_hidden_or_refused(
    shape: Shape, ours: Rows, make_theirs: MakeRows, hides_raw_reads: bool
) -> None:
    """The database keeps a queryset inside the scope that the ORM left open."""
    with tenancy.scope(ours.organization):
        before = plain(shape(scoped))
    make_theirs()

    with tenancy.scope(ours.organization):
        try:
            after = plain(shape(bare))
        except RawSQLRefused as refusal:
            assert not hides_raw_reads
            assert "the organization's predicate" in str(refusal)
        else:
            assert after == before


@EACH_SHAPE
def test_shape_when_no_scope_raises(shape: Shape, ours: Rows) -> None:
    """With no scope, whatever asks for a tenant row raises."""
    with pytest.raises(ScopeRequired, match=r"tenancy\.scope\(organization\)"):
        plain(shape(scoped))


@EACH_TENANT_SHAPE
def test_shape_when_bare_in_no_scope_raises(shape: Shape, ours: Rows) -> None:
    """With no scope, a bare queryset raises before the database hides the rows."""
    with pytest.raises(ScopeRequired, match=r"tenancy\.unscoped\(reason\)"):
        plain(shape(bare))


@EACH_SHAPE
def test_shape_when_unscoped_is_answered(
    shape: Shape, ours: Rows, theirs: Rows
) -> None:
    """Unscoped, every query is one that the database understands."""
    with tenancy.unscoped("tests: every organization"):
        plain(shape(scoped))


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
