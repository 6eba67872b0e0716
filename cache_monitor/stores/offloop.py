"""Read the store from async code, where Django forbids the use of databases."""

import asyncio
from collections.abc import Callable
from functools import partial, wraps
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from django.db import connections
from django.utils import translation

from cache_monitor import concurrency

P = ParamSpec("P")
R = TypeVar("R")


def off_loop(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` in a thread of its own where it is called in an event loop, which waits."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        return _apart(partial(function, *args, **kwargs))

    return call


def _apart(job: Callable[[], R]) -> R:
    results: SimpleQueue[tuple[R] | BaseException] = SimpleQueue()
    language = translation.get_language()

    def run() -> None:
        result: tuple[R] | BaseException
        try:
            with translation.override(language):
                result = (job(),)
        except BaseException as error:
            result = error
        finally:
            connections.close_all()
        results.put(result)

    concurrency.start(run, f"{concurrency.THREAD_NAME}-report", results.put)
    result = results.get()
    if isinstance(result, BaseException):
        raise result
    return result[0]
