"""What a request could do better with its caches: rules over the rows of its calls.

The codes are those of the site's findings. Each rule is a function of a
:class:`HintContext`; each hint
names the calls by their place in the list, so that the line of code can be told, and the figures
that it rests on. What a sensible request does gives no hint: one that is wrong costs the trust in
all others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from cache_monitor.thresholds import Thresholds
from cache_monitor.toolbar.rows import CallRow
from cache_monitor.worker.access_patterns import (
    MANY_REPEATS,
    Runs,
    changes_unknown_entries,
    is_lookup,
    loops,
)

Code = Literal["repeated-gets", "single-gets", "large-values", "never-read", "key-explosion"]

UNREAD_MILLISECONDS = 20.0
"""How long a value must have stood for another request to have had the use of it."""
MANY_UNREAD_SETS = 5
"""Writes of a group without a single lookup of it, by all of the site in the last hour."""

_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_READS = _LOOKUPS | {"has_key"}
_SETS = frozenset({"set", "set_many"})
_UNDOING = _SETS | {"delete", "delete_many"}

Caller = Callable[[int | None], object]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the whole site did with a key group lately."""

    sets: int
    lookups: int


@dataclass(frozen=True, slots=True)
class HintContext:
    """One request: its rows, who made each call, and what is known beside them.

    ``callers`` has for each row something that is the same for calls from one line of code.
    ``varies_by_cookie`` tells it of the response. ``usage`` is by alias and group, ``limits`` are
    those of the site's findings.
    """

    rows: Sequence[CallRow]
    callers: Sequence[object]
    varies_by_cookie: bool = False
    usage: Mapping[tuple[str, str], Usage] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to change. ``calls`` are places in the rows; ``what`` is the key or the group.

    ``saves`` is the milliseconds that a request would get back, None where that is not measured.
    ``evidence`` has the figures behind it.
    """

    code: Code
    alias: str
    what: str
    calls: tuple[int, ...]
    saves: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[HintContext], Iterator[Hint]]


def hints(case: HintContext) -> list[Hint]:
    """All hints, those that save the most first."""
    found = [hint for rule in RULES for hint in rule(case)]
    return sorted(found, key=lambda hint: -(hint.saves or 0.0))


def repeated_gets(case: HintContext) -> Iterator[Hint]:
    """The same entry was looked up again and again, and nobody had changed it meanwhile."""
    longest: dict[int, list[int]] = {}
    for entry, calls in _runs(case.rows):
        if len(calls) > len(longest.get(entry, ())):
            longest[entry] = calls
    for entry, calls in longest.items():
        if len(calls) >= MANY_REPEATS:
            row = case.rows[calls[0]]
            what = next(each["key"] for each in row["keys"] if each["id"] == entry)
            again = sum(case.rows[call]["milliseconds"] for call in calls[1:])
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
        if is_lookup(operation):
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


def single_gets(case: HintContext) -> Iterator[Hint]:
    """Different keys of one group were got one by one, where one ``get_many`` would do.

    Where the line of code is known, it must be the same.
    """
    firsts: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(case.rows):
        if row["operation"] == "get" and row["error"] is None:
            each = row["keys"][0]
            if each["kind"] == "key":
                loop = (row["alias"], row["version"], each["group"], case.callers[number])
                firsts.setdefault((*loop, each["id"]), number)
    singles = ((loop, number) for (*loop, _), number in firsts.items())
    for (alias, _, group, _), calls in loops((tuple(loop), number) for loop, number in singles):
        trip = median(case.rows[call]["milliseconds"] for call in calls)
        saves = trip * (len(calls) - 1)
        evidence = {"milliseconds_a_get": trip}
        yield Hint("single-gets", str(alias), str(group), tuple(sorted(calls)), saves, evidence)


def large_values(case: HintContext) -> Iterator[Hint]:
    """A value is so large that moving it takes long each time."""
    found: dict[tuple[str, str], list[int]] = {}
    limit = case.limits.large_value_bytes
    for number, row in enumerate(case.rows):
        # Of several keys only the sum is known; that they are many makes none of them large.
        keys = len(row["keys"]) + row["more_keys"]
        if row["bytes"] is not None and keys and row["bytes"] / keys > limit:
            found.setdefault((row["alias"], row["keys"][0]["group"]), []).append(number)
    for (alias, group), calls in found.items():
        largest = max(calls, key=lambda call: int(case.rows[call]["bytes"]))
        row = case.rows[largest]
        what = row["keys"][0]["key"] if len(row["keys"]) == 1 else group
        rest = tuple(call for call in calls if call != largest)
        yield Hint("large-values", alias, what, (largest, *rest), None, {"bytes": row["bytes"]})


def never_read(case: HintContext) -> Iterator[Hint]:
    """A value was written for nobody: replaced or deleted unread by the same request, or of a
    group that the whole site writes and never looks up."""
    yield from _replaced_unread(case)
    yield from _written_for_nobody(case)


def page_varies_by_cookie(case: HintContext) -> Iterator[Hint]:
    """A page is cached anew for each cookie: each visitor gets, and fills, an entry of his own."""
    if not case.varies_by_cookie:
        return
    found: dict[tuple[str, str], list[int]] = {}
    for alias, what, number in _pages(case):
        found.setdefault((alias, what), []).append(number)
    for (alias, what), calls in found.items():
        yield Hint("key-explosion", alias, what, tuple(calls))


RULES: tuple[Rule, ...] = (
    repeated_gets,
    single_gets,
    large_values,
    never_read,
    page_varies_by_cookie,
)


def _replaced_unread(case: HintContext) -> Iterator[Hint]:
    unread: dict[int, int] = {}
    wasted: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(case.rows):
        for each in row["keys"]:
            before = unread.pop(each["id"], None)
            if before is not None and _undoes(row, case.rows[before]):
                wasted.setdefault((row["alias"], each["key"]), []).append(before)
            if row["operation"] in _SETS and each["kind"] == "key":
                unread[each["id"]] = number
    for (alias, key), calls in wasted.items():
        took = sum(case.rows[call]["milliseconds"] for call in calls)
        yield Hint("never-read", alias, key, tuple(calls), took, {"replaced": len(calls)})


def _undoes(row: CallRow, write: CallRow) -> bool:
    is_at_once = row["at"] - write["at"] < UNREAD_MILLISECONDS
    return is_at_once and row["operation"] in _UNDOING and row["error"] is None


def _written_for_nobody(case: HintContext) -> Iterator[Hint]:
    written: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(case.rows):
        if row["operation"] in _SETS and row["keys"] and row["keys"][0]["kind"] == "key":
            written.setdefault((row["alias"], row["keys"][0]["group"]), []).append(number)
    read = {
        (row["alias"], each["group"])
        for row in case.rows
        if row["operation"] in _READS
        for each in row["keys"]
    }
    for group, calls in written.items():
        usage = case.usage.get(group)
        if group in read or usage is None:
            continue
        if usage.lookups == 0 and usage.sets >= MANY_UNREAD_SETS:
            took = sum(case.rows[call]["milliseconds"] for call in calls)
            yield Hint("never-read", *group, tuple(calls), took, {"sets": usage.sets})


def _pages(case: HintContext) -> Iterator[tuple[str, str, int]]:
    for number, row in enumerate(case.rows):
        for each in row["keys"]:
            if each["kind"] == "page" and row["error"] is None:
                yield row["alias"], each["route"] or each["group"], number
