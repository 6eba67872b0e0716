"""The ``CACHE_MONITOR`` setting: its keys, their defaults, what is wrong with a user's value.

The thresholds of ``FINDINGS`` are not round numbers but costs: time that requests or workers lose,
bytes that hold nothing of use, calls that fail.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed

from cache_monitor.key_patterns import rule_problems

SETTING = "CACHE_MONITOR"


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


_Rule = _Range | _Choice | _Several


def _whole(least: float, most: float, unit: str = "") -> _Range:
    return _Range(least, most, unit, whole=True)


@dataclass(frozen=True, slots=True)
class StoreConf:
    """Where the statistics are kept: the store's dotted path, None for the default one, and its
    constructor's arguments."""

    backend: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_DAY = 86400.0


# The text below each setting and threshold is its meaning in the tables of the documentation.


@dataclass(frozen=True, slots=True)
class Conf:
    """The settings in force. Times are seconds."""

    enabled: bool = True
    """False instruments nothing and costs nothing."""
    instrument: Literal["all", "explicit"] = "all"
    """`"all"`: every alias; `"explicit"`: only those that name `MonitoredCache`."""
    store: StoreConf = field(default_factory=StoreConf)
    """Where the statistics are kept: `BACKEND` is a dotted path, `OPTIONS` its arguments. Not set:
    a file beside the default database if that is SQLite, otherwise a table in it."""
    flush_interval: Annotated[float, _Range(0.1, 3600, "seconds")] = 10.0
    """Seconds between two writes of a process to the store."""
    buffer_size: Annotated[int, _whole(1000, 10_000_000, "calls")] = 50_000
    """Calls that a process holds until it counts them; more are dropped."""
    hot_keys: Annotated[int, _whole(10, 10_000, "keys")] = 1000
    """Keys whose counts are kept for a cache and a period."""
    key_groups: Mapping[str | re.Pattern[str], str] = field(default_factory=dict)
    """Names for groups of keys: a dict of regular expressions and names."""
    key_sanitizer: str | None = None
    """Dotted path of a function that takes a key and returns what of it is kept."""
    max_key_groups: Annotated[int, _whole(10, 10_000, "groups")] = 200
    """Key groups that are kept; further ones share one."""
    retention: Annotated[float, _Range(3600, 3660 * _DAY, "seconds")] = 30 * _DAY
    """Seconds after which statistics are removed."""
    stale_after: Annotated[float, _Range(1, 3660 * _DAY, "seconds")] = 3600.0
    """Seconds without a read after which an entry is idle."""
    inspect_interval: Annotated[float, _Range(1, _DAY, "seconds")] = 60.0
    """Seconds between two scans of the live caches."""
    scan_limit: Annotated[int, _whole(100, 100_000_000, "entries")] = 100_000
    """Entries that one scan examines at most."""
    scan_seconds: Annotated[float, _Range(0.1, 3600, "seconds")] = 5.0
    """Seconds after which a scan begins nothing more; it waits 2 s for answers still due."""
    refresh_seconds: Annotated[float, _Range(1, 3600, "seconds")] = 5.0
    """Seconds between two refreshes of the dashboard."""
    trace_keys: Annotated[int, _whole(100, 1_000_000, "keys")] = 8192
    """Keys of a cache that are traced: of more, a sample."""
    trace_events: Annotated[float, _Range(1, 1_000_000, "events a second")] = 1000.0
    """Events that are traced a second, of all processes together."""
    trace_bytes: Annotated[int, _whole(1_000_000, 10**12, "bytes a day")] = 500_000_000
    """Bytes that the trace takes in the store a day."""
    trace_kept: Annotated[float, _Range(3600, 30 * _DAY, "seconds")] = _DAY
    """Seconds for which the store keeps the trace."""
    clock_tolerance: Annotated[float, _Range(0.001, 10, "seconds")] = 0.05
    """Seconds by which the clocks of two hosts may differ."""
    findings: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of the [findings](#findings) that differ from the defaults."""
    export_tokens: Annotated[
        Sequence[str],
        _Several("[0-9a-f]{64}", "SHA-256 digests as manage.py cache_token prints them", True),
    ] = ()
    """SHA-256 digests of the tokens of programs that may read the export."""
    exporters: Annotated[
        Sequence[str],
        _Several("opentelemetry|prometheus", "names among 'opentelemetry', 'prometheus'"),
    ] = ()
    """Exports to start: `"opentelemetry"`, `"prometheus"`."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of all rules, in upper case in the settings. Times are seconds."""

    min_calls: Annotated[int, _whole(0, 1e9)] = 100
    """Calls below which figures tell nothing: a ratio of 100 is known to ten points."""
    min_errors: Annotated[int, _whole(0, 1e9)] = 5
    """Failed calls below which it may have been the server's restart."""
    error_share: Annotated[float, _Range(0, 1)] = 0.001
    """The share of calls that may fail: one visitor in a thousand notices."""
    lost_share: Annotated[float, _Range(0, 1)] = 0.01
    """The share of one worker's time that a mistake may cost: 36 seconds an hour."""
    lost_request_seconds: Annotated[float, _Range(0, 60)] = 0.005
    """Seconds that a mistake may cost each request: as long as a database query, of which a quick
    page affords some dozens."""
    assumed_produce_seconds: Annotated[float, _Range(0, 3600)] = 0.005
    """Seconds that a value takes to produce where nobody has measured it: a database query."""
    large_value_bytes: Annotated[int, _whole(0, 1e12)] = 256 * 1024
    """Bytes of one value: 256 KiB take 2 ms on a wire of 1 Gbit/s, each time, and about as long
    again to be unpickled."""
    idle_memory_share: Annotated[float, _Range(0, 1)] = 0.2
    """The share of a cache's entries or bytes that may be dead weight: of every five that it has
    room for, one less is of use."""
    idle_memory_entries: Annotated[int, _whole(0, 1e12)] = 100
    """Entries that may be dead weight: a third of what Django's caches hold at first."""
    idle_memory_bytes: Annotated[int, _whole(0, 1e15)] = 12 * 1024 * 1024
    """Bytes that may be dead weight: a fifth of what memcached holds at first."""
    hot_key_load: Annotated[float, _Range(0, 1000)] = 0.05
    """The share of one core's time that lookups of a single key may take: twenty such keys are all
    that one server can serve."""
    aged_after: Annotated[float, _Range(0, 1e10)] = _DAY
    """Seconds after which a value that is still served is old: yesterday's, to a visitor."""

    @classmethod
    def of(cls, setting: Mapping[str, Any]) -> "Thresholds":
        """Those of a ``setting`` that :func:`problems` finds nothing wrong with."""
        return cls(**{name.lower(): value for name, value in setting.items()})


def defaults() -> dict[str, object]:
    """Every key of ``CACHE_MONITOR`` with its default, as a user would write it."""
    return {
        **{each.name.upper(): getattr(Conf(), each.name) for each in fields(Conf)},
        "STORE": None,
    }


def _rule(setting: "Field[Any]") -> _Rule | None:
    """What a value must be; None where that takes more than a number or a choice."""
    if setting.type is bool:
        return _Choice((True, False))
    match get_args(setting.type):
        case (_, _Range() | _Several() as rule):
            return rule
        case (str(), *_) as choices:
            return _Choice(choices)
    return None


_RULES = {each.name.upper(): rule for each in fields(Conf) if (rule := _rule(each))}
THRESHOLDS = {each.name.upper(): each for each in fields(Thresholds)}
"""By their names in ``CACHE_MONITOR["FINDINGS"]``."""
_STORE_EXAMPLE = (
    'Write "STORE": {"BACKEND": "cache_monitor.stores.sqlite.SQLiteStore", "OPTIONS": {"PATH": '
    '"/…/statistics.sqlite3"}}, or leave it out.'
)


class Problem(NamedTuple):
    """Something in the user's setting that cannot be used, and what to write instead."""

    key: str
    message: str
    hint: str


def problems(value: object) -> Iterator[Problem]:
    """What is wrong with ``value`` as the ``CACHE_MONITOR`` setting."""
    if not isinstance(value, Mapping):
        yield Problem("", f"{SETTING} must be a dict, not {type(value).__name__}.", "Write {}.")
        return
    known = sorted([*_RULES, *_PROBLEMS])
    for key, each in value.items():
        if key not in known:
            yield Problem(str(key), f"{SETTING} has no key {key!r}.", _instead_of(key, known))
        elif key in _PROBLEMS:
            for message, hint in _PROBLEMS[key](each):
                yield Problem(key, f"{SETTING}[{key!r}]{message}", hint)
        elif not (rule := _RULES[key]).accepts(each):
            is_secret = isinstance(rule, _Several) and rule.secret
            wrong = "cannot be used" if is_secret else f"is {each!r}"
            hint = f"Write {rule} (default: {defaults()[key]!r})."
            yield Problem(key, f"{SETTING}[{key!r}] {wrong}.", hint)


def _instead_of(name: object, known: Sequence[str]) -> str:
    """What to write for an unknown ``name``."""
    [meant] = get_close_matches(str(name).upper(), known, n=1) or [""]
    if meant:
        return f"Write {meant}, if that is what is meant."
    return f"Remove it, or write one of: {', '.join(known)}."


_Wrong = Iterator[tuple[str, str]]
"""What is wrong with a key's value, in words that follow the key, and what to write instead."""


def _group_problems(value: object) -> _Wrong:
    for problem in rule_problems(value):
        yield f" {problem.message}", problem.hint


def _finding_problems(value: object) -> _Wrong:
    if not isinstance(value, Mapping):
        yield (
            f" is {value!r}, not a dict.",
            'Write a dict of thresholds such as {"LARGE_VALUE_BYTES": 1_000_000}.',
        )
        return
    for name, number in value.items():
        if name not in THRESHOLDS:
            yield f" has no threshold {name!r}.", _instead_of(name, [*THRESHOLDS])
            continue
        threshold = THRESHOLDS[name]
        rule = _rule(threshold)
        if rule is not None and not rule.accepts(number):
            yield f"[{name!r}] is {number!r}.", f"Write {rule} (default: {threshold.default!r})."


def _sanitizer_problems(value: object) -> _Wrong:
    if value is not None and not (isinstance(value, str) and "." in value):
        yield (
            f" is {value!r}.",
            'Write the dotted path of a function, such as "shop.keys.without_mail_addresses".',
        )


def _store_problems(value: object) -> _Wrong:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield f" is {value!r}, not a dict.", _STORE_EXAMPLE
        return
    unknown = sorted(str(key) for key in value if key not in {"BACKEND", "OPTIONS"})
    if unknown:
        yield f" has no key {', '.join(map(repr, unknown))}.", _STORE_EXAMPLE
    if "BACKEND" in value and not isinstance(value["BACKEND"], str):
        yield "['BACKEND'] must be a dotted path.", _STORE_EXAMPLE
    if not isinstance(value.get("OPTIONS", {}), Mapping):
        yield "['OPTIONS'] must be a dict.", _STORE_EXAMPLE


_PROBLEMS: Mapping[str, Callable[[object], _Wrong]] = {
    "FINDINGS": _finding_problems,
    "KEY_GROUPS": _group_problems,
    "KEY_SANITIZER": _sanitizer_problems,
    "STORE": _store_problems,
}
"""For each key that is more than a number or a choice, what finds its problems."""


@cache
def get_conf() -> Conf:
    """The settings in force, read once and again after ``override_settings``.

    A part that cannot be used keeps its default: ``manage.py check`` names what is wrong, and a
    running site must not fall over it.
    """
    value = getattr(settings, SETTING, {})
    if not isinstance(value, Mapping):
        return Conf()
    bad = {problem.key for problem in problems(value)}
    used = {key: each for key, each in value.items() if str(key) not in bad}
    store = used.pop("STORE", None) or {}
    return Conf(
        **{key.lower(): each for key, each in used.items()},
        store=StoreConf(store.get("BACKEND"), store.get("OPTIONS", {})),
    )


EXPLICIT = "cache_monitor.backends.MonitoredCache"
"""The backend that says of one cache that it is recorded."""


def backend_path(alias: str) -> str:
    """The dotted path of the backend of ``alias``: the real one where it is wrapped."""
    entry = settings.CACHES[alias]
    path = entry.get("BACKEND")
    return str(entry.get("WRAPS") if path == EXPLICIT else path)


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
forget_on_change((SETTING,), get_conf.cache_clear)

_Made = TypeVar("_Made")


class _NotReady(Exception):
    """The settings or apps are not ready yet; they may be later."""


def kept_until_change(
    *names: str, before: Any, of_apps: bool = False
) -> Callable[[Callable[[], _Made]], Callable[[], _Made]]:
    """Cache a function until one of the settings ``names`` changes. While there are no settings, or
    no models where it is ``of_apps``, it is not called, and the result is ``before``."""

    def decorate(make: Callable[[], _Made]) -> Callable[[], _Made]:
        @cache
        def kept() -> _Made:
            if not settings.configured or (of_apps and not apps.ready):
                raise _NotReady
            return make()

        def get() -> _Made:
            try:
                return kept()
            except _NotReady:
                return before  # type: ignore[no-any-return]  # one of the results

        forget_on_change(names, kept.cache_clear)
        return get

    return decorate
