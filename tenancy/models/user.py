from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Self, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy.exceptions import VerificationFailed
from tenancy.models.stamped_model import StampedModel
from tenancy.models.verification import FAILED, Verification
from tenancy.origin import refuse_impersonator
from tenancy.signals import email_changed, email_verified
from tenancy.texts import ExactEmailField, has_form_of_email
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

U = TypeVar("U", bound="AbstractUser")

EMAIL_PURPOSE = "verify-email"
"""The purpose of the verifications of users' addresses."""

_ADDRESS = ("email", "email_verified_at")


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
        _("reason of the ban"), max_length=500, blank=True, editable=False
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
        """Load the user, and remember the address."""
        user = super().from_db(*args, **kwargs)
        user._remember(_ADDRESS)
        return user

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Any = None,  # Any: a collection, or None, as Model's.
        from_queryset: Any = None,  # Any: as Model's.
    ) -> None:
        """Load the fields anew, and remember the address if it is among them."""
        names = _ADDRESS if fields is None else tuple(fields)
        super().refresh_from_db(using, fields, from_queryset)
        self._remember(names)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user, with the address normalised; a new one is not verified.

        Raises:
            ValidationError: the address is empty.
            ImpersonationRefused: the address is new, and somebody acts in the user's
                name.
        """
        names: Collection[str] | None = kwargs.get("update_fields")
        if names is None or "email" in names:
            self.email = UserManager.normalize_email(self.email)
            if not self.email:
                raise ValidationError({"email": _("Give an e-mail address.")})
            if self._has_new_email():
                refuse_impersonator("The e-mail address")
                if self.email_verified_at == self._loaded.get("email_verified_at"):
                    self.email_verified_at = None
            if names is not None:
                # The two are written together, or another's verification would stay.
                kwargs["update_fields"] = names = {*names, "email_verified_at"}
        super().save(*args, **kwargs)
        self._remember(_ADDRESS if names is None else names)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

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
            purpose=EMAIL_PURPOSE, identifier=previous
        ).delete()
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
        stored.refresh_from_db(using=alias)
        send_on_commit(email_verified, type(self), using=alias, user=stored)
        return True

    def _remember(self, names: Collection[str]) -> None:
        """Remember what is stored of the address; a deferred field is not loaded."""
        # A new dict: a copy of the user shares the old one.
        self.__dict__["_loaded_address"] = self._loaded | {
            name: self.__dict__[name]
            for name in _ADDRESS
            if name in names and name in self.__dict__
        }

    @property
    def _loaded(self) -> dict[str, Any]:
        loaded: dict[str, Any] = self.__dict__.get("_loaded_address", {})
        return loaded

    def _has_new_email(self) -> bool:
        return not self._state.adding and self.email != self._loaded.get("email")


class User(AbstractUser):
    """The user that a project gets with AUTH_USER_MODEL = "tenancy.User"."""

    class Meta(AbstractUser.Meta):
        app_label = "tenancy"
        swappable = "AUTH_USER_MODEL"
