"""Text that is compared alike on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator, validate_email
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, F, Q
from django.db.models.functions import Length
from django.db.models.lookups import Exact, LessThanOrEqual
from django.utils.translation import gettext_lazy as _

from tenancy.backends.enforcement import get_enforcement
from tenancy.backends.texts import HasOnly, HasShortWords

SLUG = RegexValidator(
    r"^[a-z0-9]+(-[a-z0-9]+)*\Z",
    _("Use lower-case letters, digits, and single hyphens between them."),
)
"""What has_form_of_slug() is in the database."""

DIGEST_LENGTH = 64
"""The characters of a SHA-256 digest in hexadecimal."""

HOST_LENGTH = 253
"""The characters of the longest name of a host, without the dot at its end."""

LABEL_LENGTH = 63
"""The characters of the longest part of such a name, between two dots."""


if TYPE_CHECKING:
    _CharField = CharField[Any, Any]
else:
    # It takes no type arguments at run time.
    _CharField = CharField


class ExactCharField(_CharField):
    """Text that is compared character by character, whatever the database's habits.

    MySQL and MariaDB would otherwise hold "é" and "E", and "a" and "a ", to be equal.
    Takes the arguments of CharField.
    """

    def get_internal_type(self) -> str:
        """Return Django's own name, by which databases know the type."""
        return "CharField"

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:  # As CharField's.
        """Return the column's type, with the collation that is exact there."""
        parameters = super().db_parameters(connection)
        parameters["collation"] = get_enforcement(connection).exact_collation
        return parameters

    def validate(self, value: Any, model_instance: Any) -> None:
        """Refuse what is none of the choices, of a field that no form edits too.

        Django leaves that to the constraint, which it judges by the collation of the
        connection, and so without regard to case on MySQL and MariaDB.
        """
        super().validate(value, model_instance)
        known = {key for key, _label in self.flatchoices}
        if not self.editable and known and value not in {*known, "", None}:
            raise ValidationError(
                self.error_messages["invalid_choice"],
                code="invalid_choice",
                params={"value": value},
            )


class ExactEmailField(ExactCharField):
    """An e-mail address, compared character by character.

    Takes the arguments of EmailField.
    """

    default_validators = [validate_email]  # noqa: RUF012 - as Field declares it
    description = _("E-mail address")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The longest of RFC 3696 (erratum 1690), as EmailField's.
        kwargs.setdefault("max_length", 254)
        super().__init__(*args, **kwargs)

    def formfield(self, **kwargs: Any) -> Any:  # As CharField's.
        """Return the form's field, which browsers know as an address."""
        return super().formfield(**{"form_class": forms.EmailField, **kwargs})


def is_lowered_safely(text: str) -> bool:
    """Return whether no character becomes another letter's in lower case.

    The Kelvin sign and the Angstrom sign do, so that two addresses would be one.
    """
    return all(
        character.lower() == character or character.lower().upper() == character
        for character in text
    )


def has_form_of_email(field: str) -> Q:
    """Return the condition of a text with an "@" inside, and no space."""
    return (
        Q(**{f"{field}__contains": "@"})
        & ~Q(**{f"{field}__contains": " "})
        & ~Q(**{f"{field}__startswith": "@"})
        & ~Q(**{f"{field}__endswith": "@"})
    )


def has_form_of_slug(field: str) -> Q:
    """Return the condition of lower-case words joined by single hyphens."""
    return (
        Q(HasOnly(F(field), "a-z0-9-"))
        & ~Q(**{field: ""})
        & ~Q(**{f"{field}__startswith": "-"})
        & ~Q(**{f"{field}__endswith": "-"})
        & ~Q(**{f"{field}__contains": "--"})
    )


def has_form_of_host(field: str) -> Q:
    """Return the condition of a host's name of two parts and more; no IP address."""
    refused = Q(HasOnly(F(field), "0-9.")) | ~Q(**{f"{field}__contains": "."})
    for mark in ".-":
        refused |= Q(**{f"{field}__startswith": mark})
        refused |= Q(**{f"{field}__endswith": mark})
    for pair in ("..", ".-", "-."):
        refused |= Q(**{f"{field}__contains": pair})
    return (
        Q(HasOnly(F(field), "a-z0-9.-"))
        & Q(HasShortWords(F(field), LABEL_LENGTH))
        & Q(LessThanOrEqual(Length(F(field)), HOST_LENGTH))
        & ~refused
    )


def has_form_of_digest(field: str) -> Q:
    """Return the condition of a SHA-256 digest in hexadecimal."""
    return Q(HasOnly(F(field), "0-9a-f")) & _has_length(field, DIGEST_LENGTH)


def has_form_of_currency(field: str) -> Q:
    """Return the condition of a currency's code of ISO 4217: three capitals."""
    return Q(HasOnly(F(field), "A-Z")) & _has_length(field, 3)


def _has_length(field: str, length: int) -> Q:
    return Q(Exact(Length(F(field)), length))
