"""What was counted before a group was learned is counted with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from cache_monitor.calls import Call, Source
from cache_monitor.keys.grouping import learned
from cache_monitor.keys.naming import name_key, why_grouped
from cache_monitor.stats.details import Details
from cache_monitor.worker.aggregator import Aggregator
from tests.keys.test_grouping_learned import WORDS
from tests.reports.synthetic import BEGIN, cache_of, details

SHIRTS = [f"api:product:{word}-shirt" for word in WORDS]
GET = Source("default", "get")


@pytest.fixture(autouse=True)
def unlearned() -> Iterator[None]:
    with override_settings(CACHE_MONITOR={}):
        yield


def _groups(*parts: Details) -> dict[str, int]:
    return {each.group: each.lookups for each in cache_of(*parts).key_groups}


def test_rows_of_before_keep_their_sums() -> None:
    early, late = details(), details(BEGIN + 60)
    for name in SHIRTS[:5]:
        early.group(name, "key").count(True, False, 2)
    early.group("menu:main", "key").count(True, False, 7)
    late.group("api:product:{text}", "key").count(True, False, 100)
    assert _groups(early, late) == {"api:product:{text}": 110, "menu:main": 7}


def test_what_no_process_had_learned_the_report_learns_and_keeps() -> None:
    parts = [details(BEGIN + 60 * minute) for minute in range(2)]
    for part, names in zip(parts, (SHIRTS[:30], SHIRTS[30:]), strict=True):
        for name in names:
            part.group(name, "key").count(True, False, 1)
    assert _groups(*parts) == {"api:product:{text}": len(SHIRTS)}
    # Of a quieter time it is the same group.
    quiet = details()
    quiet.group(SHIRTS[0], "key").count(True, False, 1)
    assert _groups(quiet) == {"api:product:{text}": 1}


def test_what_the_project_has_named_stays_as_it_is_called() -> None:
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {r"^p:(\w+)": r"api:product:\1"}}):
        made = details()
        for word in WORDS:
            made.group(f"api:product:{word}", "key").count(True, False, 1)
        assert len(_groups(made)) == len(WORDS)


def test_a_process_names_keys_by_what_it_has_learned_from_then_on() -> None:
    made = Aggregator("one", hot_keys=500, key_groups=200, measure=lambda *_: None)

    def ask(keys: list[str]) -> None:
        made.add(
            [Call(GET, float(n) / 1000, 0.001, key, True) for n, key in enumerate(keys)], BEGIN
        )

    ask(SHIRTS)
    assert why_grouped(SHIRTS[0]) == "shape"
    made.learn_groups()
    ask([*SHIRTS, "api:product:unheard-of"])
    [part] = [part for _, part in made.buckets() if isinstance(part, Details)]
    assert {name: group.lookups for name, group in part.groups.items()} == {
        "api:product:{text}": 2 * len(SHIRTS) + 1
    }
    assert {stats.group for stats in part.hot_keys.table.values()} == {"api:product:{text}"}
    assert name_key("api:product:hat").group == "api:product:{text}"
    assert why_grouped("api:product:hat") == "learned"
    assert learned.folding.templates == {"api:product:{text}"}


def test_a_group_that_is_learned_makes_room_for_others() -> None:
    made = Aggregator("one", hot_keys=500, key_groups=60, measure=lambda *_: None)
    made.add([Call(GET, 0.0, 0.001, key, True) for key in SHIRTS], BEGIN)
    made.learn_groups()
    made.add([Call(GET, 1.0, 0.001, key, True) for key in [*SHIRTS, "menu:main"]], BEGIN)
    [part] = [part for _, part in made.buckets() if isinstance(part, Details)]
    assert {name: group.lookups for name, group in part.groups.items()} == {
        "api:product:{text}": 60 + len(SHIRTS),
        "(other groups)": len(SHIRTS) - 60,
        "menu:main": 1,
    }
