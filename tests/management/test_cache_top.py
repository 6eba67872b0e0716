"""``cache_top``, printed once and live in a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.reports import MissReasons, Report
from tests.anew import begin_anew
from tests.dashboard.reports import (
    HOSTILE,
    NOW,
    at,
    busy_cache,
    hot_key,
    quiet_cache,
    report_of,
)
from tests.exporters.test_scraping import site_env
from tests.services import run_process

ROOT = Path(__file__).resolve().parents[2]
TRAFFIC = """
import django
django.setup()
from django.core.cache import caches
import cache_monitor
caches["default"].set("user:1", "a")
for key, times in (("user:1", 9), ("user:2", 5), ("user:3", 3)):
    for _ in range(times):
        caches["default"].get(key)
caches["spare"].get("spare:1")
assert cache_monitor.flush()
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    store = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHE_MONITOR=store):
        begin_anew()
        yield
        begin_anew()
        caches["default"].clear()


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[[Report], None]:
    def show(report: Report) -> None:
        monkeypatch.setattr(api, "report", lambda **_: report)

    return show


def _once(*arguments: str) -> str:
    out = StringIO()
    call_command("cache_top", "--once", *arguments, stdout=out)
    return out.getvalue()


def test_rates_are_by_the_time_in_which_calls_were_counted(show: Callable[[Report], None]) -> None:
    """They are counted in rows of ten seconds, of which the first began before the period."""
    report = report_of(default=replace(busy_cache(), lookups=800))
    show(replace(report, since=at(NOW - timedelta(seconds=15)), generated_at=at(NOW)))
    _, _, _, line, *_ = _once("--since", "15s").splitlines()
    assert line.split()[:3] == ["default", "91.7%", "40.0"]


def test_it_is_printed_once_where_nobody_could_watch_it(show: Callable[[Report], None]) -> None:
    """Into a pipe the screen would be drawn for ever, and nothing of it come out."""
    show(report_of(default=busy_cache()))
    out = StringIO()
    call_command("cache_top", stdout=out)
    assert out.getvalue() == _once()


def _keys_in_order(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("user:")]


def test_caches_misses_and_keys_are_shown_in_eighty_columns(show: Callable[..., None]) -> None:
    reasons = MissReasons(expired=90, unknown=10, never_set=0)
    cache = replace(busy_cache(HOSTILE), miss_reasons=reasons, hit_ratio=0.9167)
    show(report_of(default=cache, files=quiet_cache()))
    text = _once("--since", "1h")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "last 1h" in lines[0]
    assert "4 processes" in lines[0]
    [default, misses] = [line for line in lines if line.startswith("default ")]
    assert {"91.7%", "30", "4.0", "MB"} <= set(default.split())
    assert misses.split() == ["default", "90", "–", "–", "–", "–", "–", "10"]
    assert "\u202e" not in text
    assert "<script>" in text


def test_keys_are_sorted_as_asked(show: Callable[..., None]) -> None:
    keys = [
        replace(hot_key("user:1"), lookups=100, hits=10, misses=90, bytes=1),
        replace(hot_key("user:2"), lookups=300, hits=250, misses=50, bytes=None),
        replace(hot_key("user:3"), lookups=200, hits=199, misses=1, bytes=500),
    ]
    show(report_of(default=replace(busy_cache(), hot_keys=keys)))
    orders = {
        "lookups": ["user:2", "user:3", "user:1"],
        "misses": ["user:1", "user:2", "user:3"],
        "ratio": ["user:1", "user:2", "user:3"],
        "bytes": ["user:3", "user:1", "user:2"],
        "name": ["user:1", "user:2", "user:3"],
    }
    assert {order: _keys_in_order(_once("--sort", order)) for order in orders} == orders


def test_a_site_without_traffic_shows_its_caches() -> None:
    text = _once()
    assert "default" in text
    assert "files" in text


def test_one_cache_can_be_asked_for() -> None:
    caches["default"].get("user:1")
    caches["files"].get("user:2")
    assert _keys_in_order(_once("--alias", "files")) == ["user:2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--alias", "nowhere"), "no cache 'nowhere'"),
        (("--since", "yesterday"), "yesterday"),
        (("--since", "0s"), "--since is '0s'"),
        (("--since", "9999999d"), "--since is '9999999d'"),
        (("--interval", "soon"), "soon"),
    ],
)
def test_a_bad_option_says_what_to_write(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError, match=says) as raised:
        _once(*arguments)
    assert raised.value.returncode == 2


@override_settings(CACHE_MONITOR={"STORE": {"BACKEND": "nowhere.Store"}})
def test_a_store_that_cannot_be_read_is_a_failure() -> None:
    with pytest.raises(CommandError, match="cannot be imported") as raised:
        _once()
    assert raised.value.returncode == 2


def test_without_rich_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # There before, to come back after this.
    import_module("cache_monitor.management.commands.cache_top")
    monkeypatch.delitem(sys.modules, "cache_monitor.management.commands.cache_top")
    for name in [each for each in sys.modules if each.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(CommandError, match=r"pip install 'django-cache-monitor\[cli\]'"):
        _once()


@dataclass(frozen=True)
class Terminal:
    """A terminal of 80 columns and 24 lines in a tmux of its own."""

    tmux: list[str]

    def run(self, *arguments: str) -> str:
        done = subprocess.run([*self.tmux, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, key: str) -> None:
        self.run("send-keys", key)

    def shows(self, wanted: Callable[[str], bool]) -> str:
        """What the terminal shows once that is ``wanted``."""
        deadline = time.monotonic() + 60
        while not wanted(text := self.run("capture-pane", "-p")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert wanted(text), text
        return text


@pytest.fixture
def terminal(tmux_path: str, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in the directory of a site whose caches were used."""
    env = {**os.environ, **site_env(tmp_path), "TERM": "xterm-256color", "PS1": "$ "}
    for argv in (["-m", "django", "migrate", "-v0"], ["-c", TRAFFIC]):
        subprocess.run([sys.executable, *argv], env=env, check=True, cwd=ROOT)
    socket = tmp_path / "tmux"
    terminal = Terminal([tmux_path, "-S", str(socket), "-f", "/dev/null"])
    with run_process([*terminal.tmux, "-D"], socket.exists, env=env, cwd=ROOT):
        terminal.run("new-session", "-d", "-x", "80", "-y", "24", "-c", str(ROOT), "sh")
        yield terminal
        terminal.run("kill-server")


@pytest.mark.slow
def test_keys_sort_and_choose_and_end_in_a_terminal(terminal: Terminal) -> None:
    command = shlex.join([sys.executable, "-m", "django", "cache_top", "--since", "1h"])
    terminal.press(f'b=$(stty -g); {command}; [ "$b" = "$(stty -g)" ]; echo "differs: $?"')
    terminal.press("Enter")
    text = terminal.shows(lambda text: "last 1h" in text)
    assert "sort: lookups" in text.splitlines()[0]
    assert _keys_in_order(text) == ["user:1", "user:2", "user:3"]
    assert "differs" not in text
    assert len(text.splitlines()) <= 24

    terminal.press("m")
    terminal.shows(lambda text: _keys_in_order(text) == ["user:2", "user:3", "user:1"])
    terminal.press("a")
    text = terminal.shows(lambda text: "cache: default" in text)
    assert "spare:1" not in text
    terminal.press("a")
    text = terminal.shows(lambda text: "cache: spare" in text)
    assert _keys_in_order(text) == []
    assert "spare:1" in text

    terminal.press("q")
    # The terminal is as it was.
    text = terminal.shows(lambda text: "differs: 0" in text)
    assert "last 1h" not in text


@pytest.mark.slow
def test_an_interrupt_ends_it_without_a_traceback(terminal: Terminal) -> None:
    terminal.press(shlex.join([sys.executable, "-m", "django", "cache_top"]) + "; echo status $?")
    terminal.press("Enter")
    terminal.shows(lambda text: "last 5m" in text)
    terminal.press("C-c")
    assert "Traceback" not in terminal.shows(lambda text: "status 0" in text)
