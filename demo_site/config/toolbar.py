"""Which requests get the debug toolbar."""

from __future__ import annotations

from debug_toolbar.middleware import show_toolbar
from django.http import HttpRequest

TRAFFIC_USER_AGENT = "demo-traffic"


def show_to_people(request: HttpRequest) -> bool:
    """Leave the toolbar's history to the visitor: simulated traffic would push it out."""
    if request.headers.get("User-Agent") == TRAFFIC_USER_AGENT:
        return False
    return bool(show_toolbar(request))
