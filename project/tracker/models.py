from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from tenancy.fields import TenantForeignKey, TenantManyToManyField
from tenancy.models import TenantModel


class Project(TenantModel):
    """Work that belongs together."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="tracker_project_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tracker:project-detail", args=[self.pk])


class Label(TenantModel):
    """A word by which tasks are found again."""

    class Color(models.TextChoices):
        GREY = "grey"
        RED = "red"
        AMBER = "amber"
        GREEN = "green"
        TEAL = "teal"
        BLUE = "blue"
        VIOLET = "violet"
        PINK = "pink"

    name = models.CharField(max_length=50)
    color = models.CharField(max_length=10, choices=Color, default=Color.GREY)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="tracker_label_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Task(TenantModel):
    """A piece of work in a project."""

    class Status(models.TextChoices):
        TODO = "todo", "To do"
        DOING = "doing", "Doing"
        DONE = "done", "Done"

    class Priority(models.IntegerChoices):
        LOW = 1, "Low"
        NORMAL = 2, "Normal"
        HIGH = 3, "High"
        URGENT = 4, "Urgent"

    project = TenantForeignKey(Project, on_delete=models.CASCADE, related_name="tasks")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.TODO)
    priority = models.PositiveSmallIntegerField(
        choices=Priority, default=Priority.NORMAL
    )
    assignee = TenantForeignKey(
        "tenancy.Membership",
        on_delete=models.SET_NULL,
        related_name="tasks",
        null=True,
        blank=True,
    )
    labels = TenantManyToManyField(Label, related_name="tasks", blank=True)
    blocked_by = TenantManyToManyField(
        "self", symmetrical=False, related_name="blocks", blank=True
    )
    due_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-priority", "-id"]
        indexes = [
            models.Index(
                fields=["organization", "status", "-priority", "-id"],
                name="tracker_task_status",
            ),
            models.Index(
                fields=["organization", "-priority", "-id"],
                name="tracker_task_order",
            ),
            models.Index(
                fields=["organization", "project", "status"],
                name="tracker_task_project",
            ),
            models.Index(
                fields=["organization", "assignee", "status"],
                name="tracker_task_assignee",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the task, with the time of it."""
        self.updated_at = timezone.now()
        fields: Iterable[str] | None = kwargs.get("update_fields")
        if fields is not None:
            kwargs["update_fields"] = {*fields, "updated_at"}
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def get_absolute_url(self) -> str:
        return reverse("tracker:task-detail", args=[self.pk])

    @property
    def is_overdue(self) -> bool:
        """Whether it should be done and is not."""
        return (
            self.due_on is not None
            and self.status != self.Status.DONE
            and self.due_on < timezone.localdate()
        )


class Comment(TenantModel):
    """What a member said about a task."""

    task = TenantForeignKey(Task, on_delete=models.CASCADE, related_name="comments")
    author = TenantForeignKey(
        "tenancy.Membership", on_delete=models.CASCADE, related_name="comments"
    )
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(
                fields=["organization", "task", "created_at"],
                name="tracker_comment_task",
            ),
        ]

    def __str__(self) -> str:
        return self.body[:60]


def attachment_path(attachment: Attachment, name: str) -> str:
    """Return where a file is kept: apart by organization, at a path not guessed."""
    suffix = PurePosixPath(name).suffix.lower()[:10]
    return f"attachments/{attachment.organization_id}/{uuid.uuid4().hex}{suffix}"


class Attachment(TenantModel):
    """A file of a task."""

    task = TenantForeignKey(Task, on_delete=models.CASCADE, related_name="attachments")
    file = models.FileField(upload_to=attachment_path, max_length=200)
    name = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField(default=0)
    uploaded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["uploaded_at", "id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tracker:attachment", args=[self.pk])


class Bookmark(models.Model):
    """A task that a user wants to find again.

    A global row: its user may be a member of several organizations. Whoever asks for
    tasks by it gets those of the scope.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bookmarks"
    )
    task = TenantForeignKey(Task, on_delete=models.CASCADE, related_name="bookmarks")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "task"], name="tracker_bookmark_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.task_id}"
