from __future__ import annotations

import logging
from typing import Any

from django.core.management.commands import flush
from django.db import connections

from tenancy.backends import get_backend
from tenancy.context import LookUp, look_up

logger = logging.getLogger("tenancy")


class Command(flush.Command):
    """Django's flush, unscoped: it removes every organization's rows."""

    def handle(self, **options: Any) -> Any:
        """Run the command, and say in the log that it is unscoped."""
        logger.info("flush runs unscoped on the database %r", options["database"])
        backend = get_backend(connections[options["database"]])
        with look_up(LookUp.FLUSH), backend.deleting():
            return super().handle(**options)
