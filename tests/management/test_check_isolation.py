from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tenancy import policies
from tenancy.backends.enforcement import Fault

pytestmark = pytest.mark.django_db

fault = Fault("notes_note", "policy", "The policy is missing.", "Run 'migrate'.")


class Elsewhere:
    """A router that keeps every model out of the database."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        """Say no."""
        return False


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """What the database is said to lack."""
    found: list[Fault] = []
    monkeypatch.setattr(policies, "find_faults", lambda connection: found)
    return found


def test_check_isolation_of_a_whole_database_lists_tables(faults: list[Fault]) -> None:
    """With no fault, each protected table is listed."""
    output = io.StringIO()

    call_command("check_isolation", stdout=output)

    assert "notes_note" in output.getvalue()
    assert "are kept by" in output.getvalue()


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "One fault .* Mend it, and"), (2, "2 faults .* Mend them, and")],
)
def test_check_isolation_with_faults_fails(
    faults: list[Fault], number: int, words: str
) -> None:
    """Each fault is printed with its mend, and the exit status is 1."""
    faults.extend([fault] * number)
    output = io.StringIO()

    with pytest.raises(CommandError, match=words) as caught:
        call_command("check_isolation", stdout=output)

    assert caught.value.returncode == 1
    assert "'notes_note': The policy is missing." in output.getvalue()
    assert "Run 'migrate'." in output.getvalue()


def test_check_isolation_as_json_is_json(faults: list[Fault]) -> None:
    """With --json, the output is data."""
    faults.append(fault)
    output = io.StringIO()

    with pytest.raises(CommandError):
        call_command("check_isolation", as_json=True, stdout=output)

    content = json.loads(output.getvalue())
    assert content["faults"][0]["kind"] == "policy"
    assert "notes_note" in content["tables"]


@override_settings(DATABASE_ROUTERS=[Elsewhere()])
def test_check_isolation_of_a_database_without_tables_says_so() -> None:
    """Where the routers put no protected table, nothing is called kept."""
    output = io.StringIO()

    call_command("check_isolation", stdout=output)

    assert "'default' holds no protected table" in output.getvalue()
    assert "are kept" not in output.getvalue()
