"""From where on a mistake is worth a word: ``CACHE_MONITOR["FINDINGS"]``.

A threshold is not a round number but a cost: time that requests or workers lose, bytes that hold
nothing of use, calls that fail.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, NamedTuple


def _limit(default: float, most: float, what: str) -> Any:
    """The field of a threshold that is at most ``most``; ``what`` it means and costs."""
    return field(default=default, metadata={"most": most, "what": what})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of all rules, in upper case in the settings. Times are seconds."""

    min_calls: int = _limit(
        100, 1e9, "Calls below which figures tell nothing: a ratio of 100 is known to ten points."
    )
    min_errors: int = _limit(
        5, 1e9, "Failed calls below which it may have been the server's restart."
    )
    error_share: float = _limit(
        0.001, 1, "The share of calls that may fail: one visitor in a thousand notices."
    )
    lost_share: float = _limit(
        0.01, 1, "The share of one worker's time that a mistake may cost: 36 seconds an hour."
    )
    lost_request_seconds: float = _limit(
        0.005,
        60,
        "Seconds that a mistake may cost each request: as long as a database query, of which a "
        "quick page affords some dozens.",
    )
    assumed_produce_seconds: float = _limit(
        0.005,
        3600,
        "Seconds that a value takes to produce where nobody has measured it: a database query.",
    )
    large_value_bytes: int = _limit(
        256 * 1024,
        1e12,
        "Bytes of one value: 256 KiB take 2 ms on a wire of 1 Gbit/s, each time, and about as "
        "long again to be unpickled.",
    )
    idle_memory_share: float = _limit(
        0.2,
        1,
        "The share of a cache's entries or bytes that may be dead weight: of every five that it "
        "has room for, one less is of use.",
    )
    idle_memory_entries: int = _limit(
        100, 1e12, "Entries that may be dead weight: a third of what Django's caches hold at first."
    )
    idle_memory_bytes: int = _limit(
        12 * 1024 * 1024,
        1e15,
        "Bytes that may be dead weight: a fifth of what memcached holds at first.",
    )
    hot_key_load: float = _limit(
        0.05,
        1000,
        "The share of one core's time that lookups of a single key may take: twenty such keys "
        "are all that one server can serve.",
    )
    aged_after: float = _limit(
        86400.0,
        1e10,
        "Seconds after which a value that is still served is old: yesterday's, to a visitor.",
    )

    @classmethod
    def of(cls, setting: Mapping[str, Any]) -> "Thresholds":
        """Those of a ``setting`` that :func:`threshold_problems` finds nothing wrong with."""
        return cls(**{name.lower(): value for name, value in setting.items()})


NAMES = tuple(each.name.upper() for each in fields(Thresholds))
"""The keys of ``CACHE_MONITOR["FINDINGS"]``."""


class ThresholdProblem(NamedTuple):
    """What is wrong with the setting, to be read after its name, and what to write instead."""

    message: str
    hint: str


def threshold_problems(value: object) -> Iterator[ThresholdProblem]:
    """What is wrong with ``value`` as ``FINDINGS``."""
    if not isinstance(value, Mapping):
        yield ThresholdProblem(
            f" is {value!r}, not a dict.",
            'Write a dict of thresholds such as {"LARGE_VALUE_BYTES": 1_000_000}.',
        )
        return
    for name, number in value.items():
        if name in NAMES:
            yield from _number_problems(str(name), number)
            continue
        [meant] = get_close_matches(str(name).upper(), NAMES, n=1) or [""]
        yield ThresholdProblem(
            f" has no threshold {name!r}.",
            f"Write {meant}, if that is what is meant."
            if meant
            else f"Remove it, or write one of: {', '.join(NAMES)}.",
        )


def _number_problems(name: str, number: object) -> Iterator[ThresholdProblem]:
    threshold = next(each for each in fields(Thresholds) if each.name.upper() == name)
    is_whole = threshold.type is int
    most = threshold.metadata["most"]
    is_number = isinstance(number, int if is_whole else (int, float))
    # Not a number is between nothing.
    if isinstance(number, bool) or not is_number or not 0 <= number <= most:  # type: ignore[operator]  # a number by then
        kind = "a whole number" if is_whole else "a number"
        yield ThresholdProblem(
            f"[{name!r}] is {number!r}.",
            f"Write {kind} from 0 to {most:g} (default: {threshold.default!r}).",
        )


def threshold_documentation() -> str:
    """The table of the thresholds for the README, in Markdown."""
    rows = [
        f"| `{each.name.upper()}` | `{_as_written(each.default)}` | {each.metadata['what']} |"
        for each in fields(Thresholds)
    ]
    return "\n".join(["| threshold | default | meaning |", "| --- | --- | --- |", *rows])


def _as_written(value: Any) -> str:
    return f"{int(value) if float(value).is_integer() else value}"
