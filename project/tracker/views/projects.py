from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.messages.views import SuccessMessageMixin
from django.db.models import Count, Q
from django.urls import reverse
from django.views.generic import CreateView, DetailView, ListView, UpdateView

from project.tracker.forms import LabelForm, ProjectForm
from project.tracker.models import Label, Project, Task
from project.tracker.views.access import MemberView
from project.tracker.views.tasks import list_columns


class ProjectListView(MemberView, ListView):  # type: ignore[type-arg]  # generic in the stubs only
    """The organization's projects, with how far each is."""

    # Built when this file is imported, and run in the scope of each request.
    queryset = Project.objects.annotate(
        total=Count("tasks"), done=Count("tasks", filter=Q(tasks__status="done"))
    ).order_by("name")
    template_name = "tracker/project_list.html"


class ProjectDetailView(MemberView, DetailView):  # type: ignore[type-arg]  # generic in the stubs only
    """A project with its board."""

    queryset = Project.objects.all()
    template_name = "tracker/project_detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the columns of the board."""
        columns = list_columns(Task.objects.filter(project=self.object))
        query = f"project={self.object.pk}&"
        return super().get_context_data(columns=columns, query=query, **kwargs)


class ProjectCreateView(MemberView, SuccessMessageMixin, CreateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a new project."""

    form_class = ProjectForm
    template_name = "tracker/form.html"
    success_message = "The project %(name)s is made."
    extra_context = {"title": "New project", "submit": "Create project"}


class ProjectUpdateView(MemberView, SuccessMessageMixin, UpdateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a project."""

    queryset = Project.objects.all()
    form_class = ProjectForm
    template_name = "tracker/form.html"
    success_message = "The project %(name)s is saved."
    extra_context = {"title": "Edit project", "submit": "Save project"}


class LabelListView(MemberView, ListView):  # type: ignore[type-arg]  # generic in the stubs only
    """The organization's labels, with the number of tasks of each."""

    queryset = Label.objects.annotate(total=Count("tasks")).order_by("name")
    template_name = "tracker/label_list.html"


class LabelFormView(MemberView):
    """Where the forms of labels lead."""

    def get_success_url(self) -> str:
        """Return to the labels."""
        messages.success(self.request, "The label is saved.")
        return reverse("tracker:label-list")


class LabelCreateView(LabelFormView, CreateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a new label."""

    form_class = LabelForm
    template_name = "tracker/form.html"
    extra_context = {"title": "New label", "submit": "Create label"}


class LabelUpdateView(LabelFormView, UpdateView):  # type: ignore[type-arg]  # generic in the stubs only
    """The form of a label."""

    queryset = Label.objects.all()
    form_class = LabelForm
    template_name = "tracker/form.html"
    extra_context = {"title": "Edit label", "submit": "Save label"}
