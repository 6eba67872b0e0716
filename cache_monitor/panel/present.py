"""The panel's template context, from a request in the toolbar's store: its page's outcome, its
calls, hints, and its time: the calls as bars on an axis, with the computing after misses."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cache_monitor import page_cache
from cache_monitor.conf import Thresholds, get_conf
from cache_monitor.dashboard import formats
from cache_monitor.keys.grouping import shortened
from cache_monitor.listeners import DELETES, WRITES
from cache_monitor.panel import site
from cache_monitor.panel.hints import Hint, HintContext, hints
from cache_monitor.panel.request import CallRow, KeyRow, PageRow, RequestRows
from cache_monitor.panel.site import Group, Places, SiteStats, computed_in, saved
from cache_monitor.stacks import CodeLine, StackRenderer, place_of
from cache_monitor.trace.miss_reasons import REASON_WORDS

KEY_LENGTH = 80
"""Characters of a key that a row shows; up to 250 are in its title."""
SHOWN_TRACE_LINES = 1000
"""All stacks of a request together; each shows five lines at least."""
LEAST_TRACE_LINES = 5
TITLE_KEY_LENGTH = 60
NAMED_CALLS = 12
"""Calls that a hint names by their numbers."""

REASONS: Mapping[str, Promise] = {**REASON_WORDS, "unknown": _("reason unknown")}
_WORDS: Mapping[str, Promise] = {"hit": _("hit"), "miss": _("miss")}


def page_sentences(
    page: PageRow, rows: Sequence[CallRow], reasons: Places, words: Mapping[str, Promise]
) -> Iterator[str]:
    """The outcome of a page for the panel; ``words`` are those for the reasons of misses."""
    if page["fetch"] == "hit":
        yield _served(page)
        return
    if page["fetch"] == "miss" and page["missed"] is not None:
        yield gettext("This page was not served from the cache.")
        yield page_cache.missed(page["missed"], tuple(page["varies"]), page["detail"])
        if page["missed"] != "other_key" and (reason := _reason(page, rows, reasons)):
            yield gettext("Why: %(reason)s.") % {"reason": words[reason]}
    yield from _stored(page)


def _stored(page: PageRow) -> Iterator[str]:
    if page["stored"]:
        yield (
            gettext("It is stored now.")
            if page["ttl"] is None
            else gettext("It is stored now, for %(seconds)s s.")
            % {"seconds": formats.count(round(page["ttl"]))}
        )
    elif page["stored"] is False:
        yield gettext("It was not stored.")
        if page["reason"] is not None:
            yield page_cache.not_stored(page["reason"], page["detail"])
    if page["unvaried"]:
        yield page_cache.unvaried(page["unvaried"])
    elif page["cause"]:
        yield page_cache.cause(page["cause"])


def _served(page: PageRow) -> str:
    if page["age"] is None:
        return gettext("This page was served from the cache.")
    return gettext("This page was served from the cache, %(age)s s after it was stored.") % {
        "age": formats.count(round(page["age"]))
    }


def _reason(page: PageRow, rows: Sequence[CallRow], reasons: Places) -> str | None:
    """The reason of the page's last miss, where known."""
    for number in range(len(rows) - 1, -1, -1):
        for place, each in enumerate(rows[number]["keys"]):
            if each["hit"] is False and each["key"] == page["key"]:
                return reasons.get((number, place))
    return None


@dataclass(frozen=True, slots=True)
class KeyView:
    """One key of a call. ``title`` is empty where ``text`` is all of it."""

    text: str
    title: str
    label: str
    hit: bool | None
    reason: Promise | None


@dataclass(frozen=True, slots=True)
class CallView:
    """One call; ``same_as`` is the number of an earlier call with the same ``trace``."""

    number: int
    row: CallRow
    colour: str
    outcomes: str
    keys: Sequence[KeyView]
    caller: CodeLine | None
    trace: Sequence[CodeLine]
    same_as: int | None


@dataclass(frozen=True, slots=True)
class HintView:
    """A hint with the numbers of its calls and the line that made them."""

    hint: Hint
    numbers: Sequence[int]
    more: int
    place: CodeLine | None


class RequestReport:
    """What is known of one request by now."""

    def __init__(self, request_rows: RequestRows, hidden: Sequence[str]) -> None:
        self.request_rows = request_rows
        self.rows = request_rows["calls"]
        self._traces = StackRenderer(request_rows["stacks"], hidden)
        self._callers = [self._traces.caller(row["stack"]) for row in self.rows]

    def context(self, reasons: Places, site_stats: SiteStats, most: int) -> dict[str, Any]:
        """The templates' context, with ``most`` calls."""
        rows = self.rows[:most]
        calls = list(self._calls(rows, reasons))
        total = self.request_rows["total"]
        savings = saved(self.rows, self._means(site_stats), site_stats.key_means)
        return {
            **self.request_rows,
            "total": {
                **total,
                "share_percent": _share(total["milliseconds"], total["request_milliseconds"]),
            },
            "saved": savings,
            "saved_text": _signed(savings.milliseconds),
            "reasons": [
                (REASONS[reason], count)
                for reason, count in sorted(Counter(reasons.values()).items())
            ],
            "hints": list(self._hints(site_stats)),
            "pages": [
                list(page_sentences(row, rows, reasons, REASONS))
                for row in self.request_rows["pages"]
            ],
            "timelines": timelines(
                rows, [_title(call) for call in calls], total["request_milliseconds"]
            ),
            "calls": calls,
            "shown_calls": len(rows),
            "kept_calls": len(self.rows),
            "aliases": _distinct(row["alias"] for row in rows),
            "operations": _distinct(row["operation"] for row in rows),
            "outcomes": _distinct(word for row in rows for word in _outcomes(row)),
        }

    def _means(self, site_stats: SiteStats) -> dict[Group, float]:
        """The nearest known: of this process, this request, the site."""
        here = site.RecentComputeTimes()
        here.learn(computed_in(self.rows))
        return {**site_stats.means, **here.means(), **site.compute_times.means()}

    def _hints(self, site_stats: SiteStats) -> Iterator[HintView]:
        lines = [place and (place.path, place.line) for place in self._callers]
        limits = Thresholds.of(get_conf().findings)
        case = HintContext(
            self.rows, lines, self.request_rows["varies_by_cookie"], site_stats.usage, limits
        )
        for hint in hints(case):
            numbers = [call + 1 for call in hint.calls]
            yield HintView(
                hint, numbers[:NAMED_CALLS], len(numbers[NAMED_CALLS:]), self._place_of(hint)
            )

    def _place_of(self, hint: Hint) -> CodeLine | None:
        """The line of most of its calls."""
        place = Counter(self._callers[call] for call in hint.calls).most_common(1)[0][0]
        if (
            hint.code == "key-explosion"
            and self.request_rows["view"]
            and not (place and place.is_project)
        ):
            # A decorator called: the view below it can be changed.
            return place_of(self.request_rows["view"])
        return place

    def _calls(self, rows: Sequence[CallRow], reasons: Places) -> Iterator[CallView]:
        room = SHOWN_TRACE_LINES
        first: dict[int, int] = {}
        for number, row in enumerate(rows, 1):
            trace: Sequence[CodeLine] = ()
            stack = row["stack"]
            same_as = None if stack is None else first.setdefault(stack, number)
            if stack is not None and same_as == number:
                trace = self._traces.trace(stack)[: max(room, LEAST_TRACE_LINES)]
                room -= len(trace)
            yield CallView(
                number=number,
                row=row,
                colour=colour_of(row),
                outcomes=" ".join(_outcomes(row)),
                keys=list(_keys(number - 1, row, reasons)),
                caller=self._callers[number - 1],
                trace=trace,
                same_as=None if same_as == number else same_as,
            )


def _keys(number: int, row: CallRow, reasons: Places) -> Iterator[KeyView]:
    for place, each in enumerate(row["keys"]):
        reason = None
        if each["hit"] is False:
            reason = REASONS[reasons.get((number, place), "unknown")]
        text = shortened(each["key"], KEY_LENGTH)
        title = "" if text == each["key"] else each["key"]
        yield KeyView(text, title, _label(each), each["hit"], reason)


def _title(call: CallView) -> str:
    """The title of a call's bar in the timeline."""
    row = call.row
    first = shortened(row["keys"][0]["key"], TITLE_KEY_LENGTH) if row["keys"] else ""
    parts = [f"#{call.number} {row['operation']} {first}".rstrip()]
    more = len(row["keys"]) + row["more_keys"] - 1
    if more > 0:
        parts[0] += f" (+{more})"
    if row["interrupted"]:
        parts.append(gettext("interrupted by %(error)s") % {"error": row["error"]})
    elif row["error"] is not None:
        parts.append(gettext("raised %(error)s") % {"error": row["error"]})
    else:
        parts += [str(_WORDS[word]) for word in call.outcomes.split() if word in _WORDS]
    moments = {
        "time": formats.rounded(row["milliseconds"], 3),
        "at": formats.rounded(row["at"], 2),
    }
    parts.append(gettext("%(time)s ms, at %(at)s ms") % moments)
    return " · ".join(parts)


def _share(part: float, whole: float) -> float | None:
    """Per cent; more than 100 where calls were made at the same time."""
    return 100 * part / whole if part and whole else None


def _signed(value: float | None) -> str | None:
    if value is None:
        return None
    sign = formats.MINUS if round(value, 2) < 0 else ""
    return sign + formats.rounded(abs(value), 2)


def _label(each: KeyRow) -> str:
    """The label below a key; empty where it repeats the key."""
    if each["route"] is not None and "{hash}" in each["group"]:
        # The key has a digest of its page, whose route this request knows.
        text = _("page %(route)s") if each["kind"] == "page" else _("page headers %(route)s")
        return str(text) % {"route": each["route"]}
    return "" if each["group"] == each["key"] else str(each["group"])


def _outcomes(row: CallRow) -> Iterator[str]:
    """The words that a call is filtered by: a ``get_many`` may have both hits and misses."""
    failed = row["error"] is not None and not row["interrupted"]
    if failed:
        yield "error"
    if row["hits"]:
        yield "hit"
    if row["misses"]:
        yield "miss"
    if not (failed or row["hits"] or row["misses"]):
        yield colour_of(row)


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


Colour = Literal["hit", "miss", "write", "error", "other"]

NARROWEST = 0.15
"""Per cent of the axis: a bar must be visible and clickable."""
CROWDED = 0.25
"""Where all calls are within this share of the request, that part is enlarged."""
TICKS = 5
_SHORTEST = 1e-3


@dataclass(frozen=True, slots=True)
class CallBar:
    """A call, or the work after a miss; ``x`` and ``width`` are per cent of the axis.

    ``number`` is the call's in the list, from 1.
    """

    number: int
    colour: Colour
    x: float
    width: float
    milliseconds: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One cache's calls, and the ``work`` to produce missed values."""

    alias: str
    bars: Sequence[CallBar]
    work: Sequence[CallBar]


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis; ``anchor`` is SVG's ``text-anchor``."""

    x: float
    milliseconds: float
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A part of a request, in milliseconds from its start; ``enlarged`` is the part that another
    timeline enlarges."""

    begins: float
    ends: float
    lanes: Sequence[Lane]
    enlarged: CallBar | None = None

    @property
    def places(self) -> str:
        """The decimal places of the ticks, for ``floatformat``."""
        length = self.ends - self.begins
        return "0g" if length >= 100 else "1g" if length >= 10 else "2g"

    @property
    def ticks(self) -> list[Tick]:
        last = TICKS - 1
        length = self.ends - self.begins
        anchors: dict[int, Literal["start", "end"]] = {0: "start", last: "end"}
        return [
            Tick(100 * each / last, self.begins + length * each / last, anchors.get(each, "middle"))
            for each in range(TICKS)
        ]


def colour_of(row: CallRow) -> Colour:
    """The outcome of a call; a ``get_many`` that missed some keys is a miss."""
    if row["interrupted"]:
        return "other"
    if row["error"] is not None:
        return "error"
    if row["misses"]:
        return "miss"
    if row["hits"]:
        return "hit"
    return "write" if row["operation"] in WRITES | DELETES else "other"


def timelines(rows: Sequence[CallRow], titles: Sequence[str], ends: float) -> list[Timeline]:
    """The whole request of ``ends`` milliseconds, and its calls enlarged where they are close
    together."""
    if not rows:
        return []
    first = min(row["at"] for row in rows)
    last = max(_end(row) for row in rows)
    whole = _Axis(0.0, max(ends, last, _SHORTEST))
    if last - first > CROWDED * whole.length or len(rows) < 2:
        return [_timeline(rows, titles, whole)]
    part = _Axis(first, max(last - first, _SHORTEST))
    enlarged = whole.bar(0, "other", part.begins, part.length)
    return [_timeline(rows, titles, whole, enlarged), _timeline(rows, titles, part)]


def _timeline(
    rows: Sequence[CallRow], titles: Sequence[str], axis: "_Axis", enlarged: CallBar | None = None
) -> Timeline:
    calls: dict[str, list[CallBar]] = {row["alias"]: [] for row in rows}
    work: dict[str, list[CallBar]] = {alias: [] for alias in calls}
    missed: dict[tuple[str, int | str], int] = {}
    for number, (row, title) in enumerate(zip(rows, titles, strict=True), 1):
        bar = axis.bar(number, colour_of(row), row["at"], row["milliseconds"], title)
        calls[row["alias"]].append(bar)
        missed |= {_entry(row, each): number for each in row["keys"] if each["hit"] is False}
        if row["computed"]:
            filled = (_entry(row, each) for each in row["keys"] if each["computed"] is not None)
            miss = next((missed[each] for each in filled if each in missed), number)
            begun = row["at"] - row["computed"]
            if row["produced"] is not None:
                begun = row["at"] + row["milliseconds"]
            work[row["alias"]].append(axis.bar(miss, "miss", begun, row["computed"]))
    lanes = [Lane(alias, calls[alias], work[alias]) for alias in calls]
    return Timeline(axis.begins, axis.begins + axis.length, lanes, enlarged)


@dataclass(frozen=True, slots=True)
class _Axis:
    begins: float
    length: float

    def bar(self, number: int, colour: Colour, at: float, took: float, title: str = "") -> CallBar:
        width = min(max(100 * took / self.length, NARROWEST), 100.0)
        x = min(max(100 * (at - self.begins) / self.length, 0.0), 100.0 - width)
        return CallBar(number, colour, round(x, 3), round(width, 3), took, title)


def _entry(row: CallRow, each: KeyRow) -> tuple[str, int | str]:
    """The same for a miss and the write that fills it: a page, or the list of its headers."""
    return row["alias"], each["id"] if each["route"] is None else each["route"]


def _end(row: CallRow) -> float:
    return float(row["at"] + row["milliseconds"] + (row["produced"] or 0.0))
