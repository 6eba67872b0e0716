"""``manage.py cache_top``: what the caches do now, in the terminal."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO, TextIOWrapper
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import CommandParser

from cache_monitor import api
from cache_monitor.api import parse_duration
from cache_monitor.errors import MissingExtra
from cache_monitor.management import (
    NEAREST,
    MonitorCommand,
    brief,
    duration,
    plain,
    processes,
    refusal,
    share,
    size,
)
from cache_monitor.reports import REASONS, Cache, HotKey, Report

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:
    _HAS_RICH = False
else:
    _HAS_RICH = True
try:
    import termios
    import tty
except ImportError:  # Windows
    _HAS_TERMINALS = False
else:
    _HAS_TERMINALS = True

MOST = 3650 * 86400
"""Seconds that an option may name."""

Order = Callable[[HotKey], Any]

ORDERS: Mapping[str, Order] = {
    "lookups": lambda key: -key.lookups,
    "misses": lambda key: -key.misses,
    "ratio": lambda key: 2.0 if key.hit_ratio is None else key.hit_ratio,
    "bytes": lambda key: -(key.bytes or 0),
    "name": lambda key: key.key,
}
"""The orders of the hot keys; the first letter is the key to press."""


class ScreenView(NamedTuple):
    """The order of the hot keys, and the cache to show, or all."""

    order: str = "lookups"
    alias: str | None = None


def pressed(key: str | None, view: ScreenView) -> ScreenView:
    """The view after ``key`` was pressed."""
    if key == "a":
        every = [None, *settings.CACHES]
        at = every.index(view.alias) if view.alias in every else 0
        return view._replace(alias=every[(at + 1) % len(every)])
    return view._replace(order=next((name for name in ORDERS if name[0] == key), view.order))


class Command(MonitorCommand):
    help = (
        "Watch the site's caches: hit ratios, misses by reason, hot keys. "
        "Press the first letter of an order to sort by it, a for the next cache, q to quit."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        since = {"default": "5m", "help": "the period that is shown; default: 5m"}
        self.add_options(parser, "alias", since=since)
        parser.add_argument("--interval", default="2s", help="how often to look again; default: 2s")
        parser.add_argument(
            "--sort",
            choices=tuple(ORDERS),
            default="lookups",
            help="the order of the hot keys",
        )
        parser.add_argument(
            "--once", action="store_true", help="print once, as where the output is no terminal"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not _HAS_RICH:
            raise refusal(str(MissingExtra("rich")))
        try:
            seconds = _seconds("since", options["since"])
            interval = _seconds("interval", options["interval"])
            report = _report(seconds, options["alias"])
        except ValueError as error:
            raise refusal(str(error)) from error
        self.note_store()
        view = ScreenView(options["sort"], options["alias"])
        if not options["once"] and self.stdout.isatty():
            read = partial(_report, seconds)
            watch(read, api.store_problem, seconds, interval, view)
        elif problem := api.problem_of(report):
            raise refusal(problem)
        else:
            self.give(as_text(report, seconds, view))


def _report(seconds: float, alias: str | None) -> Report:
    return api.report(since=datetime.now(UTC) - timedelta(seconds=seconds), alias=alias)


def _seconds(option: str, text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if not 0 < seconds <= MOST:
        raise ValueError(f"--{option} is {text!r}. Write a time from 1s to 3650d, such as 5m.")
    return seconds


WIDTH = 80

_REASONS = {name: name.partition("_")[0] for name in (*REASONS, "unknown")}


def screen(
    report: Report, seconds: float, view: ScreenView, rows: int | None = None
) -> RenderableType:
    """``report``, of a period of ``seconds``, in ``rows`` lines, or with all hot keys."""
    caches = {alias: cache for alias, cache in report.caches.items() if view.alias in (None, alias)}
    # A table takes two lines beside its rows, the header and the help one each.
    left = None if rows is None else max(1, rows - 2 - 2 * 3 - 2 * len(caches))
    return Group(
        _header(report, seconds),
        _caches(caches, max(seconds, report.counted_seconds)),
        _misses(caches),
        _hot_keys(caches, view.order, left),
    )


def help_line(view: ScreenView) -> Text:
    line = Text(" sort: ", style="dim", no_wrap=True)
    for order in ORDERS:
        style = "reverse" if order == view.order else "bold"
        line.append(order[0], style=style).append(f"{order[1:]}  ")
    shown = plain(view.alias, 20) if view.alias else "all"
    line.append("a", style="bold").append(f" cache: {shown}  ")
    return line.append("q", "bold").append("uit")


def problem_line(problem: str) -> Text:
    """The store's ``problem``."""
    return Text(plain(problem, 10 * WIDTH), style="bold red")


def _header(report: Report, seconds: float) -> Text:
    quality = report.quality
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f" caches, last {_length(seconds)} to {report.until[11:19]} UTC", style="bold")
    line.append(f"   {processes(quality.processes)}")
    if quality.dropped_calls:
        line.append(f"   {quality.dropped_calls:,} calls missing", style="yellow")
    if found := len(report.mistakes):
        words = "1 finding" if found == 1 else f"{found} findings"
        line.append(f"   {words}: cache_stats", style="yellow")
    return line


def _length(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _table(name: str, *columns: tuple[str, int]) -> Table:
    table = Table(box=SIMPLE_HEAD, width=WIDTH, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
    for title, width in columns:
        table.add_column(title, width=width, justify="right", no_wrap=True)
    return table


def _caches(caches: Mapping[str, Cache], seconds: float) -> Table:
    table = _table(
        "cache",
        ("hits", 6),
        ("lookups/s", 9),
        ("calls/s", 7),
        ("errors", 6),
        ("p99", 8),
        ("entries", 7),
        ("memory", 8),
    )
    for alias, cache in caches.items():
        table.add_row(
            Text(plain(alias, WIDTH)),
            Text(share(cache.hit_ratio), style=_colour(cache.hit_ratio)),
            _rate(cache.lookups, seconds),
            _rate(cache.calls, seconds),
            Text(brief(cache.errors), style="red" if cache.errors else ""),
            duration(cache.slowest_p99),
            brief(cache.memory.entries),
            size(cache.memory.bytes),
        )
    return table


def _misses(caches: Mapping[str, Cache]) -> Table:
    table = _table("misses", *((title, max(5, len(title))) for title in _REASONS.values()))
    for alias, cache in caches.items():
        if cache.misses:
            reasons = (getattr(cache.miss_reasons, name) for name in _REASONS)
            table.add_row(Text(plain(alias, WIDTH)), *map(_some, reasons))
    return table


def _hot_keys(caches: Mapping[str, Cache], order: str, most: int | None) -> Table:
    table = _table("key", ("cache", 10), ("lookups", 9), ("misses", 8), ("hits", 6), ("size", 9))
    keys = [(alias, key) for alias, cache in caches.items() for key in cache.hot_keys]
    keys.sort(key=lambda each: (ORDERS[order](each[1]), each[1].key))
    for alias, key in keys[:most]:
        table.add_row(
            Text(plain(key.key, WIDTH)),
            plain(alias, 10),
            brief(key.lookups),
            _some(key.misses),
            Text(share(key.hit_ratio), style=_colour(key.hit_ratio)),
            size(key.bytes),
        )
    return table


def _some(number: int | None) -> str:
    """A number; nothing for zero."""
    return "" if number == 0 else brief(number)


def _rate(number: int, seconds: float) -> str:
    rate = number / seconds
    return brief(round(rate)) if rate >= 99.95 else f"{rate:.1f}"


def _colour(ratio: float | None) -> str:
    if ratio is None:
        return "dim"
    return "green" if ratio >= 0.8 else "yellow" if ratio >= 0.5 else "red"


class Keyboard:
    """Reads keys from the terminal ``descriptor``; None without one."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> str | None:
        """The key that is pressed within ``seconds``, or None."""
        if self._descriptor is None:
            time.sleep(seconds)
            return None
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return None
        # The end of the input quits.
        return os.read(self._descriptor, 1).decode("ascii", "replace") or "q"


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The keyboard without echo and line editing, which are restored at the end."""
    if not (_HAS_TERMINALS and sys.stdin.isatty()):
        yield Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def as_text(report: Report, seconds: float, view: ScreenView) -> str:
    """``report``, of a period of ``seconds``, in lines of 80 characters without colours."""
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None).print(screen(report, seconds, view))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def watch(
    read: Callable[[str | None], Report],
    problem: Callable[[], str | None],
    seconds: float,
    interval: float,
    view: ScreenView,
) -> None:
    """Show ``read(alias)`` or the ``problem``, every ``interval`` seconds and after each key, until
    ``q`` or Ctrl-C."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal's encoding may lack what a key has, or a dash.
        sys.stdout.reconfigure(errors=NEAREST)
    console = Console()
    with keyboard() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        key: str | None = None
        while key != "q":
            wrong = problem()
            top = problem_line(wrong) if wrong else help_line(view)
            shown = screen(read(view.alias), seconds, view, console.height - 1)
            live.update(Group(top, shown), refresh=True)
            try:
                key = keys.wait(interval)
            except KeyboardInterrupt:
                return
            view = pressed(key, view)
