"""Write the description of what the migrations make, from a new SQLite database."""

from __future__ import annotations

import json
import os
from pathlib import Path

import django

PATH = Path(__file__).parent / "schema.json"
COMMAND = "python -m tests.management.write_schema"


def main() -> None:
    """Migrate the database of the tests' settings, and describe it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ.pop("TENANCY_TEST_DATABASE_URL", None)
    django.setup()

    from django.core.management import call_command
    from django.db import connection

    from tenancy.management.description import describe

    call_command("migrate", verbosity=0)
    PATH.write_text(json.dumps(describe(connection), indent=2) + "\n")


if __name__ == "__main__":
    main()
