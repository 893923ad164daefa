from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models, router, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy import signals
from tenancy.models.stamped_model import StampedModel
from tenancy.origin import refuse_impersonator
from tenancy.texts import ExactEmailField, has_form_of_email
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

U = TypeVar("U", bound="AbstractUser")

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
        protected = {
            "is_staff",
            "is_superuser",
            "email_verified_at",
            "banned_at",
            "banned_until",
            "ban_reason",
        } & set(fields)
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
    AUTH_USER_MODEL. The address is unique without regard to case.
    """

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
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:  # Django 6.1 added one.
        """Return the user of a row, who remembers what a save may change."""
        user = super().from_db(*args, **kwargs)
        user._remember()
        return user

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        """Read the fields anew."""
        super().refresh_from_db(*args, **kwargs)
        self._remember()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user, with the address normalised.

        A changed password ends the user's sessions in the same transaction. The one
        that asked for it goes on where Django's update_session_auth_hash() follows.

        Raises:
            ValidationError: the address is empty.
            ImpersonationRefused: the password, the address or a right is changed while
                somebody impersonates.
        """
        self.email = UserManager.normalize_email(self.email)
        if not self.email:
            raise ValidationError({"email": _("Give an e-mail address.")})
        changed = self._find_changes(kwargs.get("update_fields"))
        for name in changed:
            refuse_impersonator(_SENSITIVE[name])
        if "password" not in changed:
            super().save(*args, **kwargs)
        else:
            using = kwargs.get("using") or router.db_for_write(
                type(self), instance=self
            )
            with transaction.atomic(using=using):
                super().save(*args, **kwargs)
                _sessions(using).end_all(self, reason="password")
        self._remember(kwargs.get("update_fields"))

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

    def _remember(self, names: Any = None) -> None:
        """Keep what is stored of the fields that are not changed in passing."""
        stored = {
            name: self.__dict__[name]
            for name in _SENSITIVE
            if name in self.__dict__ and (names is None or name in names)
        }
        self._stored: dict[str, Any] = {**getattr(self, "_stored", {}), **stored}

    def _find_changes(self, update_fields: Any) -> list[str]:
        """Return the names of the sensitive fields that a save would change."""
        stored = getattr(self, "_stored", {})
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


class User(AbstractUser):
    """The user that a project gets with AUTH_USER_MODEL = "tenancy.User"."""

    class Meta(AbstractUser.Meta):
        app_label = "tenancy"
        swappable = "AUTH_USER_MODEL"


def _sessions(using: str) -> Any:  # Its manager; it stands above this file.
    return apps.get_model("tenancy", "Session")._default_manager.db_manager(using)
