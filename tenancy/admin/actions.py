"""Actions on rows that ask first: from the list, and from the page of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from tenancy.admin.base import RefusingAdmin, is_said, is_superuser, say
from tenancy.exceptions import TenancyError

REFUSALS = (TenancyError, ValidationError, ProtectedError, RestrictedError)

MOST_SHOWN = 100
"""How many of the chosen rows a question names."""


class ActionForm(forms.Form):
    """What an action asks for beside the question; it knows the row.

    Args:
        row (Model | None): on whose page it is asked; None from the list.
    """

    required_css_class = "required"
    template_name = "tenancy/admin/form.html"

    def __init__(self, *args: Any, row: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAction:
    """Something that is done to a row, once it was asked and answered.

    Args:
        name (str): its name in addresses and forms.
        label (str): what the button says.
        question (str): what is asked, and what will follow.
        run (Callable): does it, given the request, the row, and what the form holds;
            returns None, or the response that shows what came of it.
        form (type[ActionForm]): what is asked for beside the question.
        applies (Callable): whether the row is one to which it can be done now.
        takes_many (bool): whether the list offers it.
        is_danger (bool): whether the button warns.
        is_for_superusers (bool): whether others are refused, who may change the row.
    """

    name: str
    label: Any  # A text, or a lazy one.
    question: Any  # As above.
    run: Callable[[HttpRequest, Any, dict[str, Any]], HttpResponseBase | None]
    form: type[ActionForm] = ActionForm
    applies: Callable[[Any], bool] = lambda row: True
    takes_many: bool = True
    is_danger: bool = False
    is_for_superusers: bool = False


class ActingAdmin(RefusingAdmin):
    """Offers actions that ask first; what a rule refuses is said on the page."""

    change_form_template = "tenancy/admin/change_form.html"

    row_actions: ClassVar[tuple[RowAction, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        many = [_make_list_action(one) for one in self.row_actions if one.takes_many]
        self.actions = [*(self.actions or ()), *many]

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of the actions on one row."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        view = self.admin_site.admin_view(self.action_view)
        return [path("<path:object_id>/act/<slug:name>/", view, name=name)] + (
            super().get_urls()
        )

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether the actions for staff may be used."""
        return self.has_change_permission(request)

    def has_superuser_permission(self, request: HttpRequest) -> bool:
        """Return whether the actions for superusers may be used."""
        return is_superuser(request)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Show the form, with the actions that can be done to its row."""
        row = kwargs.get("obj")
        offered = [] if row is None else self._find_offered(request, row)
        context["row_actions"] = [
            {"action": one, "address": self._find_address(row, one)} for one in offered
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def action_view(
        self, request: HttpRequest, object_id: str, name: str
    ) -> HttpResponseBase:
        """Ask about one row, and do it when the answer is posted."""
        action = next((one for one in self.row_actions if one.name == name), None)
        if action is None:
            raise Http404("There is no action of this name.")
        answer: HttpResponseBase = self._in_row_scope(
            request, object_id, self._act_on_one, action=action
        )
        return answer

    def ask(
        self,
        request: HttpRequest,
        action: RowAction,
        form: ActionForm,
        *,
        rows: Iterable[Any] = (),
        hidden: Iterable[tuple[str, str]] = (),
        back: str,
    ) -> TemplateResponse:
        """Return the page that asks.

        Args:
            rows (Iterable): to which it will be done.
            hidden (Iterable): what the answer carries along, by name.
            back (str): where "no" leads.
        """
        chosen = list(rows)
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "tenancy/admin/confirmation.html",
            {
                **self.admin_site.each_context(request),
                "title": action.label,
                "action": action,
                "form": form,
                "rows": chosen[:MOST_SHOWN],
                "more": max(0, len(chosen) - MOST_SHOWN),
                "hidden": list(hidden),
                "back": back,
                "opts": self.opts,
            },
        )

    def run_action(
        self, request: HttpRequest, action: RowAction, row: Any, data: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Do it; for an admin to answer with a page of its own."""
        return action.run(request, row, data)

    def _in_row_scope(
        self, request: HttpRequest, object_id: Any, view: Any, **kwargs: Any
    ) -> Any:
        """Call the view where the row is; ScopedAdmin enters its organization."""
        scoped: Any = getattr(super(), "_in_row_scope", None)
        if scoped is None:
            return view(request, object_id, **kwargs)
        return scoped(request, object_id, view, **kwargs)

    @sensitive_variables()
    def _act_on_one(
        self, request: HttpRequest, object_id: str, action: RowAction
    ) -> HttpResponseBase:
        if not self._may(request, action):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            missing: HttpResponseBase = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]  # not in the stubs
                request, self.opts, object_id
            )
            return missing
        back = self._find_page(row)
        if not action.applies(row):
            text = _("This cannot be done to “%s” now.") % row
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(back)
        form = action.form(request.POST or None, row=row)
        if request.method == "POST":
            # A form without fields is bound, too.
            form = action.form(request.POST, row=row)
            if form.is_valid():
                try:
                    answer = self.run_action(request, action, row, form.cleaned_data)
                except REFUSALS as refusal:
                    add_refusal(form, refusal)
                else:
                    return answer or self._tell_done(request, row, back)
        return self.ask(request, action, form, rows=[row], back=back)

    def _act_on_many(
        self, request: HttpRequest, queryset: Any, action: RowAction
    ) -> HttpResponseBase | None:
        rows = list(queryset)
        is_answer = "confirmed" in request.POST
        form = action.form(request.POST if is_answer else None)
        if not is_answer or not form.is_valid():
            return self.ask(
                request,
                action,
                form,
                rows=rows,
                hidden=[
                    ("action", action.name),
                    ("confirmed", "yes"),
                    *((ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows),
                ],
                back=request.get_full_path(),
            )
        for row in rows:
            try:
                self.run_action(request, action, row, form.cleaned_data)
            except REFUSALS as refusal:
                if not isinstance(refusal, ValidationError) and not is_said(refusal):
                    raise
                self.message_user(request, f"{row}: {say(refusal)}", messages.ERROR)
            else:
                self.message_user(request, _("Done: %s.") % row)
        return None

    def _may(self, request: HttpRequest, action: RowAction) -> bool:
        if action.is_for_superusers:
            return self.has_superuser_permission(request)
        return self.has_act_permission(request)

    def _find_offered(self, request: HttpRequest, row: Any) -> list[RowAction]:
        return [
            one
            for one in self.row_actions
            if self._may(request, one) and one.applies(row)
        ]

    def _tell_done(self, request: HttpRequest, row: Any, back: str) -> HttpResponseBase:
        self.message_user(request, _("Done: %s.") % row)
        stays = type(row)._default_manager.filter(pk=row.pk).exists()
        return HttpResponseRedirect(back if stays else self._find_list())

    def _find_list(self) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return reverse(name, current_app=self.admin_site.name)

    def _find_page(self, row: Any) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        key = quote(row.pk)
        return reverse(name, args=[key], current_app=self.admin_site.name)

    def _find_address(self, row: Any, action: RowAction) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_act"
        return reverse(
            name, args=[quote(row.pk), action.name], current_app=self.admin_site.name
        )


def _make_list_action(action: RowAction) -> Callable[..., Any]:
    def run(
        model_admin: ActingAdmin, request: HttpRequest, queryset: Any
    ) -> HttpResponseBase | None:
        return model_admin._act_on_many(request, queryset, action)

    run.__name__ = action.name
    permission = "superuser" if action.is_for_superusers else "act"
    return admin.action(description=action.label, permissions=[permission])(run)


def add_refusal(form: ActionForm, refusal: Exception) -> None:
    """Say in the form what was refused.

    Raises:
        Exception: the refusal, where no page says it.
    """
    if isinstance(refusal, ValidationError):
        for text in refusal.messages:
            form.add_error(None, text)
    elif is_said(refusal):
        form.add_error(None, say(refusal))
    else:
        raise refusal
