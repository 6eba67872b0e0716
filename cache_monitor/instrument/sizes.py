"""How many bytes a value takes, and its fingerprint, where the backend has the bytes at hand.

Backends that turn values into bytes on the way are watched at that point: the methods that do it
are replaced in their class, and note what passes while an operation is under way. LocMemCache keeps
the pickles, so their length can be read later; the hot path does not do it. Where neither works the
size is unknown.

Taken of the bytes that the backend has at hand anyway, whole or not at all: of a part nobody could
say that the rest is the same. Of a cached page the content counts, for its headers have times.
"""

import os
from collections.abc import Callable, Hashable
from functools import update_wrapper
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import Any
from zlib import crc32

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.http import HttpResponse

from cache_monitor.calls import recorder
from cache_monitor.context import CallContext, current, under_way
from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import attribute_of, client_of, is_django_redis

MOST_BYTES = 32_768
"""Of a value whose fingerprint is taken while the site waits: some eight microseconds."""

_IN_DIGITS = frozenset({str, int, float})
"""Types that travel as text."""


def print_of(data: Any, value: Any) -> int:
    """The fingerprint of ``value``, which the backend has made ``data`` of; 0 where it is not
    taken."""
    # By its type: to ask a lazy value for its class would make it.
    if issubclass(type(value), HttpResponse):
        return _of_page(value)
    if type(data) is bytes:
        return of_bytes(data)
    return of_bytes(str(data).encode()) if type(data) in _IN_DIGITS else 0


def of_bytes(data: bytes, most: int = MOST_BYTES) -> int:
    """The fingerprint of ``data``, above 0; 0 where there are more than ``most``."""
    return (crc32(data) or 1) if len(data) <= most else 0


def _of_page(page: Any) -> int:
    parts = vars(page).get("_container")
    if type(parts) is not list or any(type(each) is not bytes for each in parts):
        return 0
    if sum(map(len, parts)) > MOST_BYTES:
        return 0
    return of_bytes(b"%d\n" % page.status_code + b"".join(parts), 2 * MOST_BYTES)


def stored_size(cache: BaseCache, key: Hashable, version: Hashable) -> int | None:
    """The bytes of the value stored under ``key``, where a look costs next to nothing."""
    # A project's own key function may depend on the thread, or count its calls.
    if not isinstance(cache, LocMemCache) or cache.key_func is not default_key_func:
        return None
    keys = key if isinstance(key, tuple) else (key,)
    backend: Any = cache
    stored = backend._cache
    found = [stored.get(backend.make_key(each, version)) for each in keys]
    # A subclass may store something else than pickles.
    sizes = [len(pickled) for pickled in found if isinstance(pickled, bytes)]
    return sum(sizes) if sizes else None


def watch_sizes(cache: Any) -> None:
    """Have the sizes noted of the values that ``cache`` moves."""
    class_ = type(cache)
    if issubclass(class_, FileBasedCache):
        _replace(class_, "_write_content", _noting_file_after)
        _replace(class_, "_is_expired", _noting_file_read)
    elif issubclass(class_, RedisCache):
        # The serializer is chosen where the client is made, which may be later.
        _replace(attribute_of(cache, "_class"), "__init__", _watching_serializer)
        _watch_serializer(client_of(cache))
    elif issubclass(class_, PyMemcacheCache):
        serde = type(attribute_of(cache, "_options").get("serde"))
        _replace(serde, "serialize", _noting_serialized)
        _replace(serde, "deserialize", _noting_deserialized)
    elif is_django_redis(class_):
        client = attribute_of(cache, "_client_cls")
        _replace(client, "encode", _noting_result)
        _replace(client, "decode", _noting_argument)


def _watching_serializer(original: Any) -> Any:
    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _watch_serializer(self)

    return noting


def _watch_serializer(client: Any) -> None:
    serializer = getattr(client, "_serializer", None)
    _replace(type(serializer), "dumps", _noting_result)
    _replace(type(serializer), "loads", _noting_argument)


def _replace(class_: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Have the method ``name`` of ``class_`` note sizes, in the class that it comes from."""
    if not isinstance(class_, type):
        return
    for each in class_.__mro__:
        original = vars(each).get(name)
        if original is None:
            continue
        if isinstance(original, FunctionType) and original.__globals__ is not globals():
            method = update_wrapper(make(original), original)
            del method.__wrapped__
            type.__setattr__(each, name, method)
        return


def _noting_file_after(original: Any) -> Any:
    def noting(self: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, file, *args, **kwargs)
        _note_size_of(file)
        return result

    return noting


def _noting_file_read(original: Any) -> Any:
    def noting(self: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        expired = original(self, file, *args, **kwargs)
        if not expired:
            _note_size_of(file)
        return expired

    return noting


def _note_size_of(file: Any) -> None:
    inner = under_way()
    if inner is None:
        return
    try:
        # What was just written may not have left the file's buffer.
        inner.sizes.append(file.tell() if file.writable() else os.fstat(file.fileno()).st_size)
    except Exception as error:
        # A subclass may hand over anything.
        let_pass(error)
        recorder.failed(error)


_NOT_GIVEN = object()


def _noting_result(original: Any) -> Any:
    """For a method that makes bytes of a value: it runs once for each value of a ``set_many``."""

    def noting(self: Any, value: Any = _NOT_GIVEN, /, *others: Any, **named: Any) -> Any:
        inner = current()
        is_usual = value is not _NOT_GIVEN and not others and not named
        args = () if is_usual else others if value is _NOT_GIVEN else (value, *others)
        if inner is None or inner.inside is None:
            return original(self, value) if is_usual else original(self, *args, **named)
        sizes, prints = inner.sizes, inner.prints
        before, printed = len(sizes), len(prints)
        data = original(self, value) if is_usual else original(self, *args, **named)
        # It may have called itself, or another one that notes, for the same value.
        if len(sizes) > before:
            del sizes[before:]
        if len(prints) > printed:
            del prints[printed:]
        if type(data) is bytes and not issubclass(type(value), HttpResponse):
            # Nearly always, and hence without a call of ours.
            sizes.append(len(data))
            prints.append((crc32(data) or 1) if len(data) <= MOST_BYTES else 0)
        else:
            _note(data, inner)
            _note_print(data, (value,), inner)
        return data

    return noting


def _noting_argument(original: Any) -> Any:
    """For a method that makes a value of bytes: it runs once for each value of a ``get_many``."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = under_way()
        if inner is None or not args:
            return original(self, *args, **kwargs)
        before = len(inner.sizes)
        value = original(self, *args, **kwargs)
        del inner.sizes[before:]
        _note(args[0], inner)
        return value

    def noting_one(self: Any, data: Any) -> Any:
        inner = current()
        if inner is None or inner.inside is None:
            return original(self, data)
        sizes = inner.sizes
        before = len(sizes)
        value = original(self, data)
        if len(sizes) > before:
            del sizes[before:]
        if type(data) is bytes:
            sizes.append(len(data))
        else:
            _note(data, inner)
        return value

    return _with_its_argument(noting_one, original) or noting


def _with_its_argument(method: Any, original: FunctionType) -> Any:
    """``method``, of one argument, with the name that ``original`` has for its only one; None
    where that takes others. To hand on whatever comes would take half as long again."""
    code = original.__code__
    takes_more = code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
    if code.co_argcount != 2 or takes_more or original.__defaults__:
        return None
    names = (*code.co_varnames[:2], *method.__code__.co_varnames[2:])
    method.__code__ = method.__code__.replace(co_varnames=names)
    return method


def _noting_serialized(original: Any) -> Any:
    """For pymemcache's, which makes bytes and flags."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = under_way()
        if inner is None:
            return original(self, *args, **kwargs)
        before, printed = len(inner.sizes), len(inner.prints)
        result = original(self, *args, **kwargs)
        del inner.sizes[before:]
        del inner.prints[printed:]
        data = result[0] if type(result) is tuple and result else None
        _note(data, inner)
        _note_print(data, args[1:], inner)
        return result

    return noting


def _noting_deserialized(original: Any) -> Any:
    """For pymemcache's, which gets the key, the bytes and the flags."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = under_way()
        if inner is None:
            return original(self, *args, **kwargs)
        before = len(inner.sizes)
        value = original(self, *args, **kwargs)
        del inner.sizes[before:]
        _note(args[1] if len(args) > 1 else None, inner)
        return value

    return noting


def _note(data: Any, inner: CallContext) -> None:
    """Note the bytes of what travels to a server or from it; numbers travel as their digits."""
    try:
        size = _size_of(data)
    except Exception as error:
        # A value's own class may say how long it is, and what it looks like.
        let_pass(error)
        recorder.failed(error)
        return
    if size is not None:
        inner.sizes.append(size)


def _note_print(data: Any, args: tuple[Any, ...], inner: CallContext) -> None:
    """Note the fingerprint of a value, the first of ``args``, that became ``data``."""
    try:
        inner.prints.append(print_of(data, args[0] if args else None))
    except Exception as error:
        let_pass(error)
        recorder.failed(error)


def _size_of(data: Any) -> int | None:
    if type(data) is bytes or isinstance(data, (bytearray, bytes, str)):
        return len(data)
    return len(str(data)) if isinstance(data, int | float) else None
