from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from project.tracker.models import Attachment, Comment, Label, Project, Task
from tenancy.models import Membership

LARGEST_FILE = 5 * 1024 * 1024


def list_members() -> QuerySet[Membership]:
    """Return the live members of the scope's organization, with their users."""
    members: QuerySet[Membership] = Membership.objects.live()
    return members.select_related("user").order_by("user__name", "user__email")


class ProjectForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Project
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 5})}


class LabelForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Label
        fields = ["name", "color"]


class MemberChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """A choice of members, by their names."""

    def label_from_instance(self, obj: Membership) -> str:
        """Return the name of the member's user."""
        return str(obj.user.get_full_name())


class TaskForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    assignee = MemberChoiceField(Membership.objects.none(), required=False)

    class Meta:
        model = Task
        fields = [
            "project",
            "title",
            "description",
            "status",
            "priority",
            "assignee",
            "due_on",
            "labels",
        ]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 5}),
            "due_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "labels": forms.CheckboxSelectMultiple,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assignee: Any = self.fields["assignee"]  # Any: Field has no queryset.
        assignee.queryset = list_members()


class StatusForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Task
        fields = ["status"]


class CommentForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Comment
        fields = ["body"]
        widgets = {
            "body": forms.Textarea(attrs={"rows": 3, "placeholder": "Say something"})
        }
        labels = {"body": "Comment"}


class AttachmentForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Attachment
        fields = ["file"]

    def clean_file(self) -> Any:
        """Refuse a file that is too large for a demo."""
        file = self.cleaned_data["file"]
        if file.size > LARGEST_FILE:
            raise ValidationError("The file is larger than 5 MB. Choose a smaller one.")
        return file

    def save(self, commit: bool = True) -> Attachment:
        """Save the file, with its name and size."""
        file = self.cleaned_data["file"]
        self.instance.name, self.instance.size = file.name, file.size
        attachment: Attachment = super().save(commit)
        return attachment


class BlockerForm(forms.Form):
    """The number of a task that must be done before another."""

    blocker = forms.ModelChoiceField(
        Task.objects.all(),
        label="Blocked by task number",
        widget=forms.NumberInput(attrs={"min": 1, "placeholder": "Task number"}),
        error_messages={"invalid_choice": "There is no task with this number."},
    )

    def __init__(self, *args: Any, task: Task, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.task = task

    def clean_blocker(self) -> Task:
        """Refuse a task that waits for this one."""
        blocker: Task = self.cleaned_data["blocker"]
        if blocker == self.task:
            raise ValidationError("A task cannot wait for itself.")
        if self.task.blocks.contains(blocker):
            raise ValidationError("That task waits for this one already.")
        return blocker

    def save(self) -> None:
        """Add the blocker."""
        self.task.blocked_by.add(self.cleaned_data["blocker"])


class TaskFilterForm(forms.Form):
    """What the list, the board and the export leave out."""

    q = forms.CharField(
        label="Search",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Search tasks"}),
    )
    project = forms.ModelChoiceField(
        Project.objects.all(), required=False, empty_label="All projects"
    )
    status = forms.ChoiceField(
        choices=[("", "Any status"), *Task.Status.choices], required=False
    )
    label = forms.ModelChoiceField(
        Label.objects.all(), required=False, empty_label="Any label"
    )
    assignee = MemberChoiceField(
        Membership.objects.none(), required=False, empty_label="Anybody"
    )
    bookmarked = forms.BooleanField(label="My bookmarks", required=False)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        assignee: Any = self.fields["assignee"]  # Any: Field has no queryset.
        assignee.queryset = list_members()

    def apply(self, tasks: QuerySet[Task]) -> QuerySet[Task]:
        """Return the tasks that are left; none where the filter is no valid one."""
        if not self.is_valid():
            return tasks.none()
        chosen = self.cleaned_data
        if chosen["q"]:
            tasks = tasks.filter(
                Q(title__icontains=chosen["q"]) | Q(description__icontains=chosen["q"])
            )
        for name in ("project", "status", "assignee"):
            if chosen[name]:
                tasks = tasks.filter(**{name: chosen[name]})
        if chosen["label"]:
            tasks = tasks.filter(labels=chosen["label"])
        if chosen["bookmarked"]:
            tasks = tasks.filter(bookmarks__user=self.user)
        return tasks
