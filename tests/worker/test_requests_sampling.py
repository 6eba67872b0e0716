from typing import Any

from cache_monitor.calls import Call, Source
from cache_monitor.keys.naming import SESSION_MASK
from cache_monitor.stats.details import Details
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.requests import RequestRecord, RequestStats, Sampled

NOW = 1_800_000_000.0


def _call(key: Any, outcome: Any, operation: str = "get", alias: str = "default") -> Any:
    return Call(Source(alias, operation), 0.0, 0.001, key, outcome)


def _details(*visits: RequestRecord) -> dict[str, Details]:
    aggregator = Aggregator("process", hot_keys=10, key_groups=10, measure=lambda *_: None)
    for visit in visits:
        aggregator.add_request(visit, NOW)
    return {alias: part for alias, part in aggregator.parts() if isinstance(part, Details)}


def _visit(*calls: Any, view: str = "shop:product") -> RequestRecord:
    tally = RequestStats()
    for call in calls:
        tally.heard(call)
    return RequestRecord(view, tally)


def test_a_few_different_keys_are_kept_of_what_was_found_and_what_was_missed() -> None:
    sampled = Sampled()
    for n in range(20):
        sampled.note(_call(f"hit:{n // 2}", True))
        sampled.note(_call(f"miss:{n // 2}", False))
    assert sampled.hits == [f"hit:{n}" for n in range(5)]
    assert sampled.misses == [f"miss:{n}" for n in range(5)]


def test_each_key_of_many_is_one() -> None:
    sampled = Sampled()
    sampled.note(_call(("a", "b", "c"), (True, False, True), "get_many"))
    assert (sampled.hits, sampled.misses) == (["a", "c"], ["b"])


def test_a_failed_lookup_is_neither() -> None:
    sampled = Sampled()
    sampled.note(_call("a", None))
    assert (sampled.hits, sampled.misses) == ([], [])


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
