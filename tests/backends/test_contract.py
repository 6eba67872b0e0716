"""A monitored cache does what the bare one does: the same calls in, the same results and
exceptions out, over every backend."""

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cache_monitor.instrument.install import is_ours, original_of
from tests.backends.contract import Pair, open_pair, parameters

pytestmark = pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")


@pytest.fixture(params=parameters())
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair


class Unpicklable:
    """A value that no backend can store."""

    def __reduce__(self) -> Any:
        raise ValueError("not to be pickled")


class OneShot:
    """Iterable, and empty when it is asked a second time; no iterator."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)

    def __iter__(self) -> Iterator[str]:
        while self._keys:
            yield self._keys.pop(0)


COLLECTIONS: tuple[Collection[str], ...] = ({"g"}, {"g": 1}.keys(), ("g",), "g", [])
FALSY: tuple[object, ...] = (0, "", False, [])


def _counted(cache: Any) -> object:
    """How often ``get_or_set`` runs its callable, and what it returns."""
    producer = mock.Mock(return_value=0)
    results = [cache.get_or_set("made", producer) for _ in range(3)]
    return results, producer.call_count


CALLS: dict[str, Callable[[Any], object]] = {
    "get of nothing": lambda c: c.get("nothing"),
    "get with a default": lambda c: c.get("nothing", "default"),
    "get with a default by name": lambda c: c.get("nothing", default=7),
    "get with a default that can be called": lambda c: c.get("nothing", int),
    "set and get": lambda c: (c.set("a", 1), c.get("a")),
    "None": lambda c: (c.set("none", None), c.get("none", "default"), c.has_key("none")),
    "falsy values": lambda c: [(c.set("f", v), c.get("f", "default")) for v in FALSY],
    "get with a version": lambda c: (c.set("v", 2, version=2), c.get("v"), c.get("v", version=2)),
    "set without an expiry": lambda c: (c.set("forever", 1, None), c.get("forever")),
    "set for no time": lambda c: (c.set("never", 1, 0), c.get("never")),
    "add": lambda c: (c.add("new", 1), c.add("new", 2), c.get("new")),
    "touch": lambda c: (c.touch("absent"), c.set("t", 1), c.touch("t", 100), c.touch("t", None)),
    "delete": lambda c: (c.set("d", 1), c.delete("d"), c.delete("d"), c.get("d")),
    "has_key": lambda c: (c.set("h", 1), c.has_key("h"), c.has_key("no"), "h" in c, "no" in c),
    "get_many": lambda c: (c.set("m", 1), c.get_many(["m", "no", "m"])),
    "get_many of nothing": lambda c: c.get_many([]),
    "get_many of a generator": lambda c: (c.set("g", 1), c.get_many(k for k in ["g", "no"])),
    "get_many of other collections": lambda c: (
        c.set("g", 1),
        [c.get_many(keys) for keys in COLLECTIONS],
        c.get_many(OneShot("g")),
        c.get_many(keys=["g"], version=1),
    ),
    "get_many of what is no collection": lambda c: c.get_many(5),
    "set_many of what is no mapping": lambda c: c.set_many(["x"]),
    "set_many": lambda c: (c.set_many({"x": 1, "y": None}), c.get_many(["x", "y"])),
    "set_many of nothing": lambda c: c.set_many({}),
    "delete_many": lambda c: (c.set("x", 1), c.delete_many(["x", "z"]), c.get("x")),
    "delete_many of a generator": lambda c: (c.set("x", 1), c.delete_many(k for k in ["x"])),
    "get_or_set of a value": lambda c: (c.get_or_set("v", 3), c.get_or_set("v", 4)),
    "get_or_set of a callable": _counted,
    "get_or_set of None": lambda c: (c.get_or_set("n", None), c.get_or_set("n", 1)),
    "get_or_set without a default": lambda c: c.get_or_set("n"),
    "incr": lambda c: (c.set("i", 1), c.incr("i"), c.incr("i", 5), c.decr("i", 2), c.get("i")),
    "incr of nothing": lambda c: c.incr("absent"),
    "incr_version": lambda c: (c.set("iv", 1), c.incr_version("iv"), c.get("iv", version=2)),
    "decr_version": lambda c: (c.set("dv", 1, version=2), c.decr_version("dv", version=2)),
    "incr_version of nothing": lambda c: c.incr_version("absent"),
    "clear": lambda c: (c.set("c", 1), c.clear(), c.get("c")),
    "a value that cannot be stored": lambda c: c.set("u", Unpicklable()),
    "no arguments": lambda c: c.get(),
    "too many arguments": lambda c: c.get("a", None, None, "more", "and more"),
    "an unknown argument": lambda c: c.set("a", 1, colour="red"),
    "a key that is a number": lambda c: (c.set(5, 1), c.get(5)),
    "a failing callable": lambda c: c.get_or_set("boom", lambda: 1 // 0),
    "close": lambda c: c.close(),
}


def _outcome(call: Callable[[Any], object], cache: Any) -> object:
    try:
        return call(cache)
    except Exception as error:
        # Messages may name the key, which carries the prefix that tells the two caches apart.
        return type(error), str(error).replace("monitored", "bare")


@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_what_the_bare_cache_gives(pair: Pair, name: str) -> None:
    assert _outcome(CALLS[name], pair.monitored) == _outcome(CALLS[name], pair.bare)


async def _async_calls(cache: Any) -> object:
    await cache.aset("a", 1)
    await cache.aset_many({"b": 2, "none": None})
    await asyncio.gather(*(cache.aget("a") for _ in range(5)))
    return [
        await cache.aget("a"),
        await cache.aget("absent", 9),
        await cache.aget_many(["a", "b", "none", "absent"]),
        await cache.aget_or_set("made", lambda: 5),
        await cache.aadd("a", 2),
        await cache.ahas_key("a"),
        await cache.atouch("a", 100),
        await cache.aincr("a"),
        await cache.adecr("a"),
        await cache.aincr_version("b"),
        await cache.adelete("a"),
        await cache.adelete_many(["b"]),
        await cache.aclear(),
        await cache.aget("a"),
    ]


def test_the_async_calls_give_what_the_bare_cache_gives(pair: Pair) -> None:
    def made(cache: Any) -> object:
        return asyncio.run(_async_calls(cache))

    assert _outcome(made, pair.monitored) == _outcome(made, pair.bare)


def test_the_class_looks_like_the_bare_one(pair: Pair) -> None:
    monitored, bare = type(pair.monitored), type(pair.bare)
    assert isinstance(pair.monitored, bare)
    assert monitored.__name__ == bare.__name__
    assert monitored.__module__ == bare.__module__
    assert monitored.__doc__ == bare.__doc__


def test_no_method_carries_a_mark_of_wrapping_but_its_own(pair: Pair) -> None:
    for class_ in type(pair.bare).__mro__:
        for method in list(vars(class_).values()):
            if is_ours(method):
                own = getattr(original_of(method), "__wrapped__", None)
                assert getattr(method, "__wrapped__", None) is own


BEYOND_DJANGO: dict[str, Callable[[Any], object]] = {
    "nx and xx": lambda c: (c.set("a", 1, nx=True), c.set("a", 2, nx=True), c.set("b", 1, xx=True)),
    "a client of one's own": lambda c: (
        c.set("a", 1, client=c.client.get_client()),
        c.get("a", client=c.client.get_client()),
    ),
    "ttl": lambda c: (c.set("a", 1, 100), c.ttl("a") > 90, c.pttl("a") > 90_000, c.ttl("no")),
    "expire": lambda c: (c.set("a", 1), c.expire("a", 50), c.persist("a"), c.ttl("a")),
    "keys": lambda c: (c.set("a", 1), c.keys("*"), list(c.iter_keys("a*")), c.iter_keys("no")),
    "delete_pattern": lambda c: (c.set_many({"a:1": 1, "a:2": 2}), c.delete_pattern("a:*")),
    "hashes": lambda c: (c.hset("h", "f", 1), c.hexists("h", "f"), c.hlen("h"), c.hkeys("h")),
    "sets": lambda c: (c.sadd("s", 1, 2), c.scard("s"), c.smembers("s"), c.sismember("s", 3)),
    "sorted sets": lambda c: (c.zadd("z", {"m": 1}), c.zrange("z", 0, -1), c.zscore("z", "m")),
    "an unknown method": lambda c: c.no_such_method(),
}


def _without_generators(outcome: object) -> object:
    if isinstance(outcome, tuple):
        return tuple(list(each) if isinstance(each, Iterator) else each for each in outcome)
    return outcome


@pytest.mark.parametrize("name", BEYOND_DJANGO)
@pytest.mark.parametrize("backend", ["django_redis", "django_redis_sentinel"])
def test_what_a_backend_adds_gives_what_the_bare_cache_gives(
    backend: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_pair(backend, request, tmp_path) as pair:
        monitored = _outcome(BEYOND_DJANGO[name], pair.monitored)
        assert _without_generators(monitored) == _without_generators(
            _outcome(BEYOND_DJANGO[name], pair.bare)
        )


def test_a_lock_is_held_and_released(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        cache: Any = pair.monitored
        with cache.lock("mine", timeout=5) as lock:
            assert lock.owned()
            assert not cache.lock("mine", blocking_timeout=0).acquire()
        assert cache.lock("mine", blocking_timeout=0).acquire()


def _attributes(cache: Any) -> dict[str, type]:
    """Name and type of everything that an instance carries by itself."""
    return {name: type(each) for name, each in vars(cache).items()}


def test_an_instance_carries_nothing_of_ours(pair: Pair) -> None:
    for cache in (pair.monitored, pair.bare):
        cache.set("a", 1)
        cache.get("a")
    assert _attributes(pair.monitored) == _attributes(pair.bare)


def test_the_methods_look_like_the_bare_ones(pair: Pair) -> None:
    for name in dir(type(pair.bare)):
        bare = inspect.getattr_static(type(pair.bare), name)
        if name.startswith("_") or not inspect.isfunction(bare):
            continue
        monitored, original = getattr(pair.monitored, name), getattr(pair.bare, name)
        assert inspect.ismethod(monitored)
        assert inspect.signature(monitored) == inspect.signature(original)
        assert inspect.iscoroutinefunction(monitored) == inspect.iscoroutinefunction(original)
        for trait in ("__name__", "__qualname__", "__module__", "__doc__"):
            assert getattr(monitored, trait) == getattr(original, trait), (name, trait)
        assert monitored.__self__ is pair.monitored


def test_pickling_and_copying_do_what_they_do_bare(pair: Pair) -> None:
    def copied(cache: Any) -> object:
        return [
            type(copy.copy(cache)).__name__,
            _outcome(lambda c: type(copy.deepcopy(c)).__name__, cache),
            *(
                _outcome(lambda c: type(pickle.loads(pickle.dumps(c, n))).__name__, cache)  # noqa: B023, S301
                for n in range(pickle.HIGHEST_PROTOCOL + 1)
            ),
        ]

    assert copied(pair.monitored) == copied(pair.bare)
    for cache in (pair.monitored, pair.bare):
        cache.set("a", 1)
    assert copied(pair.monitored) == copied(pair.bare)
