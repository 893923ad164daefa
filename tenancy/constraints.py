"""Constraints beside Django's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import UniqueConstraint


class UniqueEverywhere(UniqueConstraint):
    """A value that only one organization has, on purpose.

    For what another system or chance made unique: a payment provider's key, the digest
    of a random token. A refused value tells that it is taken, so that it must be none
    that one organization can guess of another. Takes the arguments of
    UniqueConstraint; a plain one across organizations is a check error (tenancy.E003).
    """


def place_errors(
    error: ValidationError, fields: Mapping[str, str], exclude: Collection[str]
) -> ValidationError:
    """Return the error, with what broke a constraint said of the field it is about.

    Args:
        error (ValidationError): what validate_constraints() raised.
        fields (Mapping[str, str]): the field's name by the constraint's
            violation_error_code.
        exclude (Collection[str]): fields that a form does not show, whose errors stay
            with the whole.
    """
    placed: dict[str, list[ValidationError]] = {}
    for name, errors in error.update_error_dict({}).items():
        for each in errors:
            field = fields.get(each.code or "", name)
            key = NON_FIELD_ERRORS if field in exclude else field
            placed.setdefault(key, []).append(each)
    return ValidationError(placed)
