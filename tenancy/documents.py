"""JSON of which the database knows the kind."""

from __future__ import annotations

from django.db.models import CheckConstraint, F, Q
from django.utils.translation import gettext_lazy as _

from tenancy.backends.kinds import HasKind


def is_object(field: str, *, name: str) -> CheckConstraint:
    """Return the constraint, of a name, of JSON that is an object."""
    return CheckConstraint(
        condition=Q(HasKind(F(field), "object")),
        name=name,
        violation_error_message=_("Give a JSON object."),
    )


def is_array(field: str, *, name: str) -> CheckConstraint:
    """Return the constraint, of a name, of JSON that is a list."""
    return CheckConstraint(
        condition=Q(HasKind(F(field), "array")),
        name=name,
        violation_error_message=_("Give a JSON list."),
    )
