"""What the toolbar's store keeps of a request: rows as JSON has them, without secrets.

They are made at the end of each request, so little is done here; the rest is done when somebody
opens the panel.
"""

import contextlib
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypedDict, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import has_vary_header

from cache_monitor import context
from cache_monitor.calls import SOURCE, VERSION, RawCall, is_interrupted, keys_of, outcomes_of
from cache_monitor.conf import backend_path
from cache_monitor.context import Listener, listening
from cache_monitor.errors import let_pass
from cache_monitor.keys.naming import KeyKind, name_key, written_as_shown
from cache_monitor.listeners import Capture, KeptCall, Totals, timeout_of, watched_aliases
from cache_monitor.page_cache import PagePass
from cache_monitor.stacks import FrameRow, PackedStacks, StackPacker, caller_of
from cache_monitor.stats.compute_time import ComputedValue, MissSetMatcher

SHOWN_CALLS = 500
SHOWN_KEYS_OF_CALL = 20
SHOWN_TYPE = 80
"""Characters of a type's name."""
SHOWN_KEYS = 1000
"""Of all calls of a request; each call shows one at least."""


class KeyRow(TypedDict):
    """A key of a call, as shown. ``hit`` says whether it was found, None where nothing was looked
    up; ``route`` is of cached pages; ``id`` is equal for the same entry; ``computed`` is the time
    that it took to compute the value that the call wrote, None where it filled no miss."""

    key: str
    group: str
    kind: KeyKind
    route: str | None
    hit: bool | None
    id: int
    computed: float | None


class _Keys(TypedDict):
    """The keys of a call: those that are shown, the number of the others, and the outcomes."""

    keys: list[KeyRow]
    more_keys: int
    hits: int
    misses: int


class CallRow(_Keys):
    """One call. ``at``, ``milliseconds``, ``produced`` and ``computed`` are milliseconds: from the
    request's start, of the cache itself, of the callable of a ``get_or_set``, and of all values
    that the call wrote. ``stack`` is a number in ``stacks``."""

    alias: str
    operation: str
    at: float
    milliseconds: float
    produced: float | None
    computed: float | None
    bytes: int | None
    type: str | None
    timeout: float | str | None
    version: str | None
    error: str | None
    interrupted: bool
    stack: int | None


Kept = Sequence[KeptCall]
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
        computed = MissSetMatcher().match([each.call for each in kept], deque())
        return [self._row(each, computed.get(place, ())) for place, each in enumerate(kept)]

    @property
    def stacks(self) -> PackedStacks:
        """The stacks of the calls made into rows."""
        return self._packer.packed()

    @cached_property
    def _route(self) -> str | None:
        return self._route_of()

    def _row(self, kept: KeptCall, computed: Sequence[ComputedValue]) -> CallRow:
        call, value_type, stack = kept
        source, started, seconds, _, _, size, _, version, error, _, produced, *_ = call
        own = seconds if produced is None else max(seconds - produced, 0.0)
        return {
            **self._keys(call, {each.key: milliseconds(each.seconds) for each in computed}),
            "alias": source.alias,
            "operation": source.operation,
            "at": milliseconds(started - self._began),
            "milliseconds": milliseconds(own),
            "produced": None if produced is None else milliseconds(produced),
            "computed": milliseconds(sum(each.seconds for each in computed)) if computed else None,
            "bytes": size,
            "type": value_type and value_type[:SHOWN_TYPE],
            "timeout": timeout_of(call),
            "version": None if version is None else written_as_shown(str(version)),
            "error": None if error is None else str(error),
            "interrupted": is_interrupted(error),
            "stack": None if stack is None else self._packer.add(stack),
        }

    def _keys(self, call: RawCall, computed: Mapping[str, float]) -> _Keys:
        keys, outcomes = keys_of(call), outcomes_of(call)
        shown = min(len(keys), SHOWN_KEYS_OF_CALL, max(self._room, 1))
        self._room -= shown
        return {
            "keys": [
                self._key(call, key, hit, computed.get(str(key)))
                for key, hit in zip(keys[:shown], outcomes, strict=False)
            ],
            "more_keys": len(keys) - shown,
            "hits": outcomes.count(True),
            "misses": outcomes.count(False),
        }

    def _key(
        self, call: RawCall, key: Hashable, hit: bool | None, computed: float | None
    ) -> KeyRow:
        alias = call[SOURCE].alias
        shown, group, kind = name_key(key, alias)
        return {
            "key": shown,
            "group": group,
            "kind": kind,
            "route": self._route if kind in PAGES else None,
            "hit": hit,
            "id": self._ids.setdefault((alias, key, call[VERSION]), len(self._ids)),
            "computed": computed,
        }


def milliseconds(seconds: float) -> float:
    """``seconds`` in milliseconds, to a tenth of a microsecond."""
    return round(seconds * 1000, 4)


class PageRow(TypedDict):
    """A page that went through the cache: how it was looked up, and whether it was stored."""

    alias: str
    fetch: str | None
    missed: str | None
    key: str | None
    varies: list[str]
    age: float | None
    ttl: float | None
    stored: bool | None
    reason: str | None
    detail: str
    cause: str | None
    unvaried: str | None


def page_row(page_pass: PagePass) -> PageRow:
    """``page_pass`` as values for JSON."""
    key = page_pass.looked_up or page_pass.looked_up_list or page_pass.key
    return _row_of(
        PageRow,
        page_pass,
        # As the rows of the calls name it.
        key=None if key is None else name_key(key, page_pass.alias)[0],
        varies=list(page_pass.varies),
        detail=page_pass.detail[:200],
        cause=_with_place(page_pass.cause()),
        unvaried=_with_place(page_pass.unvaried()),
    )


Made = TypeVar("Made", bound=Mapping[str, Any])


def _row_of(kind: type[Made], source: object, **others: Any) -> Made:
    """A row with ``others``, and what has the same name in ``source``."""
    same = {name: getattr(source, name) for name in kind.__annotations__ if name not in others}
    return kind(**same, **others)


def _with_place(found: tuple[str, Any] | None) -> str | None:
    place = None if found is None else caller_of(found[1])
    return f"{found[0]} {place.where}" if found and place else None


class CountsRow(TypedDict):
    """The calls of one cache, or of all."""

    calls: int
    reads: int
    writes: int
    deletes: int
    others: int
    lookups: int
    hits: int
    misses: int
    errors: int
    interrupted: int
    hit_percent: int | None
    milliseconds: float


class TotalRow(CountsRow):
    """The calls of all caches, and how long the request took."""

    request_milliseconds: float


class CacheRow(CountsRow):
    """The calls of one cache."""

    alias: str
    backend: str


class StreamRow(TypedDict):
    """A response that is a stream, and how many calls were made while it was sent."""

    ended: bool
    calls: int


class RequestRows(TypedDict):
    """All that is kept of a request. ``view`` is known where ``varies_by_cookie``;
    ``toolbar_counts`` are those of the toolbar's own panel where they differ."""

    total: TotalRow
    caches: list[CacheRow]
    not_called: list[str]
    not_watched: list[str]
    calls: list[CallRow]
    stacks: PackedStacks
    pages: list[PageRow]
    varies_by_cookie: bool
    view: FrameRow | None
    stream: StreamRow | None
    toolbar_counts: dict[str, int] | None


def request_rows(
    capture: Capture,
    kept: Kept,
    lasted: tuple[float, float],
    request: HttpRequest,
    response: HttpResponseBase,
) -> RequestRows:
    """The rows of a request, of whose calls ``kept`` are listed. It ``lasted`` from one reading of
    ``time.perf_counter()`` to another."""
    began, ended = lasted
    totals, watched = capture.totals(), watched_aliases()
    rows = CallRows(began, partial(route_of, request))
    varies_by_cookie = has_pages_by_cookie(response, kept)
    return {
        "total": {
            **_counts(sum(totals.values(), Totals())),
            "request_milliseconds": milliseconds(ended - began),
        },
        "caches": [
            {**_counts(totals[alias]), "alias": alias, "backend": backend_path(alias)}
            for alias in settings.CACHES
            if alias in totals
        ],
        "not_called": [alias for alias in watched if alias not in totals],
        "not_watched": [alias for alias in settings.CACHES if alias not in (*watched, *totals)],
        "calls": rows.make(kept),
        "stacks": rows.stacks,
        "pages": [page_row(each) for each in capture.page_passes],
        "varies_by_cookie": varies_by_cookie,
        "view": view_of(request) if varies_by_cookie else None,
        "stream": {"ended": False, "calls": 0} if response.streaming else None,
        "toolbar_counts": None,
    }


def _counts(totals: Totals) -> CountsRow:
    return _row_of(CountsRow, totals, milliseconds=milliseconds(totals.seconds))


MOST_LISTS = 5
"""Lists of headers that are read; a request mostly has one."""


def route_of(request: HttpRequest) -> str | None:
    """The route of the view in ``urlpatterns``, or None; also where a middleware answered."""
    match = _match_of(request)
    return None if match is None else f"/{match.route}"


def view_of(request: HttpRequest) -> FrameRow | None:
    """The first line of the view, with its decorators; None where unknown."""
    match = _match_of(request)
    if match is None:
        return None
    try:
        return _beginning(match.func)
    except (OSError, TypeError):
        return None


def has_pages_by_cookie(response: HttpResponseBase, kept: Kept) -> bool:
    """Whether a page among the calls is cached for each cookie.

    Django's list of headers beside a page shows it. The response's own header may have names that
    middleware added later.
    """
    if not has_vary_header(response, "Cookie"):
        return False
    lists = {
        (call[SOURCE].alias, key, call[VERSION])
        for call, *_ in kept
        for key in keys_of(call)
        if name_key(key).kind == "page_headers"
    }
    return any(_names_cookies(*each) for each in list(lists)[:MOST_LISTS])


def _names_cookies(alias: str, key: Any, version: Any) -> bool:
    try:
        with context.muted():
            headers = caches[alias].get(key, version=version)
        return "HTTP_COOKIE" in (headers or ())
    except Exception as error:
        let_pass(error)
        return False


def _match_of(request: HttpRequest) -> ResolverMatch | None:
    if request.resolver_match is not None:
        return request.resolver_match
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None


def _beginning(view: Any) -> FrameRow | None:
    # unwrap() would lead from as_view() to Django's dispatch().
    view = inspect.unwrap(view, stop=lambda each: hasattr(each, "view_class"))
    class_ = getattr(view, "view_class", None)
    if class_ is not None:
        _, line = inspect.getsourcelines(class_)
        return [inspect.getfile(class_), line, class_.__qualname__]
    code = getattr(view, "__code__", None)
    return None if code is None else [code.co_filename, code.co_firstlineno, code.co_qualname]


logger = logging.getLogger("cache_monitor")

Finished = Callable[[], None]


def capture_stream(response: Any, listener: Listener, finished: Finished) -> None:
    """Let ``listener`` hear the calls of ``response``, a stream; call ``finished`` at its end.

    A file is left alone: the server may send it itself, and it makes no calls.
    """
    if getattr(response, "file_to_stream", None) is not None:
        return
    content = response.streaming_content
    captured = _captured_async if response.is_async else _captured
    response.streaming_content = captured(content, listener, finished)


def _captured(content: Iterator[bytes], listener: Listener, finished: Finished) -> Iterator[bytes]:
    steps = iter(content)
    try:
        while True:
            # Between two steps the server is at work.
            try:
                with listening(listener):
                    chunk = next(steps)
            except StopIteration:
                return
            yield chunk
    finally:
        _finish(finished)


async def _captured_async(
    content: AsyncIterator[bytes], listener: Listener, finished: Finished
) -> AsyncIterator[bytes]:
    steps = aiter(content)
    try:
        while True:
            try:
                with listening(listener):
                    chunk = await anext(steps)
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        with contextlib.suppress(RuntimeError):
            # At the interpreter's end there is no loop.
            await sync_to_async(_finish)(finished)


def _finish(finished: Finished) -> None:
    try:
        finished()
    except Exception as error:
        let_pass(error)
        logger.error("The panel could not store the calls of a stream.", exc_info=error)
