"""What every database's backend does: judge, carry the scope, translate errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy
from django.utils.module_loading import import_string

from tenancy import conf
from tenancy.backends.enforcement import (
    IMMUTABLE,
    KEPT,
    Enforcement,
    get_enforcement,
)
from tenancy.backends.guard import (
    PLAIN_FUNCTIONS,
    Guard,
    Parameters,
    Verdict,
    refuse,
)
from tenancy.backends.statements import Statement
from tenancy.backends.tokens import Dialect, names_in
from tenancy.context import (
    Scope,
    current_scope,
    require_scope,
    tenant_statements,
)
from tenancy.exceptions import (
    CrossOrganization,
    ImmutableRow,
    RawSQLRefused,
    UnsupportedDatabase,
)

REMEMBERED_SCOPES = 1_000

_BY_VENDOR = {
    "mysql": "tenancy.backends.mysql.cursors.MySQLBackend",
    "postgresql": "tenancy.backends.postgresql.cursors.PostgreSQLBackend",
    "sqlite": "tenancy.backends.sqlite.cursors.SQLiteBackend",
}


def get_backend(connection: BaseDatabaseWrapper) -> Backend:
    """Return what the package knows of a connection's database.

    Raises:
        UnsupportedDatabase: the vendor is none of those on which isolation is kept.
    """
    if isinstance(connection, ConnectionProxy):
        # django.db.connection is another connection in each thread.
        connection = connections[connection.alias]
    backend: Backend | None = getattr(connection, "_tenancy_backend", None)
    if backend is None:
        path = _BY_VENDOR.get(connection.vendor)
        if path is None:
            raise UnsupportedDatabase(
                f"The database '{connection.alias}' is of the vendor "
                f"{connection.vendor!r}, on which isolation is not kept. Use "
                "PostgreSQL, MySQL, MariaDB or SQLite for tenant tables."
            )
        backend = import_string(path)(connection)
        # An attribute of ours on Django's object.
        connection._tenancy_backend = backend  # type: ignore[attr-defined]
    return backend


class Shadowed(str):
    """A statement of the package's own that needs no marks: tenancy.raw() made it."""

    __slots__ = ()


@dataclass
class Catalog:
    """What one database holds besides tables that can be read by their own name.

    Args:
        tables (set[str]): the plain tables.
        definitions (dict[str, str | None]): of each view and stored routine, its
            body; None where it may not be seen.
    """

    tables: set[str] = field(default_factory=set)
    definitions: dict[str, str | None] = field(default_factory=dict)

    def find_hiding(self, names: Iterable[str], protected: Collection[str]) -> set[str]:
        """Return the names behind which a protected table is, or may be."""
        return {name for name in names if self._hides(name, protected, set())}

    def _hides(self, name: str, protected: Collection[str], seen: set[str]) -> bool:
        if name not in self.definitions or name in seen:
            return False
        body = self.definitions[name]
        if not body:
            return True
        seen.add(name)
        return bool(names_in(body, protected)) or any(
            self._hides(other, protected, seen)
            for other in names_in(body, self.definitions)
        )


class Backend:
    """What the package knows of one connection's database.

    Args:
        connection (BaseDatabaseWrapper): the connection it serves.
    """

    dialect: ClassVar[Dialect]
    # Does the database itself hide other organizations' rows from a plain SELECT?
    hides_rows: ClassVar[bool] = False
    # Does a WITH inside a statement see the expressions of the statement's own?
    sees_outer_expressions: ClassVar[bool] = True
    # With what do the names begin that only the database itself gives?
    reserved_names: ClassVar[tuple[str, ...]] = ()

    _guards: ClassVar[dict[tuple[str, str], Guard]] = {}
    _catalogs: ClassVar[dict[tuple[str, str], Catalog]] = {}

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._place = (connection.vendor, connection.alias)
        self.guard = self._guards.setdefault(self._place, Guard(self.dialect))
        self._keys: dict[tuple[Any, Any], str] = {}
        self._deletions = 0

    @contextmanager
    def deleting(self) -> Iterator[None]:
        """Let rows that are kept be deleted: what they are part of is."""
        self._deletions += 1
        try:
            yield
        finally:
            self._deletions -= 1

    @property
    def enforcement(self) -> Enforcement:
        """How this database keeps the rules."""
        return get_enforcement(self.connection)

    # What each database does its own way.

    def prepare(self) -> None:
        """Let connections that are yet to be opened be guarded; again is nothing."""

    def attach(self) -> None:
        """Make every cursor of the open connection a guarded one; again is nothing."""
        raise NotImplementedError

    def write_source(self, table: str, is_recursive: bool) -> str:
        """Return a table's name so that no expression of the same name is meant.

        Args:
            table (str): its name.
            is_recursive (bool): whether it stands in a WITH RECURSIVE.
        """
        raise NotImplementedError

    def load_catalog(self) -> Catalog:
        """Return what the database holds; called where it does not hide rows."""
        return Catalog()

    def is_cross_organization(self, error: Exception, verdict: Verdict | None) -> bool:
        """Return whether a driver's error is the refusal of another's row or key."""
        raise NotImplementedError

    def is_bypassed(self) -> bool:
        """Return whether the connection's role sees what the database hides."""
        return False

    # What all do.

    def admit(self, sql: str, parameters: Parameters) -> Verdict:
        """Return the verdict on a statement that may run now.

        Args:
            sql (str): as it was given to the cursor.
            parameters (Sequence | Mapping | None): its own.
        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: it could reach rows of other organizations.
        """
        verdict = self.judge(sql, parameters)
        if verdict.tables:
            noted = tenant_statements.get()
            if noted is not None:
                noted.append(None)
        scope = current_scope()
        if scope is None:
            if type(sql) is not Shadowed:
                self._require_scope(verdict, parameters)
        elif scope.unscoped_reason is None and self._is_guarded(verdict, sql):
            refuse(
                verdict,
                parameters,
                self.key_text(scope),
                scope,
                of_user=scope.organization_id is None,
            )
        return verdict

    def admit_many(self, sql: str, rows: list[Any]) -> Verdict | None:
        """Return the verdict on a statement that runs once for each row of parameters.

        Raises:
            ScopeRequired: no scope is active, and it concerns tenant rows.
            RawSQLRefused: with some row it could reach rows of other organizations.
        """
        verdict = None
        for row in rows:
            verdict = self.admit(sql, row)
            if not (verdict.needed or verdict.hidden):
                break
        return verdict

    def fit(self, parameters: Parameters, verdict: Verdict) -> Parameters:
        """Return a statement's parameters with keys as their columns hold them."""
        if not verdict.required:
            return parameters
        scope = current_scope()
        if scope is None or scope.organization_id is None:
            return parameters
        return verdict.fit(parameters, self.key_text(scope))

    def fit_many(self, rows: list[Any], verdict: Verdict | None) -> list[Any]:
        """Return each row of parameters as fit() does, if any key is asked for."""
        if verdict is None or not verdict.required:
            return rows
        return [self.fit(row, verdict) for row in rows]

    def refuse_opaque(self, what: str) -> None:
        """Refuse what cannot be judged by its text, except where nothing is hidden.

        Raises:
            ScopeRequired: no scope is active.
            RawSQLRefused: an organization's or a user's scope is.
        """
        if self.hides_rows and not self.is_bypassed():
            return
        scope = require_scope(what)
        if not scope.is_unscoped:
            raise RawSQLRefused(
                f"{what} was refused in {scope}: what it runs is not in its text. Say "
                "tenancy.unscoped(reason) to reach every organization's rows."
            )

    def forget(self) -> None:
        """Forget what a statement that changed the schema has made stale."""
        self._catalogs.pop(self._place, None)
        self.guard.forget()

    def translate(self, error: Exception, verdict: Verdict | None) -> None:
        """Raise the package's own exception for a refusal by the database.

        Unscoped, a broken key is what the database calls it: there is nothing to hide.

        Raises:
            CrossOrganization: the error is one.
            ImmutableRow: a row that is written once was to be changed, or one that is
                kept deleted.
        """
        if KEPT in str(error):
            raise ImmutableRow(
                "The database refused to delete a row that is kept. It goes with its "
                "organization only: use organization.delete()."
            ) from error
        if IMMUTABLE in str(error):
            raise ImmutableRow(
                "The database refused to change a row that is written once. Write "
                "another one."
            ) from error
        scope = current_scope()
        if scope is not None and scope.is_unscoped:
            return
        if self.is_cross_organization(error, verdict):
            raise CrossOrganization(
                "The database refused a row, or a key of one, that is not of the "
                "active scope. Use rows and keys of the active organization, or say "
                "tenancy.unscoped(reason)."
            ) from error

    def key_text(self, scope: Scope) -> str:
        """Return the key of the scope's organization, or user, as a mark holds it."""
        # The scope's own note: a key's hash may be computed in Python, as a UUID's is.
        text: str | None = scope.parameters.get(self._place)
        if text is None:
            place = (scope.organization_id, scope.user_id)
            text = self._keys.get(place)
            if text is None:
                if len(self._keys) >= REMEMBERED_SCOPES:
                    self._keys.clear()
                text = self._keys[place] = self._prepare_key(scope)
            scope.parameters[self._place] = text
        return text

    def _prepare_key(self, scope: Scope) -> str:
        if scope.organization_id is not None:
            model = apps.get_model(conf.organization_model())
            key = scope.organization_id
        else:
            model = get_user_model()
            key = scope.user_id
        return str(model._meta.pk.get_db_prep_value(key, self.connection))

    def judge(self, sql: str, parameters: Parameters) -> Verdict:
        """Return what is known of a statement, whatever the scope."""
        if self.hides_rows:
            return self.guard.judge(sql, parameters)
        return self.guard.judge(sql, parameters, self.find_views)

    def _is_guarded(self, verdict: Verdict, sql: str) -> bool:
        if not (verdict.needed or verdict.objection or verdict.hidden):
            return False
        if type(sql) is Shadowed:
            return False
        return not self.hides_rows or self.is_bypassed()

    def _require_scope(self, verdict: Verdict, parameters: Parameters) -> None:
        if verdict.is_about_rows(parameters):
            names = ", ".join(map(repr, verdict.tables)) or "a tenant table"
            require_scope(f"SQL that names {names}")
        elif verdict.objection and (not self.hides_rows or self.is_bypassed()):
            names = ", ".join(map(repr, verdict.views))
            require_scope(f"SQL that names {names}" if names else verdict.verb)

    def find_views(self, statement: Statement) -> tuple[Collection[str], bool]:
        """Return the names in a statement behind which tenant tables may be.

        Returns:
            tuple[Collection[str], bool]: the names; and whether each source is one
                that the database holds, so that none can become a view unseen.
        """
        names = statement.sources | (statement.functions - PLAIN_FUNCTIONS)
        names -= self.guard.names
        if not names and not statement.text:
            return (), True
        catalog = self._catalogs.get(self._place)
        if catalog is None or not names <= catalog.tables:
            catalog = self._catalogs[self._place] = self.load_catalog()
        names |= names_in(statement.text, catalog.definitions)
        sources = statement.sources - self.guard.names - statement.expressions
        is_known = all(
            name in catalog.tables
            or name in catalog.definitions
            or name.startswith(self.reserved_names)
            for name in sources
        )
        return catalog.find_hiding(names, self.guard.names), is_known


def mapping_or_sequence(parameters: Any) -> Parameters:
    """Return parameters in a form whose parts can be looked at twice."""
    if parameters is None or isinstance(parameters, (Mapping, list, tuple)):
        return parameters
    return list(parameters)
