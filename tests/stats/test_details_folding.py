"""Groups that turn out to be one keep all that was counted of them."""

from __future__ import annotations

from cache_monitor.stats.details import Details, fold_groups
from cache_monitor.stats.hot_keys import HotKeys


def _fold(name: str) -> str:
    return "a:{text}" if name.startswith("a:") else name


def test_the_sums_the_keys_and_the_samples_are_those_of_all() -> None:
    made = Details(0, 60, HotKeys(10), 10)
    for number, name in enumerate(("a:x", "a:y", "b")):
        group = made.group(name, "key")
        group.count(True, False, 2, f"{name} found")
        group.count(False, True, 1, f"{name} missed")
        group.add_key(number)
        made.hot_keys.entry(f"key of {name}", name).count(True, False, 2)
    view = made.view("shop:home")
    for name in ("a:x", "a:y", "b"):
        view.use(name).hits = 1
    fold_groups(made, _fold)
    assert set(made.groups) == {"a:{text}", "b"}
    folded = made.groups["a:{text}"]
    assert (folded.lookups, folded.hits, folded.misses, folded.sets) == (6, 4, 2, 2)
    assert folded.keys == {0, 1}
    assert set(folded.sample_hits) == {"a:x found", "a:y found"}
    groups = {key: stats.group for key, stats in made.hot_keys.table.items()}
    assert groups == {"key of a:x": "a:{text}", "key of a:y": "a:{text}", "key of b": "b"}
    assert {name: use.hits for name, use in view.groups.items()} == {"a:{text}": 2, "b": 1}


def test_pages_and_sessions_are_never_folded() -> None:
    made = Details(0, 60, HotKeys(10), 10)
    made.group("a:x", "page").count(True, False, 1)
    fold_groups(made, _fold)
    assert set(made.groups) == {"a:x"}
