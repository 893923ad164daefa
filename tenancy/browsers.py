"""Browsers, as people call them."""

from __future__ import annotations

from django.utils.translation import gettext as _

# The first that is found: most browsers name others, too.
BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = ("iPhone", "iPad", "Android", "Windows", "Macintosh", "Linux")


def name_browser(user_agent: str) -> str:
    """Return what people call a browser, or what it calls itself."""
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), "")
    system = next((name for name in SYSTEMS if name in user_agent), "")
    if not browser or not system:
        return user_agent or _("unknown browser")
    return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
