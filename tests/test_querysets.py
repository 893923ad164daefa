from __future__ import annotations

import copy
import pickle
import uuid
from functools import reduce
from operator import and_, or_, xor
from typing import Any

import pytest
from django.db import NotSupportedError, connection, models
from django.db.models import F, Q, QuerySet
from django.db.models.sql import DeleteQuery, UpdateQuery
from django.test.utils import CaptureQueriesContext, isolate_apps

import tenancy
from project.tracker.models import Project, Task
from tenancy.exceptions import CrossOrganization, ScopeRequired
from tenancy.models import Organization
from tenancy.predicates import InScope
from tenancy.querysets import KnownKey, ScopedQuery, TenantQuerySet, require_own


@pytest.fixture
def one(acme: Organization) -> Project:
    """A project of acme."""
    with tenancy.scope(acme):
        project: Project = Project.objects.create(name="one")
        return project


@pytest.fixture
def two(globex: Organization) -> Project:
    """A project of globex."""
    with tenancy.scope(globex):
        project: Project = Project.objects.create(name="two")
        return project


def count_predicates(queryset: Any) -> int:
    """Return how often the predicate stands in a query's WHERE."""
    return sum(isinstance(leaf, InScope) for leaf in queryset.query.where.leaves())


def plain() -> Any:
    """Return a queryset that has no predicate."""
    return QuerySet(Project)


def names(queryset: Any) -> list[str]:
    """Return the names of the rows."""
    return sorted(row.name for row in queryset)


def test_scoped_query_when_made_has_one_predicate(acme: Organization) -> None:
    """A new query has the predicate at the root of its WHERE, bound to the scope."""
    with tenancy.scope(acme) as scope:
        query = TenantQuerySet(Project).query
        (predicate,) = query.where.leaves()

    assert isinstance(query, ScopedQuery)
    assert predicate.made_in is scope


def test_scoped_query_when_made_in_none_is_unbound() -> None:
    """A query of no scope takes the scope in which it runs."""
    (predicate,) = TenantQuerySet(Project).query.where.leaves()

    assert predicate.made_in is None


def test_scoped_query_when_model_is_global_raises() -> None:
    """A tenant manager on a global model is a mistake that says so."""
    with isolate_apps("tests.apps.notebook"):

        class Outside(models.Model):
            objects = TenantQuerySet.as_manager()

            class Meta:
                app_label = "notebook"

            def __str__(self) -> str:
                return "outside"

        with pytest.raises(TypeError, match="is no tenant model"):
            Outside.objects.all()


# Operators


@pytest.mark.parametrize("is_reversed", [False, True], ids=["scoped", "bare"])
def test_or_when_one_side_is_bare_puts_predicate_on_once(
    is_reversed: bool, one: Project, two: Project, acme: Organization
) -> None:
    """``|`` with a bare queryset holds the scope's rows, from either side."""
    with tenancy.scope(acme):
        scoped, bare = Project.objects.filter(name="x"), plain()
        combined = bare | scoped if is_reversed else scoped | bare

        assert names(combined) == ["one"]
    assert isinstance(combined, TenantQuerySet)
    assert count_predicates(combined) == 1


@pytest.mark.parametrize("is_reversed", [False, True], ids=["scoped", "bare"])
def test_xor_when_one_side_is_bare_puts_predicate_on_once(
    is_reversed: bool, one: Project, two: Project, acme: Organization
) -> None:
    """``^`` does too."""
    with tenancy.scope(acme):
        scoped = Project.objects.filter(name="x")
        bare = plain().filter(name__gt="")
        combined = bare ^ scoped if is_reversed else scoped ^ bare

        assert names(combined) == ["one"]
    assert count_predicates(combined) == 1


@pytest.mark.parametrize("is_reversed", [False, True], ids=["scoped", "bare"])
def test_and_when_one_side_is_bare_keeps_predicate(
    is_reversed: bool, one: Project, two: Project, acme: Organization
) -> None:
    """``&`` does too."""
    with tenancy.scope(acme):
        scoped, bare = Project.objects.filter(name__gt=""), plain()
        combined = bare & scoped if is_reversed else scoped & bare

        assert names(combined) == ["one"]


def test_or_when_reduced_over_many_stays_flat(one: Project, acme: Organization) -> None:
    """Django's own reduce(or_, ...) in cascades does not nest predicates."""
    with tenancy.scope(acme):
        parts = [Project.objects.filter(name=str(number)) for number in range(300)]
        combined = reduce(or_, [*parts, Project.objects.filter(name="one")])

        assert names(combined) == ["one"]
    assert count_predicates(combined) == 1


@pytest.mark.parametrize("operator", ["__or__", "__and__", "__xor__"])
def test_operator_when_other_is_none_is_as_django(
    operator: str, one: Project, acme: Organization
) -> None:
    """An empty queryset on either side is neutral, or empties."""
    with tenancy.scope(acme):
        rows, none = Project.objects.all(), Project.objects.none()
        expected = [] if operator == "__and__" else ["one"]

        assert names(getattr(rows, operator)(none)) == expected
        assert names(getattr(none, operator)(rows)) == expected


def test_or_when_bare_is_sliced_filters_outside(
    one: Project, two: Project, acme: Organization
) -> None:
    """A slice of scoped rows is cut first and combined after."""
    with tenancy.scope(acme):
        sliced = Project.objects.order_by("name")[:1]
        combined = Project.objects.filter(name="x") | sliced

        if connection.features.allow_sliced_subqueries_with_in:
            assert names(combined) == ["one"]
            return
        with pytest.raises(NotSupportedError):
            list(combined)


def test_or_when_made_in_two_scopes_raises(
    acme: Organization, globex: Organization
) -> None:
    """Querysets of two scopes are never combined."""
    with tenancy.scope(globex):
        other = Project.objects.all()

    with tenancy.scope(acme):
        rows = Project.objects.all()
        for operator in (or_, and_, xor):
            with pytest.raises(CrossOrganization, match="was combined with one that"):
                operator(rows, other)


def test_or_when_one_side_is_of_import_takes_the_other_sides_scope(
    one: Project, acme: Organization
) -> None:
    """Combined with one of no scope, a queryset keeps its own."""
    at_import = Project.objects.filter(name="x")
    with tenancy.scope(acme):
        combined = at_import | Project.objects.all()
        assert names(combined) == ["one"]

    with tenancy.unscoped("tests: everybody's rows"), pytest.raises(CrossOrganization):
        list(combined)


def test_or_when_other_is_no_queryset_is_as_django(acme: Organization) -> None:
    """What Django refuses stays refused."""
    with tenancy.scope(acme), pytest.raises((TypeError, AttributeError)):
        Project.objects.all() | 1  # type: ignore[operator]  # what the test is about


# Caches


def test_cache_when_scope_is_same_is_used(one: Project, acme: Organization) -> None:
    """In the scope that fetched them, rows are fetched once."""
    with tenancy.scope(acme):
        rows = Project.objects.all()
        list(rows)
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        list(rows)
        assert rows.count() == 1
        assert rows[0] == one

    assert len(queries) == 0


def test_cache_when_scope_is_another_is_fetched_anew(
    one: Project, two: Project, acme: Organization, globex: Organization
) -> None:
    """A queryset of import is fetched anew in each scope, prefetched rows too."""
    rows = Project.objects.prefetch_related("tasks")

    for organization, expected in ((acme, one), (globex, two), (acme, one)):
        with tenancy.scope(organization):
            assert list(rows) == [expected]
            assert list(rows[0].tasks.all()) == []
    with pytest.raises(ScopeRequired):
        bool(rows)


def test_deepcopy_when_filled_is_empty(one: Project, acme: Organization) -> None:
    """A deep copy of a queryset has no rows, and leaves the original's."""
    with tenancy.scope(acme):
        rows = Project.objects.all()
        list(rows)
        copied = copy.deepcopy(rows)

        assert copied._result_cache is None
        assert rows._result_cache == [one]
        assert list(copied) == [one]


def test_deepcopy_when_unused_keeps_its_scope(
    one: Project, two: Project, acme: Organization, globex: Organization
) -> None:
    """A copy of a queryset whose query was never asked for is of the same scope."""
    with tenancy.scope(acme):
        rows = copy.deepcopy(Project.objects.all())
        assert list(rows) == [one]

    with tenancy.scope(globex), pytest.raises(CrossOrganization, match="made in"):
        list(rows.all())


def test_queryset_when_unused_remembers_its_scope(
    two: Project, acme: Organization, globex: Organization
) -> None:
    """A queryset's query is made later, and in the scope of the queryset."""
    with tenancy.scope(acme):
        rows = Project.objects.all()

    with tenancy.scope(globex), pytest.raises(CrossOrganization, match="made in"):
        list(rows)
    with tenancy.unscoped("tests"), pytest.raises(CrossOrganization, match="made in"):
        rows.filter(name="two").count()


def test_rows_when_read_hold_their_own_key(
    one: Project, two: Project, acme: Organization, globex: Organization
) -> None:
    """Each row has its organization's key, in a scope and unscoped."""
    keys = Project.objects.order_by("name").values_list("organization", flat=True)
    for organization in (acme, globex):
        with tenancy.scope(organization):
            assert [*keys.all()] == [organization.pk]
            assert Organization.objects.get().pk == organization.pk
    with tenancy.unscoped("tests"):
        assert [*keys.all()] == [acme.pk, globex.pk]


def test_known_key_when_value_is_another_makes_it(
    acme: Organization, globex: Organization
) -> None:
    """Whatever a column holds, each value gives its own key."""
    with tenancy.scope(acme):
        scope = tenancy.current_scope()
    assert scope is not None
    converters = [lambda value, *_: value and uuid.UUID(value)]
    known = KnownKey(scope, connection.alias, converters)

    texts = [None, globex.pk.hex, acme.pk.hex, globex.pk.hex, acme.pk.hex, None]
    made = [known(text, None, connection) for text in texts]

    assert made == [None, globex.pk, acme.pk, globex.pk, acme.pk, None]
    assert made[2] is made[4] is scope.organization_id
    later = KnownKey(scope, connection.alias, [])
    assert later(acme.pk.hex, None, connection) is scope.organization_id


def test_pickle_when_loaded_in_scope_keeps_rows(
    one: Project, acme: Organization
) -> None:
    """A pickled queryset keeps its rows and its scope."""
    with tenancy.scope(acme):
        text = pickle.dumps(Project.objects.filter(Q(name="one")))

    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        assert list(pickle.loads(text)) == [one]
    assert len(queries) == 0


def test_iterator_when_scope_is_left_raises(one: Project, acme: Organization) -> None:
    """An iterator is consumed in the scope that started it."""
    with tenancy.scope(acme):
        Project.objects.create(name="zwei")
        rows = Project.objects.iterator()
        assert next(rows) == one
        with (
            tenancy.unscoped("tests: everybody's rows"),
            pytest.raises(CrossOrganization, match="in the scope"),
        ):
            list(rows)


# Writes


def test_update_when_organization_is_named_raises(
    acme: Organization, globex: Organization
) -> None:
    """The organization is no change; unscoped it is the caller's affair."""
    with tenancy.scope(acme):
        for name in ("organization", "organization_id"):
            with pytest.raises(
                CrossOrganization, match="is among the fields to change"
            ):
                Project.objects.update(**{name: acme.pk})
        with pytest.raises(CrossOrganization, match="Leave it out"):
            Project.objects.bulk_update([], ["organization"])
    with tenancy.unscoped("tests: a repair"):
        assert Project.objects.update(organization=globex) == 0


def test_organization_when_updated_in_scope_passes(acme: Organization) -> None:
    """The organization's own row has no other column of its organization."""
    with tenancy.scope(acme):
        assert Organization.objects.update(name="x") == 1


def test_bulk_create_when_made_in_none_is_filled(acme: Organization) -> None:
    """A row that was made in no scope goes into the scope that saves it."""
    row = Project(name="x")
    assert row.organization_id is None

    with tenancy.scope(acme):
        Project.objects.bulk_create([row])

    assert row.organization_id == acme.pk


def test_require_own_when_unscoped_passes(globex: Organization) -> None:
    """Unscoped, any row may be worked on."""
    with tenancy.unscoped("tests: everybody's rows"):
        require_own(Project(organization=globex))


def test_require_own_when_user_only_raises(acme: Organization, alice: Any) -> None:
    """A user's own scope writes no row."""
    with (
        tenancy.scope(user=alice),
        pytest.raises(CrossOrganization, match="of another organization was given"),
    ):
        require_own(Project(organization=acme))


def test_require_own_when_key_is_text_compares_by_value(acme: Organization) -> None:
    """A key that is given as text is the same key."""
    with tenancy.scope(acme):
        require_own(Project(organization_id=str(acme.pk)))


def test_exclude_when_relation_is_null_keeps_subquery_scoped(
    one: Project, acme: Organization
) -> None:
    """The subquery that exclude() makes anew has the predicate of its first table."""
    with tenancy.scope(acme):
        rows = Project.objects.exclude(tasks__pk=None)  # type: ignore[misc]  # django-stubs take no None

        assert list(rows) == []
        assert str(rows.query).count("organization_id") >= 3


def test_query_when_cloned_shares_no_predicate(
    one: Project, two: Project, acme: Organization, globex: Organization
) -> None:
    """Querysets of one manager do not alias each other's WHERE."""
    with tenancy.scope(acme):
        first = Project.objects.filter(name="one")
        second = Project.objects.exclude(name="one")
        assert (names(first), names(second)) == (["one"], [])
    with tenancy.scope(globex):
        assert names(Project.objects.all()) == ["two"]


def test_update_over_a_join_changes_own_rows(
    acme: Organization, globex: Organization
) -> None:
    """An update by a relation, with an expression, keeps the predicate."""
    for organization in (acme, globex):
        with tenancy.scope(organization):
            project = Project.objects.create(name="Plans")
            Task.objects.create(project=project, title="one", priority=1)

    with tenancy.scope(acme):
        tasks = Task.objects.filter(project__name="Plans")
        assert tasks.update(priority=F("priority") + 1) == 1

    with tenancy.unscoped("look"):
        found = dict(Task.objects.values_list("organization_id", "priority"))
    assert found == {acme.pk: 2, globex.pk: 1}


CHANGES: Any = {"name": "new"}  # The stubs of update_batch() know keys only.
BATCHES: dict[str, Any] = {
    "delete": lambda keys: DeleteQuery(Project).delete_batch(keys, "default"),
    "update": lambda keys: UpdateQuery(Project).update_batch(keys, CHANGES, "default"),
}


@pytest.mark.parametrize("run", BATCHES.values(), ids=BATCHES)
def test_batch_of_keys_when_in_scope_reaches_its_rows_only(
    run: Any, one: Project, two: Project, acme: Organization
) -> None:
    """What a cascade deletes or updates by keys has the predicate too."""
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        run([one.pk, two.pk])

    (query,) = queries
    assert "organization_id" in query["sql"].partition(" WHERE ")[2]
    with tenancy.unscoped("a test"):
        assert names(Project.objects.all()) in (["two"], ["new", "two"])


@pytest.mark.parametrize("run", BATCHES.values(), ids=BATCHES)
def test_batch_of_keys_when_unscoped_reaches_all(
    run: Any, one: Project, two: Project
) -> None:
    """Outside any organization the keys alone decide."""
    with tenancy.unscoped("a test"), CaptureQueriesContext(connection) as queries:
        run([one.pk, two.pk])

    assert "organization_id" not in queries[0]["sql"].partition(" WHERE ")[2]
