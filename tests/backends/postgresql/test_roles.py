"""Roles that pass by the policies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import environ
import pytest
from django.db import connection, connections, transaction

import tenancy
from tenancy.checks import check_databases
from tenancy.exceptions import RawSQLRefused, ScopeRequired
from tenancy.models import Organization

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql",
    reason="The database does not have what is PostgreSQL's own",
)


@pytest.fixture
def superuser(transactional_db: None, django_db_blocker: Any) -> Iterator[str]:
    """An alias whose role is a superuser, on the same database."""
    url = environ.Env.db_url_config(os.environ["TENANCY_TEST_POSTGRESQL_SUPERUSER_URL"])
    connections.settings["superuser"] = {
        **connection.settings_dict,
        "USER": url["USER"],
        "PASSWORD": url["PASSWORD"],
    }
    with django_db_blocker.unblock():
        yield "superuser"
        connections["superuser"].close()
    del connections["superuser"]
    del connections.settings["superuser"]


def find_errors(alias: str) -> list[Any]:
    """Return what the check says of the role."""
    found = check_databases(databases=[alias])
    return [error for error in found if error.id == "tenancy.E012"]


def test_role_when_superuser_is_an_error(superuser: str) -> None:
    """A role that passes by the policies is reported (tenancy.E012)."""
    (error,) = find_errors(superuser)

    assert "superuser" in error.msg
    # The server's first role stays what it is: nobody else could give it back.
    assert "CREATE ROLE app LOGIN PASSWORD '...' CREATEDB;" in str(error.hint)
    assert "ALTER ROLE" not in str(error.hint)


@pytest.mark.parametrize(
    "attributes", ["SUPERUSER", "BYPASSRLS", "SUPERUSER BYPASSRLS"]
)
def test_role_when_it_passes_by_is_mended_by_the_hint(
    superuser: str, attributes: str
) -> None:
    """What the hint says to run makes the role an ordinary one."""
    with transaction.atomic(using=superuser), connections[superuser].cursor() as cursor:
        owner = connection.ops.quote_name(connection.settings_dict["USER"])
        cursor.execute(f"CREATE ROLE tenancy_passes {attributes} IN ROLE {owner}")
        cursor.execute("SET LOCAL ROLE tenancy_passes")
        (error,) = find_errors(superuser)
        cursor.execute("RESET ROLE")
        cursor.execute(str(error.hint).partition("or run: ")[2])
        cursor.execute("SET LOCAL ROLE tenancy_passes")
        assert find_errors(superuser) == []
        transaction.set_rollback(True, using=superuser)


def test_raw_read_when_superuser_is_refused(
    superuser: str, acme: Organization, globex: Organization
) -> None:
    """Where the policies do not hold, the guard refuses what they would hide."""
    text = "SELECT name FROM tenancy_organization"

    with connections[superuser].cursor() as cursor:
        with pytest.raises(ScopeRequired):
            cursor.execute(text)
        with tenancy.scope(acme), pytest.raises(RawSQLRefused):
            cursor.execute(text)
    with tenancy.scope(acme):
        names = [o.name for o in Organization.objects.using(superuser).all()]

    assert names == ["Acme"]
