"""What one request asks for again and again, or one by one, is told from its calls."""

from typing import Any

from cache_monitor.calls import Call, Source
from cache_monitor.stats.access_patterns import MANY_REPEATS, MOST_KEYS, AccessPatterns, RepeatedGet


def _call(operation: str, key: Any = "a", **extra: Any) -> Any:
    return Call(Source(extra.pop("alias", "default"), operation), 1.0, 0.0, key, **extra)


def _get(key: str = "a", **extra: Any) -> Any:
    return _call("get", key, **{"outcome": True, **extra})


def _got(*calls: Any) -> list[RepeatedGet]:
    habits = AccessPatterns()
    for call in calls:
        habits.note(call)
    return list(habits.repeated_gets())


def test_every_key_that_was_got_is_told_with_its_cache() -> None:
    assert _got(_get("a"), _get("b", alias="other")) == [
        RepeatedGet("default", "a", 0),
        RepeatedGet("other", "b", 0),
    ]


def test_gets_after_the_first_could_be_spared_where_they_are_many() -> None:
    assert _got(*[_get()] * (MANY_REPEATS - 1)) == [RepeatedGet("default", "a", 0)]
    assert _got(*[_get()] * 7) == [RepeatedGet("default", "a", 6)]


def test_an_entry_that_was_changed_must_be_got_anew() -> None:
    for change in ("set", "delete", "incr", "clear"):
        key = None if change == "clear" else "a"
        assert _got(*[_get(), _get(), _call(change, key)] * 3) == [RepeatedGet("default", "a", 0)]


def test_a_change_of_many_keys_is_one_of_each() -> None:
    change = _call("delete_many", ("b", "a"))
    assert _got(*[_get(), _get(), change] * 3) == [RepeatedGet("default", "a", 0)]


def test_a_change_of_another_entry_changes_nothing() -> None:
    others = [
        _call("set", "b"),
        _call("set", version=2),
        _call("clear", None, alias="other"),
        _call("touch"),
        _call("has_key"),
        _call("set", error="OSError"),
    ]
    assert _got(_get(), *others, _get(), *others, _get()) == [RepeatedGet("default", "a", 2)]


def test_what_fills_a_miss_leaves_the_value_as_it_was_asked_for() -> None:
    filled = [_get(outcome=False), _call("set"), _get(), _get()]
    assert _got(*filled) == [RepeatedGet("default", "a", 2)]
    assert _got(*filled[:3], _call("set"), _get(), _get()) == [RepeatedGet("default", "a", 0)]


def test_versions_of_a_key_are_entries_of_their_own() -> None:
    assert [each.again for each in _got(*[_get(version=each) for each in range(5)])] == [0] * 5


def test_a_get_that_failed_does_not_count() -> None:
    assert _got(_get(outcome=None, error="OSError")) == []


def test_a_request_of_endlessly_many_keys_takes_bounded_memory() -> None:
    assert len(_got(*[_get(str(each)) for each in range(2 * MOST_KEYS)])) == MOST_KEYS


def _get_many(*keys: str, seconds: float = 0.5) -> Any:
    return Call(Source("default", "get_many"), 1.0, seconds, keys, (True,) * len(keys))


def test_the_same_keys_got_at_once_again_and_again_could_be_spared_too() -> None:
    assert _got(*[_get_many("a", "b")] * 4) == [RepeatedGet("default", "a", 3, 1.5, several=True)]
    assert _got(_get_many("a", "b"), _get_many("a", "c"), _get_many()) == [
        RepeatedGet("default", "a", 0, 0.0, several=True),
        RepeatedGet("default", "a", 0, 0.0, several=True),
    ]


def test_keys_got_at_once_must_be_got_anew_where_one_of_them_was_changed() -> None:
    gets = [_get_many("a", "b")] * 2
    for change in (_call("set", "b"), _call("delete_many", ("x", "b")), _call("clear", None)):
        [got] = _got(*[*gets, change] * 3)
        assert (got.again, got.seconds) == (0, 0.0)
    [got] = _got(*[*gets, _call("set", "x")] * 2)
    assert got.again == 3


def _seconds_to_spare(*times: float) -> float:
    calls = [Call(Source("default", "get"), 1.0, each, "a", True) for each in times]
    [got] = _got(*calls)
    return got.seconds


def test_the_time_of_what_could_be_spared_is_what_its_own_gets_usually_take() -> None:
    assert _seconds_to_spare(8.0, 0.5, 0.25, 0.125, 0.0625) == 4 * (0.25 + 0.125) / 2


def test_a_get_that_the_machine_held_up_is_no_cost_of_asking_again() -> None:
    assert _seconds_to_spare(*[0.125] * 10, 60.0, *[0.125] * 8) == 18 * 0.125


def test_every_way_to_look_an_entry_up_counts() -> None:
    calls = [_get(), _get_many("a", "b"), _call("get_or_set", outcome=True), _get_many("a", "b")]
    assert _got(*calls, _get_many("b")) == [
        RepeatedGet("default", "a", 0),
        RepeatedGet("default", "a", 1, 0.5, several=True),
        RepeatedGet("default", "a", 1, 0.0, several=True),
        RepeatedGet("default", "b", 1, 0.5, several=True),
    ]


def test_a_delete_by_pattern_may_change_every_entry() -> None:
    calls = [_get(), _get(), _call("delete_pattern", "x*"), _get()]
    assert _got(*calls) == [RepeatedGet("default", "a", 0)]


def test_what_leaves_a_value_as_it_is_changes_nothing() -> None:
    harmless = [_call("add"), _call("keys", None), _call("ttl")]
    assert _got(_get(), *harmless, _get(), *harmless, _get()) == [RepeatedGet("default", "a", 2)]
