"""``manage.py check``: what is wrong with the settings, and what to write instead."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from cache_monitor.backends.explicit import PATH as EXPLICIT_PATH
from cache_monitor.backends.explicit import WRAPS_HINT, wraps_problem
from cache_monitor.conf import SETTING, get_conf, problems
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import make_store


def register_checks() -> None:
    """Let ``manage.py check`` run :func:`check_settings`."""
    register(check_settings, "cache_monitor")


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: a key or a value of ``CACHE_MONITOR``. E002: its store. E003 and E004: ``CACHES``."""
    found = [
        Error(problem.message, hint=problem.hint, id="cache_monitor.E001")
        for problem in problems(getattr(settings, SETTING, {}))
    ]
    return [*found, *([] if found else _store_errors()), *_cache_errors()]


def _store_errors() -> Iterator[CheckMessage]:
    try:
        make_store(get_conf().store)
    except StoreError as error:
        hint = "Write the dotted path of a store, such as cache_monitor.stores.memory.MemoryStore."
        yield Error(str(error), hint=hint, id="cache_monitor.E002")


def _cache_errors() -> Iterator[CheckMessage]:
    for alias, entry in settings.CACHES.items():
        path = entry.get("BACKEND")
        if path == EXPLICIT_PATH:
            if problem := wraps_problem(entry.get("WRAPS")):
                yield Error(
                    f"CACHES[{alias!r}]: {problem}", hint=WRAPS_HINT, id="cache_monitor.E003"
                )
        elif problem := _import_problem(path):
            yield Error(
                f"CACHES[{alias!r}]['BACKEND'] {problem}",
                hint="Write the dotted path of a cache backend that is installed.",
                id="cache_monitor.E004",
            )


def _import_problem(path: object) -> str | None:
    if not isinstance(path, str):
        return f"is {path!r}, not a dotted path."
    try:
        import_string(path)
    except ImportError as error:
        return f"names {path!r}, which cannot be imported: {error}."
    return None
