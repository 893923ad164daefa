"""One model of each kind that the promise speaks of."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models

from tenancy.contrib.contenttypes import TenantGenericForeignKey, TenantGenericRelation
from tenancy.fields import (
    TenantForeignKey,
    TenantManyToManyField,
    TenantOneToOneField,
)
from tenancy.managers import TenantManager
from tenancy.models import TenantModel


class Category(models.Model):
    """A global row, which rows of every organization refer to."""

    name = models.CharField(max_length=50, unique=True)

    def __str__(self) -> str:
        return self.name


class FolderManager(TenantManager["Folder"]):
    """Finds folders by their names, as fixtures with natural keys do."""

    def get_by_natural_key(self, name: str) -> Folder:
        return self.get(name=name)


class Folder(TenantModel):
    """A tree of places for notes."""

    name = models.CharField(max_length=50)
    parent = TenantForeignKey(
        "self", on_delete=models.CASCADE, related_name="children", null=True, blank=True
    )

    objects: ClassVar[FolderManager] = FolderManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="notebook_folder_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.name,)


class LiveManager(TenantManager["Note"]):
    """Narrows the rows, as projects do."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(is_archived=False)


class Note(TenantModel):
    """A text, with one relation of each kind."""

    code = models.CharField(max_length=30)
    text = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    weight = models.IntegerField(default=1)
    written_at = models.DateTimeField(null=True)
    is_archived = models.BooleanField(default=False)
    folder = TenantForeignKey(
        Folder, on_delete=models.SET_NULL, related_name="notes", null=True, blank=True
    )
    category = TenantForeignKey(
        Category, on_delete=models.PROTECT, related_name="notes", null=True, blank=True
    )
    author = TenantForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="notes",
        null=True,
        blank=True,
    )
    places = TenantManyToManyField(Folder, through="Placing", related_name="placed")
    friends = TenantManyToManyField("self")
    readers = TenantManyToManyField(settings.AUTH_USER_MODEL, related_name="readable")
    remarks = TenantGenericRelation("Remark", related_query_name="note")

    objects: ClassVar[TenantManager[Note]] = TenantManager()
    live = LiveManager()

    class Meta:
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "code"], name="notebook_note_code_once"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class LoudNote(Note):
    """A proxy."""

    class Meta:
        proxy = True

    def __str__(self) -> str:
        return self.code.upper()


class Cover(TenantModel):
    """At most one for each note."""

    note = TenantOneToOneField(Note, on_delete=models.CASCADE, related_name="cover")
    color = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.color


class Placing(TenantModel):
    """A note in a folder: a table of the project's own between two."""

    note = TenantForeignKey(Note, on_delete=models.CASCADE, related_name="placings")
    folder = TenantForeignKey(Folder, on_delete=models.CASCADE, related_name="placings")
    shelf = models.CharField(max_length=10, blank=True)

    def __str__(self) -> str:
        return self.shelf


class Remark(TenantModel):
    """What was said about any row."""

    content_type = TenantForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    target = TenantGenericForeignKey()
    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text


class Pin(models.Model):
    """A global row that refers to a note, one to one."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="pins"
    )
    note = TenantOneToOneField(Note, on_delete=models.CASCADE, related_name="pin")

    def __str__(self) -> str:
        return f"{self.user_id}: {self.note_id}"
