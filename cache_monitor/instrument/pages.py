"""Watch Django's cache middleware, and note the outcome of each pass.

The methods of ``FetchFromCacheMiddleware`` and ``UpdateCacheMiddleware`` are wrapped where they
are, so that ``cache_page``, ``CacheMiddleware`` and a project's subclasses are watched as well.
Arguments and results stay as they are.

Django does not record why a page was not stored: the response has ``Vary: Cookie``, whoever added
it. So the hooks that every cause goes through are watched too: headers, CSRF tokens, sessions. That
begins with the first request that passes the page cache.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from time import perf_counter
from typing import Any

import django.middleware.csrf as django_csrf
from django.contrib.sessions.backends.base import SessionBase
from django.http.response import ResponseHeaders
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.utils.cache import get_max_age

from cache_monitor import context
from cache_monitor.calls import ERROR, SOURCE, RawCall, recorder
from cache_monitor.conf import get_conf
from cache_monitor.keys.known_keys import page_key, route_of, routes, watchers
from cache_monitor.page_cache import PagePass, why_not_stored
from cache_monitor.stacks import take_stack
from cache_monitor.stats.sketches import hash_of

MOST_WAITING = 10_000
"""Passes that wait to be counted at most; the oldest are dropped."""

finished: deque[PagePass] = deque(maxlen=MOST_WAITING)
"""Passes that are not counted yet; appending is atomic."""

current_pass: ContextVar[PagePass | None] = ContextVar("cache_monitor_page_pass", default=None)
_MARK = "_cache_monitor_watches"
_OUR_FRAMES = 3
"""``take_stack``, :func:`_blame` and the hook."""

Method = Callable[..., Any]


def watch_pages() -> None:
    """Watch from now on. Idempotent."""
    if not hasattr(FetchFromCacheMiddleware, _MARK):
        setattr(FetchFromCacheMiddleware, _MARK, True)
        for middleware, name, watched in (
            (FetchFromCacheMiddleware, "process_request", _fetching),
            (UpdateCacheMiddleware, "process_response", _updating),
        ):
            setattr(middleware, name, watched(getattr(middleware, name)))
        watchers.append(_note_key)


def take() -> list[PagePass]:
    """Remove and return the passes that wait to be counted."""
    return [finished.popleft() for _ in range(len(finished))]


def _fetching(original: Method) -> Method:
    @wraps(original)
    def process_request(self: Any, request: Any) -> Any:
        page_pass = _guarded(_begin, self, request)
        response = original(self, request)
        if page_pass is not None:
            _guarded(_note_fetch, page_pass, request, response)
        return response

    return process_request


def _updating(original: Method) -> Method:
    @wraps(original)
    def process_response(self: Any, request: Any, response: Any) -> Any:
        page_pass = _guarded(_begin_update, self, request, response)
        if page_pass is None:
            return original(self, request, response)
        writes = _Writes(page_pass.alias)
        context.start_listening(writes)
        try:
            result = original(self, request, response)
        except Exception as error:
            _guarded(_note_failure, page_pass, error)
            raise
        finally:
            context.stop_listening(writes)
        _guarded(_end_update, page_pass, result, writes.error)
        return result

    return process_response


class _Writes:
    """Notes errors of the writes: a client may swallow them."""

    wants_values = False

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.error: str | None = None

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        source = call[SOURCE]
        if source.alias == self._alias and source.operation == "set":
            self.error = self.error or call[ERROR]


def _guarded(step: Callable[..., PagePass | None], *args: Any) -> PagePass | None:
    """``step``, whose faults must not become the site's."""
    with recorder.guard:
        return step(*args) if get_conf().enabled else None
    return None


def _begin(middleware: Any, request: Any) -> PagePass:
    _watch_causes()
    outer = current_pass.get()
    while outer is not None and (outer.is_over or outer.request != id(request)):
        outer = outer.outer
    stores = isinstance(middleware, UpdateCacheMiddleware)
    page_pass = PagePass(
        middleware.cache_alias,
        id(request),
        id(middleware) if stores else None,
        outer,
        path=hash_of(request.path_info),
        # Only the decorator gives a page a time of its own.
        is_decorated=getattr(middleware, "page_timeout", None) is not None,
    )
    current_pass.set(page_pass)
    return page_pass


def _note_key(key: str, arguments: tuple[object, ...]) -> None:
    """Note a key that Django made; one of a page comes with the headers that it varies by."""
    page_pass = current_pass.get()
    page = page_key(key)
    if page_pass is None or page_pass.is_over or page is None:
        return
    page_pass.address = hash_of(page.url)
    if page.kind == "page":
        page_pass.key = key
        page_pass.variant = hash_of(page.url + page.variant + page.suffix)
        lists = [each for each in arguments if isinstance(each, list)]
        page_pass.varies = tuple(map(_header, lists[0])) if lists else ()
    else:
        page_pass.list_key = key
    page_pass.route = routes.of(page.url)


def _note_fetch(page_pass: PagePass, request: Any, response: Any) -> None:
    if response is not None:
        page_pass.fetch = "hit"
        _note_age(page_pass, response)
        if page_pass.outer is not None:
            page_pass.outer.inner_hit = True
        _finish(page_pass)
    elif not getattr(request, "_cache_update_cache", False):
        page_pass.fetch = "bypass"
    else:
        page_pass.fetch = "miss"
        # Only with the list of headers at hand does Django make the page's own key.
        page_pass.missed = "header_list" if page_pass.key is None else "page"
    page_pass.began = perf_counter()


def _note_age(page_pass: PagePass, response: Any) -> None:
    age, lifetime = response.get("Age"), get_max_age(response)
    page_pass.age = float(age) if age is not None and str(age).isdigit() else None
    if page_pass.age is not None and lifetime is not None:
        page_pass.ttl = max(lifetime - page_pass.age, 0.0)


def _begin_update(middleware: Any, request: Any, response: Any) -> PagePass | None:
    """The pass that ends with this response; None for a page from the cache."""
    page_pass = _pass_of(middleware, request)
    if page_pass is None:
        page_pass = PagePass(middleware.cache_alias, id(request), path=hash_of(request.path_info))
        current_pass.set(page_pass)
    elif page_pass.is_over:
        return None
    if page_pass.route is None:
        page_pass.route = route_of(request)
    if page_pass.began:
        page_pass.seconds = perf_counter() - page_pass.began
    why = why_not_stored(middleware, request, response, page_pass)
    if why is not None:
        page_pass.reason, page_pass.detail = why
    page_pass.looked_up, page_pass.key = page_pass.key, None
    page_pass.looked_up_list, page_pass.list_key = page_pass.list_key, None
    return page_pass


def _pass_of(middleware: Any, request: Any) -> PagePass | None:
    """The innermost pass that ``middleware`` may end: its own; or one of a middleware that only
    fetches, where it only updates."""
    fetches = isinstance(middleware, FetchFromCacheMiddleware)
    owner = id(middleware) if fetches else None
    page_pass = current_pass.get()
    while page_pass is not None:
        if page_pass.request == id(request) and page_pass.owner == owner:
            return page_pass
        page_pass = page_pass.outer
    return None


def _end_update(page_pass: PagePass, response: Any, error: str | None) -> None:
    # Django makes the key of a page that it stores, and of no other.
    page_pass.stored = page_pass.key is not None and page_pass.reason != "dummy" and not error
    if error is not None and page_pass.reason is None:
        page_pass.reason, page_pass.detail = "error", error
    if page_pass.stored:
        page_pass.reason, page_pass.detail = None, ""
        _note_other_key(page_pass)
        lifetime = get_max_age(response)
        page_pass.ttl = None if lifetime is None else float(lifetime)
    elif page_pass.reason is None:
        page_pass.reason = "unknown"
    _finish(page_pass)


def _note_other_key(page_pass: PagePass) -> None:
    stored, looked_up = (
        page_key(key or "") for key in (page_pass.list_key, page_pass.looked_up_list)
    )
    if stored is not None and looked_up is not None and stored.suffix != looked_up.suffix:
        page_pass.missed = "other_key"
        page_pass.detail = f"{stored.suffix}, {looked_up.suffix}"


def _note_failure(page_pass: PagePass, error: Exception) -> None:
    page_pass.stored, page_pass.reason, page_pass.detail = False, "error", type(error).__name__
    _finish(page_pass)


def _finish(page_pass: PagePass) -> None:
    page_pass.is_over = True
    if page_pass.outer is not None:
        for name, stack in page_pass.blame.items():
            page_pass.outer.blame.setdefault(name, stack)
    if page_pass.stored is not None:
        # Of a page that was served the middleware may still be asked to store the response.
        current_pass.set(page_pass.outer)
    finished.append(page_pass)
    around = context.current()
    for listener in around.listeners if around is not None else ():
        # A listener of calls need not take page passes too.
        if (on_page := getattr(listener, "on_page", None)) is not None:
            on_page(page_pass)


def _blame(name: str) -> None:
    """Note the stack of the code that called the hook, the first time in a pass. It runs where the
    site reads its session or sets a header, so it never raises."""
    with recorder.guard:
        page_pass = current_pass.get()
        while page_pass is not None and page_pass.is_over:
            page_pass = page_pass.outer
        if page_pass is not None and name not in page_pass.blame:
            page_pass.blame[name] = take_stack(_OUR_FRAMES)


def _header(name: str) -> str:
    """``HTTP_ACCEPT_LANGUAGE`` as ``accept-language``."""
    return name.removeprefix("HTTP_").replace("_", "-").lower()


# What leads to an outcome

_BLAMES = "_cache_monitor_blames"


def _watch_causes() -> None:
    """Watch from now on what the outcomes go back to. Idempotent."""
    if not hasattr(ResponseHeaders, _BLAMES):
        setattr(ResponseHeaders, _BLAMES, True)
        _watch_headers()
        _watch_tokens()
        # Every engine of Django's or of others' derives from it.
        if "accessed" not in vars(SessionBase):
            SessionBase.accessed = _Accessed()  # type: ignore[assignment]  # a descriptor of it


def _watch_headers() -> None:
    original = ResponseHeaders.__setitem__

    @wraps(original)
    def set_header(self: ResponseHeaders, key: Any, value: Any) -> None:
        name = key.lower() if type(key) is str and len(key) in _LENGTHS else ""
        if name in _WATCHED:
            before = _words(self.get(key, ""))
            original(self, key, value)
            for word in _words(self[key]):
                if word not in before:
                    _blame(f"{name}:{word}")
        else:
            original(self, key, value)

    ResponseHeaders.__setitem__ = set_header  # type: ignore[method-assign]  # the purpose


_WATCHED = frozenset({"vary", "cache-control"})
_LENGTHS = frozenset(map(len, _WATCHED))


def _words(value: str) -> Iterable[str]:
    """The names in a header: those of ``Vary``, the directives of ``Cache-Control``."""
    return [word.partition("=")[0].strip().lower() for word in value.split(",")]


def _watch_tokens() -> None:
    # What get_token() calls last, by its module's name for it: others have get_token by theirs.
    original = getattr(django_csrf, "_mask_cipher_secret", None)
    if original is None:
        return

    @wraps(original)
    def _mask_cipher_secret(secret: Any) -> Any:
        _blame("csrf")
        return original(secret)

    django_csrf._mask_cipher_secret = _mask_cipher_secret  # type: ignore[attr-defined]  # private


class _Accessed:
    """``SessionBase.accessed``, an attribute of each session as before."""

    def __get__(self, session: Any, owner: type) -> Any:
        if session is None:
            # As for a class that has no such attribute.
            raise AttributeError(f"type object {owner.__name__!r} has no attribute 'accessed'")
        try:
            return session.__dict__["accessed"]
        except KeyError:
            message = f"{type(session).__name__!r} object has no attribute 'accessed'"
            raise AttributeError(message, name="accessed", obj=session) from None

    def __set__(self, session: Any, value: Any) -> None:
        session.__dict__["accessed"] = value
        if value:
            _blame("session")

    def __delete__(self, session: Any) -> None:
        try:
            del session.__dict__["accessed"]
        except KeyError:
            raise AttributeError("accessed") from None
