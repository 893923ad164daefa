"""A URLconf that a test imports late, with a queryset made at its import."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from project.tracker.models import Project

PROJECTS = Project.objects.all()


def show(request: HttpRequest) -> HttpResponse:
    """Show the scope's projects."""
    return HttpResponse("".join(project.name for project in PROJECTS.all()))


urlpatterns = [path("", show)]
