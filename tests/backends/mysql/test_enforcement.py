"""What MySQL and MariaDB must let the migrating user do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connection, connections

from tenancy import checks

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "mysql",
        reason="The database does not have what is MySQL's own",
    ),
    pytest.mark.django_db(transaction=True),
]

READER = "tenancy_reader"


@pytest.fixture
def administer() -> Iterator[Any]:
    """Execute as the server's administrator, on a connection of its own."""
    settings = connection.settings_dict
    driver = connection.Database.connect(  # type: ignore[attr-defined]  # the driver's module
        host=settings["HOST"],
        port=int(settings["PORT"]),
        user="tenancy_admin",
        passwd=settings["PASSWORD"],
        database=settings["NAME"],
        autocommit=True,
    )

    def execute(sql: str) -> Any:
        with driver.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    yield execute
    driver.close()


@pytest.fixture
def reader(administer: Any) -> Iterator[str]:
    """An alias whose user reads and writes, and may create no triggers."""
    name, password = connection.settings_dict["NAME"], connection.settings_dict
    user = f"{READER}_{os.getpid()}"
    administer(f"CREATE USER {user}@'%' IDENTIFIED BY '{password['PASSWORD']}'")
    administer(f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO {user}@'%'")
    connections.settings["reader"] = {**connection.settings_dict, "USER": user}
    yield "reader"
    connections["reader"].close()
    del connections["reader"]
    del connections.settings["reader"]
    administer(f"DROP USER {user}@'%'")


def find_errors(alias: str) -> list[CheckMessage]:
    """Return what the check of rights finds."""
    found = checks.check_databases(databases=[alias])
    return [error for error in found if error.id == "tenancy.E013"]


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_rights_when_no_trigger_privilege_is_an_error(
    reader: str, django_db_blocker: Any
) -> None:
    """A user without the privilege TRIGGER is reported, with what to grant."""
    with django_db_blocker.unblock():
        (error, *others) = find_errors(reader)

    assert error.msg == "The database's user may not create triggers."
    assert "privilege TRIGGER" in str(error.hint)
    assert others == []


def test_rights_when_log_is_not_trusted_is_an_error(administer: Any) -> None:
    """A binary log that does not trust the user's triggers is reported."""
    administer("SET GLOBAL log_bin_trust_function_creators = 0")
    try:
        (error,) = find_errors("default")
    finally:
        administer("SET GLOBAL log_bin_trust_function_creators = 1")

    assert "'log_bin_trust_function_creators' is off" in error.msg
    assert "log_bin_trust_function_creators=1" in str(error.hint)


def test_rights_when_held_are_no_error() -> None:
    """The user of the tests may create triggers."""
    assert find_errors("default") == []
