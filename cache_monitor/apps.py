"""The app: joins the recording side to the reading side when Django starts."""

from django.apps import AppConfig
from django.core.signals import request_started
from django.utils.translation import gettext_lazy as _

from cache_monitor import api, checks, predictions
from cache_monitor.collecting.joining import collector
from cache_monitor.conf import get_conf
from cache_monitor.exporters.starting import start_exporters
from cache_monitor.instrument.install import install, uninstall
from cache_monitor.keys.ownsessions import learn_sessions
from cache_monitor.keys.routes import learn_routes
from cache_monitor.pages import watch
from cache_monitor.scope import forget_leftovers


class CacheMonitorConfig(AppConfig):
    """``cache_monitor`` in ``INSTALLED_APPS``."""

    name = "cache_monitor"
    verbose_name = _("Cache monitor")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Instrument the caches. May run again whenever the installed apps are set again."""
        checks.register_checks()
        if get_conf().enabled:
            collector.attach()
            collector.watch_with(api.watch_findings)
            collector.predict_with(predictions.update)
            install()
            learn_routes()
            learn_sessions()
            watch.watch_pages()
            request_started.connect(_begin_request, dispatch_uid="cache_monitor")
            start_exporters()
        else:
            uninstall()


def _begin_request(**_: object) -> None:
    """What is put right at the beginning of each request, at the cost of a microsecond."""
    collector.notice_fork()
    forget_leftovers()
    watch.forget_leftovers()
