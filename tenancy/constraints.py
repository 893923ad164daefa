"""Constraints beside Django's own."""

from __future__ import annotations

from django.db.models import UniqueConstraint


class UniqueEverywhere(UniqueConstraint):
    """A value that only one organization has, on purpose.

    For what another system or chance made unique: a payment provider's key, the digest
    of a random token. A refused value tells that it is taken, so that it must be none
    that one organization can guess of another. Takes the arguments of
    UniqueConstraint; a plain one across organizations is a check error (tenancy.E003).
    """
