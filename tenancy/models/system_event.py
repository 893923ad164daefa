from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.context import Scope, current_scope
from tenancy.documents import is_object
from tenancy.identifiers import make_id
from tenancy.models.immutable_model import ImmutableModel
from tenancy.origin import current_origin
from tenancy.policies import Immutable, Kept
from tenancy.querysets import ImmutableRows
from tenancy.texts import ExactCharField


class SystemEventQuerySet(ImmutableRows, models.QuerySet["SystemEvent"]):
    """Events of the whole system."""


class SystemEventManager(models.Manager["SystemEvent"]):
    """The manager of the system's own trail."""

    _queryset_class = SystemEventQuerySet

    def record(
        self,
        action: str,
        subject: models.Model | None = None,
        *,
        reason: str = "",
        **details: Any,
    ) -> SystemEvent:
        """Write down what was done, in the transaction that does it.

        Args:
            action (str): what was done, as "organization.deleted".
            subject (Model | None): the row to which it was done.
            reason (str): why, as it was said.
            **details: values that JSON can hold; never a secret, nothing personal.
        """
        return self.record_as(
            current_scope(), action, subject, reason=reason, **details
        )

    def record_as(
        self,
        scope: Scope | None,
        action: str,
        subject: models.Model | None = None,
        *,
        reason: str = "",
        **details: Any,
    ) -> SystemEvent:
        """Write down what was done by who acts in another scope. See record()."""
        origin = current_origin()
        actor = None if scope is None else scope.user_id
        unscoped = None if scope is None else scope.unscoped_reason
        event = self.model(
            action=action,
            actor_key="" if actor is None else str(actor),
            impersonator_key=(
                "" if origin.impersonator_id is None else str(origin.impersonator_id)
            ),
            ip_address=origin.ip_address,
            reason=reason or unscoped or "",
            subject_type="" if subject is None else subject._meta.label_lower,
            subject_key="" if subject is None else str(subject.pk),
            details=details,
        )
        event.save(using=self._db, force_insert=True)
        return event


class SystemEvent(ImmutableModel):
    """What was done to a whole organization or user, and outlives it.

    Deletions, erasures, impersonations and bans: they are no organization's, and are
    for superusers to read. It is written once, and refers to nothing.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=make_id, editable=False)
    occurred_at = models.DateTimeField(
        _("occurred at"), default=timezone.now, db_index=True, editable=False
    )
    action = ExactCharField(_("action"), max_length=100, editable=False)
    actor_key = ExactCharField(
        _("key of who acted"), max_length=64, blank=True, editable=False
    )
    impersonator_key = ExactCharField(
        _("key of who impersonated"), max_length=64, blank=True, editable=False
    )
    ip_address = models.GenericIPAddressField(
        _("IP address"), null=True, editable=False
    )
    reason = models.TextField(_("reason"), blank=True, editable=False)
    subject_type = ExactCharField(
        _("kind of subject"), max_length=100, blank=True, editable=False
    )
    subject_key = ExactCharField(
        _("key of the subject"), max_length=64, blank=True, editable=False
    )
    details = models.JSONField(_("details"), default=dict, editable=False)

    objects: ClassVar[SystemEventManager] = SystemEventManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("system event")
        verbose_name_plural = _("system events")
        ordering = ["-occurred_at"]
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["subject_type", "subject_key"],
                name="tenancy_systemevent_subject",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(action=""), name="tenancy_systemevent_action"
            ),
            Immutable(name="tenancy_systemevent_immutable"),
            Kept(name="tenancy_systemevent_kept"),
            is_object("details", name="tenancy_systemevent_details_kind"),
        ]

    def __str__(self) -> str:
        return str(self.action)
