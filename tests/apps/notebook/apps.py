from __future__ import annotations

from django.apps import AppConfig


class NotebookConfig(AppConfig):
    """Models of every kind of relation, for the tests of isolation."""

    name = "tests.apps.notebook"
    default_auto_field = "django.db.models.BigAutoField"
