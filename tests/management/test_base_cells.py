"""Figures and names as a terminal shows them."""

from __future__ import annotations

import json

import pytest

from cache_monitor.management import base


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (base.count(None), "–"),
        (base.count(1234567), "1,234,567"),
        (base.brief(999_999), "999,999"),
        (base.brief(1_234_567), "1.2M"),
        (base.brief(12_345_678_901), "12.3G"),
        (base.share(None), "–"),
        (base.share(0.98765), "98.8%"),
        (base.share(0.9999), ">99.9%"),
        (base.share(0.0001), "<0.1%"),
        (base.share(1.0), "100.0%"),
        (base.duration(None), "–"),
        (base.duration(2.5), "2.50 s"),
        (base.duration(0.0025), "2.50 ms"),
        (base.duration(0.0000025), "2.5 µs"),
        (base.size(None), "–"),
        (base.size(0), "0 B"),
        (base.size(1536), "1.5 KB"),
        (base.size(5 * 2**40), "5.0 TB"),
        (base.processes(1), "1 process"),
        (base.processes(0), "0 processes"),
        (base.plain("user:1", 10), "user:1"),
        (base.plain("user:1:profile", 8), "user:1:…"),
        (base.plain("a\x1b[2J\u202eb\n", 20), "a�[2J�b�"),
    ],
)
def test_a_cell_reads_so(shown: str, wanted: str) -> None:
    assert shown == wanted


EVIL = "a\x1b]0;title\x07\u009b2J\u202eb\nc"


def test_lines_have_nothing_that_a_terminal_obeys() -> None:
    assert base.harmless(EVIL) == "a�]0;title��2J�b\nc"


def test_a_document_means_the_same_without_what_a_terminal_obeys() -> None:
    document = json.dumps({EVIL: [EVIL, "é中\U000e0001"]}, indent=2, ensure_ascii=False)
    printed = base.harmless_json(document)
    assert json.loads(printed) == json.loads(document)
    assert all(each.isprintable() or each == "\n" for each in printed)
