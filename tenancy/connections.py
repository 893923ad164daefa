"""Attaches the guard to every connection, and gives honest raw SQL."""

from __future__ import annotations

import contextlib
import functools
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model

from tenancy import conf
from tenancy.backends.base import Backend, get_backend
from tenancy.backends.guard import Parameters, bare_name, guard_tables
from tenancy.backends.shadows import Shadowing
from tenancy.backends.statements import Columns
from tenancy.backends.tokens import names_in
from tenancy.context import LookUp, Scope, current_scope, look_up, require_scope
from tenancy.exceptions import CrossOrganization, ScopeRequired, UnsupportedDatabase
from tenancy.predicates import TENANT_KEY, protected_tables, tenant_field


def install() -> None:
    """Guard every connection, those that are open and those that will be."""
    guard_tables(_guarded_tables)
    connection_created.connect(_attach, dispatch_uid="tenancy.connections")
    for connection in connections.all():
        _go_unscoped(connection)
        _prepare(connection)
        if connection.connection is not None:
            attach(connection)


_QUOTES = frozenset("\"'`[]")
_guarded: tuple[object, Mapping[str, Columns]] = (None, {})


def _guarded_tables() -> Mapping[str, Columns]:
    """Return the protected tables as the guard knows them."""
    global _guarded
    tables = protected_tables()
    if _guarded[0] is not tables:
        found = {}
        for table, model in tables.items():
            field = tenant_field(model)
            assert field is not None
            keys = tuple(_column(one).lower() for one in model._meta.pk_fields)
            found[bare_name(table)] = (
                Columns(_column(field).lower(), *keys)
                if len(keys) == 1
                else Columns(_column(field).lower(), None, keys)
            )
        _guarded = (tables, found)
    return _guarded[1]


def attach(connection: BaseDatabaseWrapper) -> None:
    """Guard an open connection; again is nothing.

    Args:
        connection (BaseDatabaseWrapper): of any vendor. One on which isolation is
            not kept refuses the tenant tables, and nothing else.
    """
    _go_unscoped(connection)
    wrappers = connection.execute_wrappers
    wrappers[:] = [one for one in wrappers if not hasattr(one, "is_of_tenancy")]
    try:
        backend = get_backend(connection)
        backend.attach()
    except UnsupportedDatabase as error:
        _refuse_tenant_tables(connection, error)
    else:
        backend.enforcement.attach_editor()
        _let_flush_pass(connection)


def _prepare(connection: BaseDatabaseWrapper) -> None:
    """Let what is opened from now on be guarded, of a vendor that is known."""
    with contextlib.suppress(UnsupportedDatabase):
        get_backend(connection).prepare()


def _attach(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    attach(connection)


def _refuse_tenant_tables(
    connection: BaseDatabaseWrapper, error: UnsupportedDatabase
) -> None:
    def refuse(
        execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if names_in(str(sql), protected_tables().keys()):
            raise error
        return execute(sql, params, many, context)

    refuse.is_of_tenancy = True  # type: ignore[attr-defined]
    connection.execute_wrappers.append(refuse)


def _go_unscoped(connection: BaseDatabaseWrapper) -> None:
    """Let Django's own look at all rows pass, in or without a scope."""
    if hasattr(connection.check_constraints, "__wrapped__"):
        return
    creation, introspection = connection.creation, connection.introspection
    connection.check_constraints = _unscoped(  # type: ignore[method-assign]
        connection.check_constraints, LookUp.CONSTRAINT_CHECK
    )
    for name in (
        "serialize_db_to_string",
        "deserialize_db_from_string",
        "clone_test_db",
    ):
        copy = _unscoped(getattr(creation, name), LookUp.TEST_SERIALIZATION)
        setattr(creation, name, _outside_organizations(copy))
    describe = introspection.get_table_description

    @functools.wraps(describe)
    def run(cursor: Any, table_name: str) -> Any:
        # Django reads a row, and would leave it in the caller's cursor.
        with connection.cursor() as own:
            if set(table_name) & _QUOTES:
                # quote_name() leaves them, so that it could be more than a name.
                return describe(own, table_name)
            with look_up(LookUp.INTROSPECTION):
                return describe(own, table_name)

    introspection.get_table_description = run  # type: ignore[method-assign]


def _let_flush_pass(connection: BaseDatabaseWrapper) -> None:
    """Let flush empty the tables in its own order, whatever refers to what.

    Each statement is judged in the active scope: the command flush is unscoped.
    """
    execute = connection.ops.execute_sql_flush
    if hasattr(execute, "__wrapped__"):
        return

    @functools.wraps(execute)
    def run(sql_list: Any) -> None:
        backend = get_backend(connection)
        statements = list(sql_list)
        for sql in statements:
            # Before the first is run: MySQL's leaves the checks of keys off.
            backend.admit(sql, None)
        with transaction.atomic(using=connection.alias):
            backend.enforcement.defer_keys()
            execute(statements)

    # An instance's own attribute, so that any subclass of Django's is served.
    connection.ops.execute_sql_flush = run  # type: ignore[method-assign]


def _unscoped(function: Callable[..., Any], purpose: LookUp) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with look_up(purpose):
            return function(*args, **kwargs)

    return run


def _outside_organizations(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        scope = current_scope()
        if scope is not None and not scope.is_unscoped:
            raise CrossOrganization(
                f"'{function.__name__}' was called in {scope}: it copies every "
                "organization's rows. Leave the scope, or say "
                "tenancy.unscoped(reason)."
            )
        return function(*args, **kwargs)

    return run


def raw(sql: str, params: Parameters = None, *, using: str | None = None) -> list[Any]:
    """Return the rows of one SELECT, in which tenant tables hold the scope's rows.

    Each tenant table that the text names is shadowed by a common table expression of
    its name, which holds the active organization's rows::

        tenancy.raw("SELECT name, count(*) AS tasks FROM tracker_task GROUP BY 1")

    Args:
        sql (str): a SELECT, WITH ... SELECT or VALUES, with "%s" or "%(name)s" for
            parameters. Tenant tables are named without a schema.
        params (Sequence | Mapping | None): as for a cursor.
        using (str | None): the database's alias; None asks the routers.
    Returns:
        list[NamedTuple]: the rows; a column whose name is no identifier, or is there
            twice, is called by its position: "_1".
    Raises:
        ScopeRequired: no scope is active, or a user's, which reaches their
            memberships and organizations only.
        RawSQLRefused: the text is no single SELECT, or reaches past the shadows.
    """
    scope = require_scope("tenancy.raw()")
    connection = connections[using or router.db_for_read(_organization_model())]
    with connection.cursor() as cursor:
        backend = get_backend(connection)
        names = {bare_name(table) for table in protected_tables()}
        text, parameters = Shadowing(backend, scope, sql, params).write(
            names, functools.partial(_rows_of, backend, scope)
        )
        cursor.execute(text, parameters)
        row = _row_class(tuple(column[0] for column in cursor.description))
        return [row._make(values) for values in cursor.fetchall()]


async def araw(
    sql: str, params: Parameters = None, *, using: str | None = None
) -> list[Any]:
    """See raw()."""
    return await sync_to_async(raw)(sql, params, using=using)


@functools.lru_cache(maxsize=200)
def _row_class(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


def _organization_model() -> type[Model]:
    return apps.get_model(conf.organization_model())


def _rows_of(
    backend: Backend, scope: Scope, table: str, is_recursive: bool
) -> tuple[str, list[Any]]:
    """Return the SELECT of a table's rows in a scope, and its parameters."""
    model = next(
        model for name, model in protected_tables().items() if bare_name(name) == table
    )
    quote = backend.connection.ops.quote_name
    source = backend.write_source(model._meta.db_table, is_recursive)
    field = tenant_field(model)
    assert field is not None
    select = f"SELECT * FROM {source} WHERE "
    if scope.organization_id is not None:
        value = field.get_db_prep_value(scope.organization_id, backend.connection)
        return f"{select}{quote(_column(field))} = %s", [value]
    membership = apps.get_model("tenancy", "Membership")
    is_organization = getattr(model, TENANT_KEY) == "pk"
    if not is_organization and model is not membership:
        raise ScopeRequired(
            f"tenancy.raw() was used for '{table}' in {scope}, which reaches the "
            "user's own memberships and organizations only. Enter the organization's "
            "scope with tenancy.scope(organization)."
        )
    user, ended, organization = (
        quote(_column(membership._meta.get_field(name)))
        for name in ("user", "ended_at", "organization")
    )
    own = f"{user} = %s AND {ended} IS NULL"
    if is_organization:
        inner = backend.write_source(membership._meta.db_table, is_recursive)
        key = quote(_column(field))
        own = f"{key} IN (SELECT {organization} FROM {inner} WHERE {own})"
    return select + own, [backend.key_text(scope)]


def _column(field: Any) -> str:  # Any: get_field() may return a relation.
    column: str = field.column
    return column
