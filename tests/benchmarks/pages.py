"""The pages a second of a site with the monitor and without: ``python -m tests.benchmarks.pages``.

Two gunicorns serve the demo's product page (one ``get``, a hit, a page) with ``DEBUG`` off, each
with one worker and its own database, one with ``ENABLED`` False. wrk asks one and then the other,
in alternating order; a pair's ratio is that of its two throughputs, and the median over all pairs
is told. The server that is not asked stays idle meanwhile. Both hash texts alike: two processes
that do not may differ by some percent for as long as they live.

All settings of the monitor are its defaults, not the demo's, which flushes and looks into the
caches more often: a flush every ten seconds, a look every minute. The middleware is there.

Throughput suffers from whatever else the machine does. The CPU time that the server spends on a
page hardly does, and bounds the throughput of a machine that has nothing else to do: it is told
beside it, where the system tells it (Linux).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tests.services import LOOPBACK, Program, free_port, run_server

ROOT = Path(__file__).resolve().parents[2]
PAGE = "/products/1/"
WRK = Program("wrk", ("wrk",), "wrk")
_RATE = re.compile(r"^Requests/sec:\s*([0-9.]+)", re.MULTILINE)
_REQUESTS = re.compile(r"^\s*([0-9]+) requests in", re.MULTILINE)
_FAILED = re.compile(r"^\s*(?:Non-2xx|Socket errors).*", re.MULTILINE)
_GOAL = 0.98


@dataclass(frozen=True)
class Site:
    """A running demo site: the address of its page, and the process of its gunicorn."""

    url: str
    gunicorn: int

    def cpu_seconds(self) -> float:
        """The CPU time of its workers so far; 0 where the system does not tell."""
        try:
            children = Path(f"/proc/{self.gunicorn}/task/{self.gunicorn}/children").read_text()
            stats = [Path(f"/proc/{child}/stat").read_text() for child in children.split()]
        except OSError:
            return 0.0
        # The name, in parentheses, may hold blanks; behind it the times are at 11 and 12.
        times = [stat.rpartition(")")[2].split()[11:13] for stat in stats]
        return sum(int(ticks) for pair in times for ticks in pair) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What one run of wrk found out."""

    pages_a_second: float
    cpu_a_page: float


def main() -> None:
    """Measure and print, where wrk and gunicorn are installed."""
    options = _options()
    wrk = WRK.find()
    if wrk is None:
        sys.exit(f"wrk is not installed ({WRK.how_to_get_it})")
    with tempfile.TemporaryDirectory(prefix="bench-") as var, ExitStack() as stack:
        on, off = (
            stack.enter_context(_site(Path(var) / name, enabled))
            for name, enabled in (("on", "1"), ("off", "0"))
        )
        for site in (on, off):
            _run(wrk, site, 2)
        pairs = [_pair(wrk, on, off, turn, options.seconds) for turn in range(options.pairs)]
    _print(pairs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pages a second with and without the monitor.")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=1, help="that each run of wrk takes")
    return parser.parse_args()


@contextmanager
def _site(var: Path, enabled: str) -> Iterator[Site]:
    """A seeded demo site."""
    environment = {
        "BENCH_ENABLED": enabled,
        "DEMO_DEBUG": "0",
        "DEMO_VAR": str(var),
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.site_settings",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "demo_site")]),
    }
    for command in (["migrate"], ["createcachetable"], ["demo_seed"]):
        _manage([*command, "--verbosity", "0"], environment)
    address = f"{LOOPBACK}:{free_port()}"
    argv = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", address, "--workers", "1"]
    url = f"http://{address}{PAGE}"
    with run_server(argv, environment, url, cwd=ROOT) as running:
        yield Site(url, running.process.pid)


def _manage(arguments: list[str], environment: Mapping[str, str]) -> None:
    argv = [sys.executable, "-m", "django", *arguments]
    environment = {**os.environ, **environment}
    subprocess.run(argv, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _pair(wrk: str, on: Site, off: Site, turn: int, seconds: int) -> tuple[Run, Run]:
    """The runs with the monitor and without, made in an order that changes by the turn."""
    if turn % 2:
        without = _run(wrk, off, seconds)
        return _run(wrk, on, seconds), without
    return _run(wrk, on, seconds), _run(wrk, off, seconds)


def _run(wrk: str, site: Site, seconds: int) -> Run:
    argv = [wrk, "--threads", "1", "--connections", "4", "--duration", f"{seconds}s", site.url]
    before = site.cpu_seconds()
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    spent = site.cpu_seconds() - before
    rate, requests = _RATE.search(told), _REQUESTS.search(told)
    if rate is None or requests is None or _FAILED.search(told):
        sys.exit(f"The site did not serve {site.url}:\n{told}")
    return Run(float(rate[1]), spent / int(requests[1]))


def _print(pairs: list[tuple[Run, Run]]) -> None:
    ratios = [on.pages_a_second / off.pages_a_second for on, off in pairs]
    low, _, high = quantiles(ratios, n=4)
    verdict = "within" if median(ratios) >= _GOAL else "missed"
    _say(f"{PAGE} under gunicorn, {len(pairs)} pairs of runs")
    _say(f"  {'':<20}{'with':>10}{'without':>10}{'ratio':>10}")
    rates = [(on.pages_a_second, off.pages_a_second) for on, off in pairs]
    _say(f"  {'pages a second':<20}{_row(rates)}  goal {_GOAL}: {verdict}")
    _say(f"  {'':<40}{low:>10.3f}  to {high:.3f}: half of the pairs")
    if all(run.cpu_a_page for pair in pairs for run in pair):
        times = [(on.cpu_a_page * 1e6, off.cpu_a_page * 1e6) for on, off in pairs]
        _say(f"  {'CPU a page, µs':<20}{_row(times)}")


def _row(pairs: list[tuple[float, float]]) -> str:
    with_, without = median(on for on, _ in pairs), median(off for _, off in pairs)
    return f"{with_:>10.1f}{without:>10.1f}{median(on / off for on, off in pairs):>10.3f}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
