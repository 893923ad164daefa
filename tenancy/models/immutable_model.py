from __future__ import annotations

from typing import Any

from django.db import models

from tenancy.querysets import refuse_change


class ImmutableModel(models.Model):
    """A row that is written once.

    The ORM refuses to change or delete it; the database refuses each UPDATE and DELETE,
    by the constraints Immutable and Kept that the model declares. The cascade of its
    organization does delete it.
    """

    class Meta:
        abstract = True

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row.

        Raises:
            ImmutableRow: it is there already.
        """
        is_new = self._state.adding and not (
            kwargs.get("force_update") or kwargs.get("update_fields")
        )
        if not is_new and not kwargs.get("raw"):
            refuse_change(type(self))
        super().save_base(*args, **kwargs)

    save_base.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse to delete the row.

        Raises:
            ImmutableRow: always.
        """
        refuse_change(type(self))

    delete.alters_data = True  # type: ignore[attr-defined]  # as above
