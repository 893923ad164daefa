"""The same tables as plain Django has them: no tenant model, no policy, no guard."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from project.tracker.models import Task


class Holder(models.Model):
    """What an organization is to plain Django."""

    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return str(self.pk)


class PlainMember(models.Model):
    """What a membership is to plain Django."""

    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return str(self.pk)


class PlainProject(models.Model):
    """A project, with the columns of the tracker's."""

    organization = models.ForeignKey(Holder, models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[PlainProject]] = models.Manager()

    class Meta:
        app_label = "benchmarks"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PlainTask(models.Model):
    """A task, with the columns and indexes of the tracker's."""

    organization = models.ForeignKey(
        Holder, models.CASCADE, related_name="+", db_index=False
    )
    project = models.ForeignKey(PlainProject, models.CASCADE, related_name="+")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Task.Status, default="todo")
    priority = models.PositiveSmallIntegerField(choices=Task.Priority, default=2)
    assignee = models.ForeignKey(
        PlainMember, models.SET_NULL, null=True, related_name="+"
    )
    due_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[PlainTask]] = models.Manager()

    class Meta:
        app_label = "benchmarks"
        ordering = ["-priority", "-id"]
        indexes = [
            models.Index(fields=["organization", "id"], name="plain_target"),
            models.Index(
                fields=["organization", "status", "-priority", "-id"],
                name="plain_status",
            ),
            models.Index(
                fields=["organization", "-priority", "-id"], name="plain_order"
            ),
            models.Index(
                fields=["organization", "project", "status"], name="plain_project"
            ),
            models.Index(
                fields=["organization", "assignee", "status"], name="plain_assignee"
            ),
            # So that a list that names no organization has an index as well.
            models.Index(fields=["-priority", "-id"], name="plain_all"),
        ]

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the task, with the time of it, as the tracker's does."""
        self.updated_at = timezone.now()
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit
