from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from project.tracker.views import changes, people, projects, tasks

app_name = "tracker"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="tracker:project-list")),
    # Stands before that of tenancy.urls, and knows the people of the demo.
    path("sign-in/", people.SignInView.as_view(), name="sign-in"),
    path("projects/", projects.ProjectListView.as_view(), name="project-list"),
    path("projects/new/", projects.ProjectCreateView.as_view(), name="project-create"),
    path(
        "projects/<int:pk>/",
        projects.ProjectDetailView.as_view(),
        name="project-detail",
    ),
    path(
        "projects/<int:pk>/edit/",
        projects.ProjectUpdateView.as_view(),
        name="project-update",
    ),
    path("labels/", projects.LabelListView.as_view(), name="label-list"),
    path("labels/new/", projects.LabelCreateView.as_view(), name="label-create"),
    path(
        "labels/<int:pk>/edit/",
        projects.LabelUpdateView.as_view(),
        name="label-update",
    ),
    path("tasks/", tasks.TaskListView.as_view(), name="task-list"),
    path("tasks/board/", tasks.BoardView.as_view(), name="board"),
    path("tasks/export/", tasks.ExportView.as_view(), name="task-export"),
    path("tasks/new/", tasks.TaskCreateView.as_view(), name="task-create"),
    path("tasks/<int:pk>/", tasks.TaskDetailView.as_view(), name="task-detail"),
    path("tasks/<int:pk>/edit/", tasks.TaskUpdateView.as_view(), name="task-update"),
    path("tasks/<int:pk>/delete/", tasks.TaskDeleteView.as_view(), name="task-delete"),
    path("tasks/<int:pk>/status/", changes.StatusView.as_view(), name="status"),
    path("tasks/<int:pk>/bookmark/", changes.BookmarkView.as_view(), name="bookmark"),
    path("tasks/<int:pk>/comments/", changes.CommentView.as_view(), name="comment"),
    path(
        "tasks/<int:pk>/attachments/",
        changes.AttachmentAddView.as_view(),
        name="attachment-add",
    ),
    path("tasks/<int:pk>/blockers/", changes.BlockerView.as_view(), name="blocker"),
    path(
        "tasks/<int:pk>/blockers/<int:blocker_pk>/remove/",
        changes.BlockerRemoveView.as_view(),
        name="blocker-remove",
    ),
    path("attachments/<int:pk>/", changes.AttachmentView.as_view(), name="attachment"),
]
