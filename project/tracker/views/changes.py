"""The small changes that the page of a task offers, each by POST."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from project.tracker.forms import AttachmentForm, BlockerForm, CommentForm, StatusForm
from project.tracker.models import Attachment, Bookmark, Task
from project.tracker.views.access import MemberView


class TaskChangeView(MemberView):
    """Changes one task of the scope, and shows it again."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponseBase:
        """Make the change."""
        task = get_object_or_404(Task, pk=pk)
        self.change(task, **kwargs)
        return redirect(task)

    def change(self, task: Task, **kwargs: Any) -> None:
        """Make the change to the task."""
        raise NotImplementedError

    def save(self, form: Any) -> None:
        """Save a valid form, or tell what is wrong with it."""
        if form.is_valid():
            form.save()
            return
        for errors in form.errors.values():
            messages.error(self.request, " ".join(errors))


class CommentView(TaskChangeView):
    """Adds a comment."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Add the comment, by the member who is signed in."""
        form = CommentForm(self.request.POST)
        form.instance.task = task
        form.instance.author = self.request.membership
        self.save(form)


class StatusView(TaskChangeView):
    """Moves a task to another column."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Set the status."""
        self.save(StatusForm(self.request.POST, instance=task))


class BookmarkView(TaskChangeView):
    """Sets a bookmark, or takes it away."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Toggle the user's bookmark."""
        bookmark, is_new = Bookmark.objects.get_or_create(
            user=self.request.user, task=task
        )
        if not is_new:
            bookmark.delete()


class BlockerView(TaskChangeView):
    """Names a task that must be done before."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Add the blocker."""
        self.save(BlockerForm(self.request.POST, task=task))


class BlockerRemoveView(TaskChangeView):
    """Takes a blocker away."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Remove the blocker."""
        task.blocked_by.remove(get_object_or_404(Task, pk=kwargs["blocker_pk"]))


class AttachmentAddView(TaskChangeView):
    """Adds a file."""

    def change(self, task: Task, **kwargs: Any) -> None:
        """Keep the file under the organization's own path."""
        form = AttachmentForm(self.request.POST, self.request.FILES)
        form.instance.task = task
        self.save(form)


class AttachmentView(MemberView):
    """Sends a file of the scope; it has no other address."""

    def get(self, request: HttpRequest, pk: int) -> FileResponse:
        """Return the file, to be kept and not shown."""
        attachment = get_object_or_404(Attachment, pk=pk)
        try:
            file = attachment.file.open()
        except FileNotFoundError as error:
            raise Http404 from error
        return FileResponse(file, as_attachment=True, filename=attachment.name)
