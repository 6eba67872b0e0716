"""Groups of keys that are learned from the many values of a place."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.keys.grouping import (
    MOST_NAMES,
    MOST_TEMPLATES,
    MOST_VALUES,
    Folding,
    Learned,
    templates_of,
    with_more,
)

WORDS = [a + b + c for a in "bdfgkl" for b in "aeiou" for c in "nrst"]
"""120 words of one shape."""
SEARCHES = [f"search_results_{'_'.join([*WORDS[: n % 3], word])}" for n, word in enumerate(WORDS)]


@pytest.mark.parametrize(
    ("names", "learned"),
    [
        ([f"api:product:{word}-shirt" for word in WORDS], "api:product:{text}"),
        (SEARCHES, "search_results_{text}"),
        ([f"avatar-img-{word}" for word in WORDS], "avatar-img-{text}"),
        ([f"avatar-img-{word}-{{int}}" for word in WORDS], "avatar-img-{text}-{int}"),
        ([f"img:{word[0]}{n}{word[1]}{n}" for n, word in enumerate(WORDS)], "img:{text}"),
        ([f"shop:search_{word}" for word in WORDS], "shop:search_{text}"),
        ([f"user/{word}/profile" for word in WORDS], "user/{text}/profile"),
        ([f"widget:demo:{word}:{{int}}" for word in WORDS], "widget:demo:{text}:{int}"),
    ],
)
def test_a_place_of_many_values_becomes_text(names: list[str], learned: str) -> None:
    assert templates_of(names) == {learned}
    folding = Folding({learned})
    assert {folding.fold(name) for name in names} == {learned}


def test_two_places_may_vary() -> None:
    names = [f"widget:{org}:{event}" for org in WORDS[:60] for event in WORDS[60:]]
    assert templates_of(names) == {"widget:{text}:{text}"}


def test_two_places_vary_whose_pairs_are_many() -> None:
    """Some organisers, each with some events of its own."""
    pairs = [(WORDS[n % 20], WORDS[11 * n % 119]) for n in range(400)]
    names = [f"widget:{org}:{event}:{{int}}" for org, event in pairs]
    assert templates_of(names) == {"widget:{text}:{text}:{int}"}
    few = [f"widget:{WORDS[n % 8]}:{WORDS[11 * n % 119]}" for n in range(240)]
    assert templates_of(few) == {f"widget:{org}:{{text}}" for org in WORDS[:8]}
    made = Learned()
    for name in few:
        made.learn([name])
    assert {made.folding.fold(name) for name in few} == templates_of(few)


def test_two_places_of_few_values_stay() -> None:
    """Sections of a project in some languages, or hand-made keys of many sections."""
    assert templates_of([f"site:{one}:{other}" for one in WORDS[:30] for other in WORDS[:30]]) == (
        set()
    )
    few = [f"site:{WORDS[n % 40]}:{WORDS[11 * n % 119]}" for n in range(150)]
    assert templates_of(few) == set()


def test_a_place_of_few_values_stays() -> None:
    assert templates_of([f"menu:{word}" for word in WORDS[:MOST_VALUES]]) == set()
    assert templates_of([f"menu:{word}" for word in WORDS[: MOST_VALUES + 1]]) == {"menu:{text}"}
    names = [f"page:{lang}:{word}" for lang in ("de", "en") for word in WORDS]
    assert templates_of(names) == {"page:de:{text}", "page:en:{text}"}


def test_a_keys_first_word_stays() -> None:
    assert templates_of(WORDS) == set()
    assert templates_of([f"{word}:settings" for word in WORDS]) == set()


def test_numbers_and_other_shapes_keep_their_own_group() -> None:
    names = [f"api:product:{word}" for word in WORDS]
    folding = Folding(templates_of([*names, "api:product:{int}", "api:product:{int}x{int}"]))
    assert folding.fold("api:product:{int}") == "api:product:{int}"
    assert folding.fold("api:product:{int}x{int}") == "api:product:{int}x{int}"
    assert folding.fold("api:product:{int}-inch") == "api:product:{text}"
    assert folding.fold("api:product:shirt:stock") == "api:product:shirt:stock"
    assert folding.fold("api:order:shirt") == "api:order:shirt"


def test_the_name_that_says_most_is_taken() -> None:
    folding = Folding({"a:{text}:{text}", "a:b:{text}"})
    assert folding.fold("a:b:c") == "a:b:{text}"
    assert folding.fold("a:x:c") == "a:{text}:{text}"


@given(st.lists(st.text("ab:_-/.{int}", max_size=12), max_size=80), st.randoms())
def test_what_is_learned_does_not_depend_on_the_order(names: list[str], random: Random) -> None:
    found = templates_of(names)
    random.shuffle(names)
    assert templates_of(names) == found
    folding = Folding(found)
    assert all(folding.fold(folding.fold(name)) == folding.fold(name) for name in names)


def test_a_process_learns_over_time_and_says_so_once() -> None:
    made, heard = Learned(), []
    made.on_change(lambda: heard.append(made.folding.templates))
    for word in WORDS:
        made.learn([f"api:product:{word}", "menu:main"])
    assert heard == [{"api:product:{text}"}]
    assert made.folding.fold("api:product:never-seen") == "api:product:{text}"


def test_what_others_have_learned_is_taken_over() -> None:
    made = Learned()
    made.learn(["api:product:{text}", "menu:main"])
    assert made.folding.fold("api:product:shirt") == "api:product:{text}"


def test_what_is_remembered_is_bounded() -> None:
    made = Learned()
    for number in range(30):
        made.learn([f"{word}{number}" for word in WORDS])
    assert len(made._names) == MOST_NAMES
    made.learn([f"group {number}:{{text}}" for number in range(MOST_TEMPLATES + 50)])
    assert len(made.folding.templates) == MOST_TEMPLATES


def test_names_that_are_known_already_add_nothing() -> None:
    folding = Folding({"a:{text}"})
    assert with_more(folding, ["a:{text}", *(f"a:{word}" for word in WORDS)]) is folding
    more = with_more(folding, [f"b:{word}" for word in WORDS])
    assert more.templates == {"a:{text}", "b:{text}"}
