from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.generic import TemplateView, View

from project.tracker.forms import SignInForm
from project.tracker.seed import PASSWORD, list_sign_ins
from tenancy.middleware import switch_organization


class SignInView(LoginView):
    """The sign-in page, which tells the people of the demo."""

    template_name = "tracker/sign_in.html"
    authentication_form = SignInForm
    next_page = "tracker:project-list"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the people of the demo, as far as they exist."""
        sign_ins = list_sign_ins()
        return super().get_context_data(
            sign_ins=sign_ins, password=PASSWORD, hide_header=True, **kwargs
        )


class SignOutView(LogoutView):
    """Ends the session, by POST."""

    next_page = "tracker:sign-in"


class OrganizationListView(LoginRequiredMixin, TemplateView):
    """The user's organizations, to choose one."""

    login_url = reverse_lazy("tracker:sign-in")
    template_name = "tracker/organization_list.html"


class SwitchView(LoginRequiredMixin, View):
    """Switches to another organization of the user's, by POST."""

    login_url = reverse_lazy("tracker:sign-in")
    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Choose the organization of the next requests."""
        membership = switch_organization(request, request.POST.get("organization"))
        messages.success(request, f"You are in {membership.organization} now.")
        return redirect("tracker:project-list")
