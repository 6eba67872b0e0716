"""The group of a key: its text with the variable parts replaced.

Parts end at anything that is neither a letter nor a digit, the underscore included: ``page_12``
becomes ``page_{int}`` while ``page12`` and ``v2`` are names and stay.
"""

import re
from string import ascii_letters, digits

from cache_monitor.keys.display import bounded, printable

GROUP_LENGTH = 120
# A group is told from this much of a key, however long it is: the patterns' work stays bounded.
LOOKED_AT = 512

_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
_HEX = "[0-9a-fA-F]"
_UUID = rf"(?P<uuid>{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}){_END}"
_TIME = r"[T _][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_DAY = r"[0-9]{4}(?P<sep>[-/._])(?:0[1-9]|1[0-2])(?P=sep)(?:0[1-9]|[12][0-9]|3[01])"
_COMPACT = r"[0-9]{8}T[0-9]{4,6}(?:\.[0-9]+)?Z?"
_DATE = rf"(?P<date>(?:{_DAY}(?:{_TIME})?|{_COMPACT})){_END}"
# One decimal is one number; 1.2.3 is a version or an address, thus three.
_NUMBER = r"(?P<int>(?<![0-9]\.)-?[0-9]+\.[0-9]+(?![.]?[0-9])|-?[0-9]+)" + _END
_HASH = rf"(?P<hash>[0-9a-f]{{16,}}|[0-9A-F]{{16,}}){_END}"
_TOKEN = rf"(?P<token>(?=[A-Za-z]*[0-9])[A-Za-z0-9]{{20,}}){_END}={{0,2}}"
# A run with the separators of urlsafe base64 in it: a token, or words and numbers.
_RUN = (
    r"(?P<run>(?<![\w-])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*[0-9])"
    r"(?=[A-Za-z0-9]*[_-])[A-Za-z0-9_-]{20,})(?![\w-])={0,2}"
)

_PARTS = re.compile(f"{_START}(?:{_UUID}|{_DATE}|{_NUMBER}|{_HASH}|{_TOKEN})")
_PARTS_AND_RUNS = re.compile(f"{_START}(?:{_UUID}|{_DATE}|{_RUN}|{_NUMBER}|{_HASH}|{_TOKEN})")
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@|%40)[A-Za-z0-9\u00a1-\uffff-]+"
    r"(?:\.[A-Za-z0-9\u00a1-\uffff-]+)+"
)
_VARIABLE = re.compile(r"[0-9@]")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]{2,}")

_RANDOM_LETTERS_A_WORD = 4.0


def group_of(text: str) -> str:
    """The group of the key ``text``, at most 120 printable characters."""
    group = _replaced(text) if len(text) <= LOOKED_AT else _replaced(_whole_parts(text)) + "…"
    return bounded(printable(group), GROUP_LENGTH)


def _replaced(text: str) -> str:
    if not _VARIABLE.search(text):
        return text
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("{email}", text)
    return _PARTS_AND_RUNS.sub(_placeholder, text)


def _placeholder(part: re.Match[str]) -> str:
    kind = part.lastgroup
    if kind == "run":
        if _is_token_with_separators(part["run"]):
            return "{token}"
        return _PARTS.sub(_placeholder, part[0])
    if kind == "token" and not _looks_random(part["token"]):
        return part[0]
    return f"{{{kind}}}"


def _looks_random(text: str) -> bool:
    """Whether letters and digits change places as they do in a token and not in CamelCase2."""
    words = _WORD.findall(text)
    return sum(map(len, words)) <= _RANDOM_LETTERS_A_WORD * len(words)


def _is_token_with_separators(run: str) -> bool:
    pieces = run.replace("_", "-").split("-")
    return not any(map(_PLAIN_WORD.fullmatch, pieces)) and _looks_random("".join(pieces))


def _whole_parts(text: str) -> str:
    """The beginning of a long key, without the part that the cut went through."""
    head = text[:LOOKED_AT]
    return head.rstrip(ascii_letters + digits) or head
