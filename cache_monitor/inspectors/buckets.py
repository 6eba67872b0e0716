"""An order in which names that come and go can be gone through, a part at a time.

Dicts and directories have no place to go on from: what is added or removed moves all the others.
So names are put into buckets by a digest of theirs, which stays; every bucket is a fair sample.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from cache_monitor.inspectors.source import BadCursor

BUCKETS = 4096

T = TypeVar("T")


def in_buckets(
    names: Iterable[T], bucket_of: Callable[[T], int], cursor: str
) -> Iterator[tuple[list[T], str | None]]:
    """The names, a bucket at a time from the bucket ``cursor`` on, and the next one's cursor."""
    first = _first(cursor)
    buckets: dict[int, list[T]] = {}
    for name in names:
        bucket = bucket_of(name)
        if bucket >= first:
            buckets.setdefault(bucket, []).append(name)
    order = sorted(buckets)
    for place, bucket in enumerate(order):
        is_last = place == len(order) - 1
        yield buckets.pop(bucket), None if is_last else str(order[place + 1])
    if not order:
        yield [], None


def _first(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 5):
        raise BadCursor("This is no place to go on from.")
    return int(cursor or 0)
