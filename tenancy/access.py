"""Bases of class-based views, sync and async, that ask for the organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic import View

from tenancy.decorators import find_refusal
from tenancy.models import Membership


class OrganizationRequiredMixin(View):
    """Lets in those who act in an organization, as organization_required() does.

    A ``queryset`` that the class names takes the scope of each request.
    """

    # Any: TenancyMiddleware gives it attributes.
    request: Any

    def may_enter(self, membership: Membership) -> bool:
        """Return whether a member may see the view; override it for more to ask."""
        return True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer those who may enter, and send others where they can.

        Raises:
            PermissionDenied: as organization_required() does.
        """
        if self.view_is_async:
            return self._dispatch_async(request, *args, **kwargs)
        refusal = find_refusal(request, self.may_enter)
        if refusal is not None:
            return refusal
        return super().dispatch(request, *args, **kwargs)

    async def _dispatch_async(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        refusal = await sync_to_async(find_refusal)(request, self.may_enter)
        if refusal is not None:
            return refusal
        # A coroutine, as that of each async view.
        answer: Any = super().dispatch(request, *args, **kwargs)
        response: HttpResponseBase = await answer
        return response


class RoleRequiredMixin(OrganizationRequiredMixin):
    """Lets in the members who have one of ``required_roles``."""

    required_roles: Sequence[str] = ()

    def may_enter(self, membership: Membership) -> bool:
        """Return whether the member has one of the roles.

        Raises:
            ImproperlyConfigured: the class names none.
        """
        if isinstance(self.required_roles, str) or not self.required_roles:
            raise ImproperlyConfigured(
                f"'{type(self).__name__}.required_roles' is {self.required_roles!r}. "
                'Set it to keys of roles, such as ["owner", "admin"].'
            )
        return super().may_enter(membership) and (
            membership.role.key in self.required_roles
        )


class PermissionRequiredMixin(OrganizationRequiredMixin):
    """Lets in the members whose role grants all of ``required_permissions``."""

    required_permissions: Sequence[str] = ()

    def may_enter(self, membership: Membership) -> bool:
        """Return whether the member's role grants the permissions.

        Raises:
            ImproperlyConfigured: the class names none.
        """
        if isinstance(self.required_permissions, str) or not self.required_permissions:
            raise ImproperlyConfigured(
                f"'{type(self).__name__}.required_permissions' is "
                f"{self.required_permissions!r}. Set it to permissions, such as "
                '["tracker.change_task"].'
            )
        return super().may_enter(membership) and all(
            map(membership.has_perm, self.required_permissions)
        )
