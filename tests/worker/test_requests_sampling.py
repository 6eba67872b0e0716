from hashlib import md5
from inspect import currentframe
from typing import Any
from unittest.mock import Mock

from django.core.cache import caches
from django.test import override_settings

import cache_monitor
from cache_monitor.calls import Call, Recorder, Source
from cache_monitor.keys.naming import SESSION_MASK
from cache_monitor.stacks import take_stack
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import Details, StoredDetails
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.testing import capture_cache_calls
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.requests import (
    MOST_CALLERS,
    MOST_STACKS,
    Callers,
    RequestRecord,
    RequestStats,
)
from cache_monitor.worker.wiring import background_worker
from tests.anew import begin_anew

NOW = 1_800_000_000.0


def _call(key: Any, outcome: Any, operation: str = "get", alias: str = "default") -> Any:
    return Call(Source(alias, operation), 0.0, 0.001, key, outcome)


def _details(*visits: RequestRecord) -> dict[str, Details]:
    aggregator = Aggregator("process", hot_keys=10, key_groups=10, measure=lambda *_: None)
    for visit in visits:
        aggregator.add_request(visit, NOW)
    return {alias: part for alias, part in aggregator.buckets() if isinstance(part, Details)}


def _visit(*calls: Any, view: str = "shop:product") -> RequestRecord:
    tally = RequestStats()
    for call in calls:
        tally.on_call(call)
    return RequestRecord(view, tally)


def test_a_few_different_keys_are_kept_of_what_was_found_and_what_was_missed() -> None:
    calls = [
        _call(f"{word}:{n // 2}", word == "hit") for n in range(20) for word in ("hit", "miss")
    ]
    many = _call(("a", "b", "c"), (True, False, True), "get_many", alias="other")
    found = _details(_visit(*calls, many, _call("d", None, alias="other")))
    default, other = (found[alias].views["shop:product"] for alias in ("default", "other"))
    assert set(default.sample_hits) == {f"hit:{n}" for n in range(5)}
    assert set(default.sample_misses) == {f"miss:{n}" for n in range(5)}
    assert (set(other.sample_hits), set(other.sample_misses)) == ({"a", "c"}, {"b"})


def test_a_view_has_samples_of_each_cache_that_it_asked() -> None:
    found = _details(
        _visit(_call("user:1", True), _call("user:2", False), _call("user:3", None, "set")),
        _visit(_call("price:1", False, alias="other")),
    )
    default, other = (found[alias].views["shop:product"] for alias in ("default", "other"))
    assert (default.sample_hits, default.sample_misses) == (("user:1",), ("user:2",))
    assert (other.sample_hits, other.sample_misses) == ((), ("price:1",))


def test_a_view_has_few_samples_however_many_requests_it_answers() -> None:
    found = _details(*(_visit(_call(f"user:{n}", False)) for n in range(50)))
    view = found["default"].views["shop:product"]
    assert set(view.sample_misses) == {f"user:{n}" for n in range(5)}


def test_a_views_sample_has_no_session_key() -> None:
    session = "django.contrib.sessions.cache" + "x" * 32
    found = _details(_visit(_call(session, True)))
    assert found["default"].views["shop:product"].sample_hits == (SESSION_MASK,)


SITE = {
    "CACHES": {
        name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": name}
        for name in ("default", "other")
    },
    "CACHE_MONITOR": {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
}


def _digest(number: int) -> str:
    return md5(b"%d" % number, usedforsecurity=False).hexdigest()


def _line() -> int:
    frame = currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_of_keys_that_nobody_can_read_a_line_of_code_is_known_where_no_view_asks_for_them() -> None:
    with override_settings(**SITE):
        begin_anew()
        default, other = caches["default"], caches["other"]
        default.get("first")  # starts the thread
        background_worker.drain()
        with capture_cache_calls():
            # As in a request, of which the view is known.
            other.get(_digest(1))
        default.get("article:7")
        default.get(_digest(1)), (line := _line())
        groups = {
            (alias, each.group): each.called_from
            for alias, cache in cache_monitor.report().caches.items()
            for each in cache.key_groups
        }
        begin_anew()
    assert groups.pop(("default", "{hash}")) == f"tests/worker/test_requests_sampling.py:{line}"
    assert {*groups.values()} == {None}
    assert ("other", "{hash}") in groups


def test_a_stack_is_taken_of_few_calls_and_of_fewer_where_there_is_nothing_to_learn() -> None:
    callers = Callers()
    heard = [(_call("article:7", True), take_stack(1))]
    wanted = []
    for _ in range(6):
        callers.add(heard)
        wanted.append(callers.wanted)
    callers.add([(_call(_digest(1), True), take_stack(1))])
    assert wanted == [10, 5, 2, 1, 1, 1]
    assert callers.wanted == MOST_STACKS
    callers.add([])
    assert callers.wanted == MOST_STACKS


def test_a_line_of_a_file_far_down_is_cut_to_what_a_row_may_have() -> None:
    code = compile("stack = take_stack(1)", f"/srv/{'folder/' * 40}shop.py", "exec")
    names: dict[str, Any] = {"take_stack": take_stack}
    exec(code, names)  # noqa: S102 - code of this test, which is to lie elsewhere
    callers = Callers()
    callers.add([(_call(_digest(1), True), names["stack"])])
    details = Details(0, 60, HotKeys(10), 10)
    details.group("{hash}", "key").called_from = callers.known["default", "{hash}"]
    assert decode(encode(details), StoredDetails).groups["{hash}"].called_from


def test_no_more_groups_than_so_many_have_a_line() -> None:
    callers = Callers()
    stack = take_stack(1)
    for number in range(MOST_CALLERS + 10):
        call = Call(Source(f"cache{number}", "get"), 0.0, 0.001, _digest(number), True)
        callers.add([(call, stack)])
    assert len(callers.known) == MOST_CALLERS


def test_a_call_is_only_looked_at_while_stacks_are_wanted() -> None:
    recorder, relieved, taken = Recorder(), Mock(), Mock(return_value="stack")
    recorder.attach(relieved, taken)
    recorder.limit = 100

    def call() -> None:
        made = _call("a", True)
        recorder.append(made)
        if len(recorder.buffer) > recorder.limit:
            recorder.relieve(made)

    call()
    assert recorder.limit == 100
    recorder.want_stacks(2, 50)
    for _ in range(10):
        call()
    assert recorder.limit == 50
    assert len(recorder.take_stacks()) == taken.call_count == 2
    recorder.want_stacks(2, 50)
    recorder.want_stacks(0, 60)
    assert recorder.limit == 50
    for _ in range(39):
        call()
    assert not relieved.called
    recorder.want_stacks(100, 50)
    call()
    assert relieved.called
    recorder.after_fork()
    recorder.want_stacks(5, 50)
    # Nobody drains yet: the first call starts that.
    assert recorder.limit == 0
