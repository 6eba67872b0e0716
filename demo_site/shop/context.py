"""What every page of the demo needs beside its own context."""

from __future__ import annotations

from typing import Any

from config.serving import SERVING
from django.http import HttpRequest

from shop.pages import PAGES, SECTIONS
from shop.snippets import SNIPPETS

# A page that belongs to another one's subject, and shows the same explanation and code.
PART_OF = {
    "shop:clear_now": "shop:clear",
    "shop:article": "shop:magazine",
    "shop:backend": "shop:backends",
}


def demo_page(request: HttpRequest) -> dict[str, Any]:
    match = request.resolver_match
    view_name = match.view_name if match else ""
    subject = PART_OF.get(view_name, view_name)
    return {
        "page": PAGES.get(subject),
        "code": SNIPPETS.get(subject),
        "sections": SECTIONS,
        "serving": SERVING,
    }
