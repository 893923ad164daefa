"""The command that makes the role of unscoped(), and its way back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from tenancy.backends import get_backend
from tenancy.exceptions import UnsupportedDatabase
from tenancy.policies import find_faults
from tests.isolation.forms import drop_role, run_as_administrator, write_role

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> str:
    """Return what the command prints."""
    stream = io.StringIO()
    call_command("create_unscoped_role", *arguments, stdout=stream)
    return stream.getvalue()


@pytest.fixture
def role(settings: Settings, transactional_db: None) -> Iterator[str]:
    """A role's name, which is set, and which nobody has made."""
    name, _statements = write_role("command")
    settings.TENANCY_UNSCOPED_ROLE = name
    yield name
    run("--drop")
    run_as_administrator(
        [f"DO 'BEGIN CREATE ROLE \"{name}\"; EXCEPTION WHEN OTHERS THEN END'"]
    )
    connection.close()
    drop_role(name)


@pytest.fixture
def made(role: str) -> str:
    """The role, made by an administrator."""
    run_as_administrator(write_role("command")[1])
    return role


def test_role_when_not_set_is_refused(settings: Settings) -> None:
    """Without the setting nothing would enter the role."""
    settings.TENANCY_UNSCOPED_ROLE = None

    with pytest.raises(CommandError, match="TENANCY_UNSCOPED_ROLE is not set"):
        run()


def test_role_when_name_differs_is_refused(settings: Settings) -> None:
    """Another name than the setting's would be entered by nothing."""
    settings.TENANCY_UNSCOPED_ROLE = "one"

    with pytest.raises(CommandError, match="Make them the same"):
        run("--name", "other")


def test_role_when_database_has_none_is_refused(settings: Settings) -> None:
    """Where a membership is always inherited, or policies are for nobody, it fails."""
    settings.TENANCY_UNSCOPED_ROLE = "some"
    try:
        get_backend(connection).enforcement.write_unscoped_role("some")
    except UnsupportedDatabase:
        with pytest.raises(CommandError, match="PostgreSQL 16 or later"):
            run()
    else:
        assert "INHERIT FALSE" in run("--print")


def test_role_when_old_server_has_setting_is_reported(
    settings: Settings,
) -> None:
    """The check says that the server is too old for the setting."""
    settings.TENANCY_UNSCOPED_ROLE = "some"
    enforcement: Any = get_backend(connection).enforcement
    if not enforcement.hides_rows or enforcement.connection.pg_version >= 160_000:
        pytest.skip("The database has no fault here: it is new, or has no policies.")

    assert "older than PostgreSQL 16" in str(find_faults(connection))


def test_role_when_nobody_may_make_it_names_the_sql(role: str) -> None:
    """A role that may not create roles is told what an administrator runs."""
    with pytest.raises(CommandError, match="administrator") as caught:
        run()

    assert f'GRANT "{role}" TO' in str(caught.value)


def test_role_when_missing_is_reported(role: str) -> None:
    """The check names a role that is not there, and 'migrate' will not begin."""
    assert f"The role '{role}' is missing." in str(find_faults(connection))
    with pytest.raises(CommandError, match="Run 'create_unscoped_role'"):
        call_command("migrate", verbosity=0)


def test_role_when_printed_sql_has_run_is_whole(role: str) -> None:
    """What is printed is all that an administrator has to run; again is nothing."""
    printed = run("--print").split(";\n")

    for _ in range(2):
        run_as_administrator([join for join in join_blocks(printed) if join])

    assert find_faults(connection) == []
    assert "let the role" in run()
    assert find_faults(connection) == []
    call_command("migrate", verbosity=0)


def join_blocks(parts: list[str]) -> Iterator[str]:
    """Put the statements of a block together again."""
    whole = ""
    for part in parts:
        whole = f"{whole};\n{part}" if whole else part
        if whole.count("$tenancy$") % 2 == 0:
            yield whole.strip()
            whole = ""


def test_policies_when_of_another_form_are_reported(
    made: str, settings: Settings
) -> None:
    """Each form is a fault while the setting asks for the other one."""
    assert {fault.hint for fault in find_faults(connection)} == {
        "Run 'create_unscoped_role'."
    }
    run()
    assert find_faults(connection) == []

    settings.TENANCY_UNSCOPED_ROLE = None

    assert {fault.hint for fault in find_faults(connection)} == {
        "Run 'create_unscoped_role --drop'."
    }
    run("--drop")
    assert find_faults(connection) == []


def test_role_when_inherited_is_reported(made: str) -> None:
    """A membership that is inherited opens everything, and is an error of the check."""
    run()
    member = connection.settings_dict["USER"]
    run_as_administrator([f'GRANT "{made}" TO "{member}" WITH INHERIT TRUE'])

    messages = run_checks(databases=["default"], tags=["database"])

    assert [(m.id, isinstance(m, Error)) for m in messages] == [("tenancy.E012", True)]
    assert "inherits" in messages[0].msg
    with pytest.raises(CommandError, match="administrator"):
        run()
    run_as_administrator(write_role("command")[1])
    assert find_faults(connection) == []
    run_as_administrator([f'REVOKE SET OPTION FOR "{made}" FROM "{member}"'])
    assert "cannot enter" in str(find_faults(connection))
