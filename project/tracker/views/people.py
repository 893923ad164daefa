from __future__ import annotations

from typing import Any

from project.tracker.seed import PASSWORD, list_sign_ins
from tenancy.views import people


class SignInView(people.SignInView):
    """The sign-in page of the app, which here tells the people of the demo."""

    template_name = "tracker/sign_in.html"
    next_page = "tracker:project-list"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the people of the demo, as far as they exist."""
        sign_ins = list_sign_ins()
        return super().get_context_data(sign_ins=sign_ins, password=PASSWORD, **kwargs)
