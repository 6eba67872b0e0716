"""The interface of a store, which keeps bytes under a name and a time, and its errors."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal, NamedTuple, Protocol

__all__ = ["Kind", "Row", "Store", "StoreBusyError", "StoreError"]

Kind = Literal["window", "details", "scan", "finding", "trace", "what_if", "groups"]
Identity = tuple[Kind, str, str, int, int]


class Row(NamedTuple):
    """A payload and its identity: kind, process, alias, start and length.

    A row replaces the one of the same identity. ``start`` is Unix time; ``process`` is empty for
    what processes share.
    """

    kind: Kind
    process: str
    alias: str
    start: int
    seconds: int
    payload: bytes

    @property
    def identity(self) -> Identity:
        """The key that a later row replaces it by."""
        return self[:5]


class StoreError(Exception):
    """The store cannot be used now. The message says in one sentence what to do."""


class StoreBusyError(StoreError):
    """Another process is writing: the same may succeed at once."""


class RowGone(Exception):
    """A row to be replaced is gone."""


class Store(Protocol):
    """Keeps rows. Every method raises :class:`StoreError` where the store cannot be used."""

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same identity. ``now`` is the time that
        :meth:`prune` goes by."""

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

        The rows are all of one kind. Nothing happens where one of ``remove`` is gone: another
        process has merged it already.
        """

    def prune(self, before: int) -> int:
        """Remove rows last written before ``before``; returns their number."""

    def lock(self, name: str, seconds: int, now: int) -> bool:
        """Take the lock ``name`` (at most 32 characters) for ``seconds``; False where it is taken.

        It ends by itself, even where the process has died.
        """


@contextmanager
def session(store: Store) -> Iterator[None]:
    """Keep one connection for many uses of ``store`` by this thread, if it has a ``session``."""
    own = getattr(store, "session", nullcontext)
    with own():
        yield


class Fault(NamedTuple):
    """A kind of error: words of which its text has one, and the advice."""

    words: tuple[str, ...]
    advice: str


def advice(error: Exception, known: Iterable[Fault], fallback: str) -> str:
    """The advice of the first of ``known`` that the error has a word of.

    Drivers and versions agree on words more than on types. Messages are not passed on, because they
    may quote hosts, users, passwords and statements.
    """
    text = f"{type(error).__name__} {error}".lower()
    return next(
        (fault.advice for fault in known if any(word in text for word in fault.words)), fallback
    )
