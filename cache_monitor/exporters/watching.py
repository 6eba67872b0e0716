"""Show the report once, or again and again until a key ends it."""

from collections.abc import Callable
from io import StringIO

from cache_monitor.exporters.extras import MissingExtra
from cache_monitor.exporters.keyboard import keyboard
from cache_monitor.exporters.screen import WIDTH, help_line, problem_line, screen
from cache_monitor.exporters.view import View, pressed
from cache_monitor.reports.schema import Report

try:
    from rich.console import Console, Group
    from rich.live import Live
except ImportError as error:
    raise MissingExtra("rich") from error


def as_text(report: Report, seconds: float, view: View) -> str:
    """``report``, of a period of ``seconds``, in lines of 80 characters without colours."""
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None).print(screen(report, seconds, view))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def watch(
    read: Callable[[str | None], Report],
    problem: Callable[[], str | None],
    seconds: float,
    interval: float,
    view: View,
) -> None:
    """Show what ``read`` gives for an alias, every ``interval`` seconds and after each key, and
    what ``problem`` says is wrong; until ``q`` or Ctrl-C."""
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
