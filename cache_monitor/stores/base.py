"""What a store is: bytes under a name and a time, nothing more; and its errors.

Drivers and server versions agree on words more than on exception types. Only words are looked
for: a driver's message can quote hosts, users, passwords and statements, so none is passed on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal, NamedTuple, Protocol

__all__ = ["Kind", "Row", "Store", "StoreBusyError", "StoreError"]

Kind = Literal["window", "details", "look", "finding", "trace", "what_if", "groups"]
Identity = tuple[Kind, str, str, int, int]


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

    @property
    def identity(self) -> Identity:
        """What it is found by."""
        return self[:5]


class StoreError(Exception):
    """The store cannot be used now. The message says in one sentence what to do."""


class StoreBusyError(StoreError):
    """Another process is writing: the same may succeed at once."""


class Store(Protocol):
    """Keeps rows. Every method raises :class:`StoreError` where the store cannot be used."""

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same name. ``now`` is the time by which they are
        pruned."""

    def read(
        self,
        kind: Kind,
        since: int,
        until: int,
        alias: str | None,
        *,
        seconds: int | None = None,
        of_processes: bool = False,
    ) -> Iterable[Row]:
        """The rows that begin at or after ``since`` and before ``until``, of one alias or all,
        of one length or all, of single processes only or all."""

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        """Write ``add`` and remove ``remove``, both or neither; a row in both is written.

        The rows are all of one kind. Where one of ``remove`` is gone, nothing happens: another
        process was quicker, and what ``add`` sums up is no longer what is there.
        """

    def prune(self, before: int) -> int:
        """Remove what was last written before ``before``; how many rows went."""

    def lock(self, name: str, seconds: int, now: int) -> bool:
        """Whether this process may do the job ``name`` (at most 32 characters) now.

        The lock holds for ``seconds`` and ends by itself: a process that dies stops nobody.
        """


@contextmanager
def session(store: Store) -> Iterator[None]:
    """Around many uses of ``store`` by this thread: a store that has a ``session`` of its own
    need not connect anew for each."""
    own = getattr(store, "session", None)
    with nullcontext() if own is None else own():
        yield


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
