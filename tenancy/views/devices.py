"""The browsers in which a user is signed in, with SESSION_ENGINE "tenancy.sessions"."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from tenancy.browsers import name_browser
from tenancy.models import Session
from tenancy.origin import refuse_impersonator
from tenancy.sessions import SessionStore
from tenancy.views.access import ChangeView, PageView, SignedInView


class DeviceView(SignedInView):
    """A view over the user's own sessions."""

    def find_refusal(self) -> HttpResponseBase | None:
        """Refuse where another engine keeps the sessions.

        Raises:
            Http404: SESSION_ENGINE is not "tenancy.sessions".
        """
        if not isinstance(self.request.session, SessionStore):
            raise Http404("SESSION_ENGINE is not 'tenancy.sessions'.")
        return None

    def list_devices(self) -> Any:  # A queryset of sessions.
        """Return the user's live sessions, the latest first."""
        return Session.objects.for_user(self.request.user.pk).live()

    def is_current(self, device: Session) -> bool:
        """Return whether it is the session of this request."""
        current = Session.objects.with_key(self.request.session.session_key)
        return current.filter(pk=device.pk).exists()


class DeviceListView(DeviceView, PageView):
    """The user's devices."""

    template_name = "tenancy/device_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the devices, and which of them is this one."""
        current = Session.objects.with_key(self.request.session.session_key).first()
        devices = [
            (device, name_browser(device.user_agent)) for device in self.list_devices()
        ]
        return super().get_context_data(devices=devices, current=current, **kwargs)


class DeviceEndView(DeviceView, ChangeView):
    """Signs one of the user's devices out."""

    def change(self, **kwargs: Any) -> str:
        """End the session; this one's by signing out."""
        device = get_object_or_404(self.list_devices(), pk=kwargs["pk"])
        refuse_impersonator("A device")
        if self.is_current(device):
            logout(self.request)
            return _("You are signed out.")
        device.end()
        return _("The device is signed out.")

    def get_success_url(self) -> str:
        """Show the list."""
        return reverse("tenancy:device-list")


class DeviceEndOthersView(DeviceView, ChangeView):
    """Signs every device out but this one."""

    def change(self, **kwargs: Any) -> str:
        """End the other sessions."""
        refuse_impersonator("A device")
        Session.objects.end_others(self.request.user, keep=self.request.session)
        return _("Every other device is signed out.")

    def get_success_url(self) -> str:
        """Show the list."""
        return reverse("tenancy:device-list")
