"""The admin site, apart from the admin's registrations, which need it first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, resolve, reverse
from django.urls.exceptions import Resolver404
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from tenancy import conf
from tenancy.choices import offer_anybody
from tenancy.context import Key, current_scope, reaches_rows, scope, unscoped
from tenancy.history import show_history
from tenancy.impersonation import stop_impersonating
from tenancy.middleware import switch_organization
from tenancy.models import AuditEvent, Membership
from tenancy.provenance import (
    answer_changed,
    carry_scope,
    is_form,
    is_of_active_scope,
)
from tenancy.trail import describe_events
from tenancy.visits import find_visit

CHOICE = "tenancy_admin_organization"
"""The key of the session under which a superuser's choice in the admin is kept."""

MOST_CHOICES = 50
"""How many organizations the switcher offers; the list of them offers the others."""

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where a page of the admin is, for its header.

    Args:
        organization (AbstractOrganization | None): whose rows the page is about.
        is_over_all (bool): whether it is about every organization's.
        is_opened (bool): whether a row was opened from a list of every
            organization's.
        choices (list): the organizations that the switcher offers.
        has_more (bool): whether there are others.
        offers_all (bool): whether it offers all of them at once.
        overview (str): where the organization is shown in numbers; empty to who may
            not see it.
    """

    organization: Any = None
    is_over_all: bool = False
    is_opened: bool = False
    choices: tuple[Any, ...] = ()
    has_more: bool = False
    offers_all: bool = False
    overview: str = ""


class CompletionView(AutocompleteJsonView):
    """What completes a choice; of users, fellow members, and anybody to superusers."""

    def process_request(self, request: HttpRequest) -> Any:  # As Django's.
        """Return the term, the other model's admin, the relation, and its key."""
        term, model_admin, field, key = super().process_request(request)
        offered = offer_anybody(field) if _is_superuser(request) else field
        return term, model_admin, offered, key


class TenantAdminSite(admin.AdminSite):
    """An admin site on which superusers reach every organization.

    A superuser works in the organization that they chose in the header, and unscoped
    where they chose none, which the log tells at each request; opening a row enters its
    organization. Everybody else stays in the scope of the request. Where the address
    names an organization, all of them work in that one. Name it as ``default_site`` of
    an AdminConfig.

    Its forms carry the scope in which they were made, and are answered with a page of
    status 409 where they are sent in another one. What has only Django's log, which
    tells of no organization, has a history for superusers; others are shown what the
    audit trail tells of the row.
    """

    index_template = "tenancy/admin/index.html"

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Return the addresses, with those of the header's forms."""
        return [
            path(
                "switch-organization/",
                self.admin_view(self.switch_view),
                name="tenancy_switch",
            ),
            # Who acts in another's name is no staff there.
            path(
                "stop-impersonating/",
                self.stop_impersonating_view,
                name="tenancy_stop_impersonating",
            ),
            *super().get_urls(),
        ]

    # Any: the stubs ask for the very type of view that is given.
    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Wrap a view of the site."""

        @functools.wraps(view)
        def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            answer = functools.partial(self._answer, view, request, *args, **kwargs)
            if not _is_superuser(request):
                return answer()
            with unscoped(f"admin: superuser {request.user.pk}"):
                key = _find_choice(request)
                if key is None:
                    return render_in_scope(answer())
                with scope(key, user=request.user.pk):
                    return render_in_scope(answer())

        return super().admin_view(run, cacheable)

    def _answer(
        self, view: Any, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer in the scope of the page, if the form that is sent was made in it."""
        # What is of the user's, or leads elsewhere, is the same in each.
        is_of_any = view in (self.switch_view, self.logout, self.password_change)
        # What has no CSRF token is no form, and may be a body that is read in parts.
        is_judged = is_form(request) and not getattr(view, "csrf_exempt", False)
        if is_judged and not is_of_any and not is_of_active_scope(request):
            return answer_changed(
                request,
                _find_organization(request),
                archived=getattr(find_visit(request), "archived", None),
                is_over_all=_is_over_all(),
            )
        method = getattr(view, "__func__", None)
        if method is admin.ModelAdmin.history_view and not _is_superuser(request):
            view = functools.partial(show_history, view.__self__)
        return carry_scope(view(request, *args, **kwargs))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what each page shows: in its header, whose rows it is about."""
        context = super().each_context(request)
        situation = self._find_situation(request, context["has_permission"])
        context["tenancy"] = situation
        if situation.is_over_all:
            context["site_header"] = f"{self.site_header}: {_('all organizations')}"
        elif situation.organization is not None:
            context["site_header"] = f"{self.site_header}: {situation.organization}"
        return context

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:  # As Django's.
        """Show the organization's numbers, the models, and what was done last."""
        context = {
            "tenancy_entries": _list_recent(request),
            "tenancy_figures": self._ask(request, "summarize"),
            **(extra_context or {}),
        }
        return super().index(request, context)

    def autocomplete_view(self, request: HttpRequest) -> Any:  # As Django's.
        """Complete a choice; on the page of an opened row, from its organization."""
        key = request.GET.get("tenancy_organization")
        complete = CompletionView.as_view(admin_site=self)
        if not key or not _is_superuser(request) or not _is_over_all():
            return complete(request)
        with scope(_require_organization(key).pk, user=request.user.pk):
            return complete(request)

    def get_log_entries(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """Return none: what was done stands in the audit trail, by organization."""
        return LogEntry.objects.none()

    @method_decorator(require_POST)
    def switch_view(self, request: HttpRequest) -> HttpResponseBase:
        """Choose the organization in which the next pages of the admin work."""
        key = request.POST.get("organization", "")
        if not _is_superuser(request):
            switch_organization(request, key)
        else:
            choose_organization(request, key)
        return HttpResponseRedirect(self._find_next(request))

    @method_decorator([never_cache, csrf_protect, require_POST])
    def stop_impersonating_view(self, request: HttpRequest) -> HttpResponseBase:
        """Return to the superuser's own sign-in."""
        # Only the store of tenancy.sessions knows.
        if getattr(request.session, "impersonator_id", None) is None:
            raise Http404("Nobody acts in another's name.")
        stop_impersonating(request)
        return HttpResponseRedirect(reverse("admin:index", current_app=self.name))

    def _find_situation(self, request: HttpRequest, may_enter: bool) -> Situation:
        active = current_scope()
        if not may_enter or active is None:
            return Situation()
        organization = _find_organization(request)
        # Where the address tells, there is nothing to choose.
        is_free = _find_named(request) is None
        choices = tuple(_list_choices(request)) if is_free else ()
        offered = choices[:MOST_CHOICES]
        if organization is not None and organization not in offered:
            offered = (organization, *offered)
        return Situation(
            organization=organization,
            is_over_all=organization is None and active.is_unscoped,
            is_opened=hasattr(request, "tenancy_row"),
            choices=offered,
            has_more=len(choices) > MOST_CHOICES,
            offers_all=is_free and _is_superuser(request),
            overview=self._ask(request, "find_overview", organization) or "",
        )

    def _ask(self, request: HttpRequest, name: str, organization: Any = None) -> Any:
        """Return what the admin of organizations answers about the active one.

        A project's own admin of its own model need not have an answer.
        """
        active = current_scope()
        if active is None or active.organization_id is None:
            return None
        organization = organization or _find_organization(request)
        admin_of_it = self._registry.get(type(organization))
        answer = getattr(admin_of_it, name, None)
        return None if answer is None else answer(request, organization)

    def _find_next(self, request: HttpRequest) -> str:
        """Return the list from which the form came, or the index."""
        address = request.POST.get("next", "")
        index = reverse("admin:index", current_app=self.name)
        if not url_has_allowed_host_and_scheme(address, allowed_hosts=None):
            return index
        try:
            name = resolve(address).url_name or ""
        except Resolver404:
            return index
        return address if name.endswith("_changelist") else index


def choose_organization(request: HttpRequest, key: str) -> None:
    """Choose the organization of a superuser's next pages; all, by an empty key.

    Where the address names one, there is no choice: another would close its pages.

    Raises:
        Http404: there is no living organization of this key, or the address names
            another one.
    """
    chosen = str(_require_organization(key).pk) if key else ""
    named = _find_named(request)
    if named is None:
        request.session[CHOICE] = chosen
    elif chosen != str(named.pk):
        raise Http404("The address names another organization.")


def render_in_scope(response: HttpResponseBase) -> HttpResponseBase:
    """Render a template response now, while the scope still is the view's.

    Django renders it after the view, where the querysets in its context would run in
    the scope around.
    """
    render: Callable[[], object] | None = getattr(response, "render", None)
    if render is not None:
        render()
    return response


def _is_superuser(request: HttpRequest) -> bool:
    user = request.user
    return user.is_active and bool(getattr(user, "is_superuser", False))


def _is_over_all() -> bool:
    active = current_scope()
    return active is not None and active.is_unscoped


def _find_choice(request: HttpRequest) -> Key | None:
    """Return the organization in which a superuser works, or None for all.

    What the address names goes before what was chosen in the admin, and that before
    what was chosen on the site. Called unscoped.

    Raises:
        Http404: the address names another organization than was chosen in the admin.
    """
    chosen = request.session.get(CHOICE)
    if chosen is None:
        # TenancyMiddleware sets both; what an address names counts as chosen.
        has_chosen = getattr(request, "has_chosen_organization", False)
        return request.organization.pk if has_chosen else None  # type: ignore[attr-defined]  # as above
    try:
        key = _require_organization(chosen).pk if chosen else None
    except Http404:
        # It was archived or deleted meanwhile.
        del request.session[CHOICE]
        key = None
    named = _find_named(request)
    if named is None:
        return key
    if key not in (None, named.pk):
        raise Http404("There is no organization of this address.")
    return named.pk


def _find_named(request: HttpRequest) -> Any:
    """Return the organization that the address names, of which the user is a member."""
    visit = find_visit(request)
    membership = visit.membership if visit is not None and visit.addresses else None
    return None if membership is None else membership.organization


def _require_organization(key: str) -> Any:
    """Return the living organization of a key.

    Raises:
        Http404: there is none.
    """
    with unscoped("admin: a superuser chooses an organization"):
        try:
            found = _organizations().exclude(status="archived").filter(pk=key).first()
        except (ValidationError, ValueError):
            found = None
    if found is None:
        raise Http404("There is no living organization of this key.")
    return found


def _organizations() -> Any:  # Any: the manager's rows are a project's own.
    return apps.get_model(conf.organization_model())._base_manager.all()


def _find_organization(request: HttpRequest) -> Any:
    """Return the organization of the page, or None."""
    active = current_scope()
    row = getattr(request, "tenancy_row", None)
    key = active and active.organization_id
    if key is None:
        # The page of an archived organization's row, which nobody can enter.
        if row is None or isinstance(row, _organizations().model):
            return row
        return row.organization
    known = getattr(request, "organization", None)
    if known is not None and known.pk == key:
        return known
    return row if row is not None and row.pk == key else _organizations().get(pk=key)


def _list_choices(request: HttpRequest) -> list[Any]:
    """Return the organizations between which the user may switch, and one too many."""
    if not _is_superuser(request):
        return _list_own(request)
    with unscoped(f"admin: superuser {request.user.pk} may switch"):
        rows = _organizations().exclude(status="archived").order_by("name")
        return list(rows[: MOST_CHOICES + 1])


def _list_own(request: HttpRequest) -> list[Any]:
    """Return the organizations between which a member may switch."""
    with scope(user=request.user.pk):
        rows = Membership.objects.live().filter(
            user=request.user.pk, organization__status="active"
        )
        return [
            row.organization
            for row in rows.select_related("organization").order_by(
                "organization__name"
            )[: MOST_CHOICES + 1]
        ]


def _list_recent(request: HttpRequest) -> list[Any]:
    """Return what was done last: in the organization, or by who is over all."""
    active = current_scope()
    if active is None or not reaches_rows():
        return []
    events: Any = AuditEvent.objects.all()  # Any: a queryset of its own.
    if active.is_unscoped or not request.user.has_perm("tenancy.view_auditevent"):
        events = events.by(request.user)
    if active.is_unscoped:
        events = events.select_related("organization")
    return describe_events(
        events.order_by("-occurred_at")[:10],
        viewer=request.user,
        with_organization=active.is_unscoped,
    )
