"""The calls of a request as plain rows for the toolbar's stores, without secrets.

Made at the end of each request, so it does little; the rest is done when the panel is opened.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any

from cache_monitor.calls import SOURCE, VERSION, RawCall, is_interrupted
from cache_monitor.capture import Heard, outcomes_of, timeout_of
from cache_monitor.keys.naming import name_key, written_as_shown
from cache_monitor.stacks import RawStack, StackPacker

SHOWN_CALLS = 500
SHOWN_KEYS_OF_CALL = 20
SHOWN_TYPE = 80
"""Characters of a type's name."""
SHOWN_KEYS = 1000
"""Of all calls of a request; each call shows one at least."""

CallRow = dict[str, Any]
"""One call. ``at``, ``milliseconds`` and ``produced`` are milliseconds: from the request's start,
of the cache itself, and of the callable of a ``get_or_set``. ``keys`` have the key as shown, group,
kind, of cached pages the ``route``, whether it was found, and an ``id``, equal for the same entry.
``stack`` is a number for ``traces``; ``context`` names the thread or task of misses and writes."""

Kept = Sequence[Heard]
"""Calls with their stacks."""

PAGES = frozenset({"page", "page_headers"})
"""Kinds of the keys of a cached page: the page, and its list of headers."""


class CallRows:
    """Makes the rows of one request.

    ``began`` is ``time.perf_counter()`` at its start; ``route_of`` returns the route of its cached
    pages, whose keys have a digest of it.
    """

    def __init__(self, began: float, route_of: Callable[[], str | None]) -> None:
        self._began = began
        self._route_of = route_of
        self._ids: dict[tuple[object, ...], int] = {}
        self._packer = StackPacker()
        self._room = SHOWN_KEYS

    def make(self, kept: Kept) -> list[CallRow]:
        return [self._row(each) for each in kept]

    @property
    def stacks(self) -> dict[str, list[list[Any]]]:
        """The stacks of the calls made into rows."""
        return self._packer.packed()

    @cached_property
    def _route(self) -> str | None:
        return self._route_of()

    def _row(self, heard: Heard) -> CallRow:
        call, value_type, stack = heard
        source, started, seconds, key, outcome, size, _, version, error, _, produced, context = (
            call[:12]
        )
        own = seconds if produced is None else max(seconds - produced, 0.0)
        row = {
            "alias": source.alias,
            "operation": source.operation,
            "keys": [],
            "more_keys": 0,
            "hits": int(outcome is True),
            "misses": int(outcome is False),
            "at": milliseconds(started - self._began),
            "milliseconds": milliseconds(own),
            "produced": None if produced is None else milliseconds(produced),
            "bytes": size,
            "type": value_type and value_type[:SHOWN_TYPE],
            "timeout": timeout_of(call),
            "version": None if version is None else written_as_shown(str(version)),
            "error": None if error is None else str(error),
            "interrupted": is_interrupted(error),
            "context": context,
            "stack": self._packer.add(stack) if isinstance(stack, RawStack) else None,
        }
        if isinstance(key, tuple):
            row |= self._several(call, key)
        elif key is not None:
            self._room -= 1
            row["keys"] = [self._key(source.alias, key, version, _one(outcome))]
        return row

    def _several(self, call: RawCall, keys: tuple[Hashable, ...]) -> CallRow:
        outcomes = outcomes_of(call)
        shown = min(len(keys), SHOWN_KEYS_OF_CALL, max(self._room, 1))
        self._room -= shown
        return {
            "keys": [
                self._key(call[SOURCE].alias, key, call[VERSION], hit)
                for key, hit in zip(keys[:shown], outcomes, strict=False)
            ],
            "more_keys": len(keys) - shown,
            "hits": outcomes.count(True),
            "misses": outcomes.count(False),
        }

    def _key(self, alias: str, key: Hashable, version: Hashable, hit: bool | None) -> CallRow:
        shown, group, kind = name_key(key, alias)
        return {
            "key": shown,
            "group": group,
            "kind": kind,
            "route": self._route if kind in PAGES else None,
            "hit": hit,
            "id": self._ids.setdefault((alias, key, version), len(self._ids)),
        }


def _one(outcome: bool | tuple[bool, ...] | None) -> bool | None:
    return outcome if isinstance(outcome, bool) else None


def milliseconds(seconds: float) -> float:
    """``seconds`` in milliseconds, to a tenth of a microsecond."""
    return round(seconds * 1000, 4)
