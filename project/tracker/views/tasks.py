from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import StreamingHttpResponse
from django.urls import reverse
from django.views.generic import (
    CreateView,
    DeleteView,
    DetailView,
    ListView,
    TemplateView,
    UpdateView,
)

from project.tracker.forms import (
    AttachmentForm,
    BlockerForm,
    CommentForm,
    TaskFilterForm,
    TaskForm,
)
from project.tracker.models import Bookmark, Task
from project.tracker.views.access import MemberView

ROWS_A_PAGE = 25
CARDS_A_COLUMN = 12


@dataclass(frozen=True)
class Column:
    """One column of a board: its first cards, and how many there are."""

    status: str
    title: str
    tasks: list[Task]
    total: int


def list_columns(tasks: QuerySet[Task]) -> list[Column]:
    """Return the columns of a board of the tasks."""
    # order_by() takes the model's ordering away, which would split the groups.
    counts = tasks.order_by().values_list("status").annotate(total=Count("pk"))
    totals: dict[str, int] = dict(counts)
    return [
        Column(
            status.value,
            str(status.label),
            list(with_relations(tasks.filter(status=status))[:CARDS_A_COLUMN]),
            totals.get(status.value, 0),
        )
        for status in Task.Status
    ]


def with_relations(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Return the tasks with all that a row or a card shows."""
    return tasks.select_related("project", "assignee__user").prefetch_related("labels")


class FilteredTasks(MemberView):
    """Tasks by the filter in the address."""

    def get_tasks(self) -> QuerySet[Task]:
        """Return the tasks that the filter leaves."""
        self.filter = TaskFilterForm(self.request.GET, user=self.request.user)
        return self.filter.apply(Task.objects.all())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the filter, and its part of the address for links."""
        parameters = self.request.GET.copy()
        parameters.pop("page", None)
        query = parameters.urlencode()
        # The generic view beside this class has it.
        return super().get_context_data(  # type: ignore[misc, no-any-return]
            filter=self.filter, query=query + "&" if query else "", **kwargs
        )


class TaskListView(FilteredTasks, ListView):  # type: ignore[type-arg]  # generic in the stubs only
    """Tasks, one a row."""

    paginate_by = ROWS_A_PAGE
    template_name = "tracker/task_list.html"

    def get_queryset(self) -> QuerySet[Task]:
        """Return the tasks that the filter leaves."""
        return with_relations(self.get_tasks())


class BoardView(FilteredTasks, TemplateView):
    """Tasks by status, a column each."""

    template_name = "tracker/board.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the columns."""
        columns = list_columns(self.get_tasks())
        return super().get_context_data(columns=columns, **kwargs)


class ExportView(FilteredTasks):
    """Tasks as a CSV file, sent while the database still reads."""

    def get(self, request: Any) -> StreamingHttpResponse:
        """Return the file."""
        tasks = self.get_tasks().select_related("project")
        return StreamingHttpResponse(
            write_csv(tasks),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="tasks.csv"'},
        )


class Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        """Return the text."""
        return text


def write_csv(tasks: QuerySet[Task]) -> Iterator[str]:
    """Return the lines of a CSV file of the tasks."""
    writer = csv.writer(Echo())
    yield writer.writerow(["key", "project", "title", "status", "priority", "due on"])
    for task in tasks.iterator(chunk_size=500):
        yield writer.writerow(
            [
                task.pk,
                _as_text(task.project.name),
                _as_text(task.title),
                task.status,
                task.get_priority_display(),
                task.due_on or "",
            ]
        )


def _as_text(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value


class TaskDetailView(MemberView, DetailView):  # type: ignore[type-arg]  # generic in the stubs only
    """A task with its comments, blockers and attachments."""

    queryset = Task.objects.select_related("project", "assignee__user")
    template_name = "tracker/task_detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what belongs to the task, and the forms to add to it."""
        task = self.object
        return super().get_context_data(
            comments=task.comments.select_related("author__user"),
            blockers=task.blocked_by.select_related("project"),
            blocked=task.blocks.select_related("project"),
            is_bookmarked=Bookmark.objects.filter(
                user=self.request.user, task=task
            ).exists(),
            statuses=Task.Status,
            comment_form=CommentForm(),
            blocker_form=BlockerForm(task=task),
            attachment_form=AttachmentForm(),
            **kwargs,
        )


class TaskCreateView(MemberView, CreateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a new task."""

    form_class = TaskForm
    template_name = "tracker/form.html"
    extra_context = {"title": "New task", "submit": "Create task"}

    def get_initial(self) -> dict[str, Any]:
        """Take the project and the status from the address."""
        given = self.request.GET
        initial = {name: given[name] for name in ("project", "status") if name in given}
        return {**super().get_initial(), **initial}


class TaskUpdateView(MemberView, UpdateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a task."""

    queryset = Task.objects.all()
    form_class = TaskForm
    template_name = "tracker/form.html"
    extra_context = {"title": "Edit task", "submit": "Save task"}


class TaskDeleteView(MemberView, DeleteView):  # type: ignore[type-arg]  # generic in the stubs only
    """The question before a task is deleted."""

    queryset = Task.objects.all()
    template_name = "tracker/task_confirm_delete.html"

    def get_success_url(self) -> str:
        """Return to the tasks."""
        messages.success(self.request, "The task is deleted.")
        return reverse("tracker:task-list")
