"""Start the log of calls, and the exporters of the settings."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, register

from cache_monitor.conf import SETTING, get_conf
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters.call_log import CallLog
from cache_monitor.worker.subscribers import subscribers

logger = logging.getLogger("cache_monitor")

_call_log = CallLog()
_started: set[str] = set()


def start_exporters() -> None:
    """Start what is not running yet; may be called again.

    Failures are logged: a missing package must not keep the site from starting. ``manage.py check``
    reports it.
    """
    subscribers.add(_call_log)
    register(check_exporters, "cache_monitor")
    for name in get_conf().exporters:
        if name not in _started:
            try:
                _IMPORT[name]()()
            except MissingExtra as error:
                logger.error("%s", error)
            except Exception:
                # A registry may have metrics of these names.
                logger.exception("The export to %s could not be started.", name)
            else:
                _started.add(name)


def check_exporters(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E010: an export whose package is not installed."""
    return [
        Error(
            f"{SETTING}['EXPORTERS'] names {name!r}, and {missing}",
            hint="Install it, or remove the name.",
            id="cache_monitor.E010",
        )
        for name in get_conf().exporters
        if (missing := _missing(name))
    ]


def _missing(name: str) -> str | None:
    try:
        _IMPORT[name]()
    except MissingExtra as error:
        return str(error)
    return None


def _prometheus() -> Callable[[], object]:
    from cache_monitor.exporters.prometheus import register as start  # noqa: PLC0415 - optional

    return start


def _metrics() -> Callable[[], object]:
    from cache_monitor.exporters.opentelemetry import start  # noqa: PLC0415 - optional

    return start


_IMPORT: Mapping[str, Callable[[], Callable[[], object]]] = {
    "prometheus": _prometheus,
    "opentelemetry": _metrics,
}
