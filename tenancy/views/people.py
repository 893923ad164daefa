"""Signing in and out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import login, views
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.translation import gettext as _

from tenancy.forms import SignInForm
from tenancy.views.invitations import WAITING
from tenancy.visits import require_visit


class SignInView(views.LoginView):
    """Sign-in by e-mail address and password, as often as is let pass.

    A project that asks for a second factor derives from it, names its own view before
    these pages in its URLconf, and overrides admit().
    """

    template_name = "tenancy/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """Let in who gave the right password, at a domain its members only.

        At another host a stranger has organizations of their own to go to.
        """
        if not require_visit(self.request).admits(form.get_user()):
            words = _("You are no member of the organization of this domain.")
            form.add_error(None, ValidationError(words, code="stranger"))
            return self.form_invalid(form)
        return self.admit(form.get_user())

    def admit(self, user: Any) -> HttpResponse:
        """Sign the user in, and lead them on.

        The hook for a second factor, which is called with the right password only:
        keep ``user.pk``, ``user.backend`` and get_success_url() in the session, lead to
        a page that asks for it, and let that one call Django's login(). Nobody is
        signed in before. The admin's own page is none of these: lead it here, too.
        """
        login(self.request, user)
        return redirect(self.get_success_url())

    def form_invalid(self, form: Any) -> HttpResponse:
        """Tell what is wrong, with the status of too many tries where it is that."""
        status = 429 if form.is_throttled else 200
        return self.render_to_response(self.get_context_data(form=form), status=status)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether an invitation waits."""
        is_invited = WAITING in self.request.session
        return super().get_context_data(is_invited=is_invited, **kwargs)

    def get_default_redirect_url(self) -> str:
        """Return the invitation that waits, or the page of the settings."""
        if WAITING in self.request.session:
            return str(resolve_url("tenancy:invitation-answer"))
        return super().get_default_redirect_url()


class SignOutView(views.LogoutView):
    """Ends the session, by POST.

    With ``keep=invitation``, an invitation goes on waiting, for somebody who signs in
    as the one to whom it was sent.
    """

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Sign out."""
        token = request.session.get(WAITING)
        response = super().post(request, *args, **kwargs)
        if token is not None and request.POST.get("keep") == "invitation":
            request.session[WAITING] = token
            return redirect("tenancy:sign-in")
        return response

    def get_default_redirect_url(self) -> str:
        """Return the page of the settings, or the sign-in page."""
        chosen = self.next_page or settings.LOGOUT_REDIRECT_URL
        return str(resolve_url(chosen or "tenancy:sign-in"))
