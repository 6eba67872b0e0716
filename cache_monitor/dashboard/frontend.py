"""What the scripts of the dashboard need: the chart library, the language, the time zone."""

from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.defaultfilters import filesizeformat
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import avoid_wrapping
from django.utils.translation import get_language, get_language_bidi, gettext

CHART_JS = "cache_monitor/vendor/chart.umd.min.js"
# They add themselves to the library, and so come after it.
PLUGINS = (
    "cache_monitor/vendor/chartjs-chart-matrix.min.js",
    "cache_monitor/vendor/chartjs-chart-treemap.min.js",
)
# Django's own texts, as its filesizeformat has them.
_LARGER_SIZES = ("%s KB", "%s MB", "%s GB", "%s TB", "%s PB")


def context() -> dict[str, object]:
    """What the templates hand to the scripts."""
    urls = [_url(path) for path in (CHART_JS, *PLUGINS)]
    return {
        # Without the library the plugins would only fail.
        "chart_urls": [url for url in urls if url] if urls[0] else [],
        "time_zone": timezone.get_current_timezone_name(),
        "language": get_language() or settings.LANGUAGE_CODE,
        "sizes": "|".join(_sizes()),
        "rtl": get_language_bidi(),
    }


def _sizes() -> list[str]:
    """How sizes are written, with %s for the number: one byte, bytes, and by each unit."""
    bytes_texts = [filesizeformat(number).replace(str(number), "%s") for number in (1, 2)]
    return [*bytes_texts, *(avoid_wrapping(gettext(text)) for text in _LARGER_SIZES)]


def _url(path: str) -> str | None:
    """Where a file is served, or None where this installation lacks it.

    Static files with hashed names raise for a file that was never collected.
    """
    try:
        url = static(path)
    except ValueError:
        return None
    return url if _found(path) else None


def _found(path: str) -> bool:
    if not settings.DEBUG or "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return True
    return finders.find(path) is not None
