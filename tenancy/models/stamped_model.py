from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenancy.identifiers import make_id


class StampedModel(models.Model):
    """A row with a key that cannot be guessed, and the times of its life.

    What its constraints refuse is said of a field: of the first that a check speaks
    of, or of the last that is unique together. ``rule_fields`` names another one, for
    a constraint by its name, or for a field that no form shows.
    """

    rule_fields: ClassVar[dict[str, str]] = {}

    id = models.UUIDField(_("ID"), primary_key=True, default=make_id, editable=False)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_default=Now(), editable=False
    )
    updated_at = models.DateTimeField(
        _("updated at"), auto_now=True, db_default=Now(), editable=False
    )

    class Meta:
        abstract = True

    # Any: what wraps a constraint, for one.
    def get_constraints(self) -> Any:
        """Return the constraints by model, as validate_constraints() asks them."""
        return [
            (model, [_OnField(one, self._field_of(one)) for one in constraints])
            for model, constraints in super().get_constraints()
        ]

    def _field_of(self, constraint: Any) -> str | None:
        name = None
        if isinstance(constraint, UniqueConstraint):
            names = [one for one in constraint.fields if one != "organization"]
            name = names[-1] if names else None
        elif isinstance(constraint, CheckConstraint):
            name = _first_field(constraint.condition)
        return self.rule_fields.get(
            constraint.name, self.rule_fields.get(name or "", name)
        )


class _OnField:
    """A constraint whose refusal is said of a field, where the form shows it."""

    def __init__(self, constraint: Any, field: str | None) -> None:
        self._constraint = constraint
        self._field = field

    def __getattr__(self, name: str) -> Any:
        return getattr(self._constraint, name)

    def validate(
        self,
        model: type[models.Model],
        instance: models.Model,
        exclude: Collection[str] | None = None,
        using: str = "default",
    ) -> None:
        try:
            self._constraint.validate(model, instance, exclude=exclude, using=using)
        except ValidationError as error:
            hidden = self._field is None or self._field in (exclude or ())
            if hidden or hasattr(error, "error_dict"):
                raise
            raise ValidationError({self._field or "": error.error_list}) from None


def _first_field(condition: Any) -> str | None:
    """Return the name of the first field of which a condition speaks."""
    if isinstance(condition, tuple):
        return str(condition[0]).split("__")[0]
    if isinstance(condition, F):
        # django-stubs leaves the attribute out.
        return str(condition.name).split("__")[0]  # type: ignore[attr-defined]
    parts = (
        condition.children
        if isinstance(condition, Q)
        else getattr(condition, "get_source_expressions", list)()
    )
    names = (_first_field(part) for part in parts)
    return next((name for name in names if name is not None), None)
