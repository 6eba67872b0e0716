"""The ``CACHE_MONITOR`` setting: its keys, their defaults, what is wrong with a user's value.

The thresholds of ``FINDINGS`` are not round numbers but costs: time that requests or workers lose,
bytes that hold nothing of use, calls that fail.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed

from cache_monitor.key_patterns import rule_problems

SETTING = "CACHE_MONITOR"


@dataclass(frozen=True, slots=True)
class StoreConf:
    """Where the statistics are kept: the store's dotted path, None for the default one, and its
    constructor's arguments."""

    backend: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conf:
    """The settings in force. Times are seconds."""

    enabled: bool = True
    instrument: Literal["all", "explicit"] = "all"
    store: StoreConf = field(default_factory=StoreConf)
    flush_interval: float = 10.0
    buffer_size: int = 50_000
    hot_keys: int = 1000
    key_groups: Mapping[str | re.Pattern[str], str] = field(default_factory=dict)
    key_sanitizer: str | None = None
    max_key_groups: int = 200
    retention: float = 30 * 86400.0
    stale_after: float = 3600.0
    inspect_interval: float = 60.0
    scan_limit: int = 100_000
    scan_seconds: float = 5.0
    refresh_seconds: float = 5.0
    trace_keys: int = 8192
    trace_events: float = 1000.0
    trace_bytes: int = 500_000_000
    trace_kept: float = 86400.0
    clock_tolerance: float = 0.05
    findings: Mapping[str, float] = field(default_factory=dict)
    export_tokens: Sequence[str] = ()
    exporters: Sequence[str] = ()


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
        """Those of a ``setting`` that :func:`problems` finds nothing wrong with."""
        return cls(**{name.lower(): value for name, value in setting.items()})


THRESHOLDS = {each.name.upper(): each for each in fields(Thresholds)}
"""By their names in ``CACHE_MONITOR["FINDINGS"]``."""


class Problem(NamedTuple):
    """Something in the user's setting that cannot be used, and what to write instead."""

    key: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Range:
    """A number from ``least`` to ``most``, in ``unit``."""

    least: float
    most: float
    unit: str = ""
    whole: bool = False

    def accepts(self, value: object) -> bool:
        kinds = int if self.whole else (int, float)
        return (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and self.least <= value <= self.most
        )

    def __str__(self) -> str:
        number = "a whole number" if self.whole else "a number"
        unit = f" of {self.unit}" if self.unit else ""
        return f"{number}{unit} from {self.least:g} to {self.most:g}"


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of a few values."""

    values: tuple[object, ...]

    def accepts(self, value: object) -> bool:
        return any(type(value) is type(each) and value == each for each in self.values)

    def __str__(self) -> str:
        return " or ".join(repr(each) for each in self.values)


@dataclass(frozen=True, slots=True)
class _Several:
    """A list of different texts that each match ``pattern``; ``what`` says it in words."""

    pattern: str
    what: str
    secret: bool = False
    """Whether a wrong value may be a secret, which no message must repeat."""

    def accepts(self, value: object) -> bool:
        return (
            isinstance(value, (list, tuple))
            and all(isinstance(each, str) and re.fullmatch(self.pattern, each) for each in value)
            and len(set(value)) == len(value)
        )

    def __str__(self) -> str:
        return f"a list of {self.what}, none of them twice"


_DAY = 86400.0

EXPORTERS = ("opentelemetry", "prometheus")

_RULES: Mapping[str, _Range | _Choice | _Several] = {
    "ENABLED": _Choice((True, False)),
    "INSTRUMENT": _Choice(("all", "explicit")),
    "FLUSH_INTERVAL": _Range(0.1, 3600, "seconds"),
    "BUFFER_SIZE": _Range(1000, 10_000_000, "calls", whole=True),
    "HOT_KEYS": _Range(10, 10_000, "keys", whole=True),
    "MAX_KEY_GROUPS": _Range(10, 10_000, "groups", whole=True),
    "RETENTION": _Range(3600, 3660 * _DAY, "seconds"),
    "STALE_AFTER": _Range(1, 3660 * _DAY, "seconds"),
    "INSPECT_INTERVAL": _Range(1, _DAY, "seconds"),
    "SCAN_LIMIT": _Range(100, 100_000_000, "entries", whole=True),
    "SCAN_SECONDS": _Range(0.1, 3600, "seconds"),
    "REFRESH_SECONDS": _Range(1, 3600, "seconds"),
    "TRACE_KEYS": _Range(100, 1_000_000, "keys", whole=True),
    "TRACE_EVENTS": _Range(1, 1_000_000, "events a second"),
    "TRACE_BYTES": _Range(1_000_000, 10**12, "bytes a day", whole=True),
    "TRACE_KEPT": _Range(3600, 30 * _DAY, "seconds"),
    "CLOCK_TOLERANCE": _Range(0.001, 10, "seconds"),
    "EXPORT_TOKENS": _Several(
        "[0-9a-f]{64}", "SHA-256 digests as manage.py cache_token prints them", secret=True
    ),
    "EXPORTERS": _Several("|".join(EXPORTERS), f"names among {', '.join(map(repr, EXPORTERS))}"),
}

_STORE_EXAMPLE = (
    'Write "STORE": {"BACKEND": "cache_monitor.stores.sqlite.SQLiteStore", "OPTIONS": {"PATH": '
    '"/…/statistics.sqlite3"}}, or leave it out.'
)


def defaults() -> dict[str, object]:
    """Every key of ``CACHE_MONITOR`` with its default, as a user would write it."""
    return {
        **{each.name.upper(): getattr(Conf(), each.name) for each in fields(Conf)},
        "STORE": None,
    }


_MEANINGS: Mapping[str, str] = {
    "ENABLED": "False instruments nothing and costs nothing.",
    "INSTRUMENT": '`"all"`: every alias; `"explicit"`: only those that name `MonitoredCache`.',
    "STORE": "Where the statistics are kept: `BACKEND` is a dotted path, `OPTIONS` its arguments. "
    "Not set: a file beside the default database if that is SQLite, otherwise a table in it.",
    "FLUSH_INTERVAL": "Seconds between two writes of a process to the store.",
    "BUFFER_SIZE": "Calls that a process holds until it counts them; more are dropped.",
    "HOT_KEYS": "Keys whose counts are kept for a cache and a period.",
    "KEY_GROUPS": "Names for groups of keys: a dict of regular expressions and names.",
    "KEY_SANITIZER": "Dotted path of a function that takes a key and returns what of it is kept.",
    "MAX_KEY_GROUPS": "Key groups that are kept; further ones share one.",
    "RETENTION": "Seconds after which statistics are removed.",
    "STALE_AFTER": "Seconds without a read after which an entry is idle.",
    "INSPECT_INTERVAL": "Seconds between two scans of the live caches.",
    "SCAN_LIMIT": "Entries that one scan examines at most.",
    "SCAN_SECONDS": "Seconds after which a scan begins nothing more; it waits 2 s for answers still"
    " due.",
    "TRACE_KEYS": "Keys of a cache that are traced: of more, a sample.",
    "TRACE_EVENTS": "Events that are traced a second, of all processes together.",
    "TRACE_BYTES": "Bytes that the trace takes in the store a day.",
    "TRACE_KEPT": "Seconds for which the store keeps the trace.",
    "CLOCK_TOLERANCE": "Seconds by which the clocks of two hosts may differ.",
    "FINDINGS": "Thresholds of the [findings](#findings) that differ from the defaults.",
    "REFRESH_SECONDS": "Seconds between two refreshes of the dashboard.",
    "EXPORT_TOKENS": "SHA-256 digests of the tokens of programs that may read the export.",
    "EXPORTERS": "Exports to start: " + ", ".join(f'`"{each}"`' for each in EXPORTERS) + ".",
}


def documentation() -> str:
    """The table of the settings for the README, in Markdown."""
    return _table(
        "key", ((key, value, _MEANINGS[key]) for key, value in sorted(defaults().items()))
    )


def threshold_documentation() -> str:
    """The table of the thresholds."""
    known = THRESHOLDS.items()
    return _table("threshold", ((key, each.default, each.metadata["what"]) for key, each in known))


def _table(name: str, rows: Iterable[tuple[str, object, str]]) -> str:
    lines = [f"| `{key}` | `{_as_written(value)}` | {what} |" for key, value, what in rows]
    return "\n".join([f"| {name} | default | meaning |", "| --- | --- | --- |", *lines])


def _as_written(value: object) -> str:
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)


def problems(value: object) -> Iterator[Problem]:
    """What is wrong with ``value`` as the ``CACHE_MONITOR`` setting."""
    if not isinstance(value, Mapping):
        yield Problem("", f"{SETTING} must be a dict, not {type(value).__name__}.", "Write {}.")
        return
    for key, each in value.items():
        yield from _key_problems(key, each)


def _key_problems(key: object, value: object) -> Iterator[Problem]:
    known = sorted([*_RULES, *_PROBLEMS])
    if key not in known:
        yield Problem(str(key), f"{SETTING} has no key {key!r}.", _instead_of(key, known))
    elif key in _PROBLEMS:
        yield from _PROBLEMS[str(key)](value)
    elif not (rule := _RULES[str(key)]).accepts(value):
        is_secret = isinstance(rule, _Several) and rule.secret
        yield Problem(
            str(key),
            f"{SETTING}[{key!r}] " + ("cannot be used." if is_secret else f"is {value!r}."),
            f"Write {rule} (default: {defaults()[str(key)]!r}).",
        )


def _instead_of(name: object, known: Sequence[str]) -> str:
    """What to write for an unknown ``name``."""
    [meant] = get_close_matches(str(name).upper(), known, n=1) or [""]
    if meant:
        return f"Write {meant}, if that is what is meant."
    return f"Remove it, or write one of: {', '.join(known)}."


def _group_problems(value: object) -> Iterator[Problem]:
    for problem in rule_problems(value):
        yield Problem("KEY_GROUPS", f"{SETTING}['KEY_GROUPS'] {problem.message}", problem.hint)


def _finding_problems(value: object) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(
            "FINDINGS",
            f"{SETTING}['FINDINGS'] is {value!r}, not a dict.",
            'Write a dict of thresholds such as {"LARGE_VALUE_BYTES": 1_000_000}.',
        )
        return
    for name, number in value.items():
        if name not in THRESHOLDS:
            message = f"{SETTING}['FINDINGS'] has no threshold {name!r}."
            yield Problem("FINDINGS", message, _instead_of(name, [*THRESHOLDS]))
            continue
        threshold = THRESHOLDS[name]
        rule = _Range(0, threshold.metadata["most"], whole=threshold.type is int)
        if not rule.accepts(number):
            yield Problem(
                "FINDINGS",
                f"{SETTING}['FINDINGS'][{name!r}] is {number!r}.",
                f"Write {rule} (default: {threshold.default!r}).",
            )


def _sanitizer_problems(value: object) -> Iterator[Problem]:
    if value is not None and not (isinstance(value, str) and "." in value):
        yield Problem(
            "KEY_SANITIZER",
            f"{SETTING}['KEY_SANITIZER'] is {value!r}.",
            'Write the dotted path of a function, such as "shop.keys.without_mail_addresses".',
        )


def _store_problems(value: object) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield Problem("STORE", f"{SETTING}['STORE'] is {value!r}, not a dict.", _STORE_EXAMPLE)
        return
    unknown = sorted(str(key) for key in value if key not in {"BACKEND", "OPTIONS"})
    if unknown:
        yield Problem(
            "STORE",
            f"{SETTING}['STORE'] has no key {', '.join(map(repr, unknown))}.",
            _STORE_EXAMPLE,
        )
    if "BACKEND" in value and not isinstance(value["BACKEND"], str):
        yield Problem(
            "STORE", f"{SETTING}['STORE']['BACKEND'] must be a dotted path.", _STORE_EXAMPLE
        )
    if not isinstance(value.get("OPTIONS", {}), Mapping):
        yield Problem("STORE", f"{SETTING}['STORE']['OPTIONS'] must be a dict.", _STORE_EXAMPLE)


_PROBLEMS: Mapping[str, Callable[[object], Iterator[Problem]]] = {
    "FINDINGS": _finding_problems,
    "KEY_GROUPS": _group_problems,
    "KEY_SANITIZER": _sanitizer_problems,
    "STORE": _store_problems,
}
"""For each key that is more than a number or a choice, what finds its problems."""


def _parse(value: object) -> Conf:
    """The settings in force; a part that cannot be used keeps its default.

    ``manage.py check`` names what is wrong; a running site must not fall over it.
    """
    if not isinstance(value, Mapping):
        return Conf()
    bad = {problem.key for problem in problems(value)}
    used = {key: each for key, each in value.items() if str(key) not in bad}
    store = used.pop("STORE", None) or {}
    return Conf(
        **{key.lower(): each for key, each in used.items()},
        store=StoreConf(store.get("BACKEND"), store.get("OPTIONS", {})),
    )


_forgetting: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)


def forget_on_change(settings: tuple[str, ...], *forget: Callable[[], object]) -> None:
    """Have each of ``forget`` called when one of ``settings`` has another value, as in tests. All
    receivers of such changes are here."""
    for setting in settings:
        _forgetting[setting].extend(forget)


def _changed(*, setting: str, **_: object) -> None:
    for forget in _forgetting[setting]:
        forget()


setting_changed.connect(_changed, dispatch_uid="cache_monitor.conf")


@cache
def _current() -> Conf:
    return _parse(getattr(settings, SETTING, {}))


def get_conf() -> Conf:
    """The settings in force, read once and again after ``override_settings``."""
    return _current()


forget_on_change((SETTING,), _current.cache_clear)
