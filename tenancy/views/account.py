"""A user's own e-mail address and password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import views
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.generic import View

from tenancy import conf
from tenancy.attempts import take_attempt
from tenancy.mail import send_mail_on_commit
from tenancy.refusals import REFUSALS, add_refusal
from tenancy.resolvers import build_site_url
from tenancy.seals import seal, unseal
from tenancy.transactions import find_alias
from tenancy.views.access import (
    ChangeView,
    PageView,
    SignedInView,
    hide_referrer,
    list_entries,
)

_TOKEN = "tenancy_email_token"


class AccountView(SignedInView, PageView):
    """The user's address, whether it is verified, and the way to the password."""

    template_name = "tenancy/account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what of the address can be done now."""
        return super().get_context_data(
            can_verify=hasattr(self.request.user, "verify_email"),
            has_token=_TOKEN in self.request.session,
            has_password=_has_password(self.request.user),
            **kwargs,
        )


class VerificationSendView(SignedInView, ChangeView):
    """Sends the mail with which the user verifies their address."""

    def change(self, **kwargs: Any) -> str:
        """Send it, as often as is let pass."""
        user = self.request.user
        if getattr(user, "email_verified_at", True):
            return _("Your e-mail address is verified.")
        if not take_attempt({f"verify-email:{user.pk}": conf.sign_in_attempts()}):
            raise ValidationError(
                _("Too many mails were asked for. Wait a few minutes."),
                code="throttled",
            )
        send_verification(self.request, user)
        return _("The mail is on its way to %(email)s.") % {"email": user.email}

    def get_success_url(self) -> str:
        """Show the account."""
        return reverse("tenancy:account")


@method_decorator(never_cache, name="dispatch")
class VerificationOpenView(View):
    """Takes the token out of the address, into the session; verifies nothing yet."""

    http_method_names = ["get", "head"]

    @method_decorator(sensitive_variables("token"))
    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Lead to the page with the button."""
        seal(request.session, _TOKEN, token)
        return hide_referrer(redirect("tenancy:account"))


class VerificationView(SignedInView, ChangeView):
    """Takes the token that waits in the session as proof of the address."""

    def change(self, **kwargs: Any) -> str:
        """Verify the address."""
        user = self.request.user
        value = unseal(self.request.session, _TOKEN) or ""
        self.request.session.pop(_TOKEN, None)
        if not hasattr(user, "verify_email"):
            return _("There is nothing to verify.")
        user.verify_email(value)
        return _("Your e-mail address is verified.")

    def get_success_url(self) -> str:
        """Show the account."""
        return reverse("tenancy:account")


class PasswordView(SignedInView, views.PasswordChangeView):
    """Changes the password, and ends the user's other sessions."""

    template_name = "tenancy/form.html"
    success_url = reverse_lazy("tenancy:account")

    def find_refusal(self) -> HttpResponseBase | None:
        """Lead somebody who has no password to where they get one."""
        if _has_password(self.request.user):
            return None
        return redirect("tenancy:password-reset")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the navigation and the words."""
        return super().get_context_data(
            navigation=list_entries(self.request),
            submit=gettext_lazy("Change password"),
            cancel=self.success_url,
            **{"title": gettext_lazy("Change password"), **kwargs},
        )

    def form_valid(self, form: Any) -> HttpResponse:
        """Change it; nobody does in another's name."""
        try:
            response = super().form_valid(form)
        except REFUSALS as error:
            add_refusal(form, error)
            return self.form_invalid(form)
        messages.success(
            self.request, _("The password is changed. Other devices are signed out.")
        )
        return response


def _has_password(user: Any) -> bool:
    # An empty password is a usable one to Django, and opens nothing.
    return bool(user.password) and bool(user.has_usable_password())


@sensitive_variables("token")
def send_verification(request: HttpRequest, user: Any) -> None:
    """Send the mail with which the user verifies their address."""
    verification, token = user.issue_email_verification()
    path = reverse("tenancy:email-open", kwargs={"token": token})
    send_mail_on_commit(
        "verification",
        to=user.email,
        context={
            "link": build_site_url(request, path),
            "expires_at": verification.expires_at,
        },
        using=find_alias(verification),
        on_failure=lambda: messages.error(
            request, _("The mail could not be sent. Ask for it again later.")
        ),
    )
