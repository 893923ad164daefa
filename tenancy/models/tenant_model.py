from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.apps import apps
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models, router
from django.db.models.base import model_unpickle

from tenancy.context import current_scope
from tenancy.exceptions import CrossOrganization
from tenancy.fields import OrganizationForeignKey
from tenancy.managers import TenantManager
from tenancy.predicates import is_same_key, tenant_field
from tenancy.querysets import require_own


class ProtectedModel(models.Model):
    """A row that belongs to one organization, or is one."""

    objects = TenantManager()
    # The base manager. It is not 'objects', which a project may narrow.
    _tenant_rows = TenantManager()

    class Meta:
        abstract = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickles the row, which no other organization's scope loads."""
        reduced: Any = super().__reduce__()
        _make, (model,), state = reduced
        return _make_row, (model, _Home(self)), state

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Save the row, into the scope's organization.

        Raises:
            ScopeRequired: no scope is active.
            CrossOrganization: the row is another organization's.
        """
        require_own(self)
        super().save_base(*args, **kwargs)

    save_base.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def delete(
        self, using: str | None = None, keep_parents: bool = False
    ) -> tuple[int, dict[str, int]]:
        """Delete the row, where the scope has one of its primary key.

        Raises:
            ScopeRequired: no scope is active.
            CrossOrganization: the row is another organization's.
        """
        require_own(self)
        # Django deletes by the primary key alone, which may be another row's.
        using = using or router.db_for_write(type(self), instance=self)
        rows = type(self)._base_manager.using(using)
        if self.pk is not None and not rows.filter(pk=self.pk).exists():
            return 0, {}
        return super().delete(using=using, keep_parents=keep_parents)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above


class TenantModel(ProtectedModel):
    """A row of one organization.

    Its organization is the scope's when it is made, never changes, and no query of
    another organization's scope reaches it. The database holds that too, by the
    policy that this class brings.
    """

    organization = OrganizationForeignKey()

    class Meta:
        abstract = True

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Validate the fields, with the organization filled from the scope."""
        self._fill_organization()
        super().clean_fields(exclude=exclude)

    def validate_unique(self, exclude: Collection[str] | None = None) -> None:
        """Validate uniqueness within the organization, which no form shows."""
        self._fill_organization()
        super().validate_unique(exclude=_with_organization(exclude))

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Validate constraints within the organization, which no form shows."""
        self._fill_organization()
        try:
            super().validate_constraints(exclude=_with_organization(exclude))
        except ValidationError as error:
            raise _move_to_whole(error, set(exclude or ())) from None

    def _fill_organization(self) -> None:
        scope = current_scope()
        # attname is that of the field 'organization'.
        if scope is not None and self.organization_id is None:
            self.organization_id = scope.organization_id


class _Home:
    """The organization of a pickled row, which is asked for when the row is loaded.

    What copies a row goes by the same protocol. It copies this, and asks nothing.
    """

    def __init__(self, row: ProtectedModel) -> None:
        self._model = row._meta.label
        field = tenant_field(type(row))
        assert field is not None
        # Reading it would fetch the row where the organization is deferred.
        self._key = row.__dict__.get(field.attname)
        scope = current_scope()
        if self._key is None and scope is not None:
            self._key = scope.organization_id

    def __deepcopy__(self, memo: dict[int, Any]) -> _Home:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _require_home, (self._model, self._key)


def _require_home(label: str, key: Any) -> None:
    """Refuse to load a row in a scope that does not reach its organization.

    In no scope it is loaded: queues pickle what they give to a task.

    Raises:
        CrossOrganization: the active scope is another organization's, or a user's, and
            the row is none of those that are listed in one.
    """
    scope = current_scope()
    if key is None or scope is None or scope.is_unscoped:
        return
    model = apps.get_model(label)
    field = tenant_field(model)
    assert field is not None
    if scope.organization_id is None:
        is_reached = field.primary_key or label == "tenancy.Membership"
    else:
        is_reached = is_same_key(field, key, scope.organization_id)
    if not is_reached:
        raise CrossOrganization(
            f"A pickled {model.__name__} of another organization was loaded in "
            f"{scope}. Load it in the scope of its own, and put the organization's key "
            "into the key under which rows are cached."
        )


def _make_row(model: Any, home: None) -> Any:
    """Return an empty row, as Django does; its home was asked for before."""
    return model_unpickle(model)


def _move_to_whole(error: ValidationError, excluded: set[str]) -> ValidationError:
    """Return the error, with what is about an excluded field said of the whole.

    A form takes errors of its own fields only.
    """
    if not hasattr(error, "error_dict"):
        return error
    moved: dict[str, list[ValidationError]] = {}
    for name, errors in error.error_dict.items():
        moved.setdefault(NON_FIELD_ERRORS if name in excluded else name, []).extend(
            errors
        )
    return ValidationError(moved)


def _with_organization(exclude: Iterable[str] | None) -> set[str]:
    """Return what is excluded from validation, without the organization.

    A form that does not show the field would otherwise skip each constraint that
    names it, and fail in the database.
    """
    return set(exclude or ()) - {"organization"}
