"""Checks of every protected model in turn: reads, writes and keys that must not cross.

Each is a plain function that raises AssertionError, so that ``test_stateful.py`` runs
it in pytest and ``mutations.py`` runs it against a database that was broken on purpose.
"""

from __future__ import annotations

import datetime
import os
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, models, transaction
from django.db.models import Field, Model, QuerySet
from django.utils import timezone

import tenancy
from tenancy.backends import get_backend
from tenancy.context import current_scope
from tenancy.exceptions import (
    CrossOrganization,
    ImmutableRow,
    RawSQLRefused,
    ScopeRequired,
    TenancyError,
)
from tenancy.models import Organization, Ownership
from tenancy.models.immutable_model import ImmutableModel
from tenancy.policies import SameOrganization, SameValue
from tenancy.predicates import protected_tables, tenant_field
from tenancy.texts import ExactEmailField
from tests.deferral import check_deferred

Key = Any  # A primary key of whatever type the model has.


def list_protected_models() -> list[type[Model]]:
    """Return every protected model, by table."""
    return [model for _table, model in sorted(protected_tables().items())]


def list_keys() -> list[tuple[type[Model], SameOrganization]]:
    """Return every composite foreign key of an organization, with its model."""
    return [
        (model, constraint)
        for model in list_protected_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, SameOrganization)
        and not isinstance(constraint, SameValue)
        and tenant_field(_relation(model, constraint).remote_field.model) is not None
    ]


def _relation(model: type[Model], key: SameOrganization) -> Any:
    return model._meta.get_field(key.field)


class Filler:
    """Makes rows of any model, with as little in them as the model demands."""

    def __init__(self) -> None:
        self.made: dict[tuple[type[Model], Key], Model] = {}
        self.count = 0

    def get(self, model: type[Model], organization: Organization) -> Any:
        """Return a row of the model in the organization, made at the first call."""
        if model is Organization:
            return organization
        if model is ContentType:
            return ContentType.objects.get_for_model(Organization)
        place = (model, organization.pk)
        if place not in self.made:
            self.made[place] = self.make(model, organization)
        return self.made[place]

    def make(self, model: type[Model], organization: Organization) -> Any:
        """Insert a row of the model into the organization, past its save()."""
        if model is Ownership:
            # There is one, of its owner, and no room for another.
            with tenancy.unscoped("rows to sweep over"):
                return Ownership.objects.get(organization=organization)
        own = tenant_field(model)
        values: dict[str, Any] = {}
        for field in model._meta.concrete_fields:
            if field is own:
                values[field.attname] = organization.pk
            elif field.remote_field is not None:
                if not field.null:
                    target = field.remote_field.model
                    values[field.name] = self.get(target, organization)
            elif not (
                isinstance(field, models.AutoField)
                or getattr(field, "generated", False)
                or field.null
                or field.has_default()
                or getattr(field, "auto_now", False)
                or getattr(field, "auto_now_add", False)
            ):
                values[field.attname] = self._invent(field)
        for constraint in model._meta.constraints:
            if (
                isinstance(constraint, SameValue)
                and constraint.field in values
                # The default is what the targets have.
                and constraint.value in values
            ):
                # A target of its own: the value may be unique in the organization.
                target = self.make(type(values[constraint.field]), organization)
                values[constraint.field] = target
                values[constraint.value] = getattr(target, constraint.value)
        with tenancy.unscoped("rows to sweep over"):
            row = model(**values)
            row.save_base(force_insert=True)
        return row

    def _invent(self, field: Field[Any, Any]) -> Any:
        self.count += 1
        if field.choices:
            return next(iter(field.flatchoices))[0]
        if isinstance(field, (models.EmailField, ExactEmailField)):
            return f"{uuid.uuid4().hex}@example.com"
        if field.name == "ban_reason":
            return ""
        if field.name == "host":
            return f"{uuid.uuid4().hex}.example.org"
        if field.name.endswith("_digest"):
            return uuid.uuid4().hex * 2
        if field.name == "currency":
            return "EUR"
        if isinstance(field, (models.CharField, models.TextField, models.FileField)):
            return uuid.uuid4().hex[: field.max_length or 32]
        for kind, value in (
            # Each is later than the one before: a period's end, than its start.
            (
                models.DateTimeField,
                timezone.now() + datetime.timedelta(days=1, minutes=self.count),
            ),
            (models.DateField, datetime.date(2026, 1, 1)),
            (models.DurationField, datetime.timedelta(days=1)),
            (models.BinaryField, b""),
            (models.UUIDField, uuid.uuid4()),
            (models.JSONField, {}),
            (models.BooleanField, False),
        ):
            if isinstance(field, kind):
                return value
        return self.count


class Recorder:
    """An execute wrapper that notes statements which lack the organization's predicate.

    It reads the text that Django made, knows nothing of marks, and so judges the guard
    as well as the ORM. Each alias of a tenant table must be compared, somewhere in the
    statement, with the key of the active organization.
    """

    SOURCES = re.compile(
        r"\b(?:FROM|JOIN|UPDATE|,)\s+(\w+)(?:\s+(?:AS\s+)?"
        r"(?!(?:ON|SET|WHERE|INNER|LEFT|ORDER|GROUP|HAVING|LIMIT|FOR|UNION|EXCEPT"
        r"|INTERSECT|USING|VALUES|OFFSET)\b)(\w+))?"
    )

    # Rows that a scoped query has collected are written by their keys.
    COLLECTED = re.compile(
        r"(?:DELETE FROM|UPDATE) (\w+) (?:.* )?WHERE \1\.(?:id|pk)"
        r" IN \((?:%s(?:, )?)+\)"
    )

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.is_paused = False
        self.count = 0

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        scope = current_scope()
        if not self.is_paused and scope is not None and scope.organization_id:
            self.count += 1
            self.faults += self.find_faults(sql, params, scope.organization_id)
        return execute(sql, params, many, context)

    def find_faults(self, sql: str, params: Any, organization: Key) -> list[str]:
        """Return what is missing in a statement of the ORM."""
        text = sql.replace('"', "").replace("`", "")
        tables = protected_tables()
        faults: list[str] = []
        if self.COLLECTED.fullmatch(text):
            return faults
        for match in self.SOURCES.finditer(text):
            model = tables.get(match[1].lower())
            if model is None:
                continue
            field = tenant_field(model)
            assert field is not None
            alias = match[2] or match[1]
            wanted = rf"(?<![\w.]){re.escape(alias)}\.{field.column} = %s"
            values = [
                _read_key(params[text.count("%s", 0, place.start())])
                for place in re.finditer(wanted, text)
                if params
            ]
            if organization not in values:
                faults.append(f"'{alias}' is not in the scope: {sql}")
        return faults


def _read_key(value: Any) -> Any:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return value


# The checks. Each is given its rows by a filler, acts in acme and reaches for globex.


class Sweep:
    """The checks of one model, by acme, against rows of globex.

    Args:
        acme (Organization): the organization that acts.
        globex (Organization): the one that must not be reached.
    """

    def __init__(self, acme: Organization, globex: Organization) -> None:
        self.acme = acme
        self.globex = globex
        self.rows = Filler()
        self.hides_rows = get_backend(connection).hides_rows

    def run(self, model: type[Model]) -> None:
        """Run every check of the model, and take back what it has made."""
        for check in self.checks():
            if check != self.check_bypassing_role or model is Organization:
                self.run_one(check, model)

    def run_one(self, check: Callable[[type[Model]], None], model: type[Model]) -> None:
        """Run a check of the model, and take back what it has made."""
        self.rows = Filler()
        with transaction.atomic():
            check(model)
            transaction.set_rollback(True)

    def checks(self) -> list[Callable[[type[Model]], None]]:
        """Return the checks, the cheap ones first."""
        return [
            self.check_scope_is_required,
            self.check_orm_reads,
            self.check_bare_reads,
            self.check_joins,
            self.check_raw_reads,
            self.check_raw_insert,
            self.check_raw_update,
            self.check_raw_delete,
            self.check_move,
            self.check_truncate,
            self.check_truncate_alone,
            self.check_bypassing_role,
            self.check_orm_writes,
            self.check_keys,
        ]

    def check_scope_is_required(self, model: type[Model]) -> None:
        """With no scope, the ORM and raw SQL raise, read and write alike."""
        theirs = self.rows.get(model, self.globex)
        table, key = _quote(model._meta.db_table), _quote(model._meta.pk.column)
        for action in (
            lambda: list(model._base_manager.all()),
            lambda: list(QuerySet(model)),
            lambda: model._base_manager.count(),
            lambda: model._base_manager.filter(pk=theirs.pk).delete(),
            lambda: _execute(f"SELECT {key} FROM {table}"),
            lambda: _execute(f"DELETE FROM {table}"),
        ):
            # A row that is written once is refused whatever the scope.
            _require(action, (ScopeRequired, ImmutableRow))

    def check_orm_reads(self, model: type[Model]) -> None:
        """The ORM counts, finds and lists the organization's rows only."""
        ours, theirs = self._both(model)
        with tenancy.scope(self.acme):
            manager = model._base_manager
            keys = set(manager.values_list("pk", flat=True))
            assert ours.pk in keys, f"{model.__name__} does not find its own row"
            assert theirs.pk not in keys, f"{model.__name__} lists another's row"
            assert manager.count() == len(keys)
            assert not manager.filter(pk=theirs.pk).exists()
            assert manager.in_bulk([ours.pk, theirs.pk]).keys() == {ours.pk}
            organization = _organization(model)
            assert set(manager.values_list(organization, flat=True)) == {self.acme.pk}

    def check_bare_reads(self, model: type[Model]) -> None:
        """A queryset that knows no organizations is refused, or shows its rows only."""
        ours, theirs = self._both(model)
        with tenancy.scope(self.acme):
            try:
                bare: QuerySet[Any] = QuerySet(model)
                keys = {row.pk for row in bare}
            except RawSQLRefused:
                assert not self.hides_rows, (
                    f"a bare read of {model.__name__} is refused"
                )
                return
        assert self.hides_rows, f"a bare read of {model.__name__} was let through"
        assert ours.pk in keys
        assert theirs.pk not in keys, f"a bare read of {model.__name__} shows another's"

    def check_joins(self, model: type[Model]) -> None:
        """A join from either side carries the organization in its ON clause."""
        self._both(model)
        recorder = Recorder()
        with tenancy.scope(self.acme), connection.execute_wrapper(recorder):
            for field in model._meta.get_fields():
                related = field.related_model
                if not related or getattr(field, "hidden", False):
                    continue
                rows = model._base_manager.all()
                key = f"{field.name}__pk"
                list(rows.values(key)[:1])
                list(rows.exclude(**{key: None})[:1])
                list(rows.filter(**{f"{key}__isnull": False}).values_list("pk")[:1])
                list(related._base_manager.filter(pk__in=rows.values(field.name))[:1])
        assert not recorder.faults, recorder.faults[0]

    def check_raw_reads(self, model: type[Model]) -> None:
        """Raw SQL is refused, or shows the organization's rows only."""
        ours, theirs = self._both(model)
        key = model._meta.pk
        sql = f"SELECT {_quote(key.column)} FROM {_quote(model._meta.db_table)}"
        with tenancy.scope(self.acme):
            try:
                found = _execute(sql)
            except RawSQLRefused:
                assert not self.hides_rows, f"a raw read of {model.__name__} is refused"
                return
        assert self.hides_rows, f"a raw read of {model.__name__} was let through"
        keys = {key.to_python(row[0]) for row in found}
        assert ours.pk in keys, f"a raw read of {model.__name__} hides its own row"
        assert theirs.pk not in keys, f"a raw read of {model.__name__} shows another's"

    def check_raw_insert(self, model: type[Model]) -> None:
        """The database refuses a new row of another organization."""
        theirs = self.rows.get(model, self.globex)
        columns: list[str | None] = []
        values: list[Any] = []
        with tenancy.unscoped("a copy of a row"):
            for field in model._meta.concrete_fields:
                if getattr(field, "generated", False):
                    continue
                value = getattr(theirs, field.attname)
                if field.primary_key:
                    if isinstance(field, models.AutoField):
                        continue
                    value = field.get_default() or value
                columns.append(field.column)
                values.append(field.get_db_prep_save(value, connection))
        names = ", ".join(map(_quote, columns))
        marks = ", ".join(["%s"] * len(columns))
        table = _quote(model._meta.db_table)
        self._require_refusal(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", values, CrossOrganization
        )

    def check_raw_update(self, model: type[Model]) -> None:
        """The database refuses or hides a change of another organization's row."""
        theirs = self.rows.get(model, self.globex)
        column = _column(model)
        (field,) = [f for f in model._meta.concrete_fields if f.column == column]
        # A plain value: the guard leaves it to the trigger, which this is about.
        self._require_no_change(
            f"UPDATE {_quote(model._meta.db_table)} SET {_quote(column)} = %s WHERE ",
            theirs,
            _prepare(field, getattr(theirs, field.attname)),
        )

    def check_raw_delete(self, model: type[Model]) -> None:
        """The database refuses or hides the deletion of another organization's row."""
        theirs = self.rows.get(model, self.globex)
        self._require_no_change(
            f"DELETE FROM {_quote(model._meta.db_table)} WHERE ", theirs
        )

    def check_move(self, model: type[Model]) -> None:
        """The database refuses to give a row to another organization."""
        ours = Filler().make(model, self.acme) if model is not Organization else None
        if ours is None:
            return
        field, key = tenant_field(model), model._meta.pk
        assert field is not None
        self._require_refusal(
            f"UPDATE {_quote(model._meta.db_table)} SET {_quote(field.column)} = %s "
            f"WHERE {_quote(key.column)} = %s",
            [_prepare(field, self.globex.pk), _prepare(key, ours.pk)],
            # Which of two triggers is the first differs between databases.
            (CrossOrganization, ImmutableRow),
        )

    def check_truncate(self, model: type[Model]) -> None:
        """A scope empties no table."""
        cascade = " CASCADE" if self.hides_rows else ""
        theirs = self.rows.get(model, self.globex)
        table = _quote(model._meta.db_table)
        # A table with checks that wait is not emptied, whoever asks.
        _check_deferred()
        self._require_refusal(f"TRUNCATE TABLE {table}{cascade}", (), TenancyError)
        with tenancy.unscoped("a look whether the row is there"):
            assert model._base_manager.filter(pk=theirs.pk).exists()

    def check_truncate_alone(self, model: type[Model]) -> None:
        """A table's own trigger refuses, also where no other table's does."""
        if not self.hides_rows:
            return
        _check_deferred()
        table = _quote(model._meta.db_table)
        with tenancy.unscoped("the other tables' lock is open"):
            for other in list_protected_models():
                if other is not model:
                    name = _quote(other._meta.db_table)
                    _execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
        self._require_refusal(f"TRUNCATE TABLE {table} CASCADE", (), TenancyError)

    def check_bypassing_role(self, model: type[Model]) -> None:
        """A role that policies do not hold is held by the guard."""
        url = os.environ.get("TENANCY_TEST_POSTGRESQL_SUPERUSER_URL")
        if not self.hides_rows or not url:
            return
        key, table = _quote(model._meta.pk.column), _quote(model._meta.db_table)
        second: Any = connection.copy()
        parts = urlsplit(url)
        second.settings_dict["USER"] = parts.username
        second.settings_dict["PASSWORD"] = parts.password
        try:
            with tenancy.scope(self.acme), second.cursor() as cursor:
                _require(
                    lambda: cursor.execute(f"SELECT {key} FROM {table}"), RawSQLRefused
                )
        finally:
            second.close()

    def check_orm_writes(self, model: type[Model]) -> None:
        """A held row of another organization is neither saved nor deleted."""
        theirs = self.rows.get(model, self.globex)
        with tenancy.scope(self.acme):
            rows = model._base_manager.filter(pk=theirs.pk)
            if issubclass(model, ImmutableModel):
                _require(lambda: rows.update(pk=theirs.pk), ImmutableRow)
                _require(rows.delete, ImmutableRow)
            else:
                assert rows.update(**{model._meta.pk.name: theirs.pk}) == 0
                assert rows.delete()[0] == 0
            for action in (
                lambda: model._base_manager.bulk_update([theirs], [_changeable(model)]),
                lambda: theirs.save_base(),
                lambda: theirs.delete() if hasattr(theirs, "save_base") else None,
            ):
                if model._meta.auto_created:
                    continue
                _require(action, TenancyError)

    def check_keys(self, model: type[Model]) -> None:
        """A composite key refuses a relation to another's row, also unscoped."""
        for constraint in model._meta.constraints:
            if isinstance(constraint, SameOrganization):
                self.check_key(model, constraint)

    def check_key(self, model: type[Model], constraint: SameOrganization) -> None:
        """A composite key refuses a relation where nothing else is in force."""
        relation = _relation(model, constraint)
        if tenant_field(relation.remote_field.model) is None:
            return
        ours = Filler().make(model, self.acme)
        theirs = Filler().make(relation.remote_field.model, self.globex)
        sql = (
            f"UPDATE {_quote(model._meta.db_table)} SET {_quote(relation.column)} = %s "
            f"WHERE {_quote(model._meta.pk.column)} = %s"
        )
        value = getattr(theirs, relation.target_field.attname)
        params = [_prepare(relation, value), _prepare(model._meta.pk, ours.pk)]

        def act() -> None:
            _execute(sql, params)
            _check_deferred()

        with tenancy.unscoped("only the composite key is in force"):
            _require(
                act, (DatabaseError, TenancyError), f"{model.__name__}.{relation.name}"
            )

    def _both(self, model: type[Model]) -> tuple[Any, Any]:
        return self.rows.get(model, self.acme), self.rows.get(model, self.globex)

    def _require_refusal(
        self,
        sql: str,
        params: Any,
        expected: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        with tenancy.scope(self.acme):
            _require(lambda: _execute(sql, params), expected, sql)

    def _require_no_change(self, sql: str, theirs: Model, *values: Any) -> None:
        key = theirs._meta.pk
        statement = f"{sql}{_quote(key.column)} = %s"
        params = [*values, _prepare(key, theirs.pk)]
        with tenancy.scope(self.acme):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute(statement, params)
                    changed = cursor.rowcount
            except (CrossOrganization, ImmutableRow):
                assert not self.hides_rows, f"refused, not hidden: {statement}"
                return
        assert self.hides_rows, f"let through: {statement}"
        assert changed == 0, f"changed another organization's row: {statement}"


def _check_deferred() -> None:
    """Have the keys looked at that wait for the end of the transaction."""
    if connection.features.can_defer_constraint_checks:
        check_deferred()


def _execute(sql: str, params: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def _require(
    action: Callable[[], Any],
    expected: type[Exception] | tuple[type[Exception], ...],
    what: str = "",
) -> None:
    """Run what must be refused; another exception of the database is no refusal."""
    try:
        with transaction.atomic():
            action()
    except expected:
        return
    except DatabaseError as error:
        raise AssertionError(f"not refused but failed: {what}: {error}") from error
    raise AssertionError(f"let through: {what or action}")


def _organization(model: type[Model]) -> str:
    field = tenant_field(model)
    assert field is not None
    return field.attname


def _column(model: type[Model]) -> str:
    field = tenant_field(model)
    assert field is not None
    return str(field.column)


def _changeable(model: type[Model]) -> str:
    return next(
        field.name
        for field in model._meta.concrete_fields
        if not field.primary_key and field is not tenant_field(model)
    )


def _prepare(field: Any, value: Any) -> Any:
    return field.get_db_prep_value(value, connection)


def _quote(name: str | None) -> str:
    assert name is not None
    return str(connection.ops.quote_name(name))


def sweep_all(
    acme: Organization, globex: Organization, chosen: Iterable[type[Model]] = ()
) -> None:
    """Run every check of every protected model, or of the chosen ones."""
    get_user_model()
    sweep = Sweep(acme, globex)
    for model in chosen or list_protected_models():
        sweep.run(model)
