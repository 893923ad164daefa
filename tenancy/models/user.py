from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenancy.models.stamped_model import StampedModel
from tenancy.texts import ExactEmailField, has_form_of_email

U = TypeVar("U", bound="AbstractUser")


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
        protected = {"is_staff", "is_superuser", "email_verified_at"} & set(fields)
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

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user, with the address normalised.

        Raises:
            ValidationError: the address is empty.
        """
        self.email = UserManager.normalize_email(self.email)
        if not self.email:
            raise ValidationError({"email": _("Give an e-mail address.")})
        super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

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
