"""The group of a key: its text with the variable parts replaced.

Parts end at anything that is neither a letter nor a digit, the underscore included: ``page_12``
becomes ``page_{int}``, while ``page12`` and ``v2`` stay. Variable parts without such a form, slugs
and names, are learned (:mod:`cache_monitor.keys.learned`).
"""

import re
from ipaddress import IPv6Address
from string import ascii_letters, digits

from cache_monitor.keys.display import printable, shortened

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
    is_long = len(text) > MATCHED_LENGTH
    group = _replaced(_whole_parts(text)) + "…" if is_long else _replaced(text)
    return shortened(printable(group), GROUP_LENGTH)


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


def _whole_parts(text: str) -> str:
    """The beginning of a long key up to its last whole part."""
    head = text[:MATCHED_LENGTH]
    return head.rstrip(ascii_letters + digits) or head
