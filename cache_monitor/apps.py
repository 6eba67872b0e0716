"""The app: joins the recording side to the reading side when Django starts, and starts the
exporters of the settings."""

import logging
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.core.signals import request_started
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from cache_monitor import checks
from cache_monitor.concurrency import importing
from cache_monitor.conf import SETTING, get_conf
from cache_monitor.context import forget_leftovers
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters import call_log
from cache_monitor.instrument import pages
from cache_monitor.instrument.install import install, uninstall
from cache_monitor.keys.known_keys import learn_routes
from cache_monitor.keys.masking import learn_sessions
from cache_monitor.listeners import subscribers
from cache_monitor.stores.base import Store, import_store
from cache_monitor.worker.wiring import background_worker

logger = logging.getLogger("cache_monitor")


class CacheMonitorConfig(AppConfig):
    """``cache_monitor`` in ``INSTALLED_APPS``."""

    name = "cache_monitor"
    verbose_name = _("Cache monitor")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Instrument the caches. May run again whenever the installed apps are set again."""
        checks.register_checks()
        if get_conf().enabled:
            background_worker.attach()
            background_worker.hooks.watch = _watch_findings
            background_worker.hooks.predict = _predict
            import_store()
            install()
            learn_routes()
            learn_sessions()
            pages.watch_pages()
            request_started.connect(_begin_request, dispatch_uid="cache_monitor")
            start_exporters()
        else:
            uninstall()


# What makes reports is imported where one is asked for: at each start it would take 0.1 s of CPU
# time. In one of the site's processes that is once a minute, in a thread of the monitor's.


def _watch_findings(store: Store) -> None:
    with importing():
        from cache_monitor.api import watch_findings  # noqa: PLC0415 - dear at each start

    watch_findings(store)


def _predict(store: Store, is_over: Callable[[], bool]) -> None:
    with importing():
        from cache_monitor.predictor import update  # noqa: PLC0415 - dear at each start

    update(store, is_over)


def _begin_request(**_: object) -> None:
    """What is put right at the beginning of each request, at the cost of a microsecond."""
    background_worker.notice_fork()
    forget_leftovers()
    # A view behind ``cache_page`` raised, and its pass never ended.
    if pages.current_pass.get() is not None:
        pages.current_pass.set(None)


_STARTS = {
    "opentelemetry": "cache_monitor.exporters.opentelemetry.start",
    "prometheus": "cache_monitor.exporters.prometheus.register",
}
"""What starts each export; its package may be missing."""
_call_log = call_log.CallLog()
_started: set[str] = set()


def start_exporters() -> None:
    """Start what is not running yet; may be called again.

    Failures are logged: a missing package must not keep the site from starting. ``manage.py check``
    reports it.
    """
    subscribers.add(_call_log, call_log.is_enabled)
    register(check_exporters, "cache_monitor")
    for name in get_conf().exporters:
        if name not in _started:
            try:
                import_string(_STARTS[name])()
            except MissingExtra as error:
                logger.error("%s", error)
            except Exception:
                # A registry may have metrics of these names.
                logger.exception("The export to %s could not be started.", name)
            else:
                _started.add(name)


def check_exporters(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E010: an export whose package is not installed."""
    found: list[CheckMessage] = []
    for name in get_conf().exporters:
        try:
            import_string(_STARTS[name])
        except MissingExtra as error:
            message = f"{SETTING}['EXPORTERS'] names {name!r}, and {error}"
            hint = "Install it, or remove the name."
            found.append(Error(message, hint=hint, id="cache_monitor.E010"))
    return found
