from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

import tenancy
from tenancy.exceptions import RawSQLRefused, ScopeRequired, TenancyError
from tenancy.models import Organization
from tenancy.predicates import protected_tables, tenant_field
from tests.isolation.conftest import Rows
from tests.isolation.shapes import GLOBAL_SHAPES, TENANT_SHAPES, Shape, Source, plain

KEYWORDS = (
    *("ON", "INNER", "LEFT", "WHERE", "ORDER", "GROUP", "LIMIT", "UNION", "FOR"),
    # Of a hint.
    "FORCE",
)
NO_KEYWORD = "".join(rf"(?!{word}\b)" for word in KEYWORDS)
SOURCE = re.compile(
    r"""(?:FROM|JOIN)\s+\(?["`](?P<table>\w+)["`]"""
    rf"""(?:\s+["`]?{NO_KEYWORD}(?P<alias>\w+))?"""
)
ALL_SHAPES = {
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


def run(shapes: Mapping[str, Shape], source: Source) -> dict[str, Any]:
    """Return what came of each shape: its rows, or how it was refused.

    One test runs them all, since the rows take far longer to make than to read.
    """
    outcomes: dict[str, Any] = {}  # Any: whatever the query returns.
    for name, shape in shapes.items():
        try:
            with transaction.atomic():
                outcomes[name] = plain(shape(source))
        except TenancyError as refusal:
            outcomes[name] = refusal
    return outcomes


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the outcomes of one run that the other has not."""
    assert one.keys() == other.keys()
    return {name: one[name] for name in one if one[name] != other[name]}


def refusals(outcomes: dict[str, Any]) -> dict[str, TenancyError]:
    """Return the outcomes that are refusals."""
    return {
        name: outcome
        for name, outcome in outcomes.items()
        if isinstance(outcome, TenancyError)
    }


@pytest.mark.usefixtures("open_database", "bob")
def test_shapes_when_others_have_rows_are_same(
    ours: Rows, make_theirs: MakeRows
) -> None:
    """A query's outcome does not depend on another organization's rows."""
    with tenancy.scope(ours.organization):
        before = run(ALL_SHAPES, scoped)
    make_theirs()

    with tenancy.scope(ours.organization):
        after = run(ALL_SHAPES, scoped)

    assert differences(after, before) == {}
    assert refusals(after) == {}
    assert "secret" not in repr(after)


@pytest.mark.usefixtures("open_database")
def test_shapes_when_on_base_manager_are_same(
    ours: Rows, make_theirs: MakeRows
) -> None:
    """The base manager, which Django uses by itself, holds the scope's rows."""
    with tenancy.scope(ours.organization):
        before = run(TENANT_SHAPES, based)
    make_theirs()

    with tenancy.scope(ours.organization):
        after = run(TENANT_SHAPES, based)

    assert differences(after, before) == {}
    assert refusals(after) == {}


def test_shapes_when_compiled_restrict_each_table(in_acme: Rows) -> None:
    """Each occurrence of a tenant table is compared with the organization's key."""
    unrestricted = {}
    for name, shape in ALL_SHAPES.items():
        with CaptureQueriesContext(connection) as queries:
            plain(shape(scoped))
        assert len(queries) > 0, name
        found = [one for query in queries for one in find_unrestricted(query["sql"])]
        unrestricted.update({name: found} if found else {})

    assert unrestricted == {}


@pytest.mark.usefixtures("bob")
def test_shapes_when_bare_are_hidden_or_refused(
    ours: Rows, make_theirs: MakeRows, hides_raw_reads: bool
) -> None:
    """The database keeps a queryset inside the scope that the ORM left open."""
    with tenancy.scope(ours.organization):
        before = run(TENANT_SHAPES, scoped)
    make_theirs()

    with tenancy.scope(ours.organization):
        after = run(TENANT_SHAPES, bare)

    refused = refusals(after)
    assert not (hides_raw_reads and refused)
    for name, refusal in refused.items():
        assert isinstance(refusal, RawSQLRefused), name
        assert "the organization's predicate" in str(refusal), name
    assert differences(after, before).keys() == refused.keys()


@pytest.mark.usefixtures("ours")
def test_shapes_when_no_scope_raise() -> None:
    """With no scope, whatever asks for a tenant row raises."""
    outcomes = run(ALL_SHAPES, scoped)

    assert refusals(outcomes).keys() == outcomes.keys()
    for name, refusal in outcomes.items():
        assert isinstance(refusal, ScopeRequired), name
        assert "tenancy.scope(organization)" in str(refusal), name


@pytest.mark.usefixtures("ours")
def test_shapes_when_bare_in_no_scope_raise() -> None:
    """With no scope, a bare queryset raises before the database hides the rows."""
    outcomes = run(TENANT_SHAPES, bare)

    assert refusals(outcomes).keys() == outcomes.keys()
    for name, refusal in outcomes.items():
        assert isinstance(refusal, ScopeRequired), name
        assert "tenancy.unscoped(reason)" in str(refusal), name


@pytest.mark.usefixtures("ours", "theirs")
def test_shapes_when_unscoped_are_answered() -> None:
    """Unscoped, every query is one that the database understands."""
    with tenancy.unscoped("tests: every organization"):
        assert refusals(run(ALL_SHAPES, scoped)) == {}


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
