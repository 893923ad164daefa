"""Querysets that stay inside the scope."""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any, NoReturn, TypeGuard, TypeVar, cast

from django.db.models import Field, Model, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.query import EmptyQuerySet, RawQuerySet
from django.db.models.sql import DeleteQuery, Query, UpdateQuery
from django.db.models.sql.compiler import SQLDeleteCompiler
from django.db.models.sql.where import AND, WhereNode

from tenancy.context import Scope, current_scope, require_scope
from tenancy.exceptions import CrossOrganization, ImmutableRow
from tenancy.predicates import (
    InScope,
    is_same_key,
    protected_tables,
    tenant_field,
)
from tenancy.rows import ScopedCache

M = TypeVar("M", bound=Model, covariant=True)

_is_loading: ContextVar[bool] = ContextVar("tenancy_is_loading", default=False)

IMPORT_DEPTH = 8
"""How many callers are asked whether they are a module's body.

A manager's own get_queryset(), and what it calls, stand between the two.
"""


def scoped_query(model: type[Model], made_in: Scope | None) -> Query:
    """Return a new query of the model's rows in a scope.

    Args:
        model (type[Model]): a tenant model.
        made_in (Scope | None): the scope in which it is made; None of one that takes
            the scope in which it runs.

    Its first table takes its alias, the table's name, when Django first asks for it,
    as in the query that a bare manager makes; giving it here costs a clone's time.
    """
    template: InScope | None = model.__dict__.get("_scope_predicate")
    if template is None:
        field = _require_tenant_field(model)
        template = InScope(field.get_col(model._meta.db_table))
        model._scope_predicate = template  # type: ignore[attr-defined]  # a cache of ours
    query = ScopedQuery(model)
    if made_in is not None:
        template = template.bind(made_in)
    # Not through add_q(), which would render the predicate as "... = True".
    query.where.children.append(template)  # type: ignore[arg-type]  # django-stubs knows no expressions there
    return query


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether the call stands in the body of a module that is being imported.

    Django imports views at the first request, and functions import what they need:
    a class attribute that happens to be made in a scope is meant for every scope.
    """
    for _ in range(IMPORT_DEPTH):
        if frame is None:
            return False
        if not frame.f_code.co_flags & CO_OPTIMIZED:
            # A class's or a module's body; a script's, and a shell's, has no spec.
            spec = frame.f_globals.get("__spec__")
            return getattr(spec, "_initializing", False) is True
        frame = frame.f_back
    return False


class ScopedQuery(Query):
    """A query whose subqueries of its own model stay inside the scope as well."""

    def chain(self, klass: type[Query] | None = None) -> Any:
        """Return a clone, of the class that keeps the predicate where one exists."""
        return super().chain(ScopedUpdateQuery if klass is UpdateQuery else klass)

    def get_compiler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the database's compiler, which knows the scope's key again."""
        compiler = super().get_compiler(*args, **kwargs)
        kind = type(compiler)
        knowing = _knowing.get(kind)
        if knowing is None:
            knowing = type(kind.__name__, (KnowingCompiler, kind), {})
            _knowing[kind] = knowing
        compiler.__class__ = knowing
        return compiler


_knowing: dict[type[Any], type[Any]] = {}  # By the class that the database has.


class KnowingCompiler:
    """Mixed into a database's compiler: makes the scope's key once, not for each row.

    Where a key is a UUID and the database has none, making it is a good part of what
    a row costs; and in the scope of an organization all rows hold the same.
    """

    def get_converters(self, expressions: Iterable[Any]) -> Any:
        """Return what makes Python's values; see SQLCompiler.get_converters()."""
        # The database's compiler, which follows in the method resolution order, has it.
        found = super().get_converters(expressions)  # type: ignore[misc]
        scope = current_scope()
        if scope is None or scope.organization_id is None:
            return found
        for position, (converters, expression) in found.items():
            target = getattr(expression, "target", None)
            if target is not None and target is tenant_field(target.model):
                alias: str = self.connection.alias  # type: ignore[attr-defined]  # as above
                known = KnownKey(scope, alias, converters)
                found[position] = ([known], expression)
        return found


class KnownKey:
    """Makes the keys of a column in which nearly all rows hold the scope's own.

    Args:
        scope (Scope): an organization's. It keeps what stands for its key.
        alias (str): the database's.
        converters (list[Callable]): what makes a key of the driver's value.
    """

    __slots__ = ("converters", "key", "place", "scope", "value")

    def __init__(self, scope: Scope, alias: str, converters: list[Any]) -> None:
        self.scope = scope
        self.place = (KnownKey, alias)
        self.converters = converters
        self.key = scope.organization_id
        # That of which the key is made. Until one was read: itself, which none is.
        self.value: Any = scope.parameters.get(self.place, self)

    def __call__(self, value: Any, expression: Any, connection: Any) -> Any:
        if value == self.value:
            return self.key
        key = value
        for convert in self.converters:
            key = convert(key, expression, connection)
        if key == self.key:
            self.value = self.scope.parameters[self.place] = value
            return self.key
        return key


def restrict_trimmed_queries() -> None:
    """Keep every exclude() over a relation in the scope, a global model's too.

    The subquery that it makes loses its leading joins. Where a LEFT JOIN follows, the
    table before it becomes the first, which has no ON clause that could restrict it;
    otherwise Django keeps the next join's restriction.
    """
    trim = Query.trim_start
    if hasattr(trim, "__wrapped__"):
        return

    @functools.wraps(trim)
    def trim_start(self: Query, names_with_path: Any) -> Any:
        trimmed = trim(self, names_with_path)
        alias = next(a for a in self.alias_map if self.alias_refcount[a])
        model = protected_tables().get(self.alias_map[alias].table_name.lower())
        if model is not None and not _is_restricted(self.where, alias):
            self.where.add(InScope(_require_tenant_field(model).get_col(alias)), AND)
        return trimmed

    # Django's own class: a global model's manager is the project's.
    Query.trim_start = trim_start  # type: ignore[method-assign]


class ScopedUpdateQuery(UpdateQuery):
    """An update that keeps its predicate where Django selects the keys first."""

    def clear_where(self) -> None:
        """Clear the WHERE, which update() over a join does, but for the predicate."""
        predicate: Any = _find_predicate(self)  # As scoped_query().
        super().clear_where()
        if predicate is not None:
            self.where.add(predicate, AND)


class ScopedDeleteQuery(DeleteQuery):
    """A delete that keeps its predicate where Django deletes by keys."""

    def clear_where(self) -> None:
        """Clear the WHERE, which each batch of keys does, but for the predicate."""
        predicate: Any = _find_predicate(self)  # As scoped_query().
        super().clear_where()
        if predicate is not None:
            self.where.add(predicate, AND)


def restrict_batches() -> None:
    """Keep what Django's cascades change by keys alone in an organization's scope.

    InnoDB would wait for whoever holds another organization's row among the keys, or
    among all rows where it reads a small table whole.
    """
    _restrict_batch(DeleteQuery, "delete_batch", ScopedDeleteQuery)
    _restrict_batch(UpdateQuery, "update_batch", ScopedUpdateQuery)
    _restrict_outer_delete()


def _restrict_batch(plain: type[Query], name: str, scoped: type[Query]) -> None:
    run = getattr(plain, name)
    if hasattr(run, "__wrapped__"):
        return

    @functools.wraps(run)
    def run_scoped(self: Query, *args: Any, **kwargs: Any) -> Any:
        model = self.model
        if _is_in_organization(model):
            self = self.chain(scoped)
            _put_predicate_on(self, model)
        return run(self, *args, **kwargs)

    setattr(plain, name, run_scoped)


def _is_in_organization(model: type[Model] | None) -> TypeGuard[type[Model]]:
    """Return whether rows of a model are kept to an organization now."""
    scope = current_scope()
    return (
        scope is not None
        and scope.organization_id is not None
        and model is not None
        and tenant_field(model) is not None
    )


def _restrict_outer_delete() -> None:
    """Keep a DELETE whose rows a subquery finds in the scope, around the subquery too.

    InnoDB would read, and lock, the whole table for the keys that the subquery gives.
    """
    compiler: Any = SQLDeleteCompiler  # The stubs leave its method out.
    run = compiler._as_sql
    if hasattr(run, "__wrapped__"):
        return

    @functools.wraps(run)
    def run_scoped(self: Any, query: Query) -> Any:
        model = query.model
        if query is not self.query and _is_in_organization(model):
            features = self.connection.features
            if features.update_can_self_select and not (
                features.delete_can_self_reference_subquery
            ):
                query = _derive_keys(self, query)
            _put_predicate_on(query, model)
        return run(self, query)

    compiler._as_sql = run_scoped


def _derive_keys(compiler: Any, outer: Query) -> Query:
    """Return a query whose keys come of a derived table, which may be of its own rows.

    As Django writes it where a server takes nothing else.
    """
    lookup: Any = outer.where.children[0]
    sql, params = compiler.compile(lookup.rhs)
    derived: Any = Query(outer.model)  # The stubs know another add_filter().
    derived.add_filter("pk__in", RawSQL(f"SELECT * FROM {sql} subquery", params))
    scoped: Query = derived
    return scoped


def _is_restricted(where: WhereNode, alias: str) -> bool:
    return any(
        child.column.alias == alias
        if isinstance(child, InScope)
        else isinstance(child, WhereNode) and _is_restricted(child, alias)
        for child in where.children
    )


class TenantRawQuerySet(ScopedCache, RawQuerySet):  # type: ignore[type-arg]  # takes none at run time
    """The rows of Model.objects.raw(), under the guard and the database's policy."""

    def using(self, alias: str | None) -> Any:
        """See RawQuerySet.using(), which makes one of its own class."""
        return _keep_scoped(super().using(alias))


def _keep_scoped(queryset: Any) -> TenantRawQuerySet:
    """Make one of Django's class, which knows what it hands on, one of ours."""
    queryset.__class__ = TenantRawQuerySet
    # Django's stands in the instance, ours is a property.
    del queryset.__dict__["_result_cache"]
    scoped: TenantRawQuerySet = queryset
    return scoped


class _LateQuery:
    """The query of a queryset, made when it is first asked for.

    A manager makes a queryset for each call, of which a write needs no query. Not a
    property: what stands in the instance comes first.
    """

    def __get__(self, queryset: Any, owner: type | None = None) -> Any:
        if queryset is None:
            return self
        query = scoped_query(queryset.model, queryset._made_in)
        queryset.__dict__["_query"] = query
        return query


_LATE: Any = object()  # Keeps QuerySet from making a query; it is never used.


class TenantQuerySet(ScopedCache, QuerySet[M, M]):
    """A queryset of a tenant model: it holds the rows of the active scope.

    A queryset that was made in a scope runs in that scope only. One that was made in
    none, such as a class attribute, takes the scope in which it runs, at each run.

    Raises:
        ScopeRequired: it is evaluated with no active scope.
        CrossOrganization: it is evaluated in another scope than it was made in.
    """

    def __init__(
        self,
        model: type[Model] | None = None,
        query: Query | None = None,
        using: str | None = None,
        hints: dict[str, Model] | None = None,
    ) -> None:
        if query is not None or model is None:
            QuerySet.__init__(self, model, query, using, hints)
            return
        _require_tenant_field(model)
        QuerySet.__init__(self, model, _LATE, using, hints)
        del self._query
        scope = current_scope()
        if scope is not None and not _is_importing(sys._getframe()):
            self._made_in = scope

    # django-stubs types what Django sets in the instance.
    _query: Any = _LateQuery()
    _made_in: Scope | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # Django copies what stands in the instance.
        self.__dict__.setdefault("_query", self._query)
        return super().__deepcopy__(memo)

    # The operators

    def __and__(self, other: Any) -> Any:
        _require_same_scope(self.query, other)
        return super().__and__(other)

    def __rand__(self, other: Any) -> Any:
        return self & other

    def __or__(self, other: Any) -> Any:
        return self._combine(other, "__or__")

    def __ror__(self, other: Any) -> Any:
        return self | other

    def __xor__(self, other: Any) -> Any:
        return self._combine(other, "__xor__")

    def __rxor__(self, other: Any) -> Any:
        return self ^ other

    def _combine(self, other: Any, operator: str) -> Any:
        """Combine with the predicate taken off both sides, and put on once.

        Left on, ``scoped | bare`` would become ``(in scope AND x) OR y``; put on each
        time, Django's own reduce(or_, ...) in cascades overflows SQLite's parser.
        """
        if not isinstance(other, QuerySet):
            return getattr(super(), operator)(other)
        if isinstance(self, EmptyQuerySet) or isinstance(other, EmptyQuerySet):
            return self if isinstance(other, EmptyQuerySet) else self._adopt(other)
        _require_same_scope(self.query, other)
        left, predicate = _without_predicate(self)
        right, other_predicate = _without_predicate(self._adopt(other))
        combined = getattr(QuerySet, operator)(left, right)
        if predicate.made_in is None:
            predicate = other_predicate
        query = combined.query
        kept = InScope(
            _predicate(query, predicate.column.target, None).column,
            made_in=predicate.made_in,
        )
        query.where = _join(kept, query.where)
        return combined

    def _adopt(self, other: QuerySet[Any, Any]) -> TenantQuerySet[M]:
        """Return a queryset of this class, with the predicate, like ``other``."""
        if isinstance(other, TenantQuerySet) and _find_predicate(other.query):
            adopted: QuerySet[Any, Any] = other.all()
        else:
            adopted = self.model._base_manager.using(other.db).all()
            query = other.query.chain()
            _put_predicate_on(query, self.model)
            adopted.query = query
            if not other.query.can_filter():
                # A slice of bare rows: cut inside, filtered outside.
                inner = other.values("pk")
                adopted = self.model._base_manager.filter(pk__in=inner)
        if not adopted.query.can_filter():
            adopted = self.model._base_manager.filter(pk__in=adopted.values("pk"))
        return cast("TenantQuerySet[M]", adopted)  # _base_manager is a TenantManager's

    # Reads

    def raw(
        self,
        raw_query: Any,  # A str, or a psycopg Composable.
        params: Any = (),
        translations: dict[str, str] | None = None,
        using: str | None = None,
    ) -> RawQuerySet[Any]:
        """Return the rows of an SQL text, which the guard and the policies judge.

        tenancy.raw() is the way that works on every database.
        """
        # Django's own hands on what it knows: in Django 6.1 the fetch mode, too.
        return _keep_scoped(super().raw(raw_query, params, translations, using))

    # Writes

    def update(self, **kwargs: Any) -> int:
        """Update the rows; their organization is never one of the changes.

        Raises:
            CrossOrganization: the organization is among the changes, and the scope is
                an organization's.
        """
        self._refuse_move(kwargs)
        return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list[M]:
        """Insert the rows, each into the scope's organization.

        Raises:
            CrossOrganization: a row, or a row that it refers to, is another
                organization's.
        """
        rows = list(objs)
        require_own_of(self.model, rows)
        if ignore_conflicts and not _is_loading.get():
            # MySQL and MariaDB swallow the foreign key's error together with the
            # conflict (INSERT IGNORE), so the keys are looked up first.
            self._require_known_relations(rows)
        return super().bulk_create(rows, batch_size, ignore_conflicts, *args, **kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Update the fields of the rows; their organization is never one of them.

        Raises:
            CrossOrganization: a row is another organization's, or the organization is
                among the fields, and the scope is an organization's.
        """
        rows, names = list(objs), list(fields)
        self._refuse_move(names)
        require_own_of(self.model, rows)
        return super().bulk_update(rows, names, batch_size=batch_size)

    def _refuse_move(self, names: Collection[str] | Mapping[str, Any]) -> None:
        field = _require_tenant_field(self.model)
        if field.primary_key or not {field.name, field.attname} & set(names):
            return
        if not require_scope(self.model.__name__).is_unscoped:
            raise CrossOrganization(
                f"'{self.model.__name__}.{field.name}' is among the fields to change. "
                "Leave it out: the organization of a row never changes in a scope."
            )

    def _require_known_relations(self, rows: list[M]) -> None:
        """Refuse keys of rows that the scope does not hold; one query a relation."""
        for field in self.model._meta.concrete_fields:
            remote: Any = field.remote_field  # None, or a relation's.
            if remote is None or field is _require_tenant_field(self.model):
                continue
            if tenant_field(remote.model) is None:
                continue
            keys = {getattr(row, field.attname) for row in rows} - {None}
            target = field.target_field.name  # type: ignore[attr-defined]  # it is a relation
            known = remote.model._base_manager.using(self.db)
            if keys and known.filter(**{f"{target}__in": keys}).count() != len(keys):
                raise unknown_relation(self.model, field)


@contextmanager
def loading_fixtures() -> Iterator[None]:
    """Let the links of a fixture lead to rows that come later in it.

    Who loads it looks for those that lead nowhere when it is done.
    """
    token = _is_loading.set(True)
    try:
        yield
    finally:
        _is_loading.reset(token)


def require_own(row: Model) -> None:
    """Refuse a row of another organization than the scope's.

    A row with no organization yet is filled from the scope.

    Raises:
        ScopeRequired: no scope is active, or there is none to fill it from.
        CrossOrganization: the row is another organization's.
    """
    model = type(row)
    field = _require_tenant_field(model)
    scope = require_scope(model.__name__)
    if scope.is_unscoped:
        return
    key = getattr(row, field.attname)
    if key is None and not field.primary_key:
        setattr(row, field.attname, scope.organization_id)
        return
    if key is scope.organization_id and key is not None:
        # As it is where it was filled from the scope.
        return
    if key is None or not is_same_key(field, key, scope.organization_id):
        raise CrossOrganization(
            f"A {model.__name__} of another organization was given. Enter its "
            "organization's scope to work on it."
        )


def require_own_of(model: type[Model], rows: Iterable[Model]) -> None:
    """Refuse rows of one model that are another organization's; see require_own()."""
    scope = current_scope()
    key = None if scope is None else scope.organization_id
    name = _require_tenant_field(model).attname
    for row in rows:
        # As it is where it was filled from the scope: nothing else is asked of it.
        if key is None or type(row) is not model or getattr(row, name) is not key:
            require_own(row)


def require_own_rows(values: Iterable[Any]) -> None:
    """Refuse tenant rows of another organization; pass keys and global rows by."""
    for value in values:
        if isinstance(value, Model) and tenant_field(type(value)) is not None:
            require_own(value)


def unknown_relation(model: type[Model], field: Field[Any, Any]) -> CrossOrganization:
    """Return the error of a key that the scope does not hold, whoever holds it."""
    return CrossOrganization(
        f"'{model.__name__}.{field.name}' refers to a row that the active "
        "organization does not have. Pass a row of the same organization."
    )


def _require_tenant_field(model: type[Model]) -> Field[Any, Any]:
    field = tenant_field(model)
    if field is None:
        raise TypeError(
            f"'{model.__name__}' has a tenant manager and is no tenant model. Subclass "
            "tenancy.models.TenantModel, or use a plain manager."
        )
    return field


def _predicate(query: Query, field: Field[Any, Any], made_in: Scope | None) -> InScope:
    # The query's first table gets its alias here, and keeps it in each clone.
    return InScope(field.get_col(query.get_initial_alias()), made_in=made_in)


def _find_predicate(query: Query) -> InScope | None:
    """Return the predicate that stands at the root of the query's WHERE, or None."""
    if query.where.connector != AND or query.where.negated:
        return None
    for child in query.where.children:
        if isinstance(child, InScope) and not child.in_join:
            return child
    return None


def _put_predicate_on(query: Query, model: type[Model]) -> None:
    field = _require_tenant_field(model)
    predicate = _predicate(query, field, current_scope())
    query.where = _join(predicate, query.where)


def _join(predicate: Any, where: WhereNode) -> WhereNode:  # Any: see scoped_query().
    return WhereNode([predicate, where], connector=AND)


def _without_predicate(
    queryset: QuerySet[Any, Any],
) -> tuple[QuerySet[Any, Any], InScope]:
    """Return a clone without its predicate, unwrapped, and the predicate."""
    if not queryset.query.can_filter():
        queryset = queryset.model._base_manager.filter(pk__in=queryset.values("pk"))
    clone = queryset.all()
    predicate: Any = _find_predicate(clone.query)  # As scoped_query().
    if predicate is None:
        # It stands deeper, where it does no harm; the combination gets another.
        field = _require_tenant_field(queryset.model)
        return clone, _predicate(clone.query, field, current_scope())
    children = [child for child in clone.query.where.children if child is not predicate]
    only = children[0] if len(children) == 1 else None
    clone.query.where = (
        only if isinstance(only, WhereNode) else WhereNode(children, connector=AND)
    )
    return clone, predicate


def _require_same_scope(query: Query, other: Any) -> None:
    """Refuse to combine querysets that were made in two scopes."""
    if not isinstance(other, QuerySet):
        return
    one, two = _find_predicate(query), _find_predicate(other.query)
    if one is None or two is None or one.made_in is None or two.made_in is None:
        return
    if not one.made_in.reaches_same_rows(two.made_in):
        raise CrossOrganization(
            f"A queryset that was made in {one.made_in} was combined with one that was "
            f"made in {two.made_in}. Build both in the scope that runs them."
        )


class ImmutableRows:
    """The part of a queryset whose rows are written once."""

    model: Any  # That of the queryset beside which this class is a base.

    def update(self, **kwargs: Any) -> int:
        """Refuse to change the rows.

        Raises:
            ImmutableRow: always.
        """
        refuse_change(self.model)

    update.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def bulk_update(self, *args: Any, **kwargs: Any) -> int:
        """Refuse to change the rows.

        Raises:
            ImmutableRow: always.
        """
        refuse_change(self.model)

    bulk_update.alters_data = True  # type: ignore[attr-defined]  # as above

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Insert the rows.

        Raises:
            ImmutableRow: rows that are there would be changed.
        """
        # The fourth argument, counted from objs, is update_conflicts.
        if kwargs.get("update_conflicts") or any(args[3:4]):
            refuse_change(self.model)
        # The queryset beside which this class is a base.
        rows: list[Any] = super().bulk_create(*args, **kwargs)  # type: ignore[misc]
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse to delete the rows.

        Raises:
            ImmutableRow: always.
        """
        refuse_change(self.model)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above
    delete.queryset_only = True  # type: ignore[attr-defined]  # as above


def refuse_change(model: type[Model]) -> NoReturn:
    """Refuse to change or delete a row that is written once.

    Raises:
        ImmutableRow: always.
    """
    raise ImmutableRow(
        f"A {model.__name__} was to be changed or deleted, and is written once. Write "
        "another one."
    )
