from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.texts import ExactCharField, has_form_of_slug


class Account(StampedModel):
    """A user's account with an OAuth provider; each belongs to one user.

    The tokens are encrypted, and bound to this row and their column.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="accounts",
    )
    provider = ExactCharField(_("provider"), max_length=63)
    provider_account_id = ExactCharField(_("account at the provider"), max_length=255)
    access_token_encrypted = models.TextField(blank=True, editable=False)
    access_token_expires_at = models.DateTimeField(
        _("access token expires at"), null=True, blank=True, editable=False
    )
    refresh_token_encrypted = models.TextField(blank=True, editable=False)
    refresh_token_expires_at = models.DateTimeField(
        _("refresh token expires at"), null=True, blank=True, editable=False
    )
    id_token_encrypted = models.TextField(blank=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=list, blank=True, editable=False)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["provider", "created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "provider_account_id"], name="tenancy_account_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("provider"),
                name="tenancy_account_provider_formed",
            ),
            models.CheckConstraint(
                condition=~Q(provider_account_id=""),
                name="tenancy_account_id_not_empty",
            ),
        ]

    def __str__(self) -> str:
        return str(self.provider)
