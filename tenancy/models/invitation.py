from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenancy.constraints import UniqueEverywhere
from tenancy.fields import TenantForeignKey
from tenancy.models.role import Role
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.texts import (
    DIGEST_LENGTH,
    ExactCharField,
    ExactEmailField,
    has_form_of_digest,
    has_form_of_email,
)


class Invitation(StampedModel, TenantModel):
    """An offer of membership: to an e-mail address, or to whoever has the link.

    One is pending at most for each address of an organization. The token is kept as a
    digest, and shown once. Who invited and who answered stay readable when their
    accounts are gone.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        ACCEPTED = "accepted", _("accepted")
        DECLINED = "declined", _("declined")
        REVOKED = "revoked", _("revoked")
        EXPIRED = "expired", _("expired")

    rule_fields: ClassVar[dict[str, str]] = {"pending_email": "email"}

    email = ExactEmailField(_("e-mail address"), null=True, blank=True)
    role = TenantForeignKey(
        Role,
        verbose_name=_("role"),
        on_delete=models.RESTRICT,
        related_name="invitations",
    )
    status = ExactCharField(
        _("status"),
        max_length=16,
        choices=Status,
        default=Status.PENDING,
        editable=False,
    )
    token_digest = ExactCharField(
        _("digest of the token"), max_length=DIGEST_LENGTH, editable=False
    )
    expires_at = models.DateTimeField(_("expires at"), editable=False)
    invited_by = TenantForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("invited by"),
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
    )
    invited_by_name = models.CharField(
        _("name of who invited"), max_length=254, blank=True, editable=False
    )
    answered_by = TenantForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("answered by"),
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
    )
    answered_by_name = models.CharField(
        _("name of who answered"), max_length=254, blank=True, editable=False
    )
    answered_at = models.DateTimeField(_("answered at"), null=True, editable=False)
    pending_email = models.GeneratedField(
        expression=Case(When(status="pending", then=F("email")), default=None),
        output_field=ExactEmailField(null=True),
        db_persist=True,
        verbose_name=_("address while pending"),
    )

    class Meta:
        app_label = "tenancy"
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-created_at"]
        indexes = [
            # The pending ones of an address, whichever organization sent them.
            models.Index(fields=["pending_email"], name="tenancy_invitation_address"),
            models.Index(
                fields=["organization", "status", "expires_at"],
                name="tenancy_invitation_pending",
            ),
            models.Index(fields=["expires_at"], name="tenancy_invitation_expiry"),
        ]
        constraints = [
            UniqueEverywhere(fields=["token_digest"], name="tenancy_invitation_token"),
            models.UniqueConstraint(
                fields=["organization", "pending_email"],
                name="tenancy_invitation_pending_once",
                violation_error_message=_("The address has a pending invitation."),
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=["pending", "accepted", "declined", "revoked", "expired"]
                ),
                name="tenancy_invitation_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", answered_at=None)
                | (~Q(status="pending") & Q(answered_at__isnull=False)),
                name="tenancy_invitation_answer_dated",
            ),
            models.CheckConstraint(
                condition=Q(email=None) | has_form_of_email("email"),
                name="tenancy_invitation_email_formed",
            ),
            models.CheckConstraint(
                condition=Q(email=None) | Q(email=Lower("email")),
                name="tenancy_invitation_email_lower",
            ),
            models.CheckConstraint(
                condition=has_form_of_digest("token_digest"),
                name="tenancy_invitation_token_digest",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")),
                name="tenancy_invitation_expires_later",
            ),
        ]

    def __str__(self) -> str:
        return self.email or str(_("invitation by link"))
