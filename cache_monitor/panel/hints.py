"""What a request could do better with its caches: rules over the rows of its calls.

The codes are those of the site's findings. Each rule is a function of a :class:`HintContext`. A
hint has the places of its calls, for their line of code, and its figures. A sensible request gives
none: a wrong hint costs the trust in all others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from cache_monitor.calls import LOOKUPS
from cache_monitor.conf import Thresholds
from cache_monitor.panel.request import CallRow
from cache_monitor.stats.access_patterns import MANY_REPEATS, Runs, changes_unknown_entries, loops

Code = Literal["repeated-gets", "single-gets", "large-values", "never-read", "key-explosion"]

UNREAD_MILLISECONDS = 20.0
"""Time in which another request could use a value."""
MANY_UNREAD_SETS = 5
"""Writes of a group without a use of it, by the site in the last hour."""

_SETS = frozenset({"set", "set_many"})
_UNDOING = _SETS | {"delete", "delete_many"}

_Calls = dict[tuple[str, str], list[int]]
"""Places in the rows, by alias and key or group."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the whole site did with a key group lately: how often it wrote, and how often it looked
    up or used an entry in another way."""

    sets: int
    uses: int


@dataclass(frozen=True, slots=True)
class HintContext:
    """One request: its rows, and for each its caller, equal for calls from one line of code.

    ``varies_by_cookie`` is of the response, ``usage`` by alias and group, ``limits`` those of the
    findings.
    """

    rows: Sequence[CallRow]
    callers: Sequence[object]
    varies_by_cookie: bool = False
    usage: Mapping[tuple[str, str], Usage] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class HintEvidence:
    """The figures of a hint: the time of a single get, the bytes of a large value, how many writes
    were ``replaced`` unread, how many ``sets`` of the group the site made."""

    milliseconds_a_get: float | None = None
    bytes: int | None = None
    replaced: int | None = None
    sets: int | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to change. ``calls`` are places in the rows; ``what`` is the key or the group.

    ``saves`` is in milliseconds a request, None where unknown.
    """

    code: Code
    alias: str
    what: str
    calls: tuple[int, ...]
    saves: float | None = None
    evidence: HintEvidence = field(default_factory=HintEvidence)


Rule = Callable[[HintContext], Iterator[Hint]]


def hints(context: HintContext) -> list[Hint]:
    """All hints, those that save the most first."""
    found = [hint for rule in _RULES for hint in rule(context)]
    return sorted(found, key=lambda hint: -(hint.saves or 0.0))


def repeated_gets(context: HintContext) -> Iterator[Hint]:
    """The same entry was looked up again, unchanged."""
    longest: dict[int, list[int]] = {}
    for entry, calls in _runs(context.rows):
        if len(calls) > len(longest.get(entry, ())):
            longest[entry] = calls
    for entry, calls in longest.items():
        if len(calls) >= MANY_REPEATS:
            row = context.rows[calls[0]]
            what = next(each["key"] for each in row["keys"] if each["id"] == entry)
            again = sum(context.rows[call]["milliseconds"] for call in calls[1:])
            yield Hint("repeated-gets", row["alias"], what, tuple(calls), again)


def _runs(rows: Sequence[CallRow]) -> list[tuple[int, list[int]]]:
    """Each entry, by its id, with the calls of one of its runs."""
    found: list[tuple[int, list[int]]] = []
    runs: Runs[int] = Runs()
    calls: dict[int, list[int]] = {}
    alias_of: dict[int, str] = {}
    for number, row in enumerate(rows):
        operation, alias, keys = row["operation"], row["alias"], row["keys"]
        if row["error"] is not None:
            continue
        if operation in LOOKUPS:
            for entry, each in {each["id"]: each for each in keys}.items():
                alias_of[entry] = alias
                if runs.look_up(entry, operation, each["hit"]) == 1:
                    calls[entry] = []
                    found.append((entry, calls[entry]))
                calls[entry].append(number)
            continue
        # Of the keys of a large call some are not in its row.
        names_all = bool(keys) and not row["more_keys"]
        if changes_unknown_entries(operation, names_all):
            written = [entry for entry in runs.entries() if alias_of[entry] == alias]
        else:
            written = [each["id"] for each in keys]
        for entry in written:
            runs.write(entry, operation)
    return found


def single_gets(context: HintContext) -> Iterator[Hint]:
    """Different keys of one group were got one by one, where one ``get_many`` would do.

    Where the line of code is known, it must be the same.
    """
    firsts: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(context.rows):
        if row["operation"] == "get" and row["error"] is None:
            each = row["keys"][0]
            if each["kind"] == "key":
                loop = (row["alias"], row["version"], each["group"], context.callers[number])
                firsts.setdefault((*loop, each["id"]), number)
    singles = ((loop, number) for (*loop, _), number in firsts.items())
    for (alias, _, group, _), calls in loops((tuple(loop), number) for loop, number in singles):
        trip = median(context.rows[call]["milliseconds"] for call in calls)
        saves = trip * (len(calls) - 1)
        evidence = HintEvidence(milliseconds_a_get=trip)
        yield Hint("single-gets", str(alias), str(group), tuple(sorted(calls)), saves, evidence)


def large_values(context: HintContext) -> Iterator[Hint]:
    """A value is so large that moving it takes long each time."""
    found: _Calls = {}
    limit = context.limits.large_value_bytes
    for number, row in enumerate(context.rows):
        # Of several keys only the sum is known.
        keys = len(row["keys"]) + row["more_keys"]
        if row["bytes"] is not None and keys and row["bytes"] / keys > limit:
            found.setdefault((row["alias"], row["keys"][0]["group"]), []).append(number)
    for (alias, group), calls in found.items():
        largest = max(calls, key=lambda call: context.rows[call]["bytes"] or 0)
        row = context.rows[largest]
        what = row["keys"][0]["key"] if len(row["keys"]) == 1 else group
        rest = tuple(call for call in calls if call != largest)
        yield Hint(
            "large-values", alias, what, (largest, *rest), None, HintEvidence(bytes=row["bytes"])
        )


def page_varies_by_cookie(context: HintContext) -> Iterator[Hint]:
    """A page is cached for each cookie: each visitor gets an entry of their own."""
    if not context.varies_by_cookie:
        return
    found: _Calls = {}
    for number, row in enumerate(context.rows):
        for each in row["keys"]:
            if each["kind"] == "page" and row["error"] is None:
                what = each["route"] or each["group"]
                found.setdefault((row["alias"], what), []).append(number)
    for (alias, what), calls in found.items():
        yield Hint("key-explosion", alias, what, tuple(calls))


def replaced_unread(context: HintContext) -> Iterator[Hint]:
    """A value was replaced or deleted unread by the same request."""
    unread: dict[int, int] = {}
    wasted: _Calls = {}
    for number, row in enumerate(context.rows):
        for each in row["keys"]:
            before = unread.pop(each["id"], None)
            if before is not None and _undoes(row, context.rows[before]):
                wasted.setdefault((row["alias"], each["key"]), []).append(before)
            if row["operation"] in _SETS and each["kind"] == "key":
                unread[each["id"]] = number
    for (alias, key), calls in wasted.items():
        took = sum(context.rows[call]["milliseconds"] for call in calls)
        yield Hint("never-read", alias, key, tuple(calls), took, HintEvidence(replaced=len(calls)))


def _undoes(row: CallRow, write: CallRow) -> bool:
    is_at_once = row["at"] - write["at"] < UNREAD_MILLISECONDS
    return is_at_once and row["operation"] in _UNDOING and row["error"] is None


def unused_by_site(context: HintContext) -> Iterator[Hint]:
    """A value was written of a group that the whole site never uses."""
    written: _Calls = {}
    for number, row in enumerate(context.rows):
        if row["operation"] in _SETS and row["keys"] and row["keys"][0]["kind"] == "key":
            written.setdefault((row["alias"], row["keys"][0]["group"]), []).append(number)
    used = {
        (row["alias"], each["group"])
        for row in context.rows
        if row["operation"] not in _UNDOING
        for each in row["keys"]
    }
    for group, calls in written.items():
        usage = context.usage.get(group)
        if group in used or usage is None:
            continue
        if usage.uses == 0 and usage.sets >= MANY_UNREAD_SETS:
            took = sum(context.rows[call]["milliseconds"] for call in calls)
            yield Hint("never-read", *group, tuple(calls), took, HintEvidence(sets=usage.sets))


_RULES: tuple[Rule, ...] = (
    *(repeated_gets, single_gets, large_values),
    *(replaced_unread, unused_by_site, page_varies_by_cookie),
)
