from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.generic import View

from tenancy import exceptions
from tenancy.forms import EmailInvitationForm, LinkInvitationForm, name_user
from tenancy.mail import send_mail_on_commit
from tenancy.middleware import switch_organization
from tenancy.models import Invitation
from tenancy.refusals import REFUSALS, explain
from tenancy.resolvers import build_site_url
from tenancy.seals import seal, unseal
from tenancy.transactions import find_alias
from tenancy.views.access import (
    INVITE,
    ChangeView,
    FormPageView,
    MemberView,
    PageView,
    PostedView,
    find_work,
    hide_referrer,
    list_entries,
)

WAITING = "tenancy_invitation"
"""The key of the session under which the token of an invitation waits."""

_MADE = "tenancy_invitation_link"

STATUSES: dict[type[Exception], int] = {
    exceptions.InvitationNotFound: 404,
    exceptions.InvitationExpired: 410,
    exceptions.InvitationUsed: 410,
    exceptions.OrganizationNotActive: 410,
}
"""The status of the page about an invitation that nobody can answer."""


# For those who invite.


class InvitationListView(MemberView, FormPageView):
    """The pending invitations, and the form of another one by e-mail."""

    permission = INVITE
    template_name = "tenancy/invitation_list.html"
    form_class: Any = EmailInvitationForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add who invites, and so gives no role that they do not hold."""
        return {**super().get_form_kwargs(), "membership": self.request.membership}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the list, both forms, and the link that has just been made, once."""
        context = super().get_context_data(**kwargs)
        own = {"membership": self.request.membership}
        pending = Invitation.objects.pending().select_related("role")
        return context | {
            "invitations": pending,
            "link": self.take_link(),
            "email_form": EmailInvitationForm(auto_id="email_%s", **own),
            "link_form": LinkInvitationForm(auto_id="link_%s", **own),
            self.form_name: context["form"],
        }

    form_name = "email_form"

    def take_link(self) -> str | None:
        """Return the link that this organization's invitation has, once."""
        if _MADE not in self.request.session:
            return None
        sealed = unseal(self.request.session, _MADE) or ""
        self.request.session.pop(_MADE)
        organization, _separator, token = sealed.partition(" ")
        if organization != str(self.request.organization.pk):
            return None
        return _make_link(self.request, token)

    @sensitive_variables("token")
    def change(self, form: Any) -> str:
        """Invite, and send the mail."""
        email = form.cleaned_data["email"]
        invitation, token = Invitation.objects.invite(
            email=email, role=form.cleaned_data["role"]
        )
        _send(self.request, invitation, token)
        return _("%(email)s is invited.") % {"email": invitation.email}

    def get_success_url(self) -> str:
        """Show the list again."""
        return reverse("tenancy:invitation-list")


class LinkCreateView(PostedView, InvitationListView):
    """Makes an invitation by link, by POST."""

    form_class = LinkInvitationForm
    form_name = "link_form"

    @sensitive_variables("token")
    def change(self, form: Any) -> str:
        """Make the link, which the next page shows."""
        _invitation, token = Invitation.objects.invite(role=form.cleaned_data["role"])
        _keep_link(self.request, token)
        return ""

    def get_form_url(self) -> str:
        """Show the list, which has the form."""
        return self.get_success_url()


class InvitationChangeView(MemberView, ChangeView):
    """Changes one invitation of the scope."""

    permission = INVITE

    def find_invitation(self, pk: Any) -> Invitation:
        """Return the invitation, whatever its state.

        Raises:
            Http404: the scope has none of that key.
        """
        return get_object_or_404(Invitation, pk=pk)

    def get_success_url(self) -> str:
        """Show the list."""
        return reverse("tenancy:invitation-list")


class RenewView(InvitationChangeView):
    """Gives an invitation a new time, and sends it again."""

    @sensitive_variables("token")
    def change(self, **kwargs: Any) -> str:
        """Renew it; the token that was sent before is void."""
        invitation = self.find_invitation(kwargs["pk"])
        token = invitation.renew()
        if invitation.email is None:
            _keep_link(self.request, token)
            return _("There is a new link; the former one is void.")
        _send(self.request, invitation, token)
        return _("The invitation was sent again, to %(email)s.") % {
            "email": invitation.email
        }


class RevokeView(InvitationChangeView):
    """Takes an invitation back."""

    def change(self, **kwargs: Any) -> str:
        """Revoke it."""
        self.find_invitation(kwargs["pk"]).revoke()
        return _("The invitation is revoked.")


# For those who are invited.


@method_decorator(never_cache, name="dispatch")
class OpenView(View):
    """Takes the token out of the address, into the session; answers nothing yet."""

    http_method_names = ["get", "head"]

    @method_decorator(sensitive_variables("token"))
    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Lead to the page that tells of the invitation."""
        seal(request.session, WAITING, token)
        return hide_referrer(redirect("tenancy:invitation-answer"))


@method_decorator(never_cache, name="dispatch")
class AnswerView(PageView):
    """Tells of the invitation that waits in the session; POST answers it."""

    template_name = "tenancy/invitation_answer.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show who invites into what."""
        token = unseal(request.session, WAITING) or ""
        try:
            pending = Invitation.objects.find_pending(token)
        except tuple(STATUSES) as error:
            return self.refuse(error)
        context = self.get_context_data(
            invitation=pending, is_wrong_recipient=_is_other(pending, request.user)
        )
        status = 403 if context["is_wrong_recipient"] else 200
        return self.render_to_response(context, status=status)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Accept or decline."""
        token = unseal(request.session, WAITING) or ""
        try:
            if request.POST.get("answer") == "decline":
                return self.decline(token)
            if not request.user.is_authenticated:
                return redirect("tenancy:invitation-answer")
            return self.accept(token)
        except tuple(STATUSES) as error:
            return self.refuse(error)
        except exceptions.WrongRecipient:
            return self.tell_wrong_recipient(token)
        except exceptions.EmailNotVerified as error:
            messages.error(request, explain(error))
            return redirect("tenancy:account")
        except exceptions.AlreadyMember as error:
            messages.info(request, explain(error))
            return redirect("tenancy:organization-list")
        except REFUSALS as error:
            messages.error(request, explain(error))
            return redirect("tenancy:invitation-answer")

    @method_decorator(sensitive_variables("token"))
    def accept(self, token: str) -> HttpResponse:
        """Make the user a member, and go to work there."""
        membership = Invitation.objects.accept(token, user=self.request.user)
        self.request.session.pop(WAITING, None)
        switched = switch_organization(self.request, membership.organization_id)
        messages.success(
            self.request,
            _("You are a member of %(organization)s now.")
            % {"organization": switched.organization},
        )
        return redirect(find_work(self.request, switched.organization))

    @method_decorator(sensitive_variables("token"))
    def decline(self, token: str) -> HttpResponse:
        """Turn it down; whoever has the token may."""
        user = self.request.user if self.request.user.is_authenticated else None
        Invitation.objects.decline(token, user=user)
        self.request.session.pop(WAITING, None)
        return redirect("tenancy:invitation-declined")

    def refuse(self, error: Exception) -> HttpResponse:
        """Tell why nobody can answer it."""
        self.request.session.pop(WAITING, None)
        status = next(
            status for kind, status in STATUSES.items() if isinstance(error, kind)
        )
        return self.response_class(
            request=self.request,
            template=["tenancy/invitation_refused.html"],
            context={
                "message": explain(error),
                "navigation": list_entries(self.request),
            },
            status=status,
        )

    def tell_wrong_recipient(self, token: str) -> HttpResponse:
        """Show the invitation to somebody to whom it was not sent."""
        pending = Invitation.objects.find_pending(token)
        context = self.get_context_data(invitation=pending, is_wrong_recipient=True)
        return self.render_to_response(context, status=403)


class DeclinedView(PageView):
    """Says that the invitation was declined."""

    template_name = "tenancy/invitation_declined.html"


def _is_other(pending: Any, user: Any) -> bool:
    """Return whether the invitation was plainly sent to somebody else.

    Of the address, all that is shown before an answer is its mask.
    """
    if pending.masked_email is None or not user.is_authenticated:
        return False
    own = str(getattr(user, user.get_email_field_name(), "") or "").strip().lower()
    local, _at, domain = own.rpartition("@")
    return bool(pending.masked_email != f"{local[:1]}***@{domain}")


def _make_link(request: HttpRequest, token: str) -> str:
    path = reverse("tenancy:invitation-open", kwargs={"token": token})
    return build_site_url(request, path)


def _keep_link(request: Any, token: str) -> None:
    """Keep the link for the page that follows, which shows it once."""
    seal(request.session, _MADE, f"{request.organization.pk} {token}")


def _send(request: Any, invitation: Invitation, token: str) -> None:
    assert invitation.email is not None
    send_mail_on_commit(
        "invitation",
        to=invitation.email,
        context={
            "organization": str(request.organization),
            "role": str(invitation.role),
            "inviter": name_user(request.user),
            "link": _make_link(request, token),
            "expires_at": invitation.expires_at,
        },
        using=find_alias(invitation),
        on_failure=lambda: messages.error(
            request, _("The mail could not be sent. Send the invitation again later.")
        ),
    )
