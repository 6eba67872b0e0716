"""For the tests of projects that use Django's caches: which cache calls does this code make?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, overload

from django.conf import settings
from django.core.cache import caches

from cache_monitor.conf import get_conf
from cache_monitor.context import listening
from cache_monitor.instrument.aliases import alias_of
from cache_monitor.listeners import Capture, CapturedCall, Timeout

__all__ = [
    "CacheCallsMixin",
    "CapturedCall",
    "CapturedCalls",
    "NotMonitored",
    "Timeout",
    "assert_cache_calls",
    "capture_cache_calls",
]

_MOST_IN_REPR = 50


class NotMonitored(RuntimeError):
    """The calls asked for are not recorded, so that their absence would mean nothing."""


class CapturedCalls(Sequence[CapturedCall]):
    """Cache calls in the order in which they began."""

    def __init__(self, read: Callable[[], tuple[CapturedCall, ...]]) -> None:
        self._read = read

    @property
    def calls(self) -> tuple[CapturedCall, ...]:
        """The calls, each a :class:`~cache_monitor.listeners.CapturedCall`."""
        return self._read()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the calls named, repeated where a call repeats them."""
        return tuple(key for call in self.calls for key in call.keys)

    @property
    def hits(self) -> int:
        """How many keys were looked up and found."""
        return sum(call.hits for call in self.calls)

    @property
    def misses(self) -> int:
        """How many keys were looked up and not there."""
        return sum(call.misses for call in self.calls)

    def of(self, *, alias: str | None = None, operation: str | None = None) -> "CapturedCalls":
        """The calls made so far on the cache ``alias``, of that ``operation``, or both.

        Raises :class:`NotMonitored` for an alias whose calls are not recorded.
        """
        if alias is not None:
            _require_monitored(alias)
        found = tuple(
            call
            for call in self.calls
            if alias in (None, call.alias) and operation in (None, call.operation)
        )
        return CapturedCalls(lambda: found)

    @overload
    def __getitem__(self, index: int) -> CapturedCall: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CapturedCall, ...]: ...
    def __getitem__(self, index: int | slice) -> CapturedCall | tuple[CapturedCall, ...]:
        return self.calls[index]

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[CapturedCall]:
        # Sequence's own would read all calls again for each of them.
        return iter(self.calls)

    def __repr__(self) -> str:
        calls = self.calls
        lines = [f"  {call}" for call in calls[:_MOST_IN_REPR]]
        if len(calls) > _MOST_IN_REPR:
            lines.append("  …")
        return "\n".join([f"<{len(calls)} cache calls>", *lines])


@contextmanager
def capture_cache_calls() -> Iterator[CapturedCalls]:
    """The cache calls made inside the ``with`` block, on every monitored alias::

        from cache_monitor.testing import capture_cache_calls

        def test_the_product_page_asks_for_its_product_once(client):
            with capture_cache_calls() as captured:
                client.get("/products/1/")

            assert captured.keys == ("product:1", "product:1")
            assert captured.misses == 1
            [write] = captured.of(alias="default", operation="set")
            assert write.timeout == 300

    Works in sync and async tests. Calls count where the block's context reaches: this thread or
    task, tasks and ``asyncio.to_thread`` calls begun inside, and what asgiref's ``sync_to_async``
    and ``async_to_sync`` run for them, hence sync and async views behind Django's test clients.
    Threads that the code starts by itself, and a live server's, are not heard.

    Raises :class:`NotMonitored` where no cache is monitored.
    """
    _require_any_monitored()
    capture = Capture()
    captured = CapturedCalls(capture.calls)
    try:
        with listening(capture):
            yield captured
    finally:
        # Tasks begun inside may go on; their later calls are not the block's.
        calls = capture.calls()
        captured._read = lambda: calls


@contextmanager
def assert_cache_calls(
    *,
    hits: int | None = None,
    misses: int | None = None,
    calls: int | None = None,
    alias: str | None = None,
    operation: str | None = None,
) -> Iterator[CapturedCalls]:
    """Like :func:`capture_cache_calls`, and fails at the end of the block unless it found and
    missed just so many keys, in just so many calls, on ``alias`` and by ``operation`` where these
    are given::

        with assert_cache_calls(misses=0):
            client.get("/products/1/")

    What is not given may be anything. Raises ``AssertionError`` with the calls that were made,
    :class:`NotMonitored` where there is nothing to count, and ``TypeError`` without a number.
    """
    expected = {"hits": hits, "misses": misses, "calls": calls}
    if all(number is None for number in expected.values()):
        raise TypeError("assert_cache_calls needs at least one of hits, misses and calls.")
    with capture_cache_calls() as captured:
        yield captured
    chosen = captured.of(alias=alias, operation=operation)
    found = {"hits": chosen.hits, "misses": chosen.misses, "calls": len(chosen)}
    wrong = [
        f"{name}: {found[name]} instead of {number}"
        for name, number in expected.items()
        if number not in (None, found[name])
    ]
    if wrong:
        where = ".".join(filter(None, (alias or (operation and "*"), operation)))
        raise AssertionError(f"{', '.join(wrong)}{f' on {where}' if where else ''}:\n{chosen!r}")


class CacheCallsMixin:
    """:func:`assert_cache_calls` as a method, for test cases that like it so."""

    def assertCacheCalls(  # noqa: N802 - as unittest names its own
        self, **expected: Any
    ) -> AbstractContextManager[CapturedCalls]:
        """See :func:`assert_cache_calls`."""
        return assert_cache_calls(**expected)


def _require_any_monitored() -> None:
    if not get_conf().enabled:
        raise NotMonitored('CACHE_MONITOR["ENABLED"] is False, so no cache call is recorded.')
    if not any(map(_is_monitored, settings.CACHES)):
        raise NotMonitored(
            'No cache is monitored. Add "cache_monitor" to INSTALLED_APPS; with '
            'CACHE_MONITOR["INSTRUMENT"] "explicit", name MonitoredCache in CACHES.'
        )


def _require_monitored(alias: str) -> None:
    if alias not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        raise NotMonitored(f"There is no cache {alias!r} in CACHES; there is {known}.")
    if not _is_monitored(alias):
        raise NotMonitored(f"The cache {alias!r} is not monitored.")


def _is_monitored(alias: str) -> bool:
    """Asks the cache itself: tests change settings and hide apps while caches live on."""
    try:
        return alias_of(caches[alias]) is not None
    except Exception:
        # A backend that cannot be made, for want of its client library, say: nobody calls it.
        return False
