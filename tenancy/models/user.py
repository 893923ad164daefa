from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib import auth
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Permission, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, models, router, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy import signals
from tenancy.exceptions import VerificationFailed
from tenancy.models.stamped_model import StampedModel
from tenancy.models.system_event import SystemEvent
from tenancy.models.verification import FAILED, Verification
from tenancy.origin import refuse_impersonator
from tenancy.signals import email_changed, email_verified
from tenancy.texts import ExactEmailField, has_form_of_email
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

U = TypeVar("U", bound="AbstractUser")

EMAIL_PURPOSE = "verify-email"
"""The purpose of the verifications of users' addresses."""

RESET_PURPOSE = "reset-password"
"""The purpose of the verifications by which a forgotten password is set anew."""

_ADDRESS = ("email", "email_verified_at")
_LONGEST_REASON = 500
_SENSITIVE = {
    "password": "The password",
    "email": "The e-mail address",
    "is_staff": "The right to the admin site",
    "is_superuser": "The right of a superuser",
}
"""What nobody changes in another's name, and how a refusal calls it."""


class UserManager(BaseUserManager[U]):
    """The manager of users, who sign in by their e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> U:
        """Create a user.

        Args:
            email (str): the address, stored in lower case.
            password (str | None): None makes a user who cannot sign in by password.
            **fields: other fields; the protected ones are refused.
        Raises:
            ValueError: the address is empty, or a protected field is given.
        """
        protected = set(AbstractUser.PROTECTED_FIELDS) & set(fields)
        if protected:
            raise ValueError(
                f"User.objects.create_user() was given {sorted(protected)!r}. Use "
                "create_superuser(), or set them on the saved user."
            )
        return self._create(email, password, fields)

    def create_superuser(
        self, email: str, password: str | None = None, **fields: Any
    ) -> U:
        """Create a user who may do everything, in every organization.

        Raises:
            ValueError: the address is empty.
        """
        fields.update(is_staff=True, is_superuser=True)
        return self._create(email, password, fields)

    def get_by_natural_key(self, email: str | None) -> U:
        """Return the user of an address, in any case.

        Raises:
            User.DoesNotExist: there is none.
        """
        return self.get(email=self.normalize_email(email))

    def banned(self) -> QuerySet[U]:
        """Return those who are banned now; a ban that has lapsed does not count."""
        return self.filter(
            Q(banned_until=None) | Q(banned_until__gt=timezone.now()),
            banned_at__isnull=False,
        )

    def with_perm(
        self,
        perm: str | Permission,
        is_active: bool | None = True,
        include_superusers: bool = True,
        backend: str | None = None,
        obj: models.Model | None = None,
    ) -> Any:  # A queryset of the user model, whichever the backend takes.
        """Return the users who may do something, as a backend tells it.

        OrganizationBackend tells it of the active organization.

        Args:
            perm (str | Permission): "app_label.codename".
            is_active (bool | None): whether they are active; None for both.
            include_superusers (bool): whether superusers are among them.
            backend (str | None): the dotted path of the backend; None for the only one.
            obj (Model | None): on what.
        Raises:
            ValueError: AUTHENTICATION_BACKENDS names several, and none is given; or the
                permission is malformed.
            TypeError: the backend or the permission is of another type.
        """
        if backend is None:
            backends = auth.get_backends()
            if len(backends) != 1:
                raise ValueError(
                    f"User.objects.with_perm() has {len(backends)} backends to ask. "
                    "Pass the dotted path of one as 'backend'."
                )
            asked: Any = backends[0]  # Any: as auth.load_backend().
        elif isinstance(backend, str):
            asked = auth.load_backend(backend)
        else:
            raise TypeError(
                f"User.objects.with_perm() was given the backend {backend!r}. Pass its "
                "dotted path."
            )
        if not hasattr(asked, "with_perm"):
            return self.none()
        return asked.with_perm(
            perm, is_active=is_active, include_superusers=include_superusers, obj=obj
        )

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """Return the address as it is stored: trimmed, in lower case."""
        return (email or "").strip().lower()

    def _create(self, email: str, password: str | None, fields: dict[str, Any]) -> U:
        address = self.normalize_email(email)
        if not address:
            raise ValueError(
                f"A user was created with the e-mail address {email!r}. Pass the "
                "address that the user signs in with."
            )
        user = self.model(email=address, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class AbstractUser(StampedModel, AbstractBaseUser, PermissionsMixin):
    """A person who signs in by e-mail, and is a member of any number of organizations.

    For a project that adds fields: derive from it and name the model in
    AUTH_USER_MODEL. The address is unique without regard to case; a new one is not
    verified. PROTECTED_FIELDS are what no form of the user's own may have: give it as
    a ModelForm's ``exclude``.
    """

    PROTECTED_FIELDS: ClassVar[tuple[str, ...]] = (
        "is_superuser",
        "is_staff",
        "groups",
        "user_permissions",
        "email_verified_at",
        "banned_at",
        "banned_until",
        "ban_reason",
    )

    email = ExactEmailField(
        _("e-mail address"),
        unique=True,
        error_messages={"unique": _("A user with that e-mail address exists.")},
    )
    email_verified_at = models.DateTimeField(
        _("e-mail verified at"), null=True, blank=True, editable=False
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    # Not a URLField, whose form field warns on Django 5.2 of a scheme to come.
    image = models.CharField(
        _("image"),
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["https"])],
    )
    locale = models.CharField(_("language"), max_length=35, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("Switch this off instead of deleting the user."),
    )
    is_staff = models.BooleanField(
        _("staff"), default=False, help_text=_("May sign in to this admin site.")
    )

    banned_at = models.DateTimeField(
        _("banned at"), null=True, blank=True, editable=False
    )
    banned_until = models.DateTimeField(
        _("banned until"), null=True, blank=True, editable=False
    )
    ban_reason = models.CharField(
        _("reason of the ban"),
        max_length=_LONGEST_REASON,
        blank=True,
        editable=False,
    )

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        abstract = True
        verbose_name = _("user")
        verbose_name_plural = _("users")
        ordering = ["email"]
        constraints = [
            models.CheckConstraint(
                condition=Q(email=Lower("email")),
                name="%(app_label)s_%(class)s_email_lower",
            ),
            models.CheckConstraint(
                condition=has_form_of_email("email"),
                name="%(app_label)s_%(class)s_email_formed",
            ),
            models.CheckConstraint(
                condition=Q(banned_at=None, banned_until=None, ban_reason="")
                | Q(banned_at__isnull=False, banned_until=None)
                | Q(banned_at__isnull=False, banned_until__gt=F("banned_at")),
                name="%(app_label)s_%(class)s_ban_consistent",
            ),
        ]

    def __str__(self) -> str:
        return str(self.email)

    def clean(self) -> None:
        """Normalise the address."""
        super().clean()
        self.email = UserManager.normalize_email(self.email)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:  # Any: Model's own.
        """Return the user of a row, who remembers what a save may change."""
        user = super().from_db(*args, **kwargs)
        user._remember()
        return user

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Any = None,  # Any: a collection, or None, as Model's.
        from_queryset: Any = None,  # Any: as Model's.
    ) -> None:
        """Read the fields anew, and remember them."""
        super().refresh_from_db(using, fields, from_queryset)
        self._remember(fields)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user, with the address normalised; a new one is not verified.

        A changed password ends the user's sessions in the same transaction. The one
        that asked for it goes on where Django's update_session_auth_hash() follows.

        Raises:
            ValidationError: the address is empty.
            ImpersonationRefused: the password, the address or a right is changed while
                somebody impersonates.
        """
        names: Collection[str] | None = kwargs.get("update_fields")
        if names is None or "email" in names:
            self.email = UserManager.normalize_email(self.email)
            if not self.email:
                raise ValidationError({"email": _("Give an e-mail address.")})
        changed = self._find_changes(names)
        for name in changed:
            refuse_impersonator(_SENSITIVE[name])
        if names is None or "email" in names:
            is_new = not self._state.adding and "email" in changed
            # Read first: one that is deferred is loaded, and remembered, now.
            verified_at = self.email_verified_at if is_new else None
            if is_new and verified_at == self._stored.get("email_verified_at"):
                self.email_verified_at = None
            if names is not None:
                # The two are written together, or another's verification would stay.
                kwargs["update_fields"] = names = {*names, "email_verified_at"}
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        if "password" not in changed:
            super().save(*args, **kwargs)
        else:
            with transaction.atomic(using=using):
                # Django's own mark of a new one: at sign-in, the same one may get
                # another hash.
                is_new = getattr(self, "_password", None) is not None
                super().save(*args, **kwargs)
                _sessions(using).end_all(self, reason="password")
                self._void_resets(using)
                if is_new:
                    _trail(using).record("user.password_changed", self)
        self._remember(names)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    @property
    def is_banned(self) -> bool:
        """Whether the user is banned now; a ban that has lapsed does not count."""
        if self.banned_at is None:
            return False
        return self.banned_until is None or self.banned_until > timezone.now()

    @verb
    def ban(self, *, reason: str = "", until: datetime | None = None) -> None:
        """Keep the user out, and end all their sessions.

        A ban of somebody who is banned takes the former's place.

        Args:
            reason (str): why, for those who administer users.
            until (datetime | None): when it lapses; None for never.
        Raises:
            ValueError: the end is not in the future, or the reason is too long.
        """
        now, alias = timezone.now(), find_alias(self)
        if until is not None and until <= now:
            raise ValueError(
                f"User.ban() was given until={until!r}, which is past. Pass a time in "
                "the future, or None for a ban without end."
            )
        if len(reason) > _LONGEST_REASON:
            raise ValueError(
                f"User.ban() was given a reason of {len(reason)} characters. Pass "
                f"{_LONGEST_REASON} at most."
            )
        self._write_ban(banned_at=now, banned_until=until, ban_reason=reason)
        _sessions(alias).end_all(self, reason="ban")
        send_on_commit(signals.user_banned, type(self), using=alias, user=self)

    ban.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def aban(self, *, reason: str = "", until: datetime | None = None) -> None:
        """See ban()."""
        await sync_to_async(self.ban)(reason=reason, until=until)

    aban.alters_data = True  # type: ignore[attr-defined]  # as above

    @verb
    def lift_ban(self) -> None:
        """Let the user in again; one who is not banned stays as they are."""
        self._write_ban(banned_at=None, banned_until=None, ban_reason="")
        alias = find_alias(self)
        send_on_commit(signals.user_ban_lifted, type(self), using=alias, user=self)

    lift_ban.alters_data = True  # type: ignore[attr-defined]  # as above

    async def alift_ban(self) -> None:
        """See lift_ban()."""
        await sync_to_async(self.lift_ban)()

    alift_ban.alters_data = True  # type: ignore[attr-defined]  # as above

    def _write_ban(self, **values: Any) -> None:
        alias = find_alias(self)
        take_locks(alias, users=[self.pk])
        users = type(self)._base_manager.using(alias).filter(pk=self.pk)
        users.update(updated_at=timezone.now(), **values)
        for name, value in values.items():
            setattr(self, name, value)

    def _void_resets(self, using: str) -> None:
        """Void what was mailed to set the former password anew."""
        Verification.objects.using(using).filter(
            purpose=RESET_PURPOSE, identifier=self._stored.get("email", self.email)
        ).delete()

    def _remember(self, names: Collection[str] | None = None) -> None:
        """Keep what is stored of the fields that are not changed in passing."""
        # A new dict: a copy of the user shares the old one.
        self.__dict__["_stored_fields"] = self._stored | {
            name: self.__dict__[name]
            for name in (*_SENSITIVE, "email_verified_at")
            # A deferred field is not loaded.
            if name in self.__dict__ and (names is None or name in names)
        }

    @property
    def _stored(self) -> dict[str, Any]:
        stored: dict[str, Any] = self.__dict__.get("_stored_fields", {})
        return stored

    def _find_changes(self, update_fields: Any) -> list[str]:
        """Return the names of the sensitive fields that a save would change."""
        stored = self._stored
        if self._state.adding:
            own = {"password": self.password, "email": self.email}
            stored = {"is_staff": False, "is_superuser": False, **own}
        return [
            name
            for name in _SENSITIVE
            if (update_fields is None or name in update_fields)
            # One that was not loaded stands here only where it was set.
            and name in self.__dict__
            and (name not in stored or self.__dict__[name] != stored[name])
        ]

    def get_full_name(self) -> str:
        """Return the name, or the address of a user who gave none."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return the first word of get_full_name()."""
        return self.get_full_name().split()[0]

    # E-mail

    def change_email(self, email: str) -> None:
        """Set another address, which is not verified yet; the same one changes nothing.

        Args:
            email (str): the address.
        Raises:
            ValidationError: the address is malformed, or another user's; on "email".
            ImpersonationRefused: somebody acts in the user's name.
        """
        self._change_email(email)
        self.refresh_from_db(fields=[*_ADDRESS, "updated_at"])

    change_email.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def achange_email(self, email: str) -> None:
        """See change_email()."""
        await sync_to_async(self.change_email)(email)

    def issue_email_verification(
        self, *, is_code: bool = False
    ) -> tuple[Verification, str]:
        """Make the secret to send to the user's address, for verify_email().

        Args:
            is_code (bool): make a few digits to type, instead of a token for a link.
        Returns:
            tuple[Verification, str]: the row, and the secret.
        """
        alias = find_alias(self)
        stored = type(self)._base_manager.using(alias).get(pk=self.pk)
        return Verification.objects.db_manager(alias).issue(
            purpose=EMAIL_PURPOSE, identifier=stored.email, is_code=is_code
        )

    issue_email_verification.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aissue_email_verification(
        self, *, is_code: bool = False
    ) -> tuple[Verification, str]:
        """See issue_email_verification()."""
        return await sync_to_async(self.issue_email_verification)(is_code=is_code)

    @sensitive_variables()
    def verify_email(self, value: str) -> None:
        """Take the secret that was sent to the user's address as proof of it.

        Args:
            value (str): what issue_email_verification() returned.
        Raises:
            VerificationFailed: as for Verification.objects.consume().
            TransactionOpen: as for Verification.objects.consume().
            ImpersonationRefused: somebody acts in the user's name.
        """
        refuse_impersonator("The e-mail address")
        alias = find_alias(self)
        stored = type(self)._base_manager.using(alias).get(pk=self.pk)
        Verification.objects.db_manager(alias).require_countable(
            purpose=EMAIL_PURPOSE, identifier=stored.email
        )
        # It raises out here, so that the counting of a wrong code is committed.
        if not self._verify_email(value):
            raise VerificationFailed(FAILED)
        self.refresh_from_db(fields=[*_ADDRESS, "updated_at"])

    verify_email.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def averify_email(self, value: str) -> None:
        """See verify_email()."""
        await sync_to_async(self.verify_email)(value)

    @verb
    def _change_email(self, email: str) -> None:
        refuse_impersonator("The e-mail address")
        alias = find_alias(self)
        take_locks(alias, users=[self.pk])
        stored = type(self)._base_manager.using(alias).get(pk=self.pk)
        previous = stored.email
        stored.email = UserManager.normalize_email(email)
        if stored.email == previous:
            return
        field = stored._meta.get_field("email")
        try:
            stored.email = field.clean(stored.email, stored)
            with transaction.atomic(using=alias):
                stored.save(using=alias, update_fields=[*_ADDRESS, "updated_at"])
        except ValidationError as error:
            raise ValidationError({"email": error.messages}) from None
        except IntegrityError:
            raise ValidationError(
                {"email": stored.unique_error_message(type(stored), ("email",))}
            ) from None
        Verification.objects.using(alias).filter(
            purpose__in=(EMAIL_PURPOSE, RESET_PURPOSE), identifier=previous
        ).delete()
        _trail(alias).record("user.email_changed", stored)
        send_on_commit(
            email_changed, type(self), using=alias, user=stored, previous=previous
        )

    @verb
    def _verify_email(self, value: str) -> bool:
        """Return whether the value was the secret; then the address is verified."""
        alias = find_alias(self)
        take_locks(alias, users=[self.pk])
        stored = type(self)._base_manager.using(alias).get(pk=self.pk)
        verification = Verification.objects.db_manager(alias).try_consume(
            purpose=EMAIL_PURPOSE, identifier=stored.email, value=value
        )
        if verification is None:
            return False
        now = timezone.now()
        # A form that saves another address takes no lock.
        rows = type(self)._base_manager.using(alias)
        rows = rows.filter(pk=self.pk, email=stored.email)
        if not rows.update(email_verified_at=now, updated_at=now):
            return False
        _trail(alias).record("user.email_verified", stored)
        stored.refresh_from_db(using=alias)
        send_on_commit(email_verified, type(self), using=alias, user=stored)
        return True


class User(AbstractUser):
    """The user that a project gets with AUTH_USER_MODEL = "tenancy.User"."""

    class Meta(AbstractUser.Meta):
        app_label = "tenancy"
        swappable = "AUTH_USER_MODEL"


def _trail(using: str) -> Any:  # Its manager.
    return SystemEvent.objects.db_manager(using)


def _sessions(using: str) -> Any:  # Its manager; it stands above this file.
    return apps.get_model("tenancy", "Session")._default_manager.db_manager(using)
