"""The report as a table for a terminal of 80 columns."""

import json
from collections.abc import Iterator

from cache_monitor.reports.schema import REASONS, Cache, Finding, MissReasons, Report

NOTHING = "–"
_SIGN = "\ufffd"
"""Replaces an unprintable character."""


def count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def brief(number: int | None) -> str:
    """A number in at most seven characters."""
    if number is None:
        return NOTHING
    for length, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= length:
            return f"{number / length:,.1f}{unit}"
    return f"{number:,}"


def share(ratio: float | None) -> str:
    """A share in per cent; only a true 0 or 1 reads as 0.0% or 100.0%."""
    if ratio is None:
        return NOTHING
    if 0 < ratio < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < ratio < 1 else f"{ratio:.1%}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def size(number: float | None) -> str:
    if number is None:
        return NOTHING
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def processes(number: int) -> str:
    return f"{number:,} process" if number == 1 else f"{number:,} processes"


def harmless(text: str) -> str:
    """``text`` without characters that control a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else _SIGN for each in text)


def harmless_json(text: str) -> str:
    """The JSON document ``text``, with characters that control a terminal escaped."""
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def plain(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters: visitors may have written it."""
    shown = "".join(each if each.isprintable() else _SIGN for each in text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


_HOT_KEYS = 5
_WIDTH = 80


def encode(report: Report, hot_keys: int = _HOT_KEYS) -> str:
    """The report as lines of text, with the first ``hot_keys`` of each cache."""
    return harmless("\n".join(_lines(report, hot_keys)))


def _lines(report: Report, hot_keys: int) -> Iterator[str]:
    quality = report.quality
    yield f"{report.since} to {report.until}, {processes(quality.processes)} reporting"
    if quality.dropped_calls:
        yield f"{quality.dropped_calls} calls are missing: they could not be recorded or stored"
    if quality.cut_off_processes:
        cut_off = quality.cut_off_processes
        yield f"{cut_off} of them stopped reporting: killed, or unable to reach the store"
    for app in quality.not_recorded:
        yield f"{app} is not recorded: it talks to its server past CACHES"
    for alias, cache in report.caches.items():
        yield ""
        yield from _cache(alias, cache, hot_keys)
    if not any(cache.operations for cache in report.caches.values()):
        yield ""
        yield "Nothing has called a cache in this period. Use a page that caches something,"
        yield "and wait for FLUSH_INTERVAL (10 seconds, unless you say otherwise)."
    if report.findings:
        yield ""
    for finding in report.findings:
        yield from _finding(finding)


def _cache(alias: str, cache: Cache, hot_keys: int) -> Iterator[str]:
    yield f"{alias} ({cache.backend})"
    yield (
        f"  hit ratio {share(cache.hit_ratio)}   hits {cache.hits:,}   misses {cache.misses:,}"
        f"   errors {cache.errors:,}   entries {_about(cache.memory.entries, cache.memory.exact)}"
        f"   bytes {_about(cache.memory.bytes, cache.memory.exact)}"
    )
    yield from _inside(cache)
    if cache.interrupted:
        yield f"  interrupted {cache.interrupted:,}"
    if not cache.operations:
        yield "  not called"
        return
    yield from _miss_reasons(cache.miss_reasons)
    yield f"  {'operation':<16}{'calls':>10}{'hits':>10}{'misses':>10}{'p50':>10}{'p99':>10}"
    for name, operation in cache.operations.items():
        yield (
            f"  {name:<16}{operation.calls:>10,}{count(operation.hits):>10}"
            f"{count(operation.misses):>10}{duration(operation.seconds.p50):>10}"
            f"{duration(operation.seconds.p99):>10}"
        )
    hottest = cache.hot_keys[:hot_keys]
    if hottest:
        yield f"  {'of lookups':>10}  hot key"
    for key in hottest:
        yield f"  {share(key.share):>10}  {plain(key.key, 60)}"


def _inside(cache: Cache) -> Iterator[str]:
    stale, exact = cache.stale, cache.memory.exact
    counts = {
        "expired": _about(stale.expired, exact),
        "idle": _about(stale.idle, exact, stale.idle_error),
        "never read": _about(stale.never_read, exact, stale.never_read_error),
        "no expiry": _about(stale.no_expiry, exact),
    }
    if stale.entries:
        yield f"  stale: {', '.join(f'{name} {figure}' for name, figure in counts.items())}"
    if cache.memory.problem:
        yield f"  {plain(cache.memory.problem, _WIDTH)}"


def _about(number: int | None, exact: bool | None, error: int | None = None) -> str:
    if number is None:
        return count(number)
    return f"{'' if exact and not error else '~'}{number:,}{f' ±{error:,}' if error else ''}"


def _miss_reasons(reasons: MissReasons) -> Iterator[str]:
    about = "" if reasons.exact else "~"
    counts = {name: getattr(reasons, name) for name in (*REASONS, "unknown")}
    known = [
        f"{name.replace('_', ' ')} {about}{number:,}" for name, number in counts.items() if number
    ]
    if known:
        yield f"  misses: {', '.join(known)}"


def _finding(finding: Finding) -> Iterator[str]:
    where = finding.key or finding.group
    named = f"{finding.severity}: {finding.code} on {finding.alias}"
    yield plain(f"{named}, {where}" if where else named, _WIDTH)
    yield f"  {finding.advice}"
