"""A user's own name, e-mail address and password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model, views
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.generic import View

from tenancy import conf
from tenancy.attempts import take_attempt
from tenancy.forms import EmailForm, NameForm, find_names, has_password
from tenancy.mail import send_mail_on_commit
from tenancy.models import StampedModel
from tenancy.origin import refuse_impersonator
from tenancy.refusals import REFUSALS, add_refusal
from tenancy.resolvers import build_site_url
from tenancy.seals import seal, unseal
from tenancy.transactions import find_alias
from tenancy.views.access import (
    ChangeView,
    FormPageView,
    LimitedFormView,
    PageView,
    SignedInView,
    hide_referrer,
    list_entries,
)

_TOKEN = "tenancy_email_token"


class AccountView(SignedInView, PageView):
    """The user's name and address, whether it is verified, and what changes each."""

    template_name = "tenancy/account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what of the address can be done now."""
        user = self.request.user
        return super().get_context_data(
            name=" ".join(getattr(user, field) for field in find_names()).strip(),
            has_name=bool(find_names()),
            can_change=_can_change_email(user),
            can_verify=hasattr(user, "verify_email"),
            has_token=_TOKEN in self.request.session,
            has_password=has_password(user),
            **kwargs,
        )


class NameView(SignedInView, FormPageView):
    """Changes what the user is called."""

    form_class = NameForm
    title = gettext_lazy("Change name")
    submit = title
    success_url = reverse_lazy("tenancy:account")

    def find_refusal(self) -> HttpResponseBase | None:
        """Refuse where the user model keeps no name.

        Raises:
            Http404: it keeps none.
        """
        if not find_names():
            raise Http404("The user model has no name.")
        return None

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add the user, read anew: a form writes into its instance."""
        users = get_user_model()._default_manager
        instance = get_object_or_404(users, pk=self.request.user.pk)
        return {**super().get_form_kwargs(), "instance": instance}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back."""
        return super().get_context_data(cancel=self.success_url, **kwargs)

    def change(self, form: Any) -> str:
        """Save the name, and nothing that somebody else changed."""
        refuse_impersonator("The name")
        user = form.instance
        stamps = ["updated_at"] if isinstance(user, StampedModel) else []
        user.save(update_fields=[*find_names(), *stamps])
        return _("Your name is changed.")


class EmailView(SignedInView, LimitedFormView):
    """Changes the address, and sends the mail with which the new one is verified."""

    form_class = EmailForm
    title = gettext_lazy("Change e-mail address")
    submit = title
    success_url = reverse_lazy("tenancy:account")

    def find_refusal(self) -> HttpResponseBase | None:
        """Refuse where an address is not changed by the user.

        Raises:
            Http404: the user model has no change_email(), or sign-up asks for an
                address that is verified.
        """
        if not _can_change_email(self.request.user):
            raise Http404("Users do not change their addresses here.")
        return None

    def list_limits(self) -> dict[str, int]:
        """Count for the user: it guesses passwords, and tells of taken addresses."""
        return {f"change-email:{self.request.user.pk}": conf.sign_in_attempts()}

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add whose address it is."""
        return {**super().get_form_kwargs(), "user": self.request.user}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what follows, and the way back."""
        return super().get_context_data(
            introduction=_("You sign in with it, and verify it by a mail."),
            cancel=self.success_url,
            **kwargs,
        )

    @method_decorator(sensitive_variables())
    def change(self, form: Any) -> str:
        """Change the address."""
        user = self.request.user
        user.change_email(form.cleaned_data["email"])
        if user.email_verified_at is None:
            send_verification(self.request, user)
        return _("Your e-mail address is %(email)s.") % {"email": user.email}


def _can_change_email(user: Any) -> bool:
    # A form tells of a taken address, which such a sign-up tells nobody; and it takes
    # one that is not verified.
    return hasattr(user, "change_email") and not conf.sign_up_requires_verified_email()


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
        if has_password(self.request.user):
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
