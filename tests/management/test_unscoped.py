"""The commands that reach every organization's rows, and say so."""

from __future__ import annotations

import logging

import pytest
from django.core.management import call_command
from django.db import connection

import tenancy
from tenancy.models import Organization


@pytest.mark.django_db
def test_migrate_says_that_it_is_unscoped(caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line at INFO."""
    with caplog.at_level(logging.INFO, logger="tenancy"):
        call_command("migrate", "notes", verbosity=0)

    assert "migrate runs unscoped on the database 'default'" in caplog.messages


@pytest.mark.django_db(transaction=True)
def test_flush_removes_every_organization(
    acme: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables are empty afterwards, and the log has a line at INFO."""
    with caplog.at_level(logging.INFO, logger="tenancy"):
        call_command("flush", interactive=False, verbosity=0)

    assert "flush runs unscoped on the database 'default'" in caplog.messages
    with tenancy.unscoped("a test"):
        assert not Organization.objects.exists()
    assert connection.is_usable()


@pytest.mark.django_db
def test_makemigrations_finds_nothing_in_the_package() -> None:
    """The package's own migrations are complete."""
    call_command("makemigrations", "tenancy", check=True, dry_run=True, verbosity=0)
