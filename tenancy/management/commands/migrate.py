from __future__ import annotations

import logging
from typing import Any

from django.core.management.commands import migrate

from tenancy.context import LookUp, look_up
from tenancy.management.autodetector import TenancyAutodetector

logger = logging.getLogger("tenancy")


class Command(migrate.Command):
    """Django's migrate, unscoped: data migrations reach every organization's rows."""

    # Django asks that it is the one of makemigrations.
    autodetector = TenancyAutodetector

    def handle(self, *args: Any, **options: Any) -> Any:
        """Run the command, and say in the log that it is unscoped."""
        logger.info("migrate runs unscoped on the database %r", options["database"])
        with look_up(LookUp.MIGRATION):
            return super().handle(*args, **options)
