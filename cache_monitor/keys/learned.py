"""Learn groups of keys: parts of keys with many different values.

A slug or a name looks like any other word, so one key does not show that it is variable. Many keys
do: a part with more than :data:`MOST_VALUES` different values after one beginning becomes
``{text}``. Parts are between ``:``, ``/`` and ``|``; where nearly all values begin alike
(``search_results_…``) only the rest becomes ``{text}``. Two parts with several hundred pairs of
values are variable too, though neither alone has as many. A key's first word stays.

The result depends on the set of names only, not on their order. So all processes come to the same
groups, and a merged report folds names from before they were learned
(:mod:`cache_monitor.reports.build`).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from cache_monitor.concurrency import new_lock
from cache_monitor.conf import SETTING
from cache_monitor.setting_changes import forget_on_change

MOST_VALUES = 40
"""Different values of a part: programs hardly have more fixed names."""
MOST_PAIRS = 5 * MOST_VALUES
"""Different pairs of values of two parts."""
_SOME_VALUES = 5
_MANY_HEADS = 12
"""Values of the first of two parts that make it variable too."""
MOST_NAMES = 2000
"""The latest names in memory; about 300 kB."""
MOST_TEMPLATES = 200
TEXT = "{text}"

_PART = re.compile(r"[^:/|]*[:/|]|[^:/|]+")
_WORD = re.compile(r"[^_.\-]*[_.\-]+")
_ENDING = re.compile(r"(?:[_.\-]\{\w+\})+(?=[:/|]?$)")
_FIRST = re.compile(r"[^:/|_.\-]*")
_PLACEHOLDERS = re.compile(r"(?:\{\w+\}[x…]?)+[:/|]?|[:/|]?")
# Numbers and other shapes have groups of their own.
_VALUE = r"(?!(?:\{\w+\}[x…]?)+(?:[:/|]|$))[^:/|]+"
_SEPARATORS = frozenset(":/|")
_NEARLY_ALL = 0.9

Parts = tuple[str, ...]


def templates_of(names: Iterable[str]) -> set[str]:
    """The templates of ``names``, which are groups so far."""
    return set(_found("", [tuple(_PART.findall(each)) for each in names]))


def _found(before: str, names: list[Parts]) -> Iterator[str]:
    """The templates among ``names``, of which the parts after the common ``before`` are given."""
    heads: defaultdict[str, list[Parts]] = defaultdict(list)
    for parts in names:
        if parts:
            heads[parts[0]].append(parts[1:])
        elif TEXT in before:
            yield before
    for template, values in _variable_parts(heads, is_first=not before):
        tails = [tail for value in values for tail in heads.pop(value)]
        yield from _found(before + template, tails)
    if before:
        yield from _variable_pairs(before, heads)
    for head, tails in heads.items():
        yield from _found(before + head, tails)


def _variable_parts(heads: Iterable[str], *, is_first: bool) -> Iterator[tuple[str, list[str]]]:
    """The templates of variable parts, with the values that they replace."""
    kinds: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for head in heads:
        if not _PLACEHOLDERS.fullmatch(head):
            end = _end_of(head)
            word = _WORD.match(head) if is_first else None
            kinds[word[0] if word else "", end].append(head)
    for (first, end), values in sorted(kinds.items()):
        # A first part needs a fixed word.
        if len(values) > MOST_VALUES and (first or not is_first):
            fixed = _beginning(values)
            alike = [each for each in values if each.startswith(fixed)]
            yield fixed + TEXT + _ending(alike) + end, alike


def _variable_pairs(before: str, heads: dict[str, list[Parts]]) -> Iterator[str]:
    """The templates of two parts after ``before`` with many pairs. Removes their names from
    ``heads``."""
    for kind, values in sorted(_pairs(heads).items()):
        several = {head: words for head, words in values.items() if len(words) >= _SOME_VALUES}
        every = set().union(*several.values())
        if len(every) <= MOST_VALUES or sum(map(len, several.values())) <= MOST_PAIRS:
            continue
        after: defaultdict[str, list[Parts]] = defaultdict(list)
        for head, words in several.items():
            first = TEXT + kind[0] if len(several) >= _MANY_HEADS else head
            tails = heads[head]
            after[before + first + TEXT + kind[1]] += [
                tail[1:] for tail in tails if words & {*tail[:1]}
            ]
            heads[head] = [tail for tail in tails if not words & {*tail[:1]}]
        for template, tails in after.items():
            yield from _found(template, tails)


def _pairs(heads: dict[str, list[Parts]]) -> dict[tuple[str, str], dict[str, set[str]]]:
    """The words that follow each of ``heads``, by the separators after both."""
    kinds: defaultdict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
    for head, tails in heads.items():
        words = {tail[0] for tail in tails if tail and not _PLACEHOLDERS.fullmatch(tail[0])}
        for word in words if not _PLACEHOLDERS.fullmatch(head) else ():
            kinds[_end_of(head), _end_of(word)].setdefault(head, set()).add(word)
    return kinds


def _end_of(part: str) -> str:
    return part[-1] if part[-1] in _SEPARATORS else ""


def _beginning(values: list[str]) -> str:
    """The words that nearly all of ``values`` begin with."""
    fixed, left = "", values
    while True:
        words = Counter(word[0] for each in left if (word := _WORD.match(each, len(fixed))))
        if not words:
            return fixed
        most, count = max(words.items(), key=lambda each: (each[1], each[0]))
        if count < _NEARLY_ALL * len(left) or count <= MOST_VALUES:
            return fixed
        fixed += most
        left = [each for each in left if each.startswith(fixed)]


def _ending(values: list[str]) -> str:
    """The variable parts that all of ``values`` end with."""
    endings = {found[0] if (found := _ENDING.search(each)) else "" for each in values}
    return endings.pop() if len(endings) == 1 else ""


class Folding:
    """Folds groups into templates. Never changes."""

    def __init__(self, templates: Iterable[str]) -> None:
        self.templates = frozenset(templates)
        by_first: defaultdict[str, list[tuple[int, str, re.Pattern[str]]]] = defaultdict(list)
        for template in self.templates:
            # The most specific comes first.
            rank = len(TEXT) * template.count(TEXT) - len(template)
            by_first[_first(template)].append((rank, template, _pattern(template)))
        self._by_first = {first: sorted(found) for first, found in by_first.items()}

    def fold(self, name: str) -> str:
        """The learned group of ``name``, or ``name``."""
        for _, template, pattern in self._by_first.get(_first(name), ()):
            if pattern.fullmatch(name):
                return template
        return name


def _first(name: str) -> str:
    found = _FIRST.match(name)
    return found[0] if found else ""


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_VALUE.join(map(re.escape, template.split(TEXT))))


class Learned:
    """The learned groups of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._listeners: list[Callable[[], None]] = []
        self.forget()

    def forget(self) -> None:
        self.folding = Folding(())
        self._names: dict[str, None] = {}

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when groups change."""
        self._listeners.append(listener)

    def learn(self, names: Iterable[str]) -> None:
        """Learn from ``names``: groups of keys, or templates of other processes."""
        with self._lock:
            known, folding = self._names, self.folding
            new = [each for each in names if each not in known and folding.fold(each) == each]
            new = [each for each in new if each not in folding.templates]
            if not new:
                return
            templates = {each for each in new if TEXT in each}
            for name in new:
                known[name] = None
            while len(known) > MOST_NAMES:
                del known[next(iter(known))]
            found = templates | templates_of(known.keys() - templates)
            if not found or len(folding.templates) >= MOST_TEMPLATES:
                return
            self.folding = Folding(sorted(folding.templates | found)[:MOST_TEMPLATES])
            for name in [each for each in known if self.folding.fold(each) != each]:
                del known[name]
        for listener in self._listeners:
            listener()


learned = Learned()


def with_more(folding: Folding, names: Iterable[str]) -> Folding:
    """``folding`` extended by ``names``: groups, or templates of other processes."""
    left = {each for each in names if folding.fold(each) == each} - folding.templates
    templates = {each for each in left if TEXT in each}
    more = templates | templates_of(left - templates)
    return Folding(folding.templates | more) if more else folding


forget_on_change((SETTING,), learned.forget)
