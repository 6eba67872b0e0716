"""``cache_whatif`` predicts what then happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from io import StringIO
from random import Random
from typing import Any

import jsonschema
import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import CommandError, call_command
from django.test import override_settings

from cache_monitor import management, predictor
from cache_monitor.predictor import facts_of
from cache_monitor.reports import Cache
from cache_monitor.what_if import simulations
from cache_monitor.what_if.hit_ratios import MeasuredContents
from cache_monitor.what_if.simulations import CacheFacts
from cache_monitor.worker import wiring
from tests.anew import begin_anew, count_now
from tests.clocks import Clock, traffic_clock

ROOM = 100
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


def asked_for(number: int = 5000, different: int = 400) -> Sequence[int]:
    weights = [1 / rank for rank in range(1, different + 1)]
    return Random(1).choices(range(different), weights, k=number)


def hit_ratio(cache: Any, asked: Sequence[int], clock: Clock | None = None) -> float:
    """Of get-then-set, twenty times a second by ``clock``."""
    hits = 0
    for number, key in enumerate(asked):
        if clock is not None:
            clock.go_on(0.05)
            # Of what is counted together the trace keeps no order.
            if number % 5 == 4:
                count_now()
        if cache.get(f"product:{key}") is None:
            cache.set(f"product:{key}", 1, 300)
        else:
            hits += 1
    return hits / len(asked)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    clock = traffic_clock(monkeypatch, time.time() - 1000)
    backend = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "what if",
        "OPTIONS": {"MAX_ENTRIES": ROOM},
    }
    with override_settings(CACHES={"default": backend}, CACHE_MONITOR=MEMORY):
        begin_anew()
        caches["default"].clear()
        ratio = hit_ratio(caches["default"], asked_for(), clock)
        wiring.background_worker.flush()
        yield ratio
        begin_anew()


def told(*options: str) -> dict[str, Any]:
    out = StringIO()
    call_command("cache_whatif", "--format", "json", *options, stdout=out)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def bare(room: int, name: str) -> float:
    """What a cache of that size really gives; nobody records it."""
    params = {"OPTIONS": {"MAX_ENTRIES": room}}
    return hit_ratio(LocMemCache(f"bare {name}", params), asked_for())


@pytest.mark.django_db
def test_what_is_predicted_for_other_sizes_is_what_these_give(observed: float) -> None:
    sizes = [ROOM // 2, ROOM, 2 * ROOM, 4 * ROOM]
    cache = told("--entries", ",".join(map(str, sizes)))["caches"]["default"]
    assert (cache["policy"], cache["room"], cache["rate"]) == ("locmem", ROOM, 1.0)
    assert cache["policy_is_assumed"] is False
    assert cache["hit_ratio"] == pytest.approx(observed, abs=0.02)
    for size, found in zip(sizes, cache["entries"], strict=True):
        assert found["entries"] == size
        assert found["hit_ratio"] == pytest.approx(bare(size, f"of {size}"), abs=0.02)
        assert found["error"] == 0.0


@pytest.mark.django_db
def test_policies_and_timeouts_are_told_by_their_names_and_groups(observed: float) -> None:
    cache = told("--policy", "s3-fifo,allkeys-lfu")["caches"]["default"]
    assert [each["policy"] for each in cache["policies"]] == ["s3-fifo", "allkeys-lfu"]
    (group,) = cache["timeouts"]
    assert (group["group"], group["timeout"]) == ("product:{int}", 300.0)
    assert [each["factor"] for each in group["options"]] == [0.5, 2.0, 4.0]
    assert group["hit_ratio"] == pytest.approx(observed, abs=0.02)


@pytest.mark.django_db
def test_a_timeout_that_the_trace_is_too_short_for_has_no_figure(observed: float) -> None:
    (group,) = told("--timeout-factor", "0.25,1")["caches"]["default"]["timeouts"]
    assert [each["hit_ratio"] is None for each in group["options"]] == [False, True]


@pytest.mark.django_db
def test_a_timeout_in_seconds_is_that_of_all_entries_of_the_group(observed: float) -> None:
    # They all have 300 seconds: the same by a factor and by itself.
    options = "--timeout-factor", "0.1,0.25", "--timeout", "30,75,600"
    (group,) = told(*options)["caches"]["default"]["timeouts"]
    tenth, quarter, *by_seconds = group["options"]
    assert [each["timeout"] for each in by_seconds] == [30.0, 75.0, 600.0]
    assert by_seconds[:2] == [tenth, quarter]
    assert tenth["hit_ratio"] < quarter["hit_ratio"]
    assert by_seconds[2]["hit_ratio"] is None


@pytest.mark.django_db
def test_the_document_is_as_its_schema_says(observed: float) -> None:
    out = StringIO()
    call_command("cache_whatif", "--schema", stdout=out)
    document = told("--entries", "50", "--policy", "fifo", "--timeout-factor", "0.25,4")
    jsonschema.validate(document, json.loads(out.getvalue()), jsonschema.Draft202012Validator)


@pytest.mark.django_db
def test_memory_has_no_figure_until_somebody_has_looked_at_what_entries_take(
    observed: float,
) -> None:
    [found] = told("--bytes", "64kB")["caches"]["default"]["bytes"]
    assert found["bytes"] == 65_536
    assert (found["entries"], found["hit_ratio"]) == (None, None)
    out = StringIO()
    call_command("cache_whatif", "--bytes", "64kB", stdout=out)
    assert "64.0 KB  what entries take has not been scanned yet" in out.getvalue()


@pytest.mark.django_db
def test_memory_is_asked_for_in_bytes(observed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def known(alias: str, cache: Cache) -> CacheFacts:
        held = MeasuredContents(entries=100, bytes=10_000, groups={}, used=20_000, empty=5000)
        return facts_of(alias, cache)._replace(memory=held)

    monkeypatch.setattr(predictor, "facts_of", known)
    cache = told("--bytes", "20000,0.033MB", "--entries", "100,197")["caches"]["default"]
    assert [each["bytes"] for each in cache["bytes"]] == [20_000, 34_603]
    for by_bytes, by_entries in zip(cache["bytes"], cache["entries"], strict=True):
        assert by_bytes["entries"] == by_entries["entries"]
        assert by_bytes["hit_ratio"] == by_entries["hit_ratio"]


@pytest.mark.django_db
def test_a_cache_beside_others_in_one_place_is_predicted_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = traffic_clock(monkeypatch, time.time() - 1000)
    own = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "one place"}
    other = {**own, "KEY_PREFIX": "other"}
    with override_settings(CACHES={"default": own, "other": other}, CACHE_MONITOR=MEMORY):
        begin_anew()
        hit_ratio(caches["other"], range(1200), clock)
        ratio = hit_ratio(caches["default"], asked_for(1200, 100), clock)
        wiring.background_worker.flush()
        found = told()["caches"]
        assert found["default"]["hit_ratio"] == pytest.approx(ratio, abs=0.001)
        assert found["default"]["keys"] == len(set(asked_for(1200, 100)))
        assert found["other"]["hit_ratio"] == 0.0
        begin_anew()


@pytest.mark.django_db
def test_a_person_gets_a_table(observed: float) -> None:
    out = StringIO()
    call_command("cache_whatif", "--entries", "200", stdout=out)
    assert "default: " in out.getvalue()
    assert "200 entries" in out.getvalue()


class Terminal(StringIO):
    """A standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.django_db
def test_progress_is_shown_on_a_terminal_and_taken_away(
    observed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each step, however short.
    monkeypatch.setattr(management, "_BAR_INTERVAL", 0.0)
    terminal, nobody = Terminal(), StringIO()
    for stderr in (terminal, nobody):
        options = ("--entries", "50,200", "--policy", "fifo", "--timeout-factor", "0.25,9")
        call_command("cache_whatif", *options, stdout=StringIO(), stderr=stderr)
    assert nobody.getvalue() == ""
    *lines, last, end = terminal.getvalue().removeprefix("\r").split("\r")
    # As it is, two sizes, a policy, and of one group its timeout of today and two others.
    shares = [line.partition("]")[2].split() for line in lines]
    assert [done for _, done in shares] == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert [share for share, _ in shares][::7] == ["0%", "100%"]
    assert all(line.startswith("default [") for line in lines)
    assert last.strip() == end == ""


@pytest.mark.django_db
def test_ctrl_c_ends_it_with_a_word_and_the_status_of_the_other_commands(
    observed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulations, "predict", interrupted)
    out, terminal = StringIO(), Terminal()
    with pytest.raises(SystemExit) as ended:
        call_command("cache_whatif", stdout=out, stderr=terminal)
    assert ended.value.code == 130
    assert out.getvalue() == ""
    # Behind the bar, which is gone by then.
    assert terminal.getvalue().rpartition("\r")[2] == "Interrupted: nothing was predicted.\n"


@pytest.mark.django_db
def test_too_little_of_a_trace_predicts_nothing_and_says_so() -> None:
    with override_settings(CACHE_MONITOR=MEMORY):
        cache = told()["caches"]["default"]
    assert cache["hit_ratio"] is None
    assert "a prediction takes 1,000" in cache["problem"]


@pytest.mark.django_db
def test_a_policy_that_no_server_was_asked_for_is_said_to_be_assumed() -> None:
    redis = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",
    }
    with override_settings(CACHES={"default": redis}, CACHE_MONITOR=MEMORY):
        cache = told()["caches"]["default"]
    assert (cache["policy"], cache["policy_is_assumed"]) == ("allkeys-lru", True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--entries", "many"), "Write numbers above 0, such as 500,2000"),
        (("--bytes", "64 parsecs"), "Write sizes above 0, such as 64MB,1.5GB"),
        (("--bytes", "0"), "Write sizes above 0, such as 64MB,1.5GB"),
        (("--timeout-factor", "-1"), "Write numbers above 0, such as 0.5,2"),
        (("--timeout", "long"), "Write numbers above 0, such as 60,600"),
        (("--policy", "best"), "Write some of locmem"),
        (("--since", "yesterday"), "--since is 'yesterday'"),
        (("--alias", "other"), "There is no cache 'other'"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_to_write(
    options: tuple[str, str], says: str
) -> None:
    with override_settings(CACHE_MONITOR=MEMORY), pytest.raises(CommandError, match=says) as found:
        call_command("cache_whatif", *options)
    assert found.value.returncode == 2
