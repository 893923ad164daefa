from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.identifiers import make_id


class StampedModel(models.Model):
    """A row with a key that cannot be guessed, and the times of its life."""

    id = models.UUIDField(_("ID"), primary_key=True, default=make_id, editable=False)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_default=Now(), editable=False
    )
    updated_at = models.DateTimeField(
        _("updated at"), auto_now=True, db_default=Now(), editable=False
    )

    class Meta:
        abstract = True
