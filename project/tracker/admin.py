from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db import models

from project.tracker.models import Attachment, Comment, Label, Project, Task
from tenancy.admin import TenantAdmin, TenantStackedInline


@admin.register(Project)
class ProjectAdmin(TenantAdmin):
    list_display = ("name", "created_at")
    search_fields = ("name",)


@admin.register(Label)
class LabelAdmin(TenantAdmin):
    list_display = ("name", "color")
    list_filter = ("color",)
    search_fields = ("name",)


class CommentInline(TenantStackedInline):
    model = Comment
    autocomplete_fields = ("author",)
    formfield_overrides = {
        models.TextField: {"widget": forms.Textarea(attrs={"rows": 3})}
    }


@admin.register(Task)
class TaskAdmin(TenantAdmin):
    list_display = ("title", "project", "status", "priority", "assignee", "due_on")
    list_filter = ("status", "priority", "project")
    list_editable = ("status",)
    list_select_related = ("project", "assignee__user")
    search_fields = ("title",)
    autocomplete_fields = ("project", "assignee", "labels")
    raw_id_fields = ("blocked_by",)
    inlines = (CommentInline,)


@admin.register(Comment)
class CommentAdmin(TenantAdmin):
    list_display = ("__str__", "task", "author", "created_at")
    list_select_related = ("task", "author__user")
    autocomplete_fields = ("task", "author")


@admin.register(Attachment)
class AttachmentAdmin(TenantAdmin):
    list_display = ("name", "task", "size", "uploaded_at")
    list_select_related = ("task",)
    autocomplete_fields = ("task",)
