"""The calls that are measured, and one batch of them.

Every batch has keys of its own, made before the clock starts: strings that nobody has hashed
yet, as a site makes them for each request. They name 200 entries, the first of them more often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter, thread_time

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

ENTRIES = 200
MANY = 10
VALUE = {"id": 1234, "name": "A product of the shop", "price": "19.99", "stock": 7, "tags": ["new"]}
"""What a small cached object looks like; a smaller value makes the watching weigh more."""

_turn = count()

Run = Callable[[BaseCache, Sequence[str]], None]


@dataclass(frozen=True)
class Operation:
    """A call to measure: ``run`` makes it for each of the keys; ``keys_a_call`` at a time."""

    name: str
    run: Run
    prefix: str = "product"
    value: object = None
    keys_a_call: int = 1


def get(cache: BaseCache, keys: Sequence[str]) -> None:
    """One ``get`` a key."""
    for key in keys:
        cache.get(key)


def set_(cache: BaseCache, keys: Sequence[str]) -> None:
    """One ``set`` a key."""
    for key in keys:
        cache.set(key, VALUE)


def get_many(cache: BaseCache, keys: Sequence[str]) -> None:
    """One ``get_many`` for each ten keys."""
    for start in range(0, len(keys), MANY):
        cache.get_many(keys[start : start + MANY])


OPERATIONS = (
    Operation("get hit", get, value=VALUE),
    Operation("get hit, value 1", get, prefix="one", value=1),
    Operation("get miss", get, prefix="absent"),
    Operation("set", set_, value=VALUE),
    Operation("get_many(10)", get_many, value=VALUE, keys_a_call=MANY),
)


def prepare(alias: str) -> None:
    """Put the entries that lookups find into the cache."""
    for operation in OPERATIONS:
        if operation.value is not None:
            for number in range(ENTRIES):
                caches[alias].set(_key(operation.prefix, number), operation.value, 3600)


def batch(alias: str, operation: Operation, calls: int) -> float:
    """The seconds that one of ``calls`` calls takes its caller.

    A cache in local memory never waits, so the CPU time of the thread is the caller's time, less
    what other programs take from it. A server's answer is waited for: there the wall clock tells.
    """
    keys = _keys(operation.prefix, calls * operation.keys_a_call)
    cache = caches[alias]
    clock = thread_time if type(cache).__name__.startswith("LocMem") else perf_counter
    started = clock()
    operation.run(cache, keys)
    return (clock() - started) / calls


def _keys(prefix: str, number: int) -> list[str]:
    first = next(_turn)
    # Squares of a fraction: a quarter of the calls goes to the first 6 % of the entries.
    return [
        _key(prefix, int(((first + each) * 0.618034 % 1) ** 2 * ENTRIES)) for each in range(number)
    ]


def _key(prefix: str, number: int) -> str:
    return f"{prefix}:{number}"
