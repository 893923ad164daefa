from __future__ import annotations

from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.browsers import name_browser
from tenancy.fields import TenantForeignKey
from tenancy.indexes import PartialIndex
from tenancy.models.membership import Membership
from tenancy.models.stamped_model import StampedModel
from tenancy.policies import SameUser
from tenancy.texts import DIGEST_LENGTH, ExactCharField, has_form_of_digest
from tenancy.tokens import digest_token
from tenancy.transactions import verb


class SessionQuerySet(models.QuerySet["Session"]):
    """Sessions, of every user unless for_user() says whose."""

    def live(self) -> SessionQuerySet:
        """Keep those that have neither expired nor been ended."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def for_user(self, user: Any) -> SessionQuerySet:
        """Keep the user's own: the list of their devices."""
        return self.filter(user=user)

    def with_key(self, key: str) -> SessionQuerySet:
        """Keep the one of the key that a browser holds."""
        return self.filter(key_digest=digest_token(key))

    def _end(self, reason: str) -> int:
        """End those that are not ended yet; return how many."""
        now = timezone.now()
        return self.filter(revoked_at=None).update(
            # The clock of the machine that began the session may be ahead.
            revoked_at=Greatest("created_at", Value(now)),
            end_reason=reason,
            data="",
            membership=None,
            updated_at=now,
        )

    def admitted(self) -> SessionQuerySet:
        """Keep those that may act.

        They are live, their user is not banned, and who impersonates is a superuser
        still.
        """
        users: Any = get_user_model()  # Any: a project's own, with fewer fields maybe.
        names = {field.name for field in users._meta.get_fields()}
        conditions = (
            ({"banned_at", "banned_until"}, ~_is_banned("user")),
            ({"banned_at", "banned_until"}, ~_is_banned("impersonator")),
            (
                {"is_superuser", "is_active"},
                Q(impersonator=None)
                | Q(impersonator__is_superuser=True, impersonator__is_active=True),
            ),
        )
        return self.live().filter(
            *(condition for fields, condition in conditions if fields <= names)
        )


def _is_banned(relation: str) -> Q:
    """Return the condition of a user who is banned now, in no negated NULL."""
    return Q(**{f"{relation}__banned_at__isnull": False}) & (
        Q(**{f"{relation}__banned_until": None})
        | Q(**{f"{relation}__banned_until__gt": timezone.now()})
    )


class SessionManager(models.Manager["Session"]):
    """The manager of sessions."""

    def get_queryset(self) -> SessionQuerySet:
        """Return all sessions."""
        return SessionQuerySet(self.model, using=self._db)

    def live(self) -> SessionQuerySet:
        """Keep those that have neither expired nor been ended."""
        return self.get_queryset().live()

    def for_user(self, user: Any) -> SessionQuerySet:
        """Keep the user's own: the list of their devices."""
        return self.get_queryset().for_user(user)

    def with_key(self, key: str) -> SessionQuerySet:
        """Keep the one of the key that a browser holds."""
        return self.get_queryset().with_key(key)

    @verb
    def end_all(self, user: Any, *, reason: str = "ended") -> int:
        """End every session of a user, and those in which they impersonate another.

        Args:
            user (AbstractBaseUser): any user model's.
            reason (str): one of Session.EndReason.
        Returns:
            int: how many were ended.
        """
        return self._of(user)._end(reason)

    async def aend_all(self, user: Any, *, reason: str = "ended") -> int:
        """See end_all()."""
        return await sync_to_async(self.end_all)(user, reason=reason)

    @verb
    def end_others(self, user: Any, *, keep: Any, reason: str = "ended") -> int:
        """End every session of a user but one.

        Args:
            user (AbstractBaseUser): any user model's.
            keep (Session | SessionBase): the one that stays: a row, or
                ``request.session``.
            reason (str): one of Session.EndReason.
        Returns:
            int: how many were ended.
        """
        others = self._of(user)
        if isinstance(keep, Session):
            return others.exclude(pk=keep.pk)._end(reason)
        if keep.session_key is not None:
            others = others.exclude(key_digest=digest_token(keep.session_key))
        return others._end(reason)

    async def aend_others(self, user: Any, *, keep: Any, reason: str = "ended") -> int:
        """See end_others()."""
        return await sync_to_async(self.end_others)(user, keep=keep, reason=reason)

    @verb
    def clear_membership(self, membership: Any) -> int:
        """Take a membership that ends out of the sessions in which it is active.

        Args:
            membership (Membership): of any organization.
        Returns:
            int: in how many it was active.
        """
        active = self.get_queryset().filter(membership=membership.pk)
        return active.update(membership=None, updated_at=timezone.now())

    async def aclear_membership(self, membership: Any) -> int:
        """See clear_membership()."""
        return await sync_to_async(self.clear_membership)(membership)

    def _of(self, user: Any) -> SessionQuerySet:
        return self.get_queryset().filter(Q(user=user.pk) | Q(impersonator=user.pk))


class Session(StampedModel):
    """A browser that is, or may become, signed in.

    The key that the browser holds is kept as a digest. The active organization is one
    of the user's own memberships, which the database holds by a composite key. One
    that was ended keeps no data, and never signs anybody in again.
    """

    class EndReason(models.TextChoices):
        ENDED = "ended", _("ended by the user")
        PASSWORD = "password", _("the password was changed")
        BAN = "ban", _("the user was banned")

    key_digest = ExactCharField(
        _("digest of the key"), max_length=DIGEST_LENGTH, editable=False
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
    end_reason = ExactCharField(
        _("why it was ended"),
        max_length=16,
        choices=EndReason,
        blank=True,
        default="",
        editable=False,
    )

    objects: ClassVar[SessionManager] = SessionManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ["-last_seen_at"]
        indexes = [
            PartialIndex(
                fields=["revoked_at"],
                name="tenancy_session_revoked",
                where=Q(revoked_at__isnull=False),
            ),
        ]
        constraints = [
            # Not the field's own, beside which Django makes PostgreSQL an index for
            # LIKE that is as large.
            models.UniqueConstraint(
                fields=["key_digest"], name="tenancy_session_key_once"
            ),
            models.CheckConstraint(
                condition=Q(revoked_at=None) | Q(data=""),
                name="tenancy_session_end_without_data",
            ),
            models.CheckConstraint(
                condition=Q(end_reason="", revoked_at=None)
                | (~Q(end_reason="") & Q(revoked_at__isnull=False)),
                name="tenancy_session_end_dated",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at=None) | Q(revoked_at__gte=F("created_at")),
                name="tenancy_session_end_in_order",
            ),
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
            models.CheckConstraint(
                condition=Q(end_reason__in=["", "ended", "password", "ban"]),
                name="tenancy_session_end_reason_known",
            ),
        ]

    def __str__(self) -> str:
        return name_browser(self.user_agent)

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Save the session; one that was ended meanwhile stays so.

        Raises:
            ValidationError: it was, and is not ended in hand.
        """
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            if not self._state.adding and self.revoked_at is None:
                rows = SessionQuerySet(type(self), using=using).filter(pk=self.pk)
                ends = rows.select_for_update().values_list("revoked_at", flat=True)
                if ends.first() is not None:
                    raise ValidationError(
                        {"revoked_at": _("The session was ended, and stays so.")}
                    )
            super().save_base(*args, **kwargs)

    save_base.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    @property
    def is_live(self) -> bool:
        """Whether it has neither expired nor been ended."""
        return self.revoked_at is None and self.expires_at > timezone.now()

    @verb
    def end(self) -> None:
        """Sign the browser out: the row stays, and keeps no data.

        One that was ended before stays as it is.
        """
        own = SessionQuerySet(type(self), using=self._state.db).filter(pk=self.pk)
        own._end(self.EndReason.ENDED)
        self.refresh_from_db()

    end.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def aend(self) -> None:
        """See end()."""
        await sync_to_async(self.end)()

    aend.alters_data = True  # type: ignore[attr-defined]  # as above
