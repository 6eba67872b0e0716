"""Figures and names as a terminal shows them."""

import json

NOTHING = "–"
_SIGN = "\ufffd"
"""Stands for a character that nobody sees."""


def count(number: int | None) -> str:
    """A number with its thousands apart."""
    return NOTHING if number is None else f"{number:,}"


def brief(number: int | None) -> str:
    """A number in at most seven characters."""
    if number is None:
        return NOTHING
    for length, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= length:
            return f"{number / length:,.1f}{unit}"
    return f"{number:,}"


def share(ratio: float | None) -> str:
    """A ratio of 0..1 as a percentage."""
    return NOTHING if ratio is None else f"{ratio:.1%}"


def time(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def size(number: float | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return NOTHING
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def processes(number: int) -> str:
    """How many processes."""
    return f"{number:,} process" if number == 1 else f"{number:,} processes"


def harmless(text: str) -> str:
    """Lines of text as they are, but for characters that a terminal would obey."""
    return "".join(each if each.isprintable() or each == "\n" else _SIGN for each in text)


def harmless_json(text: str) -> str:
    """The JSON document ``text``, with what a terminal would obey escaped: it means the same."""
    return "".join(
        # Such characters are nowhere but in its texts.
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1]
        for each in text
    )


def plain(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters, none of which a terminal would obey.

    A key is written by whoever visits the site.
    """
    shown = "".join(each if each.isprintable() else _SIGN for each in text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"
