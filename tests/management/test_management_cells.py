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


@pytest.mark.parametrize("nearly", [0.99994, 0.999949999, 0.99996, 1.0])
def test_figures_fit_into_the_columns_of_cache_top(nearly: float) -> None:
    """A column that is too narrow would cut off the unit."""
    units = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0, 86_400.0]
    assert {len(management.duration(nearly * each)) <= 8 for each in units} == {True}
    sizes = [2**power for power in range(50)] + [1000 * 2 ** (10 * each) for each in range(4)]
    assert {len(management.size(nearly * each)) <= 8 for each in sizes} == {True}
    numbers = [round(nearly * 10**power) for power in range(15)]
    assert {len(management.brief(each)) <= 7 for each in numbers} == {True}


def test_a_figure_goes_over_to_the_next_unit_where_it_is_rounded_to_it() -> None:
    assert management.duration(0.00099999) == "1.00 ms"
    assert management.duration(0.12345) == "123.5 ms"
    assert management.duration(0.99999) == "1.00 s"
    assert management.size(2**20 - 1) == "1.0 MB"
    assert management.size(1020 * 1024) == "1020 KB"
    assert management.brief(999_999_999) == "1.0G"


EVIL = "a\x1b]0;title\x07\u009b2J\u202eb\nc"


def test_lines_have_nothing_that_a_terminal_obeys() -> None:
    assert management.harmless(EVIL) == "a�]0;title��2J�b\nc"


def test_a_document_means_the_same_without_what_a_terminal_obeys() -> None:
    document = json.dumps({EVIL: [EVIL, "é中\U000e0001"]}, indent=2, ensure_ascii=False)
    printed = management.harmless_json(document)
    assert json.loads(printed) == json.loads(document)
    assert all(each.isprintable() or each == "\n" for each in printed)


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252", "utf-8"])
def test_each_encoding_of_a_terminal_is_printed_in(encoding: str) -> None:
    shown = management.nearest("köln中: 1.5 µs ±2 – ─", encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    wanted = {"ascii": "k?ln?: 1.5 us +/-2 - -", "iso-8859-1": "köln?: 1.5 µs ±2 - -"}
    wanted |= {"cp1252": "köln?: 1.5 µs ±2 – -", "utf-8": "köln中: 1.5 µs ±2 – ─"}
    assert shown == wanted[encoding]


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_document_is_utf_8_in_each_encoding(encoding: str) -> None:
    document = json.dumps({EVIL: "é中\U000e0001"}, ensure_ascii=False)
    printed = management.harmless_json(document, encoding).encode(encoding)
    assert json.loads(printed.decode("utf-8")) == json.loads(document)
