"""What the admins of one organization's rows share."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AutocompleteMixin, ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import (
    FieldDoesNotExist,
    PermissionDenied,
)
from django.db.models import (
    Exists,
    Field,
    Model,
    OuterRef,
    ProtectedError,
    QuerySet,
    RestrictedError,
)
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext as _

from tenancy.admin.filters import offer_named
from tenancy.choices import fellow_members, offer_anybody
from tenancy.context import current_scope, reaches_rows, scope
from tenancy.exceptions import CrossOrganization, TenancyError
from tenancy.history import show_history
from tenancy.models import AuditEvent, Membership
from tenancy.predicates import tenant_field
from tenancy.sites import View, render_in_scope

_FILLED = ("created_at", "updated_at", "ended_at", "last_active_at")


def is_unscoped() -> bool:
    """Return whether every organization's rows are reached."""
    active = current_scope()
    return active is not None and active.is_unscoped


def is_superuser(request: HttpRequest) -> bool:
    """Return whether a superuser asks."""
    return bool(getattr(request.user, "is_superuser", False))


def pickable_users(request: HttpRequest) -> QuerySet[Any]:
    """Return the users whom a picker offers: fellow members, or all to a superuser."""
    users: QuerySet[Any] = get_user_model()._default_manager.all()
    if is_superuser(request):
        return users
    if not reaches_rows():
        return users.none()
    return users.filter(fellow_members())


def find_user_fields(prefix: str = "") -> tuple[str, ...]:
    """Return what users are searched by, whichever model they are.

    Args:
        prefix (str): the path to the user: "user__".
    """
    model: Any = get_user_model()  # Any: a project's own.
    wanted = [model.USERNAME_FIELD, getattr(model, "EMAIL_FIELD", "email")]
    wanted += ["name", "first_name", "last_name"]
    names = []
    for name in wanted:
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if not field.is_relation:
            names.append(f"{prefix}{name}")
    return tuple(dict.fromkeys(names))


def is_said(error: BaseException) -> bool:
    """Return whether a page says what was refused, as no fault of the program."""
    if isinstance(error, (ProtectedError, RestrictedError)):
        return True
    return (
        isinstance(error, TenancyError)
        and not isinstance(error, CrossOrganization)
        and isinstance(error, (ValueError, PermissionDenied))
    )


def say(error: BaseException) -> str:
    """Return what a page says of a refusal; never which rows keep another."""
    if isinstance(error, (ProtectedError, RestrictedError)):
        return _("Other rows refer to this one, which therefore stays.")
    return " ".join(getattr(error, "messages", None) or [str(error)])


class SecretiveAdmin(BaseModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Keeps secrets out of crafted filters, which would tell them bit by bit."""

    secret_fields: ClassVar[tuple[str, ...]] = ()

    # Any: Django 5.2 gives the request on most of its paths only.
    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Return whether an address may filter by a field."""
        if set(lookup.split("__")) & {*self.secret_fields, "password"}:
            return False
        return super().lookup_allowed(lookup, value, request)


class RefusingAdmin(SecretiveAdmin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Says what a rule refuses, where it is found when the row is written."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list, or run an action."""
        return self._say_refusal(request, super().changelist_view, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show and take the form of a row."""
        return self._say_refusal(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Ask before deleting a row."""
        return self._say_refusal(request, super().delete_view, *args, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; to add a row, without those that time fills."""
        fields = super().get_fields(request, obj)
        if obj is not None:
            return fields
        return [name for name in fields if name not in _FILLED]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted, and what protects it."""
        deleted, count, needed, protected = super().get_deleted_objects(objs, request)
        # What nobody deletes by hand, such as a trail, still goes with its whole.
        lacking = set() if is_superuser(request) else needed
        return deleted, count, lacking, [*protected, *self.find_refusals(objs)]

    def find_refusals(self, objs: Any) -> list[str]:
        """Return why the rows cannot be deleted."""
        return []

    def _say_refusal(
        self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return view(request, *args, **kwargs)
        except (TenancyError, ProtectedError, RestrictedError) as refusal:
            if request.method != "POST" or not is_said(refusal):
                raise
            self.message_user(request, say(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ScopedFields(SecretiveAdmin):
    """What the admins and the inlines of protected rows share: permissions, choices."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show rows where the scope reaches them."""
        return reaches_rows() and super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Change rows where the scope reaches them."""
        return reaches_rows() and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete rows where the scope reaches them."""
        return reaches_rows() and super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer fellow members only where a user is picked; anybody to superusers."""
        offered = offer_anybody(db_field) if is_superuser(request) else db_field
        field = super().formfield_for_foreignkey(offered, request, **kwargs)
        return _keep_in_organization(request, field, db_field)

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer fellow members only where users are picked; anybody to superusers."""
        offered = offer_anybody(db_field) if is_superuser(request) else db_field
        field = super().formfield_for_manytomany(offered, request, **kwargs)
        return _keep_in_organization(request, field, db_field)


class TenantTabularInline(ScopedFields, admin.TabularInline):  # type: ignore[type-arg]  # as above
    """Rows of a tenant model below another, in a table."""

    extra = 0


class TenantStackedInline(ScopedFields, admin.StackedInline):  # type: ignore[type-arg]  # as above
    """Rows of a tenant model below another, one under the other."""

    extra = 0


class ScopedChangeList(ChangeList):
    """A list that is to be read only, where it is over all organizations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_unscoped():
            self.list_editable = ()


class ScopedAdmin(ScopedFields, RefusingAdmin):
    """What the admins of tenant rows and of organizations share.

    What is done through them is written into the organization's audit trail, of which
    the history of a row is a part.
    """

    completed_fields: ClassVar[tuple[str, ...]] = ()
    """Relations that are completed where the other model has an admin with a search,
    which a project's own user model may lack."""

    verb_records: ClassVar[frozenset[str]] = frozenset()
    """What the verbs write down themselves: "added", "changed", "deleted"."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app where the scope reaches its rows."""
        return reaches_rows() and super().has_module_permission(request)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters; of users, those whom the rows of the list name."""
        return [
            offer_named(self.model, one) for one in super().get_list_filter(request)
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return ScopedChangeList

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Return the relations that are completed."""
        chosen = []
        for name in self.completed_fields:
            related: Any = self.opts.get_field(name).related_model
            other = self.admin_site._registry.get(related)
            if other is not None and other.get_search_fields(request):
                chosen.append(name)
        return (*super().get_autocomplete_fields(request), *chosen)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show and take the form of a row, in the row's organization."""
        return self._in_row_scope(
            request,
            object_id,
            super().changeform_view,
            form_url=form_url,
            extra_context=extra_context,
        )

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Ask before deleting a row, in the row's organization."""
        return self._in_row_scope(
            request, object_id, super().delete_view, extra_context=extra_context
        )

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show what the audit trail tells of a row, in the row's organization."""
        return self._in_row_scope(
            request,
            object_id,
            functools.partial(show_history, self),
            extra_context=extra_context,
        )

    # Any: Django's own are not annotated alike.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write into the audit trail that a row was added."""
        self._record(obj, "added", message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write into the audit trail which fields of a row were changed."""
        self._record(obj, "changed", message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Write into the audit trail that rows are deleted."""
        for row in queryset:
            self._record(row, "deleted", [])

    def _record(self, row: Any, what: str, message: Any) -> None:
        if what not in self.verb_records:
            AuditEvent.objects.record(
                f"{self.opts.model_name}.{what}", row, **_read_message(message)
            )

    def _in_row_scope(
        self,
        request: HttpRequest,
        object_id: str | None,
        view: Callable[..., Any],
        **kwargs: Any,
    ) -> Any:
        """Call the view in the organization of the row, when it is called unscoped."""
        row = None
        if object_id is not None and is_unscoped():
            row = self.get_object(request, unquote(object_id))
        if row is None:
            return view(request, object_id, **kwargs)
        # A request takes whatever attributes it is given.
        request.tenancy_row = row  # type: ignore[attr-defined]
        return self._call_in_scope_of(row, request, object_id, view, **kwargs)

    def _call_in_scope_of(
        self, row: Any, request: HttpRequest, object_id: Any, view: View, **kwargs: Any
    ) -> Any:
        organization_id = getattr(row, _require_tenant_field(self.model).attname)
        with scope(organization_id, user=request.user.pk):
            return render_in_scope(view(request, object_id, **kwargs))


class TenantAdmin(ScopedAdmin):
    """The admin of a tenant model, whose querysets and choices are the scope's.

    The organization of a row is shown to who works over all of them, and is edited by
    nobody. Rows are added in an organization's scope only, and over all of them
    nothing is changed until a row is opened.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Add rows where the scope says to which organization."""
        active = current_scope()
        return (
            active is not None
            and active.organization_id is not None
            # The address of the form to add names no organization.
            and not hasattr(request, "tenancy_row")
            and super().has_add_permission(request)
        )

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions; none over all organizations."""
        if is_unscoped():
            return {}
        # Django 5.2 knows of no place but the list.
        places = () if action_location is None else (action_location,)
        return super().get_actions(request, *places)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, with the organization where rows are of several."""
        columns = super().get_list_display(request)
        if not is_unscoped() or not columns:
            return columns
        return (columns[0], "organization", *columns[1:])

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters; over all, the organization and no other one's rows.

        The rows of other organizations have the same names, and cannot be told apart.
        """
        filters = super().get_list_filter(request)
        if not is_unscoped():
            return filters
        kept = [one for one in filters if not self._offers_tenant_rows(one)]
        return ("organization", *kept)

    def _offers_tenant_rows(self, item: Any) -> bool:
        name = item[0] if isinstance(item, (list, tuple)) else item
        if not isinstance(name, str) or LOOKUP_SEP in name:
            return False
        try:
            related = self.opts.get_field(name).related_model
        except FieldDoesNotExist:
            return False
        return isinstance(related, type) and tenant_field(related) is not None

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Return what is joined, with the organization where it is shown."""
        joined = super().get_list_select_related(request)
        if not is_unscoped() or joined is True:
            return joined
        return (*(joined or ()), "organization")

    def _call_in_scope_of(
        self, row: Any, request: HttpRequest, object_id: Any, view: View, **kwargs: Any
    ) -> Any:
        if getattr(row.organization, "status", "") == "archived":
            # Nobody enters it: what is shown is shown unscoped, to be read.
            return view(request, object_id, **kwargs)
        return super()._call_in_scope_of(row, request, object_id, view, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Change rows in their organization; those of an archived one stay."""
        return not _is_archived(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete rows in their organization; those of an archived one stay."""
        return not _is_archived(request) and super().has_delete_permission(request, obj)


class ReadOnlyAdmin(RefusingAdmin):
    """The admin of rows that nobody writes by hand."""

    # Any: an inline's parent is not needed.
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody write by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change what is written once."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete what is written once."""
        return False


class SuperuserAdmin(RefusingAdmin):
    """The admin of rows that are no organization's, which superusers alone reach.

    Where a superuser works in one organization, narrow() says which of them are
    about it.
    """

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, of one organization where the scope names one."""
        rows = super().get_queryset(request)
        active = current_scope()
        if active is None or active.organization_id is None:
            return rows
        return self.narrow(rows, active.organization_id)

    def narrow(self, rows: QuerySet[Any], organization_id: Any) -> QuerySet[Any]:
        """Keep the rows that are about an organization; all, by default."""
        return rows

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show what was done to a row; others are refused before it is looked for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().history_view(request, *args, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to superusers."""
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers read it."""
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers add to it, where that is possible."""
        return is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers change it, where that is possible."""
        return is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let superusers delete it, where that is possible."""
        return is_superuser(request) and super().has_delete_permission(request, obj)


def keep_members(rows: QuerySet[Any], path: str = "user") -> QuerySet[Any]:
    """Keep the rows whose user is, or was, a member in the active organization."""
    return rows.filter(Exists(Membership.objects.filter(user=OuterRef(path))))


def _keep_in_organization(request: HttpRequest, field: Any, db_field: Any) -> Any:
    """Let a widget that asks the server ask for the opened row's organization.

    On the page of an opened row only: elsewhere the session says which it is.
    """
    active = current_scope()
    widget = getattr(field, "widget", None)
    if not hasattr(request, "tenancy_row") or active is None or widget is None:
        return field
    if active.organization_id is None:
        return field
    key = str(active.organization_id)
    if isinstance(widget, AutocompleteMixin):
        widget.get_url = functools.partial(  # type: ignore[method-assign]  # of one widget
            _add_organization, widget.get_url, key
        )
    elif (
        isinstance(widget, ForeignKeyRawIdWidget)
        and tenant_field(db_field.remote_field.model) is not None
    ):
        widget.url_parameters = functools.partial(  # type: ignore[method-assign]  # as above
            _add_filter, widget.url_parameters, db_field.remote_field.model, key
        )
    return field


def _add_organization(get_url: Callable[[], str], key: str) -> str:
    return f"{get_url()}?{urlencode({'tenancy_organization': key})}"


def _add_filter(
    get_parameters: Callable[[], dict[str, Any]], model: type[Model], key: str
) -> dict[str, Any]:
    name = _require_tenant_field(model).name
    lookup = "pk__exact" if name == model._meta.pk.name else f"{name}__id__exact"
    return {**get_parameters(), lookup: key}


def _is_archived(request: HttpRequest) -> bool:
    """Return whether the page is of a row whose organization nobody can enter."""
    return hasattr(request, "tenancy_row") and is_unscoped()


def _read_message(message: Any) -> dict[str, Any]:
    """Return which fields a form has changed, without what they hold."""
    if isinstance(message, str):
        try:
            message = json.loads(message)
        except ValueError:
            return {}
    fields: list[str] = []
    for part in message:
        for what, told in part.items():
            fields += [str(name) for name in told.get("fields", ())]
            if "name" in told:
                fields.append(f"{told['name']} ({what})")
    return {"fields": fields} if fields else {}


def _require_tenant_field(model: type[Model]) -> Field[Any, Any]:
    field = tenant_field(model)
    assert field is not None
    return field
