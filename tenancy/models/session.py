from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.fields import TenantForeignKey
from tenancy.models.membership import Membership
from tenancy.models.stamped_model import StampedModel
from tenancy.policies import SameUser
from tenancy.texts import DIGEST_LENGTH, ExactCharField, has_form_of_digest


class Session(StampedModel):
    """A browser that is, or may become, signed in.

    The key that the browser holds is kept as a digest. The active organization is one
    of the user's own memberships, which the database holds by a composite key.
    """

    key_digest = ExactCharField(
        _("digest of the key"), max_length=DIGEST_LENGTH, unique=True, editable=False
    )
    data = models.TextField(_("data"), blank=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="sessions",
    )
    membership = TenantForeignKey(
        Membership,
        verbose_name=_("active membership"),
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="sessions",
    )
    impersonator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("impersonator"),
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="impersonating_sessions",
    )
    ip_address = models.GenericIPAddressField(
        _("IP address"), null=True, editable=False
    )
    user_agent = models.CharField(
        _("browser"), max_length=500, blank=True, editable=False
    )
    last_seen_at = models.DateTimeField(
        _("last seen at"), default=timezone.now, editable=False
    )
    expires_at = models.DateTimeField(_("expires at"), db_index=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ["-last_seen_at"]
        constraints = [
            models.CheckConstraint(
                condition=has_form_of_digest("key_digest"),
                name="tenancy_session_key_digest",
            ),
            models.CheckConstraint(
                condition=Q(membership=None) | Q(user__isnull=False),
                name="tenancy_session_membership_of_user",
            ),
            SameUser(
                field="membership",
                to="tenancy.membership",
                name="tenancy_session_membership_own",
            ),
            models.CheckConstraint(
                condition=Q(impersonator=None)
                | (Q(user__isnull=False) & ~Q(impersonator=F("user"))),
                name="tenancy_session_impersonates_other",
            ),
        ]

    def __str__(self) -> str:
        return self.user_agent or str(_("unknown browser"))
