from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.context import current_scope
from tenancy.identifiers import make_id
from tenancy.managers import TenantManager
from tenancy.models.tenant_model import TenantModel
from tenancy.origin import current_origin
from tenancy.texts import ExactCharField


class AuditEventManager(TenantManager["AuditEvent"]):
    """The manager of the audit trail."""

    def record(
        self, action: str, target: models.Model | None = None, **details: Any
    ) -> AuditEvent:
        """Write down what was done, in the transaction that does it.

        Args:
            action (str): what was done, as "membership.role_changed".
            target (Model | None): the row on which it was done; its organization is
                the event's, or the scope's.
            **details: values that JSON can hold; never a secret.
        Raises:
            ScopeRequired: no scope is active.
        """
        scope, origin = current_scope(), current_origin()
        organization = getattr(target, "organization_id", None)
        event = self.model(
            action=action,
            actor_key=_key_of(scope and scope.user_id),
            impersonator_key=_key_of(origin.impersonator_id),
            ip_address=origin.ip_address,
            unscoped_reason="" if scope is None else scope.unscoped_reason or "",
            target_type="" if target is None else target._meta.label_lower,
            target_key="" if target is None else str(target.pk),
            details=details,
        )
        if organization is not None:
            event.organization_id = organization
        event.save(using=self._db, force_insert=True)
        return event


class AuditEvent(TenantModel):
    """Who did what in an organization, on what, when and from where.

    It is written once. People and targets are named by their keys, which refer to
    nothing, so that the trail outlives them.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=make_id, editable=False)
    occurred_at = models.DateTimeField(
        _("occurred at"), default=timezone.now, editable=False
    )
    action = ExactCharField(_("action"), max_length=100, editable=False)
    actor_key = ExactCharField(
        _("key of who acted"), max_length=64, blank=True, editable=False
    )
    impersonator_key = ExactCharField(
        _("key of who impersonated"), max_length=64, blank=True, editable=False
    )
    target_type = ExactCharField(
        _("kind of target"), max_length=100, blank=True, editable=False
    )
    target_key = ExactCharField(
        _("key of the target"), max_length=64, blank=True, editable=False
    )
    ip_address = models.GenericIPAddressField(
        _("IP address"), null=True, editable=False
    )
    unscoped_reason = models.CharField(
        _("reason of going unscoped"), max_length=500, blank=True, editable=False
    )
    details = models.JSONField(_("details"), default=dict, editable=False)

    objects: ClassVar[AuditEventManager] = AuditEventManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("audit event")
        verbose_name_plural = _("audit trail")
        ordering = ["-occurred_at"]
        indexes = [
            models.Index(
                fields=["organization", "occurred_at"], name="tenancy_auditevent_time"
            ),
            models.Index(
                fields=["organization", "target_type", "target_key"],
                name="tenancy_auditevent_target",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(action=""), name="tenancy_auditevent_action"
            ),
        ]

    def __str__(self) -> str:
        return str(self.action)


def _key_of(key: Any) -> str:
    return "" if key is None else str(key)
