"""The predicate that keeps a query inside the scope, bound when SQL is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.core.exceptions import FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Field, Model
from django.db.models.expressions import Col, Expression
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import AND, WhereNode

from tenancy.backends.marks import Mark
from tenancy.context import Scope, require_scope
from tenancy.exceptions import CrossOrganization, ScopeRequired

TENANT_KEY = "tenant_key"
"""The class attribute that names a protected model's organization column's field."""


def tenant_field(model: type[Model]) -> Field[Any, Any] | None:
    """Return the field that holds a row's organization, or None.

    Returns:
        Field | None: the primary key of the organization model; the field
            ``organization`` of a tenant model; None of a global model, and of the
            historical models of migrations.
    """
    # Its own, and not what it inherits: asked several times for each row.
    field: Field[Any, Any] | None = model.__dict__.get("_tenant_field")
    if field is not None:
        return field
    name = getattr(model, TENANT_KEY, None)
    if name is None or model._meta.abstract:
        return None
    # A model that inherits from a tenant model by multi-table inheritance is refused
    # by a check; its field is the parent's.
    found: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    field = found  # No reverse relation has the name.
    if apps.models_ready:
        model._tenant_field = field  # type: ignore[attr-defined]  # a cache of ours
    return field


def is_same_key(field: Field[Any, Any], one: Any, other: Any) -> bool:
    """Return whether two keys are one organization's.

    Args:
        field (Field): what tenant_field() returned, by which a text is read as a key.
        one (Any): a key, a text of one, an expression or None.
        other (Any): likewise. An expression is no key that anybody knows.
    """
    if one == other:
        return True
    for key in (one, other):
        if key is None or hasattr(key, "resolve_expression"):
            return False
    target: Any = getattr(field, "target_field", field)
    return bool(target.to_python(one) == target.to_python(other))


_protected: tuple[object, Mapping[str, type[Model]]] = (None, {})


def protected_tables() -> Mapping[str, type[Model]]:
    """Return the models whose tables hold tenant rows, by lower-case table name."""
    global _protected
    # get_models() returns one cached list until a model is registered.
    registered = apps.get_models(include_auto_created=True)
    if _protected[0] is not registered:
        tables = {
            model._meta.db_table.lower(): model
            for model in registered
            if not model._meta.proxy and tenant_field(model) is not None
        }
        _protected = (registered, tables)
    return _protected[1]


class InScope(Expression):
    """True of the rows of the active scope.

    It reads the scope when SQL is made, not when the query is. A query that was made
    in a scope remembers it, and does not run in another.

    Args:
        column (Col): the column that holds the organization.
        made_in (Scope | None): the scope in which the query was made; None of a query
            that was made in none, and takes the scope in which it runs.
        in_join (bool): whether it stands in an ON clause.
    """

    conditional = True
    filterable = True
    # Known without the walk through source expressions that Expression makes.
    contains_aggregate = False
    contains_over_clause = False
    contains_subquery = False
    contains_column_references = True
    empty_result_set_value = None

    def __init__(
        self, column: Col, *, made_in: Scope | None = None, in_join: bool = False
    ) -> None:
        self.column = column
        self.made_in = made_in
        self.in_join = in_join

    # Expression.__init__ only stores output_field, which is fixed here.
    output_field = BooleanField()

    def bind(self, scope: Scope) -> InScope:
        """Return the same predicate, of a query that was made in ``scope``."""
        # Each queryset makes one: object.__new__ skips the record of constructor
        # arguments that Expression keeps for migrations, which costs as much again.
        bound = object.__new__(InScope)
        bound.column = self.column
        bound.made_in = scope
        bound.in_join = False
        return bound

    def __repr__(self) -> str:
        return f"InScope({self.column!r})"

    def get_source_expressions(self) -> list[Any]:
        return [self.column]

    def set_source_expressions(self, exprs: Any) -> None:
        (self.column,) = exprs

    @property
    def identity(self) -> Any:
        return (InScope, self.column, self.made_in, self.in_join)

    def as_sql(  # type: ignore[override]  # any value may be a parameter
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, list[Any]]:
        """Return the condition that the active scope makes of the column.

        Raises:
            ScopeRequired: no scope is active.
            CrossOrganization: the query was made in another scope.
            FullResultSet: unscoped, where Django expects it.
        """
        field = self.column.target
        scope = require_scope(field.model.__name__)
        made_in = self.made_in
        if made_in is not None and not made_in.reaches_same_rows(scope):
            raise CrossOrganization(
                f"A query of {field.model.__name__} that was made in {made_in} was run "
                f"in {scope}. Build the query in the scope that runs it."
            )
        if scope.unscoped_reason is not None:
            # In an ON clause Django does not expect FullResultSet.
            if self.in_join:
                return "1 = 1", []
            raise FullResultSet
        is_marked = self.in_join or _is_required(self, compiler.query)
        # Col has no rendering of its own for any vendor, so compile() finds none.
        sql, _ = self.column.as_sql(compiler, connection)
        if scope.organization_id is None:
            return _own_rows(scope, field, sql, compiler, connection, is_marked)
        return f"{sql} = %s", [_parameter(scope, field, connection, is_marked)]


def _parameter(
    scope: Scope,
    field: Field[Any, Any],
    connection: BaseDatabaseWrapper,
    is_marked: bool,
) -> Any:
    """Return the organization's key as the column is compared with it."""
    # By the class, whose hash is its address: a field's own is computed in Python.
    key = (field.model, connection.alias, is_marked)
    parameter = scope.parameters.get(key)
    if parameter is None:
        parameter = field.get_db_prep_value(scope.organization_id, connection)
        if is_marked:
            parameter = Mark(
                str(parameter),
                tables=(field.model._meta.db_table,),
                column=str(field.column),
            )
        scope.parameters[key] = parameter
    return parameter


def _own_rows(
    scope: Scope,
    field: Field[Any, Any],
    sql: str,
    compiler: SQLCompiler,
    connection: BaseDatabaseWrapper,
    is_marked: bool,
) -> tuple[str, list[Any]]:
    """Return the predicate of a user's live memberships or their organizations."""
    model = field.model
    membership = apps.get_model("tenancy", "Membership")
    is_organization = getattr(model, TENANT_KEY) == "pk"
    if not is_organization and model is not membership:
        raise ScopeRequired(
            f"{model.__name__} was used in {scope}, which reaches the user's own "
            "memberships and organizations only. Enter the organization's scope with "
            "tenancy.scope(organization)."
        )
    # Django 6.1 renamed it; its stubs take no column, which may be None there.
    quote: Callable[[Any], str] = (
        getattr(compiler, "quote_name", None) or compiler.quote_name_unless_alias
    )
    user = membership._meta.get_field("user")
    ended = membership._meta.get_field("ended_at")
    table = membership._meta.db_table
    tables = (table, model._meta.db_table) if is_organization else (table,)
    value = user.get_db_prep_value(scope.user_id, connection)
    parameter = (
        Mark(str(value), tables=tables, column=user.column) if is_marked else value
    )
    if not is_organization:
        # "alias"."organization_id" gives the alias of the row's own table.
        alias = sql.rpartition(".")[0]
        return (
            f"({alias}.{quote(user.column)} = %s"
            f" AND {alias}.{quote(ended.column)} IS NULL)"
        ), [parameter]
    organization = membership._meta.get_field("organization")
    return (
        f"{sql} IN (SELECT own.{quote(organization.column)}"
        f" FROM {quote(table)} own"
        f" WHERE (own.{quote(user.column)} = %s"
        f" AND own.{quote(ended.column)} IS NULL))"
    ), [parameter]


def _is_required(predicate: object, query: Query) -> bool:
    """Return whether no row passes the query's WHERE without the predicate.

    That is so where the way from the root leads through AND, un-negated, only.
    """
    root = query.where
    if root.connector == AND and not root.negated and root.children[0] is predicate:
        return True
    pending: list[Any] = [root]
    while pending:
        node = pending.pop()
        if node is predicate:
            return True
        if not isinstance(node, WhereNode) or node.negated:
            continue
        if node.connector == AND or len(node.children) == 1:
            pending.extend(node.children)
    return False
