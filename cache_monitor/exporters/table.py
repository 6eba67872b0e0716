"""The report as a table for a terminal of 80 columns."""

from collections.abc import Iterator

from msgspec.structs import asdict

from cache_monitor.reports.schema import Cache, MissReasons, Report

_NOTHING = "–"
_HOT_KEYS = 5


def encode(report: Report) -> str:
    """The report as lines of text."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    quality = report.quality
    yield f"{report.since} to {report.until}, {quality.processes} processes reporting"
    if quality.dropped_calls:
        yield f"{quality.dropped_calls} calls are missing: they could not be recorded or stored"
    for alias, cache in report.caches.items():
        yield ""
        yield from _cache(alias, cache)


def _cache(alias: str, cache: Cache) -> Iterator[str]:
    ratio = _NOTHING if cache.hit_ratio is None else f"{cache.hit_ratio:.1%}"
    yield f"{alias} ({cache.backend})"
    yield (
        f"  hit ratio {ratio}   hits {cache.hits:,}   misses {cache.misses:,}"
        f"   errors {cache.errors:,}   entries {_count(cache.memory.entries)}"
        f"   bytes {_count(cache.memory.bytes)}"
    )
    if not cache.operations:
        yield "  not called"
        return
    yield from _miss_reasons(cache.miss_reasons)
    yield f"  {'operation':<16}{'calls':>10}{'hits':>10}{'misses':>10}{'p50':>10}{'p99':>10}"
    for name, operation in cache.operations.items():
        yield (
            f"  {name:<16}{operation.calls:>10,}{_count(operation.hits):>10}"
            f"{_count(operation.misses):>10}{_time(operation.seconds.p50):>10}"
            f"{_time(operation.seconds.p99):>10}"
        )
    for key in cache.hot_keys[:_HOT_KEYS]:
        share = _NOTHING if key.share is None else f"{key.share:.1%}"
        yield f"  {share:>6}  {key.key[:60]}"


def _miss_reasons(reasons: MissReasons) -> Iterator[str]:
    known = {name.replace("_", " "): count for name, count in asdict(reasons).items() if count}
    if known:
        yield "  misses: " + ", ".join(f"{name} {count:,}" for name, count in known.items())


def _count(number: int | None) -> str:
    return _NOTHING if number is None else f"{number:,}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return _NOTHING
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"
