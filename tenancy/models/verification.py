from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.texts import (
    DIGEST_LENGTH,
    ExactCharField,
    has_form_of_digest,
    has_form_of_slug,
)


class Verification(StampedModel):
    """A secret that proves control of an identifier, once, for one purpose.

    There is one for each purpose and identifier: a new one takes the place of the old.
    """

    purpose = ExactCharField(_("purpose"), max_length=63)
    identifier = ExactCharField(_("identifier"), max_length=254)
    value_digest = ExactCharField(
        _("digest of the value"), max_length=DIGEST_LENGTH, editable=False
    )
    is_code = models.BooleanField(_("short code"), default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(
        _("attempts"), default=0, editable=False
    )
    expires_at = models.DateTimeField(_("expires at"), db_index=True, editable=False)

    class Meta:
        app_label = "tenancy"
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["value_digest"], name="tenancy_verification_value"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["purpose", "identifier"], name="tenancy_verification_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("purpose"),
                name="tenancy_verification_purpose",
            ),
            models.CheckConstraint(
                condition=~Q(identifier=""), name="tenancy_verification_identifier"
            ),
            models.CheckConstraint(
                condition=has_form_of_digest("value_digest"),
                name="tenancy_verification_digest",
            ),
            models.CheckConstraint(
                condition=Q(attempts__gte=0, attempts__lte=5),
                name="tenancy_verification_attempts",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")),
                name="tenancy_verification_expires_later",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose}: {self.identifier}"
