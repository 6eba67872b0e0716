"""The screen of ``cache_top``, and what the keys do to it."""

from __future__ import annotations

from io import StringIO

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from cache_monitor.management.commands.cache_top import (
    ORDERS,
    ScreenView,
    help_line,
    pressed,
    problem_line,
    screen,
)
from tests.dashboard.reports import busy_cache, hot_key, quiet_cache, report_of


def _text(shown: RenderableType) -> str:
    console = Console(file=StringIO(), width=80, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def _lines(shown: RenderableType) -> list[str]:
    return _text(shown).splitlines()


@pytest.mark.parametrize(("seconds", "said"), [(90, "90s"), (300, "5m"), (7200, "2h")])
def test_the_period_is_said_as_it_was_asked_for(seconds: float, said: str) -> None:
    assert f"last {said} to 12:00:00 UTC" in _lines(screen(report_of(), seconds, ScreenView()))[0]


def test_what_is_missing_and_what_is_wrong_stand_in_the_header() -> None:
    report = report_of(default=quiet_cache())
    report = replace(report, quality=replace(report.quality, dropped_calls=1234))
    assert "1,234 calls missing" in _lines(screen(report, 300, ScreenView()))[0]


def test_the_screen_is_no_longer_than_the_terminal() -> None:
    keys = [hot_key(f"user:{number}") for number in range(100)]
    caches = {f"cache{number}": replace(busy_cache(), hot_keys=keys) for number in range(3)}
    shown = _lines(screen(report_of(**caches), 300, ScreenView(), rows=23))
    assert len(shown) <= 23
    assert sum("user:" in line for line in shown) > 5


def test_large_figures_stay_in_their_columns() -> None:
    key = replace(hot_key("k" * 500), lookups=123_456_789, misses=98_765_432, bytes=2**40)
    cache = replace(busy_cache(), hot_keys=[key], lookups=10**12, errors=10**9)
    lines = _lines(screen(report_of(**{"a" * 300: cache}), 1, ScreenView()))
    assert max(map(len, lines)) <= 80
    assert any("123.5M" in line and "98.8M" in line for line in lines)


def test_one_cache_is_shown_alone() -> None:
    report = report_of(default=busy_cache("user:1"), other=busy_cache("item:1"))
    text = _text(screen(report, 300, ScreenView(alias="other")))
    assert "item:1" in text
    assert "user:1" not in text


def test_orders_have_letters_of_their_own() -> None:
    letters = {name[0] for name in ORDERS}
    assert len(letters) == len(ORDERS)
    assert not letters & {"a", "q"}


def test_keys_change_the_view() -> None:
    view = ScreenView()
    assert pressed("m", view).order == "misses"
    assert pressed(None, view) == pressed("?", view) == view
    aliases = []
    for _ in range(5):
        view = pressed("a", view)
        aliases.append(view.alias)
    assert aliases == ["default", "files", "database", "dummy", None]


def test_the_help_names_the_keys_and_the_cache() -> None:
    line = str(help_line(ScreenView("misses", "other")))
    assert line == " sort: lookups  misses  ratio  bytes  name  a cache: other  quit"
    assert len(line) <= 80


def test_a_problem_is_shown_as_it_is() -> None:
    assert str(problem_line("The store [b] is away.")) == "The store [b] is away."
