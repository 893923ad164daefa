from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenancy.admin.actions import ActingAdmin, RowAction
from tenancy.admin.base import (
    ReadOnlyAdmin,
    SuperuserAdmin,
    find_user_fields,
    is_superuser,
    keep_members,
)
from tenancy.models import Account

TOKENS = ("access_token_encrypted", "refresh_token_encrypted", "id_token_encrypted")


def _unlink(request: HttpRequest, account: Any, data: dict[str, Any]) -> None:
    account.unlink()


class AccountAdmin(ActingAdmin, ReadOnlyAdmin, SuperuserAdmin):
    """Users' accounts with OAuth providers; never a token, nor its ciphertext."""

    list_display = ("provider", "user", "provider_account_id", "has_tokens")
    list_filter = ("provider", "created_at")
    list_select_related = ("user",)
    search_fields = (*find_user_fields("user__"), "provider", "=provider_account_id")
    ordering = ("provider", "created_at")
    date_hierarchy = "created_at"
    secret_fields = TOKENS
    fields = (
        "user",
        "provider",
        "provider_account_id",
        "scopes",
        "has_tokens",
        "access_token_expires_at",
        "refresh_token_expires_at",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("has_tokens",)
    row_actions = (
        RowAction(
            name="unlink",
            label=_("Unlink"),
            question=_("Unlink it? The user cannot sign in by it any more."),
            run=_unlink,
            is_danger=True,
            is_for_superusers=True,
        ),
    )

    @admin.display(description=_("has tokens"), boolean=True)
    def has_tokens(self, account: Account) -> bool:
        """Whether the provider's tokens are kept."""
        return bool(account.keeps_tokens)  # type: ignore[attr-defined]  # of get_queryset()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the accounts, with whether there are tokens instead of them."""
        kept = Q()
        for name in TOKENS:
            kept |= ~Q(**{name: ""})
        rows = super().get_queryset(request).defer(*TOKENS)
        told: QuerySet[Any] = rows.annotate(keeps_tokens=kept)
        return told

    def narrow(self, rows: QuerySet[Any], organization_id: Any) -> QuerySet[Any]:
        """Keep those of the organization's members."""
        return keep_members(rows)


class VerificationAdmin(ReadOnlyAdmin, SuperuserAdmin):
    """Secrets that were sent to prove an identifier; never their digests."""

    list_display = ("identifier", "purpose", "attempts", "expires_at", "is_live")
    list_filter = ("purpose", "is_code", "expires_at")
    search_fields = ("identifier",)
    ordering = ("-created_at",)
    date_hierarchy = "created_at"
    secret_fields = ("value_digest",)
    fields = ("purpose", "identifier", "is_code", "attempts", "expires_at")

    @admin.display(description=_("live"), boolean=True)
    def is_live(self, verification: Any) -> bool:
        """Whether the right value would be taken now."""
        return bool(verification.is_live)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the verifications, without their digests."""
        return super().get_queryset(request).defer("value_digest")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers withdraw one, whose secret then opens nothing."""
        return is_superuser(request)
