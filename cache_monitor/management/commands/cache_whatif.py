"""``manage.py cache_whatif``: predicted hit ratios for another size, policy or timeout."""

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from cache_monitor.exporters.json import schema
from cache_monitor.management import (
    INTERRUPTED,
    MonitorCommand,
    ProgressBar,
    moment_option,
    refusal,
    refusing,
    size,
)
from cache_monitor.predictor import what_if
from cache_monitor.what_if import (
    PERIODS,
    Bytes,
    CacheWhatIf,
    Entries,
    Policy,
    Question,
    TimeoutOption,
    Timeouts,
    WhatIf,
)
from cache_monitor.what_if.hit_ratios import POLICIES


class Command(MonitorCommand):
    help = (
        "Predict hit ratios from the trace: with room for other numbers of entries, other eviction "
        "policies, longer or shorter timeouts. Exit status: 0; 2 for bad arguments or a store that "
        "cannot be read; 130 where Ctrl-C ended it. On a terminal it shows how far it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_options(parser, "alias", "format", "schema", since={"default": "1h"})
        parser.add_argument(
            "--entries", metavar="N,N", default="", help="with room for so many entries"
        )
        parser.add_argument(
            "--bytes", metavar="N,N", default="", help="with so much memory, such as 64MB,128MB"
        )
        parser.add_argument("--policy", metavar="P,Q", default="", help=f"of {', '.join(POLICIES)}")
        parser.add_argument(
            "--timeout-factor",
            metavar="F,F",
            default="0.5,2,4",
            help="timeouts so many times as long, group by group; default: 0.5,2,4",
        )
        parser.add_argument(
            "--timeout",
            metavar="S,S",
            default="",
            help="timeouts of so many seconds for all entries of a group, group by group",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["schema"]:
            self.give_json(schema(WhatIf))
            return
        question = Question(
            entries=_numbers(options, "entries", int, "500,2000"),
            bytes=_sizes(options["bytes"]),
            policies=_policies(options["policy"]),
            factors=_numbers(options, "timeout_factor", float),
            timeouts=_numbers(options, "timeout", float, "60,600"),
        )
        now = datetime.now(UTC)
        since = moment_option(options, "since", now) or now
        bar = ProgressBar(self.stderr)
        try:
            with refusing():
                found = what_if(question, since, now, options["alias"], bar.show)
        except KeyboardInterrupt:
            bar.clear()
            self.stderr.write("Interrupted: nothing was predicted.")
            sys.exit(INTERRUPTED)
        finally:
            bar.clear()
        self.note_store()
        if options["format"] == "json":
            self.give_json(found)
        else:
            self.give("\n".join(_table(found)))


def _numbers(
    options: dict[str, Any], name: str, kind: type[int] | type[float], example: str = "0.5,2"
) -> list[Any]:
    given = options[name]
    try:
        numbers = [kind(each) for each in given.split(",") if each.strip()]
    except ValueError:
        numbers = [-1]
    if any(not 0 < each < 1e9 for each in numbers):
        option = f"--{name.replace('_', '-')}"
        message = f"{option} is {given!r}. Write numbers above 0, such as {example}."
        raise refusal(message)
    return numbers


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([KMGT]?)i?B?", re.IGNORECASE)


def _sizes(given: str) -> list[int]:
    found = [_SIZE.fullmatch(each.strip()) for each in given.split(",") if each.strip()]
    units = ["", *"KMGT"]
    sizes = [
        0 if it is None else round(float(it[1]) * 1024 ** units.index(it[2].upper()))
        for it in found
    ]
    if any(not 0 < each < 2**53 for each in sizes):
        message = f"--bytes is {given!r}. Write sizes above 0, such as 64MB,1.5GB."
        raise refusal(message)
    return sizes


def _policies(given: str) -> list[str]:
    names = [each.strip() for each in given.split(",") if each.strip()]
    if unknown := [each for each in names if each not in POLICIES]:
        message = f"--policy is {', '.join(unknown)!r}. Write some of {', '.join(POLICIES)}."
        raise refusal(message)
    return names


def _table(found: WhatIf) -> Iterator[str]:
    yield f"{found.since} to {found.until}"
    for alias, cache in found.caches.items():
        yield ""
        if cache.problem is not None:
            yield f"{alias}: {cache.problem}"
            continue
        room = "no limit" if cache.room is None else f"{cache.room:,} entries"
        policy = f"{cache.policy}, assumed" if cache.policy_is_assumed else cache.policy
        yield f"{alias}: {_ratio(cache.hit_ratio, cache.error)} ({policy}, {room})"
        yield from _lines(cache)


def _lines(cache: CacheWhatIf) -> Iterable[str]:
    for each in cache.entries:
        yield f"  {each.entries:>12,} entries  {_figures(each)}"
    for memory in cache.bytes:
        if memory.entries is None:
            yield f"  {size(memory.bytes):>20}  what entries take has not been scanned yet"
            continue
        text = f"{_figures(memory)}, about {memory.entries:,} entries"
        yield f"  {size(memory.bytes):>20}  {text}"
    for policy in cache.policies:
        yield f"  {policy.policy:>20}  {_figures(policy)}"
    for group in cache.timeouts:
        now = _ratio(group.hit_ratio, None) + _stale(group.stale_share)
        yield f"  {group.group}: {now} with {group.timeout:g} s{_unchanged(group)}"
        for option in group.options:
            if option.hit_ratio is None:
                needed = PERIODS * option.timeout
                yield f"    {option.timeout:>14g} s  takes a trace of {needed:g} s"
                continue
            yield f"    {option.timeout:>14g} s  {_figures(option, option.stale_share)}"


def _figures(option: Bytes | Entries | Policy | TimeoutOption, stale: float | None = None) -> str:
    text = _ratio(option.hit_ratio, option.error) + _stale(stale)
    seconds = option.seconds_saved_per_hour
    return text if seconds is None else f"{text}  {seconds:+,.1f} s saved an hour"


def _stale(share: float | None) -> str:
    return "" if share is None else f", {100 * share:.1f} % of the hits stale"


def _unchanged(group: Timeouts) -> str:
    if group.unchanged is None:
        return ""
    text = f"; {100 * group.unchanged:.0f} % of {group.rewrites:,} rewrites changed nothing"
    if group.seconds_to_change is not None:
        text += f", a value lasts {group.seconds_to_change:,.0f} s"
    return text


def _ratio(ratio: float | None, error: float | None) -> str:
    if ratio is None:
        return "–"
    return f"{100 * ratio:.1f} %" + (f" ±{100 * error:.1f}" if error else "")
