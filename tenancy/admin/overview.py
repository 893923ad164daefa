"""An organization in numbers, by a fixed number of queries, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    IntegerField,
    Model,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from tenancy.admin.figures import (
    MOST_COUNTED,
    Figure,
    Limits,
    Seats,
    describe_limit,
    make_bars,
    make_figure,
    make_seats,
)
from tenancy.admin.growth import Growth, find_growth
from tenancy.admin.plots import find_share
from tenancy.context import current_scope, require_organization
from tenancy.exceptions import CrossOrganization
from tenancy.limits import find_limits
from tenancy.models import Invitation, Membership, Session, Subscription, Team
from tenancy.predicates import protected_tables, tenant_field

Rows = QuerySet[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What a page tells of an organization; None of what its reader may not see."""

    figures: tuple[Figure, ...]
    seats: Seats | None
    roles: tuple[Figure, ...] | None
    invitations: tuple[Figure, ...] | None
    subscriptions: tuple[Any, ...] | None
    growth: Growth | None
    rows: tuple[Figure, ...]
    empty: tuple[str, ...]


class RowCount(Subquery):
    """How many rows a queryset has, as a column of another query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class Reader:
    """Reads the numbers of one organization, in whose scope it is called.

    Each number is counted by the scope's own managers. Who may not see the rows of a
    model sees no number of them either.

    Args:
        site (AdminSite): which says what may be seen, and where it is listed.
        organization (AbstractOrganization): the scope's.
    Raises:
        CrossOrganization: the scope is another organization's.
        ScopeRequired: no organization's scope is active.
    """

    def __init__(self, site: AdminSite, request: HttpRequest, organization: Any):
        if require_organization() != organization.pk:
            raise CrossOrganization(
                f"An overview was asked for in {current_scope()}, of another "
                "organization. Enter its scope with tenancy.scope(organization)."
            )
        self.site = site
        self.request = request
        self.organization = organization
        self.using = router.db_for_read(type(organization))

    def summarize(self) -> tuple[Figure, ...]:
        """Return the numbers that matter most, by two queries."""
        counts = self._count(self._find_countable())
        return self._make_figures(counts, self._find_limits())

    def describe(self) -> Overview:
        """Return all numbers, by six queries at most."""
        models = self._find_models()
        counts = self._count(
            {
                **self._find_countable(),
                **{model._meta.label: self._rows(model) for model in models},
            }
        )
        limits = self._find_limits()
        sees_members = self._may_view(Membership)
        rows, empty = self._list_rows(models, counts)
        return Overview(
            figures=self._make_figures(counts, limits),
            seats=make_seats(counts, limits) if "pending" in counts else None,
            roles=self._list_roles() if sees_members else None,
            invitations=(
                self._list_invitations() if self._may_view(Invitation) else None
            ),
            subscriptions=(
                self._list_subscriptions() if self._may_view(Subscription) else None
            ),
            growth=find_growth(self._rows(Membership)) if sees_members else None,
            rows=rows,
            empty=empty,
        )

    def _may_view(self, model: type[Model]) -> bool:
        admin: Any = self.site._registry.get(model)
        if admin is not None:
            return bool(admin.has_view_or_change_permission(self.request))
        name = f"{model._meta.app_label}.view_{model._meta.model_name}"
        return self.request.user.has_perm(name)

    def _find_address(self, model: type[Model], **filters: str) -> str:
        """Return where rows are listed; empty where the site has no list of them."""
        if model not in self.site._registry:
            return ""
        if hasattr(self.request, "tenancy_row"):
            # Who has opened the organization sees every organization's lists.
            field: Any = tenant_field(model)
            key = f"{field.name}__{field.target_field.name}__exact"
            filters[key] = str(self.organization.pk)
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        address = reverse(name, current_app=self.site.name)
        return f"{address}?{urlencode(filters)}" if filters else address

    # What is counted

    def _rows(self, model: type[Model]) -> Rows:
        return model._base_manager.using(self.using).all()

    def _find_countable(self) -> dict[str, Rows]:
        """Return the rows behind the numbers that matter most, by name."""
        rows: dict[str, Rows] = {}
        if self._may_view(Membership):
            members = self._rows(Membership).filter(ended_at=None)
            rows["members"] = members
            # Sessions are no organization's. Who is in one only has chosen none.
            chosen = Q(
                membership__organization=self.organization.pk,
                membership__ended_at=None,
            )
            unchosen = Q(membership=None, user__in=members.values("user"))
            sessions = Session.objects.live().using(self.using)
            rows["sessions"] = sessions.filter(chosen | unchosen)
            if self._may_view(Invitation):
                rows["pending"] = self._rows(Invitation).filter(
                    status=Invitation.Status.PENDING, expires_at__gt=timezone.now()
                )
        if self._may_view(Team):
            rows["teams"] = self._rows(Team)
        return rows

    def _find_models(self) -> list[type[Model]]:
        """Return the tenant models whose rows are counted."""
        home = router.db_for_write(type(self.organization))
        return [
            model
            for model in protected_tables().values()
            if not isinstance(self.organization, model)
            and not model._meta.auto_created
            # One statement reads one database.
            and router.db_for_write(model) == home
            and self._may_view(model)
        ]

    def _count(self, rows: Mapping[str, Rows]) -> dict[str, int]:
        """Return how many rows there are of each kind, by one query.

        Of each, one more than MOST_COUNTED are counted at most.
        """
        if not rows:
            return {}
        most = MOST_COUNTED + 1
        columns = {
            f"count_{number}": RowCount(each.order_by().values("pk")[:most])
            for number, each in enumerate(rows.values())
        }
        own = self._rows(type(self.organization)).filter(pk=self.organization.pk)
        counted = own.annotate(**columns).values_list(*columns).get()
        return dict(zip(rows, counted, strict=True))

    def _find_limits(self) -> Limits:
        try:
            return find_limits(
                ["members", "teams"], self.organization.pk, using=self.using
            )
        except ImproperlyConfigured:
            # What another client has written keeps no page from being shown.
            return None

    # What is shown

    def _make_figures(
        self, counts: Mapping[str, int], limits: Limits
    ) -> tuple[Figure, ...]:
        figures = []
        if "members" in counts:
            figures.append(
                make_figure(
                    _("Members"),
                    counts["members"],
                    address=self._find_address(Membership, state="live"),
                )
            )
        if "pending" in counts:
            taken = counts["members"] + counts["pending"]
            figures += [
                make_figure(
                    _("Seats used"), taken, note=describe_limit(limits, "members")
                ),
                make_figure(
                    _("Pending invitations"),
                    counts["pending"],
                    address=self._find_address(Invitation, status__exact="pending"),
                ),
            ]
        if "sessions" in counts:
            figures.append(make_figure(_("Active sessions"), counts["sessions"]))
        if "teams" in counts:
            figures.append(
                make_figure(
                    _("Teams"),
                    counts["teams"],
                    note=describe_limit(limits, "teams"),
                    address=self._find_address(Team),
                )
            )
        return tuple(figures)

    def _list_roles(self) -> tuple[Figure, ...]:
        """Return how many live members have each role."""
        live = self._rows(Membership).filter(ended_at=None)
        counted = live.order_by().values_list("role__name").annotate(number=Count("pk"))
        return make_bars(counted)

    def _list_invitations(self) -> tuple[Figure, ...]:
        """Return how many invitations are in each state, from the first to the last."""
        counted = dict(
            self._rows(Invitation)
            .order_by()
            .values_list(
                Case(
                    When(
                        status=Invitation.Status.PENDING,
                        expires_at__lte=timezone.now(),
                        then=Value(Invitation.Status.EXPIRED.value),
                    ),
                    default=F("status"),
                    output_field=CharField(),
                )
            )
            .annotate(number=Count("pk"))
        )
        states = [
            (state.label, counted[state.value])
            for state in Invitation.Status
            if state.value in counted
        ]
        return make_bars(states, is_ordered=True)

    def _list_subscriptions(self) -> tuple[Any, ...]:
        """Return the live subscriptions, one of each product."""
        live = Subscription.objects.live().using(self.using)
        return tuple(live.select_related("plan", "next_plan").order_by("product"))

    def _list_rows(
        self, models: Iterable[type[Model]], counts: Mapping[str, int]
    ) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
        """Return how many rows models have, and the names of those that have none."""
        filled, empty = [], []
        for model in models:
            name = str(capfirst(model._meta.verbose_name_plural))
            number = counts[model._meta.label]
            if not number:
                empty.append(name)
                continue
            app = str(apps.get_app_config(model._meta.app_label).verbose_name)
            filled.append((name, number, app, self._find_address(model)))
        filled.sort(key=lambda row: (-row[1], row[0]))
        greatest = filled[0][1] if filled else 0
        rows = tuple(
            make_figure(
                name,
                number,
                note=app,
                address=address,
                share=find_share(number, greatest),
            )
            for name, number, app, address in filled
        )
        return rows, tuple(sorted(empty))
