"""Who reaches a page, and what every page shows and does alike."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.generic import FormView, TemplateView, View

from tenancy import conf
from tenancy.attempts import FACTOR, take_attempt
from tenancy.refusals import REFUSALS, add_refusal, explain
from tenancy.resolvers import build_site_url
from tenancy.sessions import SessionStore, find_ip_address
from tenancy.visits import require_visit


@dataclass(frozen=True, slots=True)
class Entry:
    """A link of the navigation."""

    title: str
    url: str
    is_current: bool


@method_decorator(never_cache, name="dispatch")
class SignedInView(View):
    """A view for whoever is signed in; others are asked to, and come back."""

    # Set by TenancyMiddleware: organization, membership.
    request: Any

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer who may come in, and tell others why not."""
        if not request.user.is_authenticated:
            is_page = request.method in ("GET", "HEAD")
            home = resolve_url(settings.LOGIN_REDIRECT_URL)
            return redirect_to_login(request.get_full_path() if is_page else home)
        refusal = self.find_refusal()
        return refusal or super().dispatch(request, *args, **kwargs)

    def find_refusal(self) -> HttpResponseBase | None:
        """Return the answer to somebody who may not come in, or None.

        Raises:
            PermissionDenied: the member's role does not allow it.
        """
        return None


class MemberView(SignedInView):
    """A view for members, in the scope of their organization.

    Somebody who is in none, or has not said in which, is asked to choose.
    """

    # Both are asked before any row is looked for, so that each key of a row, another
    # organization's too, is answered alike.
    permission: ClassVar[str | None] = None
    is_for_owners: ClassVar[bool] = False

    def find_refusal(self) -> HttpResponseBase | None:
        """See SignedInView.find_refusal()."""
        if getattr(self.request, "organization", None) is None:
            return redirect("tenancy:organization-list")
        membership = self.request.membership
        if self.permission is not None and not membership.has_perm(self.permission):
            raise PermissionDenied("The role does not grant the permission.")
        if self.is_for_owners and not membership.is_owner:
            raise PermissionDenied("The member is no owner.")
        return None


class PageView(TemplateView):
    """A page with the navigation of the app."""

    request: Any

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the navigation."""
        return super().get_context_data(navigation=list_entries(self.request), **kwargs)


class FormPageView(PageView, FormView):  # type: ignore[type-arg]  # generic in the stubs only
    """A page with a form; what a verb refuses is told in the form."""

    template_name = "tenancy/form.html"
    title: ClassVar[Any] = ""  # Any: a lazy translation.
    submit: ClassVar[Any] = ""  # Any: as above.

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the words of the page."""
        words = {"title": self.title, "submit": self.submit}
        return super().get_context_data(**words | kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Make the change, and lead to the next page."""
        try:
            message = self.change(form)
        except REFUSALS as error:
            add_refusal(form, error)
            return self.form_invalid(form)
        if message:
            messages.success(self.request, message)
        return redirect(self.get_success_url())

    @abstractmethod
    def change(self, form: Any) -> str:
        """Make the change; return what to tell, "" for nothing."""


class LimitedFormView(FormPageView):
    """A page with a form that is sent as often as is let pass."""

    def list_limits(self) -> dict[str, int]:
        """Return what a form that is sent counts for, and how many are let pass."""
        subject = f"{self.limit_name}:ip:{find_ip_address(self.request)}"
        return {subject: conf.sign_in_attempts() * FACTOR}

    limit_name: ClassVar[str]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Take the form, or say that there were too many."""
        if take_attempt(self.list_limits()):
            return super().post(request, *args, **kwargs)
        form = self.get_form()
        words = _("Too many tries. Wait a few minutes, and try again.")
        form.add_error(None, ValidationError(words, code="throttled"))
        context = self.get_context_data(form=form)
        return self.render_to_response(context, status=429)


class PostedView(View):
    """A view that takes by POST what another page asks.

    Whoever comes by GET, from a bookmark or after a refusal, is led to that page.
    """

    http_method_names = ["get", "head", "post"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Change nothing, and show the page that asks."""
        return redirect(self.get_form_url())

    @abstractmethod
    def get_form_url(self) -> str:
        """Return the address of the page that asks."""


class ChangeView(PostedView):
    """A change by POST, which leads back to a page and tells there how it went."""

    request: Any

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Make the change, or tell why not."""
        try:
            message = self.change(**kwargs)
        except REFUSALS as error:
            messages.error(request, explain(error))
        else:
            messages.success(request, message)
        return redirect(self.get_success_url())

    def get_form_url(self) -> str:
        """Return the page to which the change leads back, too."""
        return self.get_success_url()

    @abstractmethod
    def change(self, **kwargs: Any) -> str:
        """Make the change; return what to tell."""

    @abstractmethod
    def get_success_url(self) -> str:
        """Return the address of the page that shows the outcome."""


def build_link(request: HttpRequest, name: str, **kwargs: Any) -> str:
    """Return the whole address of a page on the site's own host, for a mail.

    Args:
        request (HttpRequest): the present one.
        name (str): of the page, in the namespace of these.
        **kwargs: the arguments of the address.
    """
    return build_site_url(request, reverse(f"tenancy:{name}", kwargs=kwargs))


def hide_referrer(response: HttpResponse) -> HttpResponse:
    """Keep an address that holds a secret from where it leads.

    For redirects only: from a page with this policy a browser sends its forms without
    an origin, which Django's protection against forged ones refuses.
    """
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def refuse_link(
    request: HttpRequest, *, title: Any, message: str, again: str, status: int
) -> HttpResponse:
    """Return the page about a mailed link that is good for nothing.

    Args:
        request (HttpRequest): of whoever followed it.
        title (str): what it was for; a lazy translation will do.
        message (str): why it is not.
        again (str): the address at which there is another one; empty for none.
        status (int): of the answer.
    """
    context = {
        "title": title,
        "message": message,
        "again": again,
        "navigation": list_entries(request),
    }
    return TemplateResponse(
        request, "tenancy/link_refused.html", context, status=status
    )


def find_work(request: HttpRequest, organization: Any) -> str:
    """Return the address of LOGIN_REDIRECT_URL, in an organization switched to."""
    visit = require_visit(request)
    if not visit.is_at_domain:
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    # A domain is one organization's: others are reached at another host.
    return visit.build_url(
        organization.slug, lambda: resolve_url(settings.LOGIN_REDIRECT_URL)
    )


def require_valid(form: Any) -> dict[str, Any]:
    """Return what a form of a ChangeView holds.

    Raises:
        ValidationError: the form is not valid.
    """
    if form.is_valid():
        cleaned: dict[str, Any] = form.cleaned_data
        return cleaned
    raise ValidationError([text for errors in form.errors.values() for text in errors])


def list_entries(request: Any) -> list[Entry]:
    """Return the links that are of use to whoever asks."""
    if not request.user.is_authenticated:
        return []
    wanted = []
    membership = getattr(request, "membership", None)
    if membership is not None:
        wanted += [(_("Members"), "member-list"), (_("Teams"), "team-list")]
        if membership.has_perm(INVITE):
            wanted.append((_("Invitations"), "invitation-list"))
        if membership.has_perm(change_organization()):
            wanted.append((_("Organization"), "organization-settings"))
    wanted += [
        (_("Your organizations"), "organization-list"),
        (_("Devices"), "device-list"),
        (_("E-mail and password"), "account"),
    ]
    if not isinstance(request.session, SessionStore):
        # Another engine does not know of devices.
        wanted = [entry for entry in wanted if entry[1] != "device-list"]
    entries = []
    for title, name in wanted:
        url = reverse(f"tenancy:{name}")
        entries.append(Entry(title, url, request.path == url))
    return entries


INVITE = "tenancy.add_invitation"
"""The permission to invite, and to renew and revoke invitations."""


def change_organization() -> str:
    """Return the permission to change the organization, of whichever model."""
    label, _dot, name = conf.organization_model().rpartition(".")
    return f"{label}.change_{name.lower()}"
