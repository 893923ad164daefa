from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import router
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, RowAction
from tenancy.admin.base import TenantAdmin, say
from tenancy.context import current_scope
from tenancy.exceptions import DomainLimitReached
from tenancy.hosts import normalize_host
from tenancy.limits import require_domain_room
from tenancy.models import Domain


class DomainForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    class Meta:
        model = Domain
        fields = ("host",)

    def clean_host(self) -> str:
        """Return the domain as it is kept."""
        return normalize_host(self.cleaned_data["host"])

    def clean(self) -> Any:  # As Django's.
        """Refuse one more domain than there may be."""
        active = current_scope()
        if active is not None:
            try:
                require_domain_room(
                    active.organization_id, using=router.db_for_write(Domain)
                )
            except DomainLimitReached as refusal:
                raise ValidationError(say(refusal), code="limit") from None
        return super().clean()


def _verify(request: HttpRequest, domain: Domain, data: dict[str, Any]) -> None:
    domain.verify()


class DomainAdmin(ActingAdmin, TenantAdmin):
    """The admin of domains, which are added, verified and removed by the verbs."""

    form = DomainForm
    list_display = ("host", "is_verified", "finding", "checked_at", "failing_since")
    list_filter = ("finding", "verified_at")
    search_fields = ("host",)
    ordering = ("host",)
    fields = (
        "host",
        "record_name",
        "token",
        "verified_at",
        "finding",
        "checked_at",
        "failing_since",
        "created_at",
    )
    readonly_fields = fields[1:]
    verb_records = frozenset({"added", "deleted"})
    row_actions = (
        RowAction(
            name="verify",
            label=_("Verify"),
            question=_("Look for the TXT record in DNS now?"),
            run=_verify,
        ),
    )

    @admin.display(boolean=True, ordering="verified_at", description=_("verified"))
    def is_verified(self, domain: Domain) -> bool:
        """Return whether the organization is reached at the domain."""
        return domain.is_verified

    @admin.display(description=_("name of the TXT record"))
    def record_name(self, domain: Domain) -> str:
        """Return where the token is to be put."""
        return domain.record_name

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; of a new domain, the domain alone."""
        return ("host",) if obj is None else self.fields

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Let those verify who may change domains."""
        return super().has_change_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody make another domain of one."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        """Make a domain by the verb."""
        made = Domain.objects.add_domain(host=obj.host)
        obj.pk, obj._state = made.pk, made._state

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove a domain by the verb."""
        obj.remove()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Remove domains by the verb."""
        for domain in queryset:
            domain.remove()
