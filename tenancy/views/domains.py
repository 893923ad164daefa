from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from tenancy import conf
from tenancy.attempts import FACTOR, take_attempt
from tenancy.forms import DomainForm
from tenancy.models import Domain
from tenancy.views.access import ChangeView, FormPageView, MemberView, PostedView

ADD = "tenancy.add_domain"
CHANGE = "tenancy.change_domain"
DELETE = "tenancy.delete_domain"


class DomainListView(MemberView, FormPageView):
    """The organization's domains, each with its record, and the form of another."""

    # Another view takes the form, and asks for another permission.
    http_method_names = ["get", "head", "options"]
    permission = CHANGE
    template_name = "tenancy/domain_list.html"
    form_class = DomainForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the domains, and what may be done to them."""
        own = self.request.membership
        return super().get_context_data(
            domains=Domain.objects.order_by("host"),
            may_add=own.has_perm(ADD),
            may_delete=own.has_perm(DELETE),
            **kwargs,
        )

    def change(self, form: Any) -> str:
        """Name another domain."""
        domain = Domain.objects.add_domain(host=form.cleaned_data["host"])
        return _("Set the record of %(domain)s, and verify it then.") % {
            "domain": domain
        }

    def get_success_url(self) -> str:
        """Show the list again."""
        return reverse("tenancy:domain-list")


class DomainAddView(PostedView, DomainListView):
    """Names another domain, by POST."""

    permission = ADD

    def get_form_url(self) -> str:
        """Show the list, which has the form."""
        return self.get_success_url()


class DomainVerifyView(MemberView, ChangeView):
    """Looks for a domain's record, as often as is let pass."""

    permission = CHANGE

    def change(self, **kwargs: Any) -> str:
        """Verify the domain."""
        domain = get_object_or_404(Domain, pk=kwargs["pk"])
        subject = f"domain:{self.request.organization.pk}"
        if not take_attempt({subject: conf.sign_in_attempts() * FACTOR}):
            raise ValidationError(
                _("Too many tries. Wait a few minutes, and try again."),
                code="throttled",
            )
        domain.verify()
        return _("%(domain)s is verified.") % {"domain": domain}

    def get_success_url(self) -> str:
        """Show the domains."""
        return reverse("tenancy:domain-list")


class DomainRemoveView(MemberView, ChangeView):
    """Removes a domain, at which the organization is not reached any more."""

    permission = DELETE

    def change(self, **kwargs: Any) -> str:
        """Remove the domain."""
        domain = get_object_or_404(Domain, pk=kwargs["pk"])
        domain.remove()
        return _("%(domain)s is removed.") % {"domain": domain.host}

    def get_success_url(self) -> str:
        """Show the domains that are left, to whoever may see them."""
        may_change = self.request.membership.has_perm(CHANGE)
        return reverse(f"tenancy:{'domain-list' if may_change else 'member-list'}")
