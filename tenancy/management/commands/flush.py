from __future__ import annotations

import logging
from typing import Any

from django.core.management.commands import flush

from tenancy.context import LookUp, look_up
from tenancy.transactions import deleting

logger = logging.getLogger("tenancy")


class Command(flush.Command):
    """Django's flush, unscoped: it removes every organization's rows."""

    def handle(self, **options: Any) -> Any:
        """Run the command, and say in the log that it is unscoped."""
        logger.info("flush runs unscoped on the database %r", options["database"])
        with look_up(LookUp.FLUSH), deleting(options["database"]):
            return super().handle(**options)
