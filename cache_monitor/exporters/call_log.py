"""The logger ``cache_monitor.calls``: one DEBUG record a call, where it is enabled for DEBUG.

The background thread writes the records later, with the call's own time.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from cache_monitor.calls import KEY, SECONDS, STARTED, RawCall, is_failure, keys_of, outcomes_of
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import name_key
from cache_monitor.listeners import Subscriber
from cache_monitor.page_cache import PagePass, cache_status

logger = logging.getLogger("cache_monitor.calls")

is_enabled = partial(logger.isEnabledFor, logging.DEBUG)
"""Whether somebody wants the records."""
KEYS_NAMED = 20
"""Keys that the message of one call names; ``extra`` has them all."""


class CallLog(Subscriber):
    """Logs calls and passes through the page cache."""

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        for call in calls:
            if not is_toolbar_key(call[KEY]):
                _log(call, call[STARTED] + call[SECONDS] + clock_offset)

    def on_pages(self, passes: Sequence[PagePass]) -> None:
        for each in passes:
            _log_page(each)

    def on_dropped(self, number: int) -> None:
        logger.warning("%d cache calls are not in the log: they came too fast for it.", number)


def _log_page(page_pass: PagePass) -> None:
    status = cache_status(page_pass)
    extra = {
        "cache_alias": page_pass.alias,
        "cache_operation": "page",
        "cache_page": page_pass.route,
        "cache_outcome": page_pass.fetch,
        "cache_stored": page_pass.stored,
        "cache_not_stored_because": page_pass.reason,
        "cache_status": status,
    }
    message = f"page {page_pass.route} of {page_pass.alias}: {status}"
    logger.handle(_record(message, extra))


def _record(message: str, extra: dict[str, Any]) -> logging.LogRecord:
    return logger.makeRecord(logger.name, logging.DEBUG, "", 0, message, (), None, extra=extra)


def _log(call: RawCall, ended: float) -> None:
    source, _, seconds, _, _, size, _, _, error, *_ = call
    extra = {
        "cache_alias": source.alias,
        "cache_operation": source.operation,
        "cache_keys": [name_key(key, source.alias).shown for key in keys_of(call)],
        "cache_outcome": _outcome(outcomes_of(call), error),
        "cache_ms": round(seconds * 1e3, 4),
        "cache_bytes": size,
        "cache_error": None if error is None else str(error),
    }
    record = _record(_message(extra), extra)
    record.created, record.msecs = ended, ended % 1 * 1000
    logger.handle(record)


def _outcome(found: Sequence[bool | None], error: str | None) -> str:
    if error is not None:
        return "error" if is_failure(error) else "interrupted"
    if True in found and False in found:
        return "partial"
    return "hit" if True in found else "miss" if False in found else "done"


def _message(extra: dict[str, Any]) -> str:
    keys: list[str] = extra["cache_keys"]
    named = ", ".join(map(repr, keys[:KEYS_NAMED])) + (", …" if len(keys) > KEYS_NAMED else "")
    outcome, error = extra["cache_outcome"], extra["cache_error"]
    if error is not None:
        outcome = error if outcome == "error" else f"interrupted by {error}"
    return (
        f"{extra['cache_alias']}.{extra['cache_operation']}({named}) "
        f"{outcome} {extra['cache_ms']:.3f} ms"
    )
