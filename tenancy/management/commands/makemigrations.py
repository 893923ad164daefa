from __future__ import annotations

from django.core.management.commands import makemigrations

from tenancy.management.autodetector import TenancyAutodetector


class Command(makemigrations.Command):
    """Django's makemigrations, which also removes the policies of deleted models."""

    autodetector = TenancyAutodetector
