"""A new finding is logged, and sent to whoever listens."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from cache_monitor.findings import finding_detected
from cache_monitor.findings.engine import notify
from cache_monitor.reports import Finding, Severity
from tests.findings.test_history import finding


@pytest.fixture
def heard() -> Iterator[list[Finding]]:
    found: list[Finding] = []

    def hear(sender: object, finding: Finding, **_: Any) -> None:
        found.append(finding)

    finding_detected.connect(hear)
    yield found
    finding_detected.disconnect(hear)


@pytest.mark.parametrize(
    ("severity", "level"),
    [("error", logging.ERROR), ("warning", logging.WARNING), ("info", logging.INFO)],
)
def test_a_finding_is_logged_as_gravely_as_it_is(
    severity: Severity, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cache_monitor.findings"):
        notify([finding(severity=severity)])
    [record] = caplog.records
    assert (record.name, record.levelno) == ("cache_monitor.findings", level)
    assert record.getMessage() == "no-expiry (default, user:{int}): Write less."
    assert vars(record)["finding"].code == "no-expiry"


def test_each_finding_is_sent_once(heard: list[Finding]) -> None:
    notify([finding(), finding(code="hot-key")])
    assert [each.code for each in heard] == ["no-expiry", "hot-key"]


def test_a_receiver_that_raises_is_logged_and_stops_nobody(
    heard: list[Finding], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("broken")

    finding_detected.connect(broken)
    try:
        notify([finding()])
    finally:
        finding_detected.disconnect(broken)
    assert len(heard) == 1
    assert "failed" in caplog.text


def test_a_logged_finding_has_nothing_that_a_terminal_obeys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="cache_monitor.findings"):
        notify([finding(group="a\x1b[2J\nb", advice="See\u009b2J")])
    [record] = caplog.records
    assert record.getMessage().isprintable()
