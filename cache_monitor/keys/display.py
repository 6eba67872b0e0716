"""Make text safe to show: bounded, printable, encodable."""

import re
from pathlib import Path

SHOWN_LENGTH = 250
# What cache_monitor.calls.bounded leaves of a key that was too long to be kept.
CUT = re.compile(r"… \(([0-9]{1,18}) characters\)\Z")


def text_of(key: object) -> str:
    """The text that Django makes of ``key``, always a plain ``str``; ``<TypeName>`` where its
    ``__str__`` raises."""
    if type(key) is str:
        return key
    try:
        # Under ``python -bb`` str(b"…") raises; repr() gives the same text.
        text = repr(key) if isinstance(key, bytes) else str(key)
        return str.__str__(text)
    except Exception:
        return f"<{type(key).__name__}>"


def printable(text: str) -> str:
    r"""``text`` with control characters, bidi overrides and lone surrogates as ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def shortened(text: str, length: int, cut_mark: str = "…") -> str:
    """``text`` in at most ``length`` characters; ``cut_mark`` ends it where it was cut."""
    if len(text) <= length:
        return text
    return text[: length - len(cut_mark)] + cut_mark


def shown(text: str) -> str:
    """``text`` in at most 250 printable characters; a cut one ends in its true length."""
    # Escaping makes no character shorter, so one more than shown is enough.
    head = printable(text[: SHOWN_LENGTH + 1])
    cut_before = CUT.search(text)
    length = int(cut_before[1]) if cut_before else len(text)
    return shortened(head, SHOWN_LENGTH, f"… ({length:,} characters)")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_PLACEHOLDER = re.compile(r"\{(?:hash|token|uuid)\}")
_QUERY_CACHES = re.compile("^(?:cachalot|cacheops)(?: table)? ")


def is_nameless(group: str) -> bool:
    """Whether the name of a group says nothing about its keys, as ``{hash}`` does."""
    left = _PLACEHOLDER.sub("", _QUERY_CACHES.sub("", group))
    return left != group and re.search(r"\w{2}", left) is None


def describe_error(error: BaseException) -> str:
    """The type of ``error`` and the line that raised it, without its message: that may quote a
    key."""
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = Path(trace.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} in {file}, line {trace.tb_lineno}"
