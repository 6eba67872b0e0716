"""The panel's template context, from a request in the toolbar's store."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cache_monitor.conf import Thresholds, get_conf
from cache_monitor.keys.display import shortened
from cache_monitor.stacks import CodeLine, StackRenderer, place_of
from cache_monitor.toolbar import savings
from cache_monitor.toolbar.hints import Hint, HintContext, hints
from cache_monitor.toolbar.reasons import Places, summed
from cache_monitor.toolbar.request import CallRow, KeyRow
from cache_monitor.toolbar.savings import SiteStats
from cache_monitor.toolbar.stats import Stats, page_sentences
from cache_monitor.toolbar.timeline import colour_of, timelines

KEY_LENGTH = 80
"""Characters of a key that a row shows; up to 250 are in its title."""
SHOWN_TRACE_LINES = 1000
"""All stacks of a request together; each shows five lines at least."""
LEAST_TRACE_LINES = 5
TITLE_KEY_LENGTH = 60
NAMED_CALLS = 12
"""Calls that a hint names by their numbers."""

REASONS: Mapping[str, Promise] = {
    "never_set": _("never set"),
    "expired": _("expired"),
    "evicted": _("evicted"),
    "lost": _("lost"),
    "deleted": _("deleted"),
    "cleared": _("cleared"),
    "version_changed": _("version changed"),
    "unknown": _("reason unknown"),
}
_WORDS: Mapping[str, Promise] = {"hit": _("hit"), "miss": _("miss")}


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

    def __init__(self, stats: Stats, hidden: Sequence[str]) -> None:
        self.stats = stats
        self.rows: list[CallRow] = stats["calls"]
        self._traces = StackRenderer(stats["stacks"], hidden)
        self._callers = [self._traces.caller(row["stack"]) for row in self.rows]

    def context(self, reasons: Places, site_stats: SiteStats, most: int) -> Stats:
        """The templates' context, with ``most`` calls."""
        rows = self.rows[:most]
        calls = list(self._calls(rows, reasons))
        total = self.stats["total"]
        saved = savings.saved(self.rows, self._means(site_stats), site_stats.key_means)
        return {
            **self.stats,
            "total": {
                **total,
                "share_percent": _share(total["milliseconds"], total["request_milliseconds"]),
            },
            "saved": saved,
            "saved_text": _signed(saved.milliseconds),
            "reasons": [
                (REASONS[reason], count) for reason, count in sorted(summed(reasons).items())
            ],
            "hints": list(self._hints(site_stats)),
            "pages": [
                list(page_sentences(row, rows, reasons, REASONS))
                for row in self.stats.get("pages", ())
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

    def _means(self, site_stats: SiteStats) -> dict[savings.Group, float]:
        """The nearest known: of this process, this request, the site."""
        here = savings.produced_in(self.rows)
        means = {group: total / count for group, (count, total) in here.items()}
        return {**site_stats.means, **means, **savings.productions.means()}

    def _hints(self, site_stats: SiteStats) -> Iterator[HintView]:
        lines = [place and (place.path, place.line) for place in self._callers]
        limits = Thresholds.of(get_conf().findings)
        case = HintContext(
            self.rows, lines, self.stats["varies_by_cookie"], site_stats.usage, limits
        )
        for hint in hints(case):
            numbers = [call + 1 for call in hint.calls]
            yield HintView(
                hint, numbers[:NAMED_CALLS], len(numbers[NAMED_CALLS:]), self._place_of(hint)
            )

    def _place_of(self, hint: Hint) -> CodeLine | None:
        """The line of most of its calls."""
        place = Counter(self._callers[call] for call in hint.calls).most_common(1)[0][0]
        if hint.code == "key-explosion" and self.stats["view"] and not (place and place.is_project):
            # A decorator called: the view below it can be changed.
            return place_of(self.stats["view"])
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
