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
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.generic import View

from tenancy import conf, exceptions
from tenancy.decorators import site_host_required
from tenancy.forms import AddressForm, SignUpForm
from tenancy.mail import send_mail_on_commit
from tenancy.middleware import switch_organization
from tenancy.models import Invitation, Verification
from tenancy.models.verification import FAILED, NOBODY
from tenancy.passwords import find_user
from tenancy.refusals import REFUSALS, explain
from tenancy.seals import seal, unseal
from tenancy.transactions import find_alias
from tenancy.views.access import (
    LimitedFormView,
    PageView,
    build_link,
    hide_referrer,
    refuse_link,
)
from tenancy.views.account import send_verification
from tenancy.views.invitations import WAITING

PURPOSE = "sign-up"
"""The purpose of the verifications of addresses that are to get an account."""

_TOKEN = "tenancy_sign_up_token"


@method_decorator(
    [
        never_cache,
        site_host_required,
        sensitive_post_parameters("password1", "password2"),
    ],
    name="dispatch",
)
class SignUpView(LimitedFormView):
    """Makes a user and their organization, or the member who was invited.

    With TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL it asks for the address first, and
    answers each alike; the link that is mailed leads back to it.
    """

    template_name = "tenancy/sign_up.html"
    limit_name = "sign-up"
    title = gettext_lazy("Sign up")

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Lead somebody who is signed in to where they can make an organization."""
        if request.user.is_authenticated:
            return redirect("tenancy:organization-list")
        self.invitation = self.find_invitation()
        self.token, self.email = "", None
        if conf.sign_up_requires_verified_email():
            try:
                self.email = self.find_email()
            except exceptions.VerificationFailed as error:
                return refuse_link(
                    request,
                    title=self.title,
                    message=explain(error),
                    again=reverse("tenancy:sign-up"),
                    status=410,
                )
        return super().dispatch(request, *args, **kwargs)

    def find_invitation(self) -> Any:
        """Return the invitation that waits, or None."""
        token = unseal(self.request.session, WAITING)
        if token is None:
            return None
        try:
            return Invitation.objects.find_pending(token)
        except REFUSALS:
            return None

    @sensitive_variables("token")
    def find_email(self) -> str | None:
        """Return the address that was verified by a link, or None before that.

        Raises:
            VerificationFailed: the link is wrong, used or expired.
        """
        token = unseal(self.request.session, _TOKEN)
        if token is None:
            return None
        verification = Verification.objects.find_by_token(purpose=PURPOSE, token=token)
        if verification is None:
            self.request.session.pop(_TOKEN)
            raise exceptions.VerificationFailed(FAILED)
        self.token = token
        email: str = verification.identifier
        return email

    @property
    def asks_for_email(self) -> bool:
        """Whether the address is to be verified first."""
        return conf.sign_up_requires_verified_email() and self.email is None

    def get_form_class(self) -> Any:
        """Return the form of the address, or that of everything."""
        return AddressForm if self.asks_for_email else SignUpForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Leave the organization out for somebody who is invited to one."""
        kwargs = super().get_form_kwargs()
        if self.asks_for_email:
            return kwargs
        is_invited = self.invitation is not None
        return {**kwargs, "is_invited": is_invited, "verified_email": self.email}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the invitation and the address that was verified."""
        words = {"invitation": self.invitation, "verified_email": self.email}
        return super().get_context_data(
            submit=_("Continue") if self.asks_for_email else _("Sign up"),
            **words,
            **kwargs,
        )

    def list_limits(self) -> dict[str, int]:
        """Keep each mailbox from being filled, too."""
        limits = super().list_limits()
        if self.asks_for_email:
            address = self.request.POST.get("email", "").strip().lower()
            limits[f"sign-up:e-mail:{address}"] = conf.sign_in_attempts()
        return limits

    @sensitive_variables()
    def form_valid(self, form: Any) -> HttpResponse:
        """Make everything, or nothing, and sign the user in."""
        if self.asks_for_email:
            self.send(form.cleaned_data["email"])
            return redirect("tenancy:sign-up-sent")
        try:
            user, organization = self.make(form)
        except IntegrityError:
            # Somebody took the address between the look and the leap.
            error = ValidationError(_("A user with that e-mail address exists."))
            form.add_error("email" if "email" in form.fields else None, error)
            return self.form_invalid(form)
        except exceptions.WrongRecipient as error:
            name = "email" if "email" in form.fields else None
            form.add_error(name, explain(error))
            return self.form_invalid(form)
        except exceptions.EmailNotVerified:
            user, organization = self.make(form, accepts=False)
        except REFUSALS as error:
            # Not at a field: the organization's are none of the form's.
            form.add_error(None, explain(error))
            return self.form_invalid(form)
        self.request.session.pop(_TOKEN, None)
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
            self.use_token()
            user = form.save()
            if self.invitation is None:
                organization = apps.get_model(conf.organization_model())
                made = organization._default_manager.create_with_owner(
                    name=form.cleaned_data["organization_name"], owner=user
                )
                return user, made.pk
            if not accepts:
                return user, None
            token = unseal(self.request.session, WAITING)
            membership = Invitation.objects.accept(token or "", user=user)
        self.request.session.pop(WAITING, None)
        return user, membership.organization_id

    def use_token(self) -> None:
        """Use the token up that has verified the address, where there is one.

        Raises:
            VerificationFailed: it was used meanwhile.
        """
        if self.email is None:
            return
        used = Verification.objects.try_consume(
            purpose=PURPOSE, identifier=self.email, value=self.token
        )
        if used is None:
            raise exceptions.VerificationFailed(FAILED)

    @sensitive_variables()
    def send(self, address: str) -> None:
        """Mail the link to continue; or, to who has an account, that they have one."""
        email = get_user_model()._default_manager.normalize_email(address)
        user = find_user(email)
        verification, token = Verification.objects.issue(
            purpose=PURPOSE, identifier=email if user is None else NOBODY
        )
        send_mail_on_commit(
            "sign_up" if user is None else "sign_up_known",
            to=email if user is None else getattr(user, user.get_email_field_name()),
            context={
                "link": build_link(self.request, "sign-up-open", token=token),
                "expires_at": verification.expires_at,
                "sign_in_link": build_link(self.request, "sign-in"),
                "reset_link": build_link(self.request, "password-reset"),
            },
            using=find_alias(verification),
            on_failure=lambda: messages.error(
                self.request, _("The mail could not be sent. Ask for it again later.")
            ),
        )


@method_decorator([never_cache, site_host_required], name="dispatch")
class SignUpSentView(PageView):
    """Says that a mail was sent."""

    template_name = "tenancy/mail_sent.html"


@method_decorator([never_cache, site_host_required], name="dispatch")
class SignUpOpenView(View):
    """Takes the token out of the address, into the session; uses it up not yet."""

    http_method_names = ["get", "head"]

    @method_decorator(sensitive_variables("token"))
    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Lead to the form."""
        seal(request.session, _TOKEN, token)
        return hide_referrer(redirect("tenancy:sign-up"))
