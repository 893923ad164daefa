"""A forgotten password, set anew by a link that is mailed to the user's address."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.generic import View

from tenancy import conf
from tenancy.decorators import site_host_required
from tenancy.exceptions import UserNotActive, VerificationFailed
from tenancy.forms import AddressForm
from tenancy.mail import send_mail_on_commit
from tenancy.origin import refuse_impersonator
from tenancy.passwords import find_user_of_reset, issue_reset, reset_password
from tenancy.refusals import explain
from tenancy.seals import seal, unseal
from tenancy.transactions import find_alias
from tenancy.views.access import (
    FormPageView,
    LimitedFormView,
    PageView,
    build_link,
    hide_referrer,
    refuse_link,
)

_TOKEN = "tenancy_password_token"


@method_decorator([never_cache, site_host_required], name="dispatch")
class PasswordResetView(LimitedFormView):
    """Mails the link with which a forgotten password is set anew.

    Each address is answered alike, and gets a mail. One without an account does, too:
    whoever has it may have signed up with another one, and reads that here.
    """

    form_class = AddressForm
    limit_name = "password-reset"
    title = gettext_lazy("Forgot your password?")
    submit = gettext_lazy("Send the mail")

    def get_initial(self) -> dict[str, Any]:
        """Fill in the address of who is signed in."""
        user = self.request.user
        address = user.get_username() if user.is_authenticated else ""
        return {**super().get_initial(), "email": address}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what will happen."""
        words = _("You get a mail with a link, by which you set a new one.")
        return super().get_context_data(introduction=words, **kwargs)

    def list_limits(self) -> dict[str, int]:
        """Keep each mailbox from being filled, too."""
        address = self.request.POST.get("email", "").strip().lower()
        own = {f"password-reset:e-mail:{address}": conf.sign_in_attempts()}
        return super().list_limits() | own

    @sensitive_variables()
    def change(self, form: Any) -> str:
        """Send what there is to say to the address."""
        refuse_impersonator("The password")
        reset = issue_reset(form.cleaned_data["email"], asked_by=self.request.user)
        link = build_link(self.request, "password-reset")
        if reset.token is not None:
            link = build_link(self.request, "password-reset-open", token=reset.token)
        send_mail_on_commit(
            "password_reset" if reset.token else "password_reset_refused",
            to=reset.to,
            context={
                "link": link,
                "expires_at": reset.verification.expires_at,
                "obstacle": reset.obstacle and reset.obstacle.value,
                "sign_in_link": build_link(self.request, "sign-in"),
                "sign_up_link": build_link(self.request, "sign-up"),
            },
            using=find_alias(reset.verification),
            on_failure=lambda: messages.error(
                self.request, _("The mail could not be sent. Ask for it again later.")
            ),
        )
        return ""

    def get_success_url(self) -> str:
        """Lead to the page that says so, whatever was sent."""
        return reverse("tenancy:password-reset-sent")


@method_decorator([never_cache, site_host_required], name="dispatch")
class PasswordResetSentView(PageView):
    """Says that a mail was sent."""

    template_name = "tenancy/mail_sent.html"


@method_decorator([never_cache, site_host_required], name="dispatch")
@method_decorator(site_host_required, name="dispatch")
class PasswordResetOpenView(View):
    """Takes the token out of the address, into the session; uses it up not yet."""

    http_method_names = ["get", "head"]

    @method_decorator(sensitive_variables("token"))
    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Lead to the form."""
        seal(request.session, _TOKEN, token)
        return hide_referrer(redirect("tenancy:password-reset-new"))


@method_decorator(
    [
        never_cache,
        site_host_required,
        sensitive_post_parameters("new_password1", "new_password2"),
    ],
    name="dispatch",
)
class PasswordResetNewView(FormPageView):
    """Sets the password, and signs the user out everywhere.

    Nobody is signed in by it: a second factor is asked for where they sign in.
    """

    template_name = "tenancy/password_reset.html"
    form_class = SetPasswordForm
    title = gettext_lazy("Set a new password")
    submit = gettext_lazy("Set the password")

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Look at the token that waits in the session, before anything else."""
        self.token = unseal(request.session, _TOKEN) or ""
        try:
            self.user = find_user_of_reset(self.token)
        except (UserNotActive, VerificationFailed) as error:
            return self.refuse(error)
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add whose password it is."""
        return {**super().get_form_kwargs(), "user": self.user}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the same, for people and for password managers."""
        username = self.user.get_username()
        return super().get_context_data(username=username, **kwargs)

    @sensitive_variables()
    def change(self, form: Any) -> str:
        """Set it."""
        user = reset_password(self.token, form.cleaned_data["new_password1"])
        self.request.session.pop(_TOKEN)
        if self.request.user.pk == user.pk:
            # This session was ended with the others.
            logout(self.request)
        return _("Your password is set. Sign in with it.")

    def get_success_url(self) -> str:
        """Let the user sign in."""
        return reverse("tenancy:sign-in")

    def refuse(self, error: Exception) -> HttpResponse:
        """Tell why the link sets nothing."""
        self.request.session.pop(_TOKEN, None)
        is_expired = isinstance(error, VerificationFailed)
        return refuse_link(
            self.request,
            title=self.title,
            message=explain(error),
            again=reverse("tenancy:password-reset") if is_expired else "",
            status=410 if is_expired else 403,
        )
