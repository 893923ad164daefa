"""A history of real migrations: after each step the database is what the state says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import NotSupportedError, connection, models
from django.db.migrations import AlterField
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.db.models.deletion import Collector
from django.test import override_settings

import tenancy
from tenancy.context import LookUp, look_up
from tenancy.exceptions import CrossOrganization
from tenancy.fields import TenantForeignKey, TenantManyToManyField
from tenancy.models import Organization, TenantModel
from tenancy.operations import AlterTenantKey
from tests.evolution import History, find_state_faults, run

pytestmark = pytest.mark.django_db(transaction=True)

APPS = ("alpha", "beta")
Node = tuple[str, str]


@pytest.fixture
def plan() -> Iterator[list[Node]]:
    """The history of the two apps, in order; undone at the end."""
    installed = [*settings.INSTALLED_APPS, *(f"tests.apps.{label}" for label in APPS)]
    with override_settings(INSTALLED_APPS=installed):
        yield find_plan()
        for label in APPS:
            migrate((label, None))


def find_plan() -> list[Node]:
    executor = MigrationExecutor(connection)
    leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] in APPS]
    plan = executor.migration_plan(leaves)
    return [(one.app_label, one.name) for one, _is_backwards in plan]


def migrate(node: tuple[str, str | None]) -> ProjectState:
    """Migrate to a node, and return the state after it."""
    with look_up(LookUp.MIGRATION):
        state: ProjectState = MigrationExecutor(connection).migrate([node])
    return state


def migrate_to_leaves(plan: list[Node]) -> None:
    for app in APPS:
        migrate(next(node for node in reversed(plan) if node[0] == app))


def previous(plan: list[Node], node: Node) -> tuple[str, str | None]:
    names = [name for label, name in plan if label == node[0]]
    position = names.index(node[1])
    return node[0], names[position - 1] if position else None


def test_policies_after_each_migration_are_exact(
    plan: list[Node], acme: Organization
) -> None:
    """Each step forward, and each back to zero, leaves those of its state.

    Policies, triggers and keys are compared; and after all of them a chain of more rows
    than Django deletes at once goes as a whole.
    """
    faults = []
    for node in plan:
        state = migrate(node)
        faults += [(node, fault) for fault in find_state_faults(state, *APPS)]

    assert faults == []
    assert delete_chain(acme) == (260, 0)

    for node in reversed(plan):
        state = migrate(previous(plan, node))
        faults += [(node, fault) for fault in find_state_faults(state, *APPS)]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)

    assert faults == []
    assert not [name for name in tables if name.lower().startswith(("alpha", "upper"))]


def delete_chain(organization: Organization) -> tuple[int, int]:
    """Return how many rows of a chain were deleted with its first, and are left."""
    from tests.apps.alpha.models import Work

    with tenancy.scope(organization):
        first = work = Work.objects.create()
        for _number in range(259):
            work = Work.objects.create(parent=work)
        deleted, _details = first.delete()
        return deleted, Work.objects.count()


def test_rows_when_key_is_of_columns_stay_apart(
    plan: list[Node], acme: Organization, globex: Organization
) -> None:
    """Rows whose key is of several columns are kept and deleted as any other."""
    from tests.apps.beta.models import Meter

    migrate_to_leaves(plan)
    with tenancy.scope(globex):
        theirs = Meter.objects.create(number=1, value=5)
    with tenancy.scope(acme):
        Meter.objects.bulk_create([Meter(number=number) for number in range(4)])
        ours = Meter.objects.get(number=1)
        table = connection.ops.quote_name(Meter._meta.db_table)

        # To a server that tells capitals apart, another name is another table.
        rows = tenancy.raw(f"SELECT m.value FROM {table} m WHERE m.number < %s", [9])
        assert [row.value for row in rows] == [0, 0, 0, 0]
        for write in (theirs.save, theirs.delete, Meter(pk=theirs.pk).save):
            with pytest.raises(CrossOrganization, match="another organization"):
                write()
        assert not Meter.objects.filter(pk=theirs.pk).update(value=0)
        assert ours.delete() == (1, {"beta.Meter": 1})
        assert _collect(*Meter.objects.filter(number__gt=1)).delete()[0] == 2
        joined = Meter.objects.filter(organization__name="Acme")
        # Without them Django asks for the row itself by EXISTS, which is refused.
        if connection.features.supports_tuple_lookups:
            assert joined.delete()[0] == 1
        assert joined.count() < 2
    with tenancy.scope(globex):
        assert Meter.objects.get().value == 5


def _collect(*rows: models.Model) -> Collector:
    collector = Collector(using="default")
    collector.collect(rows)
    return collector


def test_makemigrations_after_the_history_finds_nothing(plan: list[Node]) -> None:
    """The models and the migrations agree."""
    call_command("makemigrations", *APPS, check=True, dry_run=True, verbosity=0)


@pytest.fixture
def history(acme: Organization) -> Iterator[History]:
    """An app with no model yet; undone at the end."""
    history = History("evo", default=acme.pk)
    yield history
    history.undo_all()


def make(name: str, base: type[models.Model] = TenantModel, **body: Any) -> Any:
    """Make a model of the app; Any: its fields, and it, are known at run time only."""
    meta = type("Meta", (), {"app_label": "evo"})
    return type(name, (base,), {"__module__": __name__, "Meta": meta, **body})


def declare_books(
    book: str = "Book",
    tag: str = "Tag",
    tags: str = "tags",
    key: type[models.Field[Any, Any]] = models.BigAutoField,
) -> None:
    label = make(
        tag,
        id=key(primary_key=True),
        parent=TenantForeignKey("self", models.CASCADE, null=True),
    )
    body: dict[str, Any] = {tags: TenantManyToManyField(label)}  # Any: as make().
    make(
        book,
        id=key(primary_key=True),
        parent=TenantForeignKey("self", models.CASCADE, null=True),
        related=TenantManyToManyField("self"),
        **body,
    )


def declare_volume() -> None:
    make(
        "Volume",
        id=models.BigAutoField(primary_key=True),
        parent=TenantForeignKey("self", models.CASCADE, null=True),
    )


def declare_plain_books() -> None:
    label = make("Tag", models.Model)
    make(
        "Book",
        models.Model,
        tag=models.ForeignKey(label, models.CASCADE),
        parent=models.ForeignKey("self", models.CASCADE, null=True),
    )


def declare_adopted_books() -> None:
    label = make("Tag")
    make(
        "Book",
        tag=TenantForeignKey(label, models.CASCADE),
        parent=TenantForeignKey("self", models.CASCADE, null=True),
    )


def declare_links(
    field: Callable[..., models.Field[Any, Any]],
    base: type[models.Model] = TenantModel,
    name: str = "tags",
) -> None:
    label = make("Tag", base)
    make("Book", base, **{name: field(label)})


def declare_both_links() -> None:
    label = make("Tag", TenantModel)
    both = models.ManyToManyField(label), TenantManyToManyField(label, related_name="+")
    make("Book", TenantModel, tags=both[0], labels=both[1])


def add_book(history: History, organization: Organization) -> None:
    """Add two books of which each is the other's, and a tag of the first."""
    own = {"organization_id": organization.pk}
    with tenancy.unscoped("tests: rows of historical models"):
        tag = history.model("Tag").objects.create(**own)
        books = history.model("Book").objects
        first = books.create(**own)
        second = books.create(parent=first, **own)
        history.model("Book_tags").objects.create(book=first, tag=tag, **own)
        links = history.model("Book_related").objects
        links.create(from_book=first, to_book=second, **own)


def count(history: History, *names: str) -> list[int]:
    with tenancy.unscoped("tests: rows of historical models"):
        return [history.model(name).objects.count() for name in names]


@pytest.mark.parametrize(
    ("renamed", "tables"),
    [
        ({"book": "Volume"}, ["Volume", "Volume_tags", "Volume_related"]),
        ({"tag": "Label"}, ["Book", "Book_tags", "Book_related"]),
        ({"tags": "labels"}, ["Book", "Book_labels", "Book_related"]),
    ],
)
def test_rename_about_many_to_many_keeps_rows(
    history: History, acme: Organization, renamed: dict[str, str], tables: list[str]
) -> None:
    """An end or the field gets another name; the links stay, forward and backward."""
    history.evolve(declare_books)
    add_book(history, acme)

    history.evolve(partial(declare_books, **renamed))  # type: ignore[arg-type]  # texts all

    assert history.find_faults() == []
    assert count(history, *tables) == [2, 1, 1]
    history.undo()
    assert history.find_faults() == []
    assert count(history, "Book", "Book_tags", "Book_related") == [2, 1, 1]


def test_remove_of_many_to_many_after_rename_finds_keys(
    history: History, acme: Organization
) -> None:
    """Composite keys that have a former model's name go with what they lead to."""
    history.evolve(declare_books)
    add_book(history, acme)
    history.evolve(partial(declare_books, book="Volume"))

    history.evolve(declare_volume)

    assert history.find_faults() == []
    assert count(history, "Volume") == [2]
    history.undo()
    assert history.find_faults() == []


def test_alter_of_auto_field_with_rows_keeps_policies(
    history: History, acme: Organization
) -> None:
    """Keys that relations refer to become greater ones, forward and backward."""
    history.evolve(partial(declare_books, key=models.AutoField))
    add_book(history, acme)

    operations = history.evolve(declare_books)

    assert [type(one) for one in operations] == [AlterTenantKey, AlterTenantKey]
    assert history.find_faults() == []
    history.undo()
    assert history.find_faults() == []
    assert count(history, "Book", "Book_tags", "Book_related") == [2, 1, 1]


def test_adoption_of_a_table_with_rows_fills_organization(
    history: History, acme: Organization, globex: Organization
) -> None:
    """A plain model becomes a tenant model; the default says whose its rows are."""
    history.evolve(declare_plain_books)
    tag = history.model("Tag").objects.create()
    first = history.model("Book").objects.create(tag=tag)
    history.model("Book").objects.create(tag=tag, parent=first)

    history.evolve(declare_adopted_books)

    assert history.find_faults() == []
    with tenancy.unscoped("tests: rows of historical models"):
        owners = history.model("Book").objects.values_list("organization", flat=True)
        assert list(owners) == [acme.pk, acme.pk]
    history.undo()
    assert history.model("Book").objects.count() == 2


def test_links_are_copied_by_historical_models(
    history: History, acme: Organization
) -> None:
    """In a data migration add() names the organization of the row it adds to."""
    history.evolve(partial(declare_links, models.ManyToManyField))
    with tenancy.unscoped("tests: rows of historical models"):
        tag = history.model("Tag").objects.create(organization_id=acme.pk)
        book = history.model("Book").objects.create(organization_id=acme.pk)
        book.tags.add(tag)
    history.evolve(declare_both_links)
    with tenancy.unscoped("tests: a data migration"):
        for book in history.model("Book").objects.all():
            book.labels.add(*book.tags.all())

    history.evolve(partial(declare_links, TenantManyToManyField, name="labels"))

    assert history.find_faults() == []
    assert count(history, "Book_labels") == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((models.ManyToManyField, models.Model), (TenantManyToManyField,)),
        ((TenantManyToManyField,), (models.ManyToManyField,)),
    ],
)
def test_makemigrations_of_many_to_many_of_another_kind_is_refused(
    history: History, before: tuple[Any, ...], after: tuple[Any, ...]
) -> None:
    """Nothing is written of what no database can do, and the error says what to do."""
    history.evolve(partial(declare_links, *before))

    with pytest.raises(CommandError, match="'evo.Book.tags' .* Put a field of another"):
        history.write(partial(declare_links, *after))


def test_migrate_of_many_to_many_of_another_kind_is_refused(history: History) -> None:
    """An operation that Django's makemigrations wrote stops before it does anything."""
    history.evolve(partial(declare_links, models.ManyToManyField))
    operation = AlterField("book", "tags", TenantManyToManyField("evo.tag"))

    with pytest.raises(NotSupportedError, match="Put a field of another name"):
        run(history.state, "evo", [operation])

    assert history.find_faults() == []
