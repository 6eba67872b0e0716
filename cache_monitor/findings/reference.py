"""Where a finding is explained: an address that is there, wherever the finding is read."""

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from threading import current_thread, main_thread

from django.conf import settings
from django.urls import reverse

DISTRIBUTION = "django-cache-monitor"
ANCHOR = "finding-{code}"
README = "README.md"
PAGE = "admin:cache_monitor_findings"
"""The dashboard's page that explains all findings."""


def docs_url(code: str) -> str:
    """The URL of the section on the finding ``code``: of the project's documentation, where the
    installed package names such; else a path on this site, of the admin's page of the findings;
    without an admin, the section of the package's README."""
    anchor = ANCHOR.format(code=code)
    return f"{_published() or _on_this_site() or README}#{anchor}"


@cache
def _published() -> str | None:
    """The URL that the package's metadata has for its documentation."""
    try:
        urls = metadata(DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from its sources
        return None
    pairs = (str(url).partition(",") for url in urls)
    named = {label.strip().lower(): address.strip() for label, _, address in pairs}
    return named.get("documentation")


def _on_this_site() -> str | None:
    is_of_the_monitor = current_thread() is not main_thread()
    if is_of_the_monitor and getattr(settings, "ROOT_URLCONF", None) not in sys.modules:
        # The site's views are not to be imported by a thread that it does not know of.
        return None
    try:
        return reverse(PAGE)
    except Exception:
        # No admin, or URLs that are broken, which is not for a report to tell.
        return None
