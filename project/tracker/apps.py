from __future__ import annotations

from django.apps import AppConfig


class TrackerConfig(AppConfig):
    """A small issue tracker, whose every row belongs to one organization."""

    name = "project.tracker"
    label = "tracker"
    verbose_name = "Issue tracker"
