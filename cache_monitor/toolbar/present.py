"""The panel's template context, from a request in the toolbar's store."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cache_monitor import page_cache
from cache_monitor.conf import Thresholds, get_conf
from cache_monitor.keys.grouping import shortened
from cache_monitor.reports.keys import REASON_WORDS
from cache_monitor.stacks import CodeLine, StackRenderer, place_of
from cache_monitor.toolbar import site
from cache_monitor.toolbar.hints import Hint, HintContext, hints
from cache_monitor.toolbar.request import CallRow, KeyRow, PageRow, RequestRows
from cache_monitor.toolbar.site import Places, SiteStats
from cache_monitor.toolbar.timeline import Group, colour_of, computed_in, saved, timelines

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
            else gettext("It is stored now, for %(seconds)s s.") % {"seconds": _whole(page["ttl"])}
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
        "age": _whole(page["age"])
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
    moments = {"time": _number(row["milliseconds"], 3), "at": _number(row["at"], 2)}
    parts.append(gettext("%(time)s ms, at %(at)s ms") % moments)
    return " · ".join(parts)


def _share(part: float, whole: float) -> float | None:
    """Per cent; more than 100 where calls were made at the same time."""
    return 100 * part / whole if part and whole else None


def _whole(value: float) -> str:
    return number_format(round(value), force_grouping=True)


def _number(value: float, places: int) -> str:
    # number_format() does not round.
    return number_format(round(value, places), places)


def _signed(value: float | None) -> str | None:
    if value is None:
        return None
    rounded = round(value, 2)
    sign = "\N{MINUS SIGN}" if rounded < 0 else ""
    return sign + number_format(abs(rounded), 2, force_grouping=True)


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
