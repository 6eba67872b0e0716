"""The group of a key: its text with the variable parts replaced, by their form or as learned.

Parts end at anything that is neither a letter nor a digit, the underscore included: ``page_12``
becomes ``page_{int}``, while ``page12`` and ``v2`` stay.

A slug or a name looks like any other word, so one key does not show that it is variable. Many keys
do, and so it is learned: a part with more than :data:`MOST_VALUES` different values after one
beginning becomes ``{text}``. Parts are between ``:``, ``/`` and ``|``; where nearly all values
begin alike (``search_results_…``) only the rest becomes ``{text}``. Two parts with several hundred
pairs of values are variable too, though neither alone has as many. A key's first word stays.

The result depends on the set of names only, not on their order. So all processes come to the same
groups, and a merged report folds names from before they were learned
(:mod:`cache_monitor.reports.build`).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address
from string import ascii_letters, digits

from cache_monitor.concurrency import new_lock
from cache_monitor.conf import SETTING, forget_on_change

SHOWN_LENGTH = 250
# What cache_monitor.calls.bounded leaves of a key that was too long to be kept.
CUT = re.compile(r"… \(([0-9]{1,18}) characters\)\Z")
GROUP_LENGTH = 120
# The patterns get this much of a key, which bounds their work.
MATCHED_LENGTH = 512

_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
_HEX = "[0-9a-fA-F]"
# Names with digits: v1.2, and the locales of numbered regions.
_NAME = rf"(?P<name>[vV][0-9]+(?:\.[0-9]+)+|es[-_]419|en[-_](?:001|150)|ar[-_]001){_END}"
_UUID = rf"(?P<uuid>{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}){_END}"
_TIME = r"[T _][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_YMD = rf"[0-9]{{4}}(?P<sep>[-/._]){_MONTH}(?P=sep){_DAY}"
_DMY = rf"{_DAY}(?P<sep2>[-/._]){_MONTH}(?P=sep2)[0-9]{{4}}"
_WEEK = "[0-9]{4}-?W[0-9]{2}(?:-?[1-7])?"
_COMPACT = r"[0-9]{8}T[0-9]{4,6}(?:\.[0-9]+)?Z?"
_DATE = rf"(?P<date>(?:{_YMD}(?:{_TIME})?|{_DMY}|{_WEEK}|{_COMPACT})){_END}"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IP4 = rf"(?P<ip>{_OCTET}(?:\.{_OCTET}){{3}}){_END}(?!\.[0-9])"
# Possible addresses of version 6 in the ranges in use: other keys have colons too.
_IP6 = (
    rf"(?P<ip6>(?:[23]{_HEX}{{3}}|[fF][cdCD]{_HEX}{{2}}|[fF][eE][89abAB]{_HEX})"
    rf"(?::{_HEX}{{0,4}}){{2,7}}){_END}"
)
_SIZE = rf"(?P<size>[0-9]+x[0-9]+){_END}"
# One decimal is one number; 1.2.3 is a version, thus three.
_NUMBER = r"(?P<int>(?<![0-9]\.)-?[0-9]+\.[0-9]+(?![.]?[0-9])|-?[0-9]+)" + _END
# Short ones need a digit: deadbeef is a word.
_HASH = (
    r"(?P<hash>[0-9a-f]{16,}|[0-9A-F]{16,}|(?=[a-f]*[0-9])[0-9a-f]{8,15}"
    rf"|(?=[A-F]*[0-9])[0-9A-F]{{8,15}}){_END}"
)
_JWT = r"(?P<jwt>eyJ[A-Za-z0-9_-]{7,}(?:\.[A-Za-z0-9_-]*){0,4})"
# Padded at its end, which short words before a "=" are not.
_BASE64 = (
    r"(?P<base64>(?<![\w+])(?=[a-z0-9+]*[A-Z])(?=[A-Z0-9+]*[a-z])(?:[A-Za-z0-9+]{10,}=="
    r"|(?=[A-Za-z+]*[0-9])[A-Za-z0-9+]{11,}=))(?![\w=])"
)
_TOKEN = rf"(?P<token>(?=[A-Za-z]*[0-9])[A-Za-z0-9]{{20,}}){_END}={{0,2}}"
# A run with the separators of urlsafe base64 in it: a token, or words and numbers.
_RUN = (
    r"(?P<run>(?<![\w-])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*[0-9])"
    r"(?=[A-Za-z0-9]*[_-])[A-Za-z0-9_-]{20,})(?![\w-])={0,2}"
)
# One lookahead spares short words the others.
_LONG = r"(?=[\w+-]{10})"

_PARTS = re.compile(f"{_START}(?:{_NAME}|{_UUID}|{_DATE}|{_NUMBER}|{_HASH}|{_LONG}{_TOKEN})")
_ALL_PARTS = re.compile(
    f"{_START}(?:{_NAME}|{_UUID}|{_DATE}|{_IP4}|{_IP6}|{_LONG}(?:{_JWT}|{_BASE64}|{_RUN})"
    f"|{_SIZE}|{_NUMBER}|{_HASH}|{_LONG}{_TOKEN})"
)
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@|%40)[A-Za-z0-9\u00a1-\uffff-]+"
    r"(?:\.[A-Za-z0-9\u00a1-\uffff-]+)+"
)
_VARIABLE = re.compile(r"[0-9@]")
_DIGITS = re.compile("[0-9]+")
_NOT_PLAIN = re.compile("[0-9][^0-9:]|[^0-9:][0-9]|::|@")
_COLONS_OF_IP6 = 7
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]{2,}")

_RANDOM_LETTERS_A_WORD = 4.0

_WORDS = {
    "base64": "{token}",
    "ip6": "{ip}",
    "jwt": "{token}",
    "run": "{token}",
    "size": "{int}x{int}",
}
"""Placeholders that differ from the name of their pattern."""


def group_of(text: str) -> str:
    """The group of the key ``text``, at most 120 printable characters."""
    if len(text) > MATCHED_LENGTH:
        head = text[:MATCHED_LENGTH]
        # Up to its last whole part.
        group = _replaced(head.rstrip(ascii_letters + digits) or head) + "…"
    else:
        group = _replaced(text)
    return shortened(printable(group), GROUP_LENGTH)


def printable(text: str) -> str:
    r"""``text`` with control characters, bidi overrides and lone surrogates as ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def shortened(text: str, length: int, cut_mark: str = "…") -> str:
    """``text`` in at most ``length`` characters; ``cut_mark`` ends it where it was cut."""
    if len(text) <= length:
        return text
    return text[: length - len(cut_mark)] + cut_mark


_UNNAMED = re.compile(r"\{(?:hash|token|uuid)\}")
_QUERY_CACHES = re.compile("^(?:cachalot|cacheops)(?: table)? ")


def is_nameless(group: str) -> bool:
    """Whether the name of a group says nothing about its keys, as ``{hash}`` does."""
    left = _UNNAMED.sub("", _QUERY_CACHES.sub("", group))
    return left != group and re.search(r"\w{2}", left) is None


def has_plain_numbers(text: str) -> bool:
    """Whether all digits in ``text`` are plain numbers, whatever their values.

    A number between colons is no part of a date or a hash. Addresses of version 6 have two colons
    in a row, or seven.
    """
    return (
        _DIGITS.search(text) is not None
        and _NOT_PLAIN.search(text) is None
        and text.count(":") < _COLONS_OF_IP6
    )


def _replaced(text: str) -> str:
    if not _VARIABLE.search(text):
        return text
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("{email}", text)
    return _ALL_PARTS.sub(_placeholder, text)


def _placeholder(part: re.Match[str]) -> str:
    kind = part.lastgroup or ""
    if kind in {"run", "ip6"}:
        is_valid = _is_token_with_separators if kind == "run" else _is_ip6
        if is_valid(part[kind]):
            return _WORDS[kind]
        return _PARTS.sub(_placeholder, part[0])
    if kind == "name" or (kind == "token" and not looks_random(part["token"])):
        return part[0]
    return _WORDS.get(kind) or f"{{{kind}}}"


def _is_ip6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def looks_random(text: str) -> bool:
    """Whether letters and digits alternate as in a token, and not as in CamelCase2."""
    words = _WORD.findall(text)
    return sum(map(len, words)) <= _RANDOM_LETTERS_A_WORD * len(words)


def _is_token_with_separators(run: str) -> bool:
    pieces = run.replace("_", "-").split("-")
    return not any(map(_PLAIN_WORD.fullmatch, pieces)) and looks_random("".join(pieces))


# Learned groups

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
_FIRST_WORD = re.compile(r"[^_.\-]*[_.\-]+")
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
            word = _FIRST_WORD.match(head) if is_first else None
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
        words = Counter(word[0] for each in left if (word := _FIRST_WORD.match(each, len(fixed))))
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
            pattern = re.compile(_VALUE.join(map(re.escape, template.split(TEXT))))
            by_first[_first(template)].append((rank, template, pattern))
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
