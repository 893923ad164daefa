"""Signing up: a new user, and the organization that they make or are invited to."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, get_user_model, login
from django.core.exceptions import ValidationError
from django.db import IntegrityError, router, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from tenancy import conf, exceptions
from tenancy.attempts import FACTOR, take_attempt
from tenancy.forms import SignUpForm
from tenancy.middleware import switch_organization
from tenancy.models import Invitation
from tenancy.refusals import REFUSALS, explain
from tenancy.sessions import find_ip_address
from tenancy.views.access import FormPageView
from tenancy.views.account import send_verification
from tenancy.views.invitations import WAITING


@method_decorator(
    [never_cache, sensitive_post_parameters("password1", "password2")], name="dispatch"
)
class SignUpView(FormPageView):
    """Makes a user and their organization, or the member who was invited."""

    template_name = "tenancy/sign_up.html"
    form_class = SignUpForm
    title = gettext_lazy("Sign up")
    submit = gettext_lazy("Sign up")

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Lead somebody who is signed in to where they can make an organization."""
        if request.user.is_authenticated:
            return redirect("tenancy:organization-list")
        self.invitation = self.find_invitation()
        return super().dispatch(request, *args, **kwargs)

    def find_invitation(self) -> Any:
        """Return the invitation that waits, or None."""
        token = self.request.session.get(WAITING)
        if token is None:
            return None
        try:
            return Invitation.objects.find_pending(token)
        except REFUSALS:
            return None

    def get_form_kwargs(self) -> dict[str, Any]:
        """Leave the organization out for somebody who is invited to one."""
        is_invited = self.invitation is not None
        return {**super().get_form_kwargs(), "is_invited": is_invited}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the invitation."""
        return super().get_context_data(invitation=self.invitation, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Sign up, as often as is let pass: the form tells which addresses exist."""
        subject = f"sign-up:ip:{find_ip_address(request)}"
        if not take_attempt({subject: conf.sign_in_attempts() * FACTOR}):
            form = self.get_form()
            words = _("Too many tries. Wait a few minutes, and try again.")
            form.add_error(None, ValidationError(words, code="throttled"))
            context = self.get_context_data(form=form)
            return self.render_to_response(context, status=429)
        return super().post(request, *args, **kwargs)

    @sensitive_variables()
    def form_valid(self, form: Any) -> HttpResponse:
        """Make everything, or nothing, and sign the user in."""
        try:
            user, organization = self.make(form)
        except IntegrityError:
            # Somebody took the address between the look and the leap.
            error = ValidationError(_("A user with that e-mail address exists."))
            form.add_error("email", error)
            return self.form_invalid(form)
        except exceptions.WrongRecipient as error:
            form.add_error("email", explain(error))
            return self.form_invalid(form)
        except exceptions.EmailNotVerified:
            user, organization = self.make(form, accepts=False)
        except REFUSALS as error:
            # Not at a field: the organization's are none of the form's.
            form.add_error(None, explain(error))
            return self.form_invalid(form)
        # By the backends, whose say it is: the session remembers which one.
        password = form.cleaned_data["password1"]
        known = authenticate(
            self.request, username=user.get_username(), password=password
        )
        if known is None:
            messages.info(self.request, _("Your account is made. Sign in."))
            return redirect("tenancy:sign-in")
        login(self.request, known)
        if getattr(user, "email_verified_at", False) is None:
            send_verification(self.request, user)
        if organization is None:
            return redirect("tenancy:account")
        switch_organization(self.request, organization)
        words = _("Welcome, %(name)s.") % {"name": form.cleaned_data["name"]}
        messages.success(self.request, words)
        return redirect(settings.LOGIN_REDIRECT_URL)

    def make(self, form: Any, *, accepts: bool = True) -> tuple[Any, Any]:
        """Return the new user, and the key of their organization, in one transaction.

        Args:
            form (SignUpForm): a valid one.
            accepts (bool): whether the invitation is accepted, or goes on waiting.
        """
        with transaction.atomic(using=router.db_for_write(get_user_model())):
            user = form.save()
            if self.invitation is None:
                organization = apps.get_model(conf.organization_model())
                made = organization._default_manager.create_with_owner(
                    name=form.cleaned_data["organization_name"], owner=user
                )
                return user, made.pk
            if not accepts:
                return user, None
            token = self.request.session[WAITING]
            membership = Invitation.objects.accept(token, user=user)
        self.request.session.pop(WAITING, None)
        return user, membership.organization_id
