"""Groups of keys that are learned from what passes: a place that takes many different values.

A slug, a name or a search looks like any other word, so a key alone does not tell that it is
variable. Many keys do: a place that has shown more than :data:`MOST_VALUES` different values after
one and the same beginning becomes ``{text}``, and what has few values stays as it is. A place is a
part between ``:``, ``/`` and ``|``; of a part whose values nearly all begin alike
(``search_results_…``) what follows. Two places that have shown several hundred pairs of values are
variable too, though none has shown as many beside one value of the other: events of organisers. A
key's first word always stays.

What is learned depends on nothing but the names that have passed, whatever their order, so that
processes come to the same groups, and a report that merges what they counted folds the names that
one of them used before it had learned (:mod:`cache_monitor.reports.build`).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from cache_monitor.concurrency import new_lock
from cache_monitor.conf import SETTING
from cache_monitor.setting_changes import forget_on_change

MOST_VALUES = 40
"""Different values of a place: more are hardly names that somebody has thought of."""
MOST_PAIRS = 5 * MOST_VALUES
"""Different pairs of values of two places of which neither has so many: nobody thinks of those
either."""
_SOME_VALUES = 5
_MANY_HEADS = 12
"""Values of the first of two places from which on it varies as the second one does."""
MOST_NAMES = 2000
"""Names that are remembered, the latest ones; about 300 kB."""
MOST_TEMPLATES = 200
TEXT = "{text}"

_PART = re.compile(r"[^:/|]*[:/|]|[^:/|]+")
_WORD = re.compile(r"[^_.\-]*[_.\-]+")
_ENDING = re.compile(r"(?:[_.\-]\{\w+\})+(?=[:/|]?$)")
_FIRST = re.compile(r"[^:/|_.\-]*")
_PLACEHOLDERS = re.compile(r"(?:\{\w+\}[x…]?)+[:/|]?|[:/|]?")
# What is nothing but a number or another shape has a group of its own.
_VALUE = r"(?!(?:\{\w+\}[x…]?)+(?:[:/|]|$))[^:/|]+"
_SEPARATORS = frozenset(":/|")
_NEARLY_ALL = 0.9

Parts = tuple[str, ...]


def templates_of(names: Iterable[str]) -> set[str]:
    """The groups that ``names``, which are groups by themselves, show to be one."""
    return set(_found("", [tuple(_PART.findall(each)) for each in names]))


def _found(before: str, names: list[Parts]) -> Iterator[str]:
    """The templates among ``names``, of which the parts after the common ``before`` are given."""
    heads: defaultdict[str, list[Parts]] = defaultdict(list)
    for parts in names:
        if parts:
            heads[parts[0]].append(parts[1:])
        elif TEXT in before:
            yield before
    for place, values in _places(heads, is_first=not before):
        tails = [tail for value in values for tail in heads.pop(value)]
        yield from _found(before + place, tails)
    if before:
        yield from _crossed(before, heads)
    for head, tails in heads.items():
        yield from _found(before + head, tails)


def _places(heads: Iterable[str], *, is_first: bool) -> Iterator[tuple[str, list[str]]]:
    """What parts of a key become, and which ones: those that many keys differ in."""
    kinds: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for head in heads:
        if not _PLACEHOLDERS.fullmatch(head):
            end = _end_of(head)
            word = _WORD.match(head) if is_first else None
            kinds[word[0] if word else "", end].append(head)
    for (first, end), values in sorted(kinds.items()):
        # Without a word before it the place would be the whole key.
        if len(values) > MOST_VALUES and (first or not is_first):
            fixed = _beginning(values)
            those = [each for each in values if each.startswith(fixed)]
            yield fixed + TEXT + _ending(those) + end, those


def _crossed(before: str, heads: dict[str, list[Parts]]) -> Iterator[str]:
    """The templates of two places after ``before`` of which only the pairs are many. Their names
    are taken out of ``heads``."""
    for kind, values in sorted(_pairs(heads).items()):
        several = {head: those for head, those in values.items() if len(those) >= _SOME_VALUES}
        every = set().union(*several.values())
        if len(every) <= MOST_VALUES or sum(map(len, several.values())) <= MOST_PAIRS:
            continue
        after: defaultdict[str, list[Parts]] = defaultdict(list)
        for head, those in several.items():
            first = TEXT + kind[0] if len(several) >= _MANY_HEADS else head
            tails = heads[head]
            after[before + first + TEXT + kind[1]] += [it[1:] for it in tails if those & {*it[:1]}]
            heads[head] = [it for it in tails if not those & {*it[:1]}]
        for place, tails in after.items():
            yield from _found(place, tails)


def _pairs(heads: dict[str, list[Parts]]) -> dict[tuple[str, str], dict[str, set[str]]]:
    """By the separators behind them: the words that follow each of ``heads``."""
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
    """The variable parts, told before, that all of ``values`` end with."""
    endings = {found[0] if (found := _ENDING.search(each)) else "" for each in values}
    return endings.pop() if len(endings) == 1 else ""


class Folding:
    """Folds groups into templates. Never changes."""

    def __init__(self, templates: Iterable[str]) -> None:
        self.templates = frozenset(templates)
        by_first: defaultdict[str, list[tuple[int, str, re.Pattern[str]]]] = defaultdict(list)
        for template in self.templates:
            # The one that says most comes first.
            rank = len(TEXT) * template.count(TEXT) - len(template)
            by_first[_first(template)].append((rank, template, _pattern(template)))
        self._by_first = {first: sorted(found) for first, found in by_first.items()}

    def fold(self, name: str) -> str:
        """The group that ``name`` belongs to: itself, where none was learned."""
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
    """What this process has learned. Any thread may ask, one at a time learns."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._listeners: list[Callable[[], None]] = []
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.folding = Folding(())
        self._names: dict[str, None] = {}

    def on_change(self, listener: Callable[[], None]) -> None:
        """Let ``listener`` know when keys have other groups than before."""
        self._listeners.append(listener)

    def learn(self, names: Iterable[str]) -> None:
        """Take note of groups that keys have fallen into, templates of others among them."""
        with self._lock:
            known, folding = self._names, self.folding
            new = [each for each in names if each not in known and folding.fold(each) == each]
            new = [each for each in new if each not in folding.templates]
            if not new:
                return
            told = {each for each in new if TEXT in each}
            for name in new:
                known[name] = None
            while len(known) > MOST_NAMES:
                del known[next(iter(known))]
            found = told | templates_of(known.keys() - told)
            if not found or len(folding.templates) >= MOST_TEMPLATES:
                return
            self.folding = Folding(sorted(folding.templates | found)[:MOST_TEMPLATES])
            for name in [each for each in known if self.folding.fold(each) != each]:
                del known[name]
        for listener in self._listeners:
            listener()


learned = Learned()


def with_more(folding: Folding, names: Iterable[str]) -> Folding:
    """``folding`` and what ``names``, templates of others among them, add to it."""
    left = {each for each in names if folding.fold(each) == each} - folding.templates
    told = {each for each in left if TEXT in each}
    more = told | templates_of(left - told)
    return Folding(folding.templates | more) if more else folding


forget_on_change((SETTING,), learned.forget)
