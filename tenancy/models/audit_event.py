from __future__ import annotations

from typing import Any, ClassVar, Self, cast

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy import conf
from tenancy.context import Scope, current_scope
from tenancy.documents import is_object
from tenancy.identifiers import make_id
from tenancy.managers import TenantManager
from tenancy.models.immutable_model import ImmutableModel
from tenancy.models.tenant_model import TenantModel
from tenancy.origin import current_origin
from tenancy.policies import Immutable, Kept
from tenancy.querysets import ImmutableRows, TenantQuerySet
from tenancy.texts import ExactCharField


class AuditEventQuerySet(ImmutableRows, TenantQuerySet["AuditEvent"]):
    """Events of the scope's organization."""

    def for_target(self, target: models.Model) -> Self:
        """Keep what was done on the row."""
        return self.filter(
            target_type=target._meta.label_lower, target_key=str(target.pk)
        )

    def by(self, user: Any) -> Self:
        """Keep what the user did, an instance or a key, in another's name too."""
        key = str(getattr(user, "pk", user))
        return self.filter(Q(actor_key=key) | Q(impersonator_key=key))


class AuditEventManager(TenantManager["AuditEvent"]):
    """The manager of the audit trail."""

    _queryset_class = AuditEventQuerySet

    def for_target(self, target: models.Model) -> AuditEventQuerySet:
        """Keep what was done on the row."""
        return self._rows().for_target(target)

    def by(self, user: Any) -> AuditEventQuerySet:
        """Keep what the user, an instance or a key, did."""
        return self._rows().by(user)

    def _rows(self) -> AuditEventQuerySet:
        return cast(
            "AuditEventQuerySet", self.get_queryset()
        )  # it is of _queryset_class

    def record(
        self, action: str, target: models.Model | None = None, **details: Any
    ) -> AuditEvent:
        """Write down what was done, in the transaction that does it.

        Args:
            action (str): what was done, as "membership.role_changed".
            target (Model | None): the row on which it was done; its organization is
                the event's, or the scope's. An organization is its own.
            **details: values that JSON can hold; never a secret.
        Raises:
            ScopeRequired: no scope is active.
        """
        return self.record_as(current_scope(), action, target, **details)

    def record_as(
        self,
        scope: Scope | None,
        action: str,
        target: models.Model | None = None,
        **details: Any,
    ) -> AuditEvent:
        """Write down what was done by who acts in another scope. See record()."""
        origin = current_origin()
        is_organization = target is not None and _is_organization(target.__class__)
        organization = getattr(
            target, "pk" if is_organization else "organization_id", None
        )
        event = self.model(
            action=action,
            actor_key=_key_of(scope and scope.user_id),
            impersonator_key=_key_of(origin.impersonator_id),
            ip_address=origin.ip_address,
            unscoped_reason=_reason_of(scope),
            target_type="" if target is None else target._meta.label_lower,
            target_key="" if target is None else str(target.pk),
            details=details,
        )
        if organization is not None:
            event.organization_id = organization
        event.save(using=self._db, force_insert=True)
        return event


class AuditEvent(ImmutableModel, TenantModel):
    """Who did what in an organization, on what, when and from where.

    It is written once, and goes with its organization only. People and targets are
    named by their keys, which refer to nothing, so that the trail outlives them.
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
            Immutable(name="tenancy_auditevent_immutable"),
            Kept(name="tenancy_auditevent_kept"),
            is_object("details", name="tenancy_auditevent_details_kind"),
        ]

    def __str__(self) -> str:
        return str(self.action)


def _key_of(key: Any) -> str:
    return "" if key is None else str(key)


def _reason_of(scope: Scope | None) -> str:
    reason = "" if scope is None else scope.unscoped_reason or ""
    return reason[:500]


def _is_organization(model: type[models.Model]) -> bool:
    return model._meta.label_lower == conf.organization_model().lower()
