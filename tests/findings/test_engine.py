import logging

import pytest
from msgspec.structs import replace

from cache_monitor.conf import Thresholds
from cache_monitor.findings import engine as finding_rules
from cache_monitor.findings.engine import RULES, find
from cache_monitor.findings.texts import ADVICE
from cache_monitor.reports import MissReasons
from tests.findings.healthy import PRODUCTION, cache, codes, findings, group, hot_key, operation


def test_a_healthy_cache_has_no_finding() -> None:
    assert codes(cache()) == []


def test_a_cache_that_nobody_called_has_no_finding() -> None:
    quiet = cache(lookups=0, operations={}, key_groups=[], hot_keys=[], series=[])
    assert codes(quiet) == []


def test_every_rule_says_what_it_means() -> None:
    assert all(rule.__doc__ for rule in RULES.values())
    assert list(RULES) == [*dict.fromkeys(RULES)]
    assert RULES.keys() == ADVICE.keys()


def test_a_rule_that_fails_leaves_the_others_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(context: object) -> None:
        raise RuntimeError("broken")

    rules = {"hot-key": broken, "backend-errors": RULES["backend-errors"]}
    monkeypatch.setattr(finding_rules, "RULES", rules)
    monkeypatch.setattr(finding_rules, "_broken", set())
    failing = cache(operations={"get": operation(errors=100)})
    for _ in range(2):
        assert codes(failing) == [("backend-errors", None)]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "hot-key" in record.getMessage()


def test_the_gravest_finding_comes_first() -> None:
    failing = cache(operations={"get": operation(errors=100)})
    cheap = cache(key_groups=[group(produce_seconds=1e-6)])
    found = find({"a": cheap, "b": failing}, PRODUCTION, Thresholds())
    assert [(each.alias, each.severity) for each in found] == [("b", "error"), ("a", "info")]


def test_what_costs_more_comes_first_whatever_it_costs() -> None:
    """36 seconds an hour, 12 MiB: each threshold is once what is worth a word."""
    size = 5 * 12 * 1024 * 1024
    export = group("export", bytes_read=size)
    large = hot_key(key="export", group="export", bytes=300 * 1024)
    dear = group("dear", repeated_gets=9, repeated_gets_requests=9, repeated_seconds=100.0)
    ill = cache(key_groups=[export, dear], hot_keys=[large])
    found = findings(ill)
    assert [each.code for each in found] == ["large-values", "repeated-gets"]
    assert found[0].worth.bytes == size
    dearer = replace(dear, repeated_seconds=200.0)
    found = findings(replace(ill, key_groups=[export, dearer]))
    assert [each.code for each in found] == ["repeated-gets", "large-values"]
    assert found[0].worth.seconds == 200.0


def test_groups_that_miss_because_of_the_whole_cache_are_not_named_one_by_one() -> None:
    reasons = MissReasons(evicted=9000)
    starved = group(hits=1000, misses=9000, sets=9000, hit_ratio=0.1, miss_reasons=reasons)
    ill = cache(hits=1000, misses=9000, miss_reasons=reasons, key_groups=[starved])
    assert [code for code, _ in codes(ill)] == ["evicted-early"]
