from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy import conf
from tenancy.constraints import UniqueEverywhere
from tenancy.context import (
    LookUp,
    look_up,
    require_organization,
    require_scope,
    scope,
)
from tenancy.exceptions import (
    AlreadyMember,
    EmailNotVerified,
    InvitationExpired,
    InvitationNotFound,
    InvitationUsed,
    OrganizationNotActive,
    PermissionNotHeld,
    UserNotActive,
    WrongRecipient,
)
from tenancy.fields import TenantForeignKey
from tenancy.indexes import PartialIndex
from tenancy.limits import require_invitation_room, require_seat
from tenancy.managers import TenantManager
from tenancy.models.audit_event import AuditEvent
from tenancy.models.membership import Membership
from tenancy.models.role import Role
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import TenantModel
from tenancy.querysets import TenantQuerySet, require_own, unknown_relation
from tenancy.signals import (
    invitation_accepted,
    invitation_declined,
    invitation_renewed,
    invitation_revoked,
    invitation_sent,
)
from tenancy.texts import (
    DIGEST_LENGTH,
    ExactCharField,
    ExactEmailField,
    has_form_of_digest,
    has_form_of_email,
    is_lowered_safely,
)
from tenancy.tokens import digest_token, make_token
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

NAME_LENGTH = 254
RULING = frozenset({"owner", "admin"})
"""The built-in roles that no link gives."""


@dataclass(frozen=True, slots=True)
class PendingInvitation:
    """What the holder of a token may read before answering.

    Args:
        organization_name (str): the organization that invites.
        role_name (str): the role that the membership will have.
        invited_by_name (str): who invited; empty for system code.
        masked_email (str | None): the address, of which only the first character and
            the domain can be read; None for a link.
        expires_at (datetime): until when it can be accepted.
    """

    organization_name: str
    role_name: str
    invited_by_name: str
    masked_email: str | None
    expires_at: datetime


class InvitationQuerySet(TenantQuerySet["Invitation"]):
    """Invitations of the scope's organization."""

    def pending(self) -> InvitationQuerySet:
        """Keep those that nobody has answered, whether or not their time is past."""
        return self.filter(status=Invitation.Status.PENDING)

    def live(self) -> InvitationQuerySet:
        """Keep those that can be accepted now."""
        return self.pending().filter(expires_at__gt=timezone.now())

    def for_email(self, email: str) -> InvitationQuerySet:
        """Keep those to an address, in any case."""
        return self.filter(email=_normalize(email))


class InvitationManager(TenantManager["Invitation"]):
    """The manager of invitations."""

    _queryset_class = InvitationQuerySet

    def pending(self) -> InvitationQuerySet:
        """Keep those that nobody has answered, whether or not their time is past."""
        return InvitationQuerySet.pending(self.get_queryset())  # type: ignore[arg-type]  # it is of _queryset_class

    def live(self) -> InvitationQuerySet:
        """Keep those that can be accepted now."""
        return InvitationQuerySet.live(self.get_queryset())  # type: ignore[arg-type]  # as above

    def for_email(self, email: str) -> InvitationQuerySet:
        """Keep those to an address, in any case."""
        return InvitationQuerySet.for_email(self.get_queryset(), email)  # type: ignore[arg-type]  # as above

    @verb
    @sensitive_variables("token")
    def invite(
        self,
        *,
        email: str | None = None,
        role: Role | str = "member",
        lifetime: timedelta | None = None,
    ) -> tuple[Invitation, str]:
        """Invite an address, or whoever has the link, into the scope's organization.

        An address that has a pending invitation gets it renewed, with this role; its
        earlier token is void.

        Args:
            email (str | None): the address; None makes a link for one use.
            role (Role | str): a role of the organization, or "owner", "admin" or
                "member".
            lifetime (timedelta | None): for how long; None for
                TENANCY_INVITATION_AGE.
        Returns:
            tuple[Invitation, str]: the invitation, and its token, which nothing shows
                again.
        Raises:
            ScopeRequired: the scope names no organization.
            ValidationError: the address is malformed, or a link names a role that
                rules.
            ValueError: there is no built-in role of that key, or the lifetime is not
                positive.
            CrossOrganization: the role is none of the organization.
            PermissionNotHeld: the role grants more than the acting user's.
            AlreadyMember: a live member has the address.
            SeatLimitReached: members and pending invitations fill the seats.
            InvitationLimitReached: as many are pending as may be.
        """
        alias = find_alias(self)
        organization_id = require_organization()
        expires_at = _find_end(lifetime)
        take_locks(alias, organizations=[organization_id])
        chosen = _find_role(role, organization_id, alias)
        invitation = self._find_pending_row(email, alias)
        if invitation is None:
            invitation = self.model(email=email, organization_id=organization_id)
        invitation.role = chosen
        token = make_token()
        invitation._offer(digest_token(token), expires_at, alias)
        return invitation, token

    @sensitive_variables("token")
    def find_pending(self, token: str) -> PendingInvitation:
        """Return what may be shown of an invitation before it is answered.

        It needs no scope. To read is not to answer: nothing changes.

        Raises:
            InvitationNotFound: there is none of that token.
            InvitationExpired: its time is past.
            InvitationUsed: it was accepted, declined or revoked.
            OrganizationNotActive: the organization is suspended or archived.
        """
        invitation = self._look_up(_digest(token))
        _require_active(invitation.organization)
        invitation._require_live()
        return PendingInvitation(
            organization_name=str(invitation.organization),
            role_name=str(invitation.role),
            invited_by_name=invitation.invited_by_name,
            masked_email=_mask(invitation.email),
            expires_at=invitation.expires_at,
        )

    @sensitive_variables("token")
    def accept(self, token: str, *, user: Any) -> Membership:
        """Make the user a member, once, whatever scope they are in.

        Answer only a POST with it: whoever scans a mail's links sends a GET.

        Args:
            token (str): the invitation's.
            user (AbstractBaseUser): who accepts, and becomes a member.
        Returns:
            Membership: the user's; the same one when they accept again.
        Raises:
            TypeError: the user is none, or not saved.
            InvitationNotFound: there is none of that token.
            InvitationExpired: its time is past.
            InvitationUsed: it was declined or revoked, or somebody else accepted it.
            WrongRecipient: it was sent to another address than the user's.
            EmailNotVerified: TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL is set, and
                the user's address is not verified.
            UserNotActive: the user is banned, or switched off.
            OrganizationNotActive: the organization is suspended or archived.
            PermissionNotHeld: it is a link, and its role has become one that rules.
            AlreadyMember: the user is a member by another way.
            SeatLimitReached: the organization has fewer seats than it had.
            OrganizationLimitReached: the user is a member of as many organizations
                as they may be.
        """
        _require_user(user)
        invitation = self._look_up(_digest(token))
        _require_active(invitation.organization)
        own = scope(invitation.organization, user=user)
        with look_up(LookUp.INVITATION_BY_TOKEN), own:
            return invitation._accept(user)

    @sensitive_variables("token")
    def decline(self, token: str, *, user: Any = None) -> Invitation:
        """Turn an invitation down, whatever scope the caller is in.

        Args:
            token (str): the invitation's.
            user (AbstractBaseUser | None): who declines; None for whoever has the
                token.
        Returns:
            Invitation: the declined one.
        Raises:
            TypeError: the user is not saved.
            InvitationNotFound: there is none of that token.
            InvitationExpired: its time is past.
            InvitationUsed: it was answered or revoked before.
            WrongRecipient: it was sent to another address than the user's.
            OrganizationNotActive: the organization is archived.
        """
        if user is not None:
            _require_user(user)
        invitation = self._look_up(_digest(token))
        _require_active(invitation.organization, allowed=["suspended"])
        own = scope(invitation.organization, user=user)
        with look_up(LookUp.INVITATION_BY_TOKEN), own:
            return invitation._decline(user)

    @verb
    def expire(self) -> int:
        """Mark the pending ones of the scope whose time is past.

        It changes what is shown, not what is allowed: they cannot be accepted, and
        take no seats, from the moment that their time is past.

        Returns:
            int: how many were marked.
        """
        now = timezone.now()
        past = self.using(find_alias(self)).filter(
            status=Invitation.Status.PENDING, expires_at__lte=now
        )
        return past.update(
            status=Invitation.Status.EXPIRED, answered_at=now, updated_at=now
        )

    async def ainvite(
        self,
        *,
        email: str | None = None,
        role: Role | str = "member",
        lifetime: timedelta | None = None,
    ) -> tuple[Invitation, str]:
        """See invite()."""
        return await sync_to_async(self.invite)(
            email=email, role=role, lifetime=lifetime
        )

    async def afind_pending(self, token: str) -> PendingInvitation:
        """See find_pending()."""
        return await sync_to_async(self.find_pending)(token)

    async def aaccept(self, token: str, *, user: Any) -> Membership:
        """See accept()."""
        return await sync_to_async(self.accept)(token, user=user)

    async def adecline(self, token: str, *, user: Any = None) -> Invitation:
        """See decline()."""
        return await sync_to_async(self.decline)(token, user=user)

    async def aexpire(self) -> int:
        """See expire()."""
        return await sync_to_async(self.expire)()

    def _find_pending_row(self, email: str | None, alias: str) -> Invitation | None:
        if email is None:
            return None
        # A generated column that is indexed, of the pending ones alone.
        return self.using(alias).filter(pending_email=_normalize(email)).first()

    def _look_up(self, digest: str) -> Invitation:
        """Return the invitation, with its organization and its role.

        Before the transaction: a database that reads from one snapshot would
        otherwise go on to count what was there before the lock.
        """
        with look_up(LookUp.INVITATION_BY_TOKEN):
            rows = self.using(find_alias(self)).select_related("organization", "role")
            invitation = rows.filter(token_digest=digest).first()
        if invitation is None:
            raise _not_found()
        return invitation


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
        _("name of who invited"), max_length=NAME_LENGTH, blank=True, editable=False
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
        _("name of who answered"), max_length=NAME_LENGTH, blank=True, editable=False
    )
    answered_at = models.DateTimeField(_("answered at"), null=True, editable=False)
    pending_email = models.GeneratedField(
        expression=Case(When(status="pending", then=F("email")), default=None),
        output_field=ExactEmailField(null=True),
        db_persist=True,
        verbose_name=_("address while pending"),
    )

    objects: ClassVar[InvitationManager] = InvitationManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-created_at"]
        indexes = [
            # The pending ones of an address, whichever organization sent them.
            PartialIndex(
                fields=["pending_email"],
                name="tenancy_invitation_address",
                where=Q(pending_email__isnull=False),
            ),
            PartialIndex(
                fields=["organization", "status", "expires_at"],
                name="tenancy_invitation_pending",
                where=Q(status="pending"),
            ),
            # Not by the time alone, which all that were ever answered are past.
            PartialIndex(
                fields=["status", "expires_at"],
                name="tenancy_invitation_expiry",
                where=Q(status="pending"),
            ),
        ]
        constraints = [
            UniqueEverywhere(fields=["token_digest"], name="tenancy_invitation_token"),
            models.UniqueConstraint(
                fields=["organization", "pending_email"],
                name="tenancy_invitation_pending_once",
                violation_error_code="pending",
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
                condition=Q(answered_at=None) | Q(answered_at__gte=F("created_at")),
                name="tenancy_invitation_answer_ordered",
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

    @property
    def is_live(self) -> bool:
        """Whether it can be accepted now."""
        return self.status == "pending" and self.expires_at > timezone.now()

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, with the address normalised."""
        self.email = _normalize(self.email)
        super().clean_fields(exclude=exclude)

    def clean(self) -> None:
        """Refuse an empty address, and a link that makes an owner or an admin."""
        super().clean()
        if self.email == "":
            message = _("Give an e-mail address, or none for a link.")
            raise ValidationError({"email": ValidationError(message, code="blank")})
        # Not self.role, which raises where the role is another organization's.
        role = _find(Role, self.role_id, self._state.db)
        if self.email is None and role is not None and role.key in RULING:
            message = _("A link makes no owner and no admin. Give an e-mail address.")
            raise ValidationError({"role": ValidationError(message, code="link")})

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Validate the constraints; a second pending one is said of the address."""
        try:
            super().validate_constraints(exclude=exclude)
        except ValidationError as error:
            raise _move_to_address(error) from None

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the invitation, with the address normalised."""
        self.email = _normalize(self.email)
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    @verb
    @sensitive_variables("token")
    def renew(self, *, lifetime: timedelta | None = None) -> str:
        """Give a pending invitation a new time and a new token; the old one is void.

        Args:
            lifetime (timedelta | None): for how long; None for TENANCY_INVITATION_AGE.
        Returns:
            str: the token, which nothing shows again.
        Raises:
            CrossOrganization: it is another organization's.
            ValueError: the lifetime is not positive.
            ValidationError: it is a link, and its role has become one that rules.
            InvitationNotFound: it was deleted.
            InvitationExpired: it was marked as expired; invite again.
            InvitationUsed: it was accepted, declined or revoked.
            PermissionNotHeld: its role grants more than the acting user's.
            AlreadyMember: a live member has the address.
            SeatLimitReached: its time was past, and the seats are filled.
            InvitationLimitReached: its time was past, and others are pending, as many
                as may be.
        """
        alias = find_alias(self)
        expires_at = _find_end(lifetime)
        self._lock(alias)
        token = make_token()
        self._offer(digest_token(token), expires_at, alias)
        return token

    renew.alters_data = True  # type: ignore[attr-defined]  # as above

    @verb
    def revoke(self) -> None:
        """Take a pending invitation back: its token is void, its seat is free.

        Raises:
            CrossOrganization: it is another organization's.
            InvitationNotFound: it was deleted.
            InvitationExpired: it was marked as expired.
            InvitationUsed: it was accepted, declined or revoked.
            PermissionNotHeld: its role grants more than the acting user's.
        """
        alias = find_alias(self)
        self._lock(alias)
        self.role.require_held()
        self._answer(Invitation.Status.REVOKED, _find_acting_user(alias), alias)
        self._record("invitation.revoked", alias)
        send_on_commit(invitation_revoked, type(self), using=alias, invitation=self)

    revoke.alters_data = True  # type: ignore[attr-defined]  # as above

    async def arenew(self, *, lifetime: timedelta | None = None) -> str:
        """See renew()."""
        return await sync_to_async(self.renew)(lifetime=lifetime)

    async def arevoke(self) -> None:
        """See revoke()."""
        await sync_to_async(self.revoke)()

    def _offer(self, digest: str, expires_at: datetime, alias: str) -> None:
        """Save it with a token and a time, new or renewed, in the lock."""
        is_new = self._state.adding
        values: dict[str, Any] = {"token_digest": digest, "expires_at": expires_at}
        if inviter := _find_acting_user(alias):
            values |= {"invited_by": inviter, "invited_by_name": _name(inviter)}
        if is_new:
            for name, value in values.items():
                setattr(self, name, value)
        self.full_clean()
        self.role.require_held()
        self._require_no_member(alias)
        if is_new or not self.is_live:
            require_invitation_room(self.organization_id, using=alias)
            require_seat(self.organization_id, using=alias)
        if is_new:
            self.save(using=alias, force_insert=True)
        else:
            self._change_pending(alias, role=self.role, **values)
        self._record("invitation.sent" if is_new else "invitation.renewed", alias)
        signal = invitation_sent if is_new else invitation_renewed
        send_on_commit(signal, type(self), using=alias, invitation=self)

    @verb
    def _accept(self, user: Any) -> Membership:
        alias = find_alias(self)
        take_locks(alias, users=[user.pk], organizations=[self.organization_id])
        accepter = _find_active_user(user, alias)
        self._read_anew(alias, token_digest=self.token_digest)
        _require_active(self.organization)
        if membership := self._find_membership(accepter, alias):
            return membership
        self._require_live()
        self._require_recipient(accepter)
        _require_verified(accepter)
        self._require_harmless_link()
        # Accepted first: so it gives up the seat that the member takes.
        self._answer(Invitation.Status.ACCEPTED, accepter, alias)
        members = Membership.objects.db_manager(alias)
        membership = members.add(user=accepter, role=self.role)
        self._record("invitation.accepted", alias)
        send_on_commit(
            invitation_accepted,
            type(self),
            using=alias,
            invitation=self,
            membership=membership,
        )
        return membership

    @verb
    def _decline(self, user: Any) -> Invitation:
        alias = find_alias(self)
        take_locks(alias, organizations=[self.organization_id])
        self._read_anew(alias, token_digest=self.token_digest)
        self._require_live()
        decliner = None if user is None else _find(get_user_model(), user.pk, alias)
        if decliner is not None:
            self._require_recipient(decliner)
        self._answer(Invitation.Status.DECLINED, decliner, alias)
        self._record("invitation.declined", alias)
        send_on_commit(invitation_declined, type(self), using=alias, invitation=self)
        return self

    def _lock(self, alias: str) -> None:
        """Take the organization's lock, and read in it what is pending."""
        require_own(self)
        take_locks(alias, organizations=[self.organization_id])
        self._read_anew(alias)
        self._require_pending()

    def _read_anew(self, alias: str, **conditions: Any) -> None:
        rows = type(self)._base_manager.using(alias).filter(**conditions)
        try:
            self.refresh_from_db(using=alias, from_queryset=rows)
        except type(self).DoesNotExist:
            raise _not_found() from None

    def _answer(self, status: str, user: Any, alias: str) -> None:
        self._change_pending(
            alias,
            status=status,
            # The clock of the machine that invited may be ahead.
            answered_at=max(timezone.now(), self.created_at),
            answered_by=user,
            answered_by_name=_name(user),
        )

    def _change_pending(self, alias: str, **values: Any) -> None:
        """Change it while nobody has answered; another state is never left."""
        rows = type(self)._base_manager.using(alias)
        pending = rows.filter(pk=self.pk, status=Invitation.Status.PENDING)
        changed = pending.update(updated_at=timezone.now(), **values)
        self._read_anew(alias)
        if not changed:
            raise self._refusal()

    def _record(self, action: str, alias: str) -> None:
        trail = AuditEvent.objects.db_manager(alias)
        trail.record(action, self, role=self.role.key)

    def _find_membership(self, user: Any, alias: str) -> Membership | None:
        """Return the live membership that this user made by accepting it, if any."""
        if self.status != Invitation.Status.ACCEPTED or self.answered_by_id != user.pk:
            return None
        own = {"organization": self.organization_id, "user": user.pk}
        return Membership.objects.using(alias).filter(**own, ended_at=None).first()

    def _refusal(self) -> InvitationExpired | InvitationUsed:
        """Return the error of an answer to what is not pending."""
        if self.status == Invitation.Status.EXPIRED:
            return _expired()
        return InvitationUsed(
            f"The invitation has the status {str(self.status)!r}. Invite again, with "
            "Invitation.objects.invite()."
        )

    def _require_pending(self) -> None:
        if self.status != Invitation.Status.PENDING:
            raise self._refusal()

    def _require_live(self) -> None:
        self._require_pending()
        if not self.is_live:
            raise _expired()

    def _require_recipient(self, user: Any) -> None:
        if self.email not in (None, _find_address(user)):
            raise WrongRecipient(
                "The invitation was sent to another e-mail address than the user's. "
                "Sign in with the address that it was sent to."
            )

    def _require_harmless_link(self) -> None:
        """Refuse a link whose role was changed behind the verbs' back."""
        if self.email is None and self.role.key in RULING:
            raise PermissionNotHeld(
                f"The invitation by link has the role {self.role.key!r}. Revoke it, "
                "and invite an e-mail address."
            )

    def _require_no_member(self, alias: str) -> None:
        if self.email is None:
            return
        address = f"user__{get_user_model().get_email_field_name()}__iexact"
        members = Membership.objects.using(alias).filter(
            organization=self.organization_id, ended_at=None, **{address: self.email}
        )
        if members.exists():
            raise AlreadyMember(
                f"{self.email!r} is the address of a live member. Change their role "
                "with Membership.change_role() instead."
            )


def _normalize(email: str | None) -> str | None:
    return None if email is None else email.strip().lower()


def _mask(email: str | None) -> str | None:
    if email is None:
        return None
    local, _at, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _digest(token: Any) -> str:  # Any: whatever an address or a session held.
    """Return the digest of a token; what cannot be one is of no invitation."""
    # No token has other characters, and some of them cannot be encoded.
    if not isinstance(token, str) or not token.isascii():
        raise _not_found()
    return digest_token(token)


def _name(user: Any) -> str:
    """Return what is kept of a user's name; not every user model has a full one."""
    if user is None:
        return ""
    full_name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(full_name or user)[:NAME_LENGTH]


def _find_end(lifetime: timedelta | None) -> datetime:
    age = conf.invitation_age() if lifetime is None else lifetime
    if age <= timedelta(0):
        raise ValueError(
            f"An invitation was given the lifetime {age!r}. Pass a positive timedelta, "
            "or set TENANCY_INVITATION_AGE to one."
        )
    return timezone.now() + age


def _find(model: type[models.Model], key: Any, alias: str | None) -> Any:
    return model._base_manager.using(alias).filter(pk=key).first()


def _find_role(role: Role | str, organization_id: Any, alias: str) -> Role:
    if isinstance(role, str):
        return Role.objects.db_manager(alias).built_in(organization_id, role)
    found: Role | None = _find(Role, role.pk, alias)
    if found is None:
        raise unknown_relation(Invitation, Invitation._meta.get_field("role"))
    return found


def _find_address(user: Any) -> str | None:
    email = getattr(user, user.get_email_field_name(), None)
    # A project's own user model may keep an address as it was typed.
    return _normalize(email) if email and is_lowered_safely(email) else None


def _find_acting_user(alias: str) -> Any:
    key = require_scope("Invitation").user_id
    return None if key is None else _find(get_user_model(), key, alias)


def _find_active_user(user: Any, alias: str) -> Any:
    """Return the user as the database has them, where they may sign in."""
    found = _find(get_user_model(), user.pk, alias)
    banned_at = getattr(found, "banned_at", None)
    banned_until = getattr(found, "banned_until", None)
    is_banned = banned_at and (banned_until is None or banned_until > timezone.now())
    if found is None or not found.is_active or is_banned:
        raise UserNotActive(
            f"The user {str(user.pk)!r} is banned, switched off or deleted. Lift the "
            "ban, or set 'is_active', before they accept an invitation."
        )
    return found


def _require_user(user: Any) -> None:
    if not isinstance(user, get_user_model()) or user.pk is None:
        raise TypeError(
            f"An invitation was answered by {type(user).__name__}. Pass a saved "
            f"instance of '{get_user_model()._meta.label}'."
        )


def _require_verified(user: Any) -> None:
    is_required = conf.invitation_requires_verified_email()
    if is_required and getattr(user, "email_verified_at", None) is None:
        raise EmailNotVerified(
            f"The e-mail address of the user {str(user.pk)!r} is not verified. Verify "
            "it, or set TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL to False."
        )


def _require_active(organization: Any, *, allowed: Collection[str] = ()) -> None:
    status = organization.status
    if status not in ("active", *allowed):
        raise OrganizationNotActive(
            f"The organization has the status {str(status)!r}. Restore it first."
        )


def _move_to_address(error: ValidationError) -> ValidationError:
    moved: dict[str, list[ValidationError]] = {}
    for name, errors in error.error_dict.items():
        for one in errors:
            field = "email" if one.code == "pending" else name
            moved.setdefault(field, []).append(one)
    return ValidationError(moved)


def _not_found() -> InvitationNotFound:
    return InvitationNotFound(
        "There is no invitation of this token. Ask for another invitation."
    )


def _expired() -> InvitationExpired:
    return InvitationExpired(
        "The invitation's time is past. Invite again, with Invitation.objects.invite()."
    )
