from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.generic import View


class MemberView(View):
    """A view for members, which runs in the scope of their organization.

    Somebody who is not signed in is asked to, and somebody who is in no organization,
    or has not said in which, is asked to choose.
    """

    # Set by TenancyMiddleware.
    request: Any

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer members; send others where they can become one."""
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), reverse(SIGN_IN))
        if getattr(request, "organization", None) is None:
            return redirect("tenancy:organization-list")
        return super().dispatch(request, *args, **kwargs)


SIGN_IN = "tenancy:sign-in"
