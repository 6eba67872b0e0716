"""Count what Django's own backends throw out to keep to ``MAX_ENTRIES``, which none of them does.

Each of them does that in its ``_cull``. What is put in front of it asks nothing of the cache: it
sees the dict before and after, the files that went, and the rows that the statements took.
"""

from contextvars import ContextVar
from functools import update_wrapper
from types import FunctionType
from typing import Any

from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections

from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import alias_of
from cache_monitor.recorder import recorder

_files: ContextVar[list[str] | None] = ContextVar("cache_monitor_culled_files", default=None)
"""The files that went, while a directory is culled."""


def watch_culls(cache: object, alias: str) -> None:
    """Count what ``cache``, known as ``alias``, evicts, if it does so in Django's own way."""
    recorder.culling.discard(alias)
    found: Any = type(cache)
    for class_, make in _COUNTING.items():
        if issubclass(found, class_):
            for name, counting in make.items():
                _replace(class_, name, counting)
            # A project's own way need not come by here.
            if found._cull is class_._cull:
                recorder.culling.add(alias)


def _replace(class_: Any, name: str, counting: Any) -> None:
    original = vars(class_).get(name)
    if isinstance(original, FunctionType) and original.__globals__ is not globals():
        method = update_wrapper(counting(original), original)
        del method.__wrapped__
        setattr(class_, name, method)


def _note(cache: Any, evicted: int) -> None:
    try:
        alias = alias_of(cache)
        if alias is not None and evicted > 0:
            recorder.note_culled(alias, evicted)
    except Exception as error:
        let_pass(error)
        recorder.failed(error)


def _of_dict(original: Any) -> Any:
    def _cull(self: Any) -> Any:
        before = len(self._cache)
        result = original(self)
        _note(self, before - len(self._cache))
        return result

    return _cull


def _of_directory(original: Any) -> Any:
    def _cull(self: Any) -> Any:
        gone: list[str] = []
        token = _files.set(gone)
        try:
            return original(self)
        finally:
            _files.reset(token)
            _note(self, len(gone))

    return _cull


def _of_file(original: Any) -> Any:
    def _delete(self: Any, fname: str) -> Any:
        result = original(self, fname)
        if result and (gone := _files.get()) is not None:
            gone.append("")
        return result

    return _delete


def _of_table(original: Any) -> Any:
    def _cull(self: Any, db: str, *args: Any, **kwargs: Any) -> Any:
        taken: list[int] = []

        def noting(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if sql[:6].upper() == "DELETE":
                taken.append(context["cursor"].rowcount)
            return result

        with connections[db].execute_wrapper(noting):
            result = original(self, db, *args, **kwargs)
        # What has expired goes first, and was not evicted, unless everything goes.
        _note(self, sum(taken if self._cull_frequency == 0 else taken[1:]))
        return result

    return _cull


_COUNTING: dict[Any, dict[str, Any]] = {
    LocMemCache: {"_cull": _of_dict},
    FileBasedCache: {"_cull": _of_directory, "_delete": _of_file},
    DatabaseCache: {"_cull": _of_table},
}
