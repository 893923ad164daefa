from __future__ import annotations

import pytest
from django.core import checks
from django.db import connection
from django.db.migrations.writer import MigrationWriter
from django.db.models import F, Index, Q

from tenancy.indexes import PartialIndex
from tenancy.models import Invitation

INDEX = PartialIndex(
    fields=["organization", "status", "-expires_at"],
    name="invitation_soon",
    where=Q(status="pending"),
)


def test_partial_index_when_written_into_migration_comes_back() -> None:
    """A migration states the fields, the name and the condition, and makes the same."""
    text, imports = MigrationWriter.serialize(INDEX)

    names: dict[str, object] = {}
    exec("\n".join([*sorted(imports), f"index = {text}"]), names)

    assert imports >= {"import tenancy.indexes"}
    assert names["index"] == INDEX
    assert INDEX.clone() == INDEX
    assert (
        PartialIndex(fields=INDEX.fields, name=INDEX.name, where=Q(status="revoked"))
        != INDEX
    )


@pytest.mark.django_db
def test_partial_index_when_created_holds_what_the_database_can() -> None:
    """The statement is Django's own: of a condition, or of all rows."""
    fields = INDEX.on(connection).fields
    partial = Index(fields=fields, name=INDEX.name, condition=INDEX.where)

    editor = connection.schema_editor(collect_sql=True)
    sql = str(INDEX.create_sql(Invitation, editor))
    expected = str(partial.create_sql(Invitation, editor))

    assert sql == expected
    assert (" WHERE " in sql) is connection.features.supports_partial_indexes


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (Q(status="pending"), ["organization", "-expires_at"]),
        (Q(status__exact="pending") & Q(email="a"), ["organization", "-expires_at"]),
        (Q(organization=1, status=2, expires_at=3), None),
        (Q(status=F("email")), None),
        (Q(status__in=["pending"]), None),
        (Q(status__isnull=False), None),
        (~Q(status="pending"), None),
        (Q(status="pending") | Q(email="a"), None),
        (~Q(Q(status="pending"), email="a"), None),
    ],
)
def test_partial_index_has_no_column_whose_value_is_told(
    where: Q, kept: list[str] | None
) -> None:
    """PostgreSQL's has what a query of its rows still asks; others have all."""
    fields = ["organization", "status", "-expires_at"]
    index = PartialIndex(fields=fields, name="soon", where=where)

    found = index.on(connection).fields

    is_shorter = connection.vendor == "postgresql" and kept is not None
    assert found == (kept if is_shorter else fields)


@pytest.mark.django_db
def test_partial_index_when_checked_gives_no_warning() -> None:
    """No database warns of a condition that it does not keep."""
    messages = checks.run_checks(databases=[connection.alias])

    assert [
        one.id for one in messages if one.id in ("models.W037", "models.W040")
    ] == []
