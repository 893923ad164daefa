from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenancy import conf
from tenancy.context import scope
from tenancy.forms import (
    DeleteOrganizationForm,
    NewOrganizationForm,
    OrganizationForm,
    RestoreForm,
    TransferForm,
    name_user,
)
from tenancy.middleware import switch_organization
from tenancy.models import Membership
from tenancy.origin import refuse_impersonator
from tenancy.views.access import (
    ChangeView,
    FormPageView,
    MemberView,
    PageView,
    PostedView,
    SignedInView,
    change_organization,
    find_work,
)
from tenancy.visits import require_visit


def list_organizations(user: Any) -> list[Any]:
    """Return the user's active organizations, which the user's own scope has."""
    organizations: Any = apps.get_model(conf.organization_model())
    with scope(user=user):
        return list(organizations._default_manager.filter(status="active"))


def list_archived(user: Any) -> list[Any]:
    """Return the archived organizations that a user owns, and so may restore."""
    organizations: Any = apps.get_model(conf.organization_model())
    return list(organizations._default_manager.find_archived(owner=user))


# Of each user


class OrganizationListView(SignedInView, PageView):
    """The user's organizations, to choose one or make another."""

    template_name = "tenancy/organization_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the organizations, and why the one that was chosen is none of them."""
        visit = require_visit(self.request)
        return super().get_context_data(
            organizations=list_organizations(self.request.user),
            archived=list_archived(self.request.user),
            chosen_archived=visit.archived,
            chosen_suspended=visit.suspended,
            **kwargs,
        )


class SwitchView(SignedInView, PostedView):
    """Switches to another organization of the user's, by POST."""

    def get_form_url(self) -> str:
        """Show the organizations."""
        return reverse("tenancy:organization-list")

    def post(self, request: HttpRequest) -> HttpResponse:
        """Choose the organization of the next requests."""
        membership = switch_organization(request, request.POST.get("organization"))
        words = _("You are in %(organization)s now.")
        organization = {"organization": membership.organization}
        messages.success(request, words % organization)
        return redirect(find_work(request, membership.organization))


class OrganizationCreateView(SignedInView, FormPageView):
    """The form of another organization."""

    form_class = NewOrganizationForm
    title = gettext_lazy("New organization")
    submit = gettext_lazy("Create organization")

    def change(self, form: Any) -> str:
        """Make the organization, and go there."""
        organizations: Any = apps.get_model(conf.organization_model())
        made = organizations._default_manager.create_with_owner(
            name=form.cleaned_data["name"], owner=self.request.user
        )
        switch_organization(self.request, made.pk)
        self.made = made
        return _("You are in %(organization)s now.") % {"organization": made}

    def get_success_url(self) -> str:
        """Go to work."""
        return find_work(self.request, self.made)


class RestoreView(SignedInView, FormPageView):
    """Asks an owner of an archived organization, and restores it."""

    form_class = RestoreForm
    submit = gettext_lazy("Restore")

    def find_refusal(self) -> HttpResponseBase | None:
        """Look for the organization among those that the user may restore.

        Raises:
            Http404: it is none of them: not archived, not owned, or not there.
        """
        archived = list_archived(self.request.user)
        keys = {str(one.pk): one for one in archived}
        if self.kwargs["pk"] not in keys:
            raise Http404("The user owns no archived organization of this key.")
        self.organization = keys[self.kwargs["pk"]]
        return None

    def get_initial(self) -> dict[str, Any]:
        """Fill in the slug that it had."""
        return {**super().get_initial(), "slug": self.organization.slug}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add its name, and what will happen."""
        name = {"organization": self.organization}
        return super().get_context_data(
            title=_("Restore %(organization)s") % name,
            introduction=_("Its members enter it again, and everything is as it was."),
            cancel=reverse("tenancy:organization-list"),
            **kwargs,
        )

    def change(self, form: Any) -> str:
        """Restore it, and go there."""
        refuse_impersonator("The organization")
        # The scope of the organization that is active now would be refused.
        with scope(user=self.request.user):
            self.organization.restore(slug=form.cleaned_data["slug"])
        switch_organization(self.request, self.organization.pk)
        name = {"organization": self.organization}
        return _("%(organization)s is restored. You are in it now.") % name

    def get_success_url(self) -> str:
        """Go to work."""
        return find_work(self.request, self.organization)


# Of the one that is active


class SettingsView(MemberView, FormPageView):
    """The organization's name, slug and logo."""

    template_name = "tenancy/organization_settings.html"
    form_class = OrganizationForm

    def find_refusal(self) -> HttpResponseBase | None:
        """Refuse who may not change the organization, of whichever model."""
        refusal = super().find_refusal()
        if refusal is None and not self.request.membership.has_perm(
            change_organization()
        ):
            raise PermissionDenied("The role does not grant the permission.")
        return refusal

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether requests are answered at organizations' own domains."""
        used = require_visit(self.request).uses_domains
        return super().get_context_data(domains_are_used=used, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add the organization, read anew: a form writes into its instance."""
        organization = self.request.organization
        rows = type(organization)._default_manager
        instance = get_object_or_404(rows, pk=organization.pk)
        return {**super().get_form_kwargs(), "instance": instance}

    def change(self, form: Any) -> str:
        """Save what the form shows, and nothing that somebody else changed."""
        form.instance.save(update_fields=[*form.Meta.fields, "updated_at"])
        return _("The organization is saved.")

    def get_success_url(self) -> str:
        """Show the form again."""
        return reverse("tenancy:organization-settings")


class DangerView(MemberView, FormPageView):
    """What an owner does once: transfer, archive, delete."""

    is_for_owners = True
    template_name = "tenancy/danger_zone.html"
    form_class: Any = DeleteOrganizationForm
    form_name = "delete_form"

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add the slug that is to be typed."""
        expected = self.request.organization.slug
        return {**super().get_form_kwargs(), "expected": expected}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add both forms."""
        context = super().get_context_data(**kwargs)
        forms = {
            "delete_form": DeleteOrganizationForm(
                expected=self.request.organization.slug
            ),
            "transfer_form": TransferForm(membership=self.request.membership),
        }
        return context | forms | {self.form_name: context["form"]}

    def change(self, form: Any) -> str:
        """Delete the organization, with everything of its own."""
        refuse_impersonator("The organization")
        organization = self.request.organization
        name = str(organization)
        rows = type(organization)._default_manager
        get_object_or_404(rows, pk=organization.pk).delete()
        return _("%(organization)s is deleted.") % {"organization": name}

    def get_success_url(self) -> str:
        """Show the other organizations."""
        return reverse("tenancy:organization-list")


class TransferView(PostedView, DangerView):
    """Makes another member the owner, by POST."""

    form_class = TransferForm
    form_name = "transfer_form"

    def get_form_kwargs(self) -> dict[str, Any]:
        """Add who hands over, and is none of the choices."""
        kwargs = super().get_form_kwargs()
        del kwargs["expected"]
        return {**kwargs, "membership": self.request.membership}

    def change(self, form: Any) -> str:
        """Hand over."""
        own = get_object_or_404(Membership, pk=self.request.membership.pk)
        to = form.cleaned_data["to"]
        own.transfer_ownership(to=to)
        return _("%(name)s owns the organization now.") % {"name": name_user(to.user)}

    def get_form_url(self) -> str:
        """Show both forms."""
        return reverse("tenancy:danger-zone")

    def get_success_url(self) -> str:
        """Show who is what now."""
        return reverse("tenancy:member-list")


class ArchiveView(MemberView, ChangeView):
    """Archives the organization: nobody enters it, and everything of it stays."""

    is_for_owners = True
    is_archived = False

    def change(self, **kwargs: Any) -> str:
        """Archive it."""
        refuse_impersonator("The organization")
        organization = self.request.organization
        rows = type(organization)._default_manager
        get_object_or_404(rows, pk=organization.pk).archive()
        self.is_archived = True
        return _("%(organization)s is archived.") % {"organization": organization}

    def get_success_url(self) -> str:
        """Show the other organizations; the page where that failed."""
        page = "organization-list" if self.is_archived else "danger-zone"
        return reverse(f"tenancy:{page}")
