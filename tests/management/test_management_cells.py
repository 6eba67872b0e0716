"""Figures and names as a terminal shows them."""

from __future__ import annotations

import json

import pytest

from cache_monitor import management


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (management.count(None), "–"),
        (management.count(1234567), "1,234,567"),
        (management.brief(999_999), "999,999"),
        (management.brief(1_234_567), "1.2M"),
        (management.brief(12_345_678_901), "12.3G"),
        (management.share(None), "–"),
        (management.share(0.98765), "98.8%"),
        (management.share(0.9999), ">99.9%"),
        (management.share(0.0001), "<0.1%"),
        (management.share(1.0), "100.0%"),
        (management.duration(None), "–"),
        (management.duration(2.5), "2.50 s"),
        (management.duration(0.0025), "2.50 ms"),
        (management.duration(0.0000025), "2.5 µs"),
        (management.size(None), "–"),
        (management.size(0), "0 B"),
        (management.size(1536), "1.5 KB"),
        (management.size(5 * 2**40), "5.0 TB"),
        (management.processes(1), "1 process"),
        (management.processes(0), "0 processes"),
        (management.plain("user:1", 10), "user:1"),
        (management.plain("user:1:profile", 8), "user:1:…"),
        (management.plain("a\x1b[2J\u202eb\n", 20), "a�[2J�b�"),
    ],
)
def test_a_cell_reads_so(shown: str, wanted: str) -> None:
    assert shown == wanted


EVIL = "a\x1b]0;title\x07\u009b2J\u202eb\nc"


def test_lines_have_nothing_that_a_terminal_obeys() -> None:
    assert management.harmless(EVIL) == "a�]0;title��2J�b\nc"


def test_a_document_means_the_same_without_what_a_terminal_obeys() -> None:
    document = json.dumps({EVIL: [EVIL, "é中\U000e0001"]}, indent=2, ensure_ascii=False)
    printed = management.harmless_json(document)
    assert json.loads(printed) == json.loads(document)
    assert all(each.isprintable() or each == "\n" for each in printed)
