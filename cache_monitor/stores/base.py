"""What a store is: bytes under a name and a time, nothing more."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

Kind = Literal["window", "look"]


class Row(NamedTuple):
    """A payload and what it is found by.

    A row replaces the one of the same kind, process, alias, start and length. ``start`` is Unix
    time; ``process`` is empty for what processes share.
    """

    kind: Kind
    process: str
    alias: str
    start: int
    seconds: int
    payload: bytes


class StoreError(Exception):
    """The store cannot be used now. The message says in one sentence what to do."""


class Store(Protocol):
    """Keeps rows. Every method raises :class:`StoreError` where the store cannot be used."""

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same name."""

    def read(self, kind: Kind, since: int, until: int, alias: str | None) -> Iterable[Row]:
        """The rows that begin at or after ``since`` and before ``until``, of one alias or all."""

    def prune(self, before: int) -> int:
        """Remove what was last written before ``before``; how many rows went."""
