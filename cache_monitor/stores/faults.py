"""What to do about a server that refuses, told from the words of its refusal.

Drivers and server versions agree on words more than on exception types. Only words are looked
for: a driver's message can quote hosts, users, passwords and statements, so none is passed on.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Fault(NamedTuple):
    """Words of a refusal, any one of which tells it, and what it means."""

    words: tuple[str, ...]
    advice: str


def advice(error: Exception, known: Iterable[Fault], otherwise: str) -> str:
    """The advice of the first of ``known`` that the error has a word of."""
    text = f"{type(error).__name__} {error}".lower()
    return next(
        (fault.advice for fault in known if any(word in text for word in fault.words)), otherwise
    )
