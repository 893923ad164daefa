"""What is used of Django's private names, each with what would break by its change."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.contrib.contenttypes.fields import (
    GenericForeignKey,
    GenericRelation,
    ReverseGenericManyToOneDescriptor,
)
from django.core.cache.utils import make_template_fragment_key
from django.db import connection, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.sqlite3.schema import DatabaseSchemaEditor
from django.db.migrations import RenameModel
from django.db.models import Field, Manager, Model, QuerySet
from django.db.models.constraints import BaseConstraint
from django.db.models.deletion import Collector
from django.db.models.expressions import Col, Expression
from django.db.models.fields.related import (
    ForeignObject,
    ForeignObjectRel,
    ManyToManyField,
    create_many_to_many_intermediary_model,
)
from django.db.models.fields.related_descriptors import (
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
    create_forward_many_to_many_manager,
    create_reverse_many_to_one_manager,
)
from django.db.models.options import Options
from django.db.models.query import EmptyQuerySet, RawQuerySet
from django.db.models.sql import DeleteQuery, Query, UpdateQuery
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import AND, WhereNode
from django.utils import cache as pages

import tenancy
from project.tracker.models import Project, Task
from tenancy.models import Organization
from tenancy.predicates import InScope, tenant_field


def parameters(function: Any) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(function).parameters)


# Joins (fields.py, contrib/contenttypes.py)


def test_extra_restriction_when_joining_is_asked_of_the_field() -> None:
    """Join.as_sql() adds what the relation's get_extra_restriction() returns."""
    assert parameters(ForeignObject.get_extra_restriction) == [
        "self",
        "alias",
        "related_alias",
    ]
    assert parameters(ForeignObjectRel.get_extra_restriction)[1:] == [
        "alias",
        "related_alias",
    ]
    assert parameters(GenericRelation.get_extra_restriction)[1:] == [
        "alias",
        "remote_alias",
    ]
    assert "get_extra_restriction" in inspect.getsource(Join.as_sql)


def test_extra_restriction_when_trimming_is_asked_of_the_field() -> None:
    """Query.trim_start() keeps the restriction of a join that it takes away."""
    source = inspect.getsource(Query.trim_start)

    assert "get_extra_restriction(\n                None" in source
    assert parameters(Query.trim_start) == ["self", "names_with_path"]


def test_trim_start_when_excluding_is_called_on_the_queries_own_class() -> None:
    """split_exclude() makes its subquery of the query's class: ScopedQuery's."""
    source = inspect.getsource(Query.split_exclude)

    assert "query = self.__class__(self.model)" in source
    assert "query.trim_start(names_with_path)" in source


@pytest.mark.parametrize(
    ("batch", "caller"),
    [
        (DeleteQuery.delete_batch, "delete_batch"),
        (UpdateQuery.update_batch, "update_batch"),
    ],
)
def test_batch_when_cascading_clears_the_where(batch: Any, caller: str) -> None:
    """Collector.delete() works by keys through methods that clear_where() first."""
    source = inspect.getsource(batch)

    assert f".{caller}(" in inspect.getsource(Collector.delete)
    assert source.index("self.clear_where()") < source.index("self.add_filter(")


def test_base_manager_when_related_row_is_fetched_is_used() -> None:
    """Django looks rows up by itself through _base_manager and _meta's name of it."""
    assert "base_manager_name" in inspect.getsource(Options.base_manager.func)  # type: ignore[attr-defined]  # a cached property
    assert "_base_manager" in inspect.getsource(Collector.related_objects)
    assert "_base_manager" in inspect.getsource(Model._save_table)  # type: ignore[attr-defined]  # django-stubs leaves it out


def test_related_manager_when_made_is_of_the_descriptor() -> None:
    """The managers of relations are made in related_manager_cls."""
    for descriptor in (
        ManyToManyDescriptor,
        ReverseManyToOneDescriptor,
        ReverseGenericManyToOneDescriptor,
    ):
        assert hasattr(descriptor, "related_manager_cls")
    assert "related_accessor_class" in vars(ForeignObject)


def test_many_manager_when_adding_goes_through_items() -> None:
    """add(), set(), remove() and create() end in _add_items() and _remove_items()."""
    source = inspect.getsource(create_forward_many_to_many_manager)

    for name in ("add", "create", "set"):
        assert f"def {name}(self" in source
    assert "def _add_items(" in source
    assert "def _remove_items(" in source
    assert "def _get_add_plan(self, db, source_field_name):" in source
    assert "def clear(self" in source


def test_reverse_manager_when_changed_has_three_verbs() -> None:
    """The manager of a foreign key's other side writes by add, set and remove."""
    source = inspect.getsource(create_reverse_many_to_one_manager)

    for name in ("add", "set", "remove", "clear", "create"):
        assert f"def {name}(self" in source


def test_generic_key_when_set_is_kept_by_set_cached_value() -> None:
    """A generic key keeps what is assigned and what is fetched in one place."""
    assert parameters(GenericForeignKey.set_cached_value) == [
        "self",
        "instance",
        "value",
    ]


# The predicate (predicates.py, querysets.py)


def test_where_when_given_an_expression_compiles_it_as_it_is() -> None:
    """A WhereNode's child only needs as_sql(), and is relabelled and cloned."""
    column = tenant_field(Project).get_col("p")  # type: ignore[union-attr]  # a tenant model has one
    children: list[Any] = [InScope(column)]
    where = WhereNode(children, connector=AND)

    clone = where.clone()
    clone.relabel_aliases({"p": "q"})

    assert [leaf.column.alias for leaf in where.leaves()] == ["p"]
    assert [leaf.column.alias for leaf in clone.leaves()] == ["q"]


def test_expression_when_skipped_in_init_keeps_what_is_cached() -> None:
    """InScope skips Expression.__init__, which stores nothing but output_field."""
    source = inspect.getsource(Expression.__init__)

    assert source.count("self.") == source.count("self.output_field = ")
    for name in (
        "contains_aggregate",
        "contains_over_clause",
        "contains_column_references",
    ):
        assert hasattr(Expression, name)


def test_column_when_made_is_alias_and_target() -> None:
    """Field.get_col() gives a Col with an alias and the field."""
    column = Project._meta.get_field("name").get_col("p")

    assert isinstance(column, Col)
    assert (column.alias, column.target.name) == ("p", "name")


@pytest.mark.parametrize("klass", [UpdateQuery])
def test_chain_when_class_changes_keeps_where(klass: Any, acme: Organization) -> None:
    """Query.chain(klass) keeps the WHERE, in which alone the predicate is."""
    with tenancy.scope(acme):
        query = Project.objects.all().query.chain(klass=klass)

    assert [type(child) for child in query.where.leaves()] == [InScope]


def test_queryset_when_filled_has_a_result_cache() -> None:
    """QuerySet keeps rows in _result_cache and fills it in _fetch_all()."""
    for name in ("_fetch_all", "_iterator", "_chain", "_raw_delete", "_update"):
        assert callable(getattr(QuerySet, name))
    assert "_result_cache" in inspect.getsource(QuerySet._fetch_all)
    assert "_result_cache" in inspect.getsource(RawQuerySet)
    assert "_prefetch_done" in inspect.getsource(QuerySet._fetch_all)
    assert "_iterator(self, use_chunked_fetch" in inspect.getsource(QuerySet)


def test_queryset_when_combined_has_operators() -> None:
    """The operators that TenantQuerySet takes over are QuerySet's own."""
    for name in ("__or__", "__and__", "__xor__"):
        assert name in vars(QuerySet)
    for name in ("__ror__", "__rand__", "__rxor__"):
        assert name not in vars(QuerySet)
    assert isinstance(Project.objects.none(), EmptyQuerySet)


def test_manager_when_made_from_queryset_knows_its_class() -> None:
    """The checks read a manager's _queryset_class."""
    assert Manager._queryset_class is QuerySet  # type: ignore[attr-defined]  # Django's own


def test_query_when_first_alias_is_asked_makes_base_table(acme: Organization) -> None:
    """get_initial_alias() names the first table by the table's own name."""
    query = Query(Project)

    assert query.get_initial_alias() == "tracker_project"
    assert isinstance(query.alias_map["tracker_project"], BaseTable)
    assert query.alias_refcount["tracker_project"] == 1


# Saving (models/tenant_model.py, fields.py)


def test_save_when_any_path_is_taken_ends_in_save_base() -> None:
    """save(), asave() and deserialisers end in save_base()."""
    from django.core.serializers.base import DeserializedObject

    assert "self.save_base(" in inspect.getsource(Model.save)
    assert "save_base" in inspect.getsource(DeserializedObject.save)
    assert parameters(Model.delete) == ["self", "using", "keep_parents"]


def test_value_when_written_goes_through_get_db_prep_save() -> None:
    """INSERT and UPDATE prepare each value by Field.get_db_prep_save()."""
    from django.db.models.sql.compiler import SQLInsertCompiler, SQLUpdateCompiler

    assert "get_db_prep_save" in inspect.getsource(SQLInsertCompiler.prepare_value)
    assert "get_db_prep_save" in inspect.getsource(SQLUpdateCompiler.as_sql)
    assert parameters(Field.get_db_prep_save) == ["self", "value", "connection"]
    assert parameters(Field.pre_save) == ["self", "model_instance", "add"]


def test_validation_when_form_excludes_passes_it_on() -> None:
    """The names that a form leaves out arrive as "exclude"."""
    for method in ("clean_fields", "validate_unique", "validate_constraints"):
        assert parameters(getattr(Model, method))[1] == "exclude"


# Caches and pickles (caches.py, models/tenant_model.py)


def test_key_when_cached_passes_one_name() -> None:
    """Both keys of a page end in one function, a fragment's in one template."""
    private: Any = pages  # django-stubs leaves these out.

    for function in (private._generate_cache_key, private._generate_cache_header_key):
        assert "return _i18n_cache_key_suffix(request, cache_key)" in inspect.getsource(
            function
        )
    assert "return TEMPLATE_FRAGMENT_KEY_TEMPLATE % (" in inspect.getsource(
        make_template_fragment_key
    )


def test_row_when_pickled_is_made_of_three_parts() -> None:
    """Model.__reduce__() names what makes the row, its model, and the state."""
    source = inspect.getsource(Model.__reduce__)

    assert "return model_unpickle, (class_id,), data" in source


# Building models (fields.py)


def test_options_when_made_remember_their_attributes() -> None:
    """Migrations read a model's constraints in original_attrs."""
    assert "constraints" in Task._meta.original_attrs
    assert Task._meta.original_attrs["constraints"] is Task._meta.constraints


def test_many_to_many_when_through_is_set_makes_no_table() -> None:
    """ManyToManyField makes its table where remote_field.through is not set."""
    source = inspect.getsource(ManyToManyField.contribute_to_class)

    assert "if self.remote_field.through:" in source
    assert callable(ManyToManyField._get_m2m_db_table)  # type: ignore[attr-defined]  # Django's own
    assert "auto_created" in inspect.getsource(create_many_to_many_intermediary_model)


def test_related_class_when_contributed_is_given_its_rel() -> None:
    """The accessor of the other side is set in contribute_to_related_class()."""
    for field in (ForeignObject, ManyToManyField):
        assert parameters(field.contribute_to_related_class)[1:] == ["cls", "related"]
    assert "rel_class" in vars(models.ForeignKey)


# Constraints and migrations (policies.py, backends/)


def test_constraint_when_declared_has_three_statements() -> None:
    """A constraint writes its SQL in three methods, and is deconstructed."""
    for name in ("constraint_sql", "create_sql", "remove_sql"):
        assert parameters(getattr(BaseConstraint, name)) == [
            "self",
            "model",
            "schema_editor",
        ]
    assert parameters(BaseConstraint.validate)[1:4] == ["model", "instance", "exclude"]


def test_schema_editor_when_open_defers_statements() -> None:
    """What is in deferred_sql runs when the editor closes."""
    assert "deferred_sql" in inspect.getsource(BaseDatabaseSchemaEditor.__enter__)
    assert "deferred_sql" in inspect.getsource(BaseDatabaseSchemaEditor.__exit__)
    editor_class = connection.SchemaEditorClass
    assert issubclass(editor_class, BaseDatabaseSchemaEditor)


def test_many_to_many_when_altered_goes_through_one_method() -> None:
    """Renames and changes of a relation end in the editor's _alter_many_to_many()."""
    # Any: django-stubs leaves these private methods out.
    editor_classes: list[Any] = [BaseDatabaseSchemaEditor, connection.SchemaEditorClass]

    for editor_class in editor_classes:
        assert parameters(editor_class._alter_many_to_many) == [
            "self",
            "model",
            "old_field",
            "new_field",
            "strict",
        ]
    for function in (BaseDatabaseSchemaEditor.alter_field, RenameModel):
        assert "._alter_many_to_many(" in inspect.getsource(function)


def test_sqlite_editor_when_links_are_renamed_copies_three_columns() -> None:
    """Django's own way on SQLite leaves out every column but the key and two ends."""
    editor_class: Any = DatabaseSchemaEditor  # As above.

    source = inspect.getsource(editor_class._alter_many_to_many)

    assert "new_field.m2m_column_name(),\n" in source
    assert parameters(editor_class._remake_table) == [
        "self",
        "model",
        "create_field",
        "delete_field",
        "alter_fields",
    ]
