"""What happened to the keys of one cache in one stretch of time."""

from typing import Literal

from msgspec import Struct

from cache_monitor.stats import distinct
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import (
    Count,
    Duration,
    Hash,
    Length,
    Reasons,
    Start,
    add_reasons,
    total,
)

GroupKind = Literal["key", "page", "page_headers", "fragment", "session"]

OTHER_GROUPS = "(other groups)"
OTHER_VIEWS = "(other views)"
VIEW_LIMIT = 500


class GroupStats(Struct, array_like=True):
    """The calls on the keys of one group; ``keys`` sketches how many different ones there are."""

    kind: GroupKind
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    deletes: Count = 0
    errors: Count = 0
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    keys: set[Hash] = set()
    reasons: Reasons = {}

    def count(self, hit: bool | None, wrote: bool, times: int) -> None:
        """Count ``times`` uses of a key; ``hit`` is None where nothing was looked up."""
        if hit is not None:
            self.lookups += times
            if hit:
                self.hits += times
            else:
                self.misses += times
        if wrote:
            self.sets += times

    def add_bytes(self, size: int, wrote: bool) -> None:
        """Add the bytes of values that were written or read."""
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def add_key(self, key_hash: int) -> None:
        """Add a key to the sketch."""
        self.keys.add(key_hash)
        if len(self.keys) > 2 * distinct.SIZE:
            self.keys = distinct.smallest(self.keys)

    def merge(self, other: "GroupStats") -> None:
        """Add the calls that ``other`` counted."""
        self.lookups += other.lookups
        self.hits += other.hits
        self.misses += other.misses
        self.sets += other.sets
        self.deletes += other.deletes
        self.errors += other.errors
        self.bytes_read = total(self.bytes_read, other.bytes_read)
        self.bytes_written = total(self.bytes_written, other.bytes_written)
        self.keys = distinct.unite(self.keys, other.keys)
        add_reasons(self.reasons, other.reasons)


class ViewStats(Struct, array_like=True):
    """What the requests of one view did with the cache."""

    requests: Count = 0
    lookups: Count = 0
    misses: Count = 0
    seconds: Duration = 0.0

    def merge(self, other: "ViewStats") -> None:
        """Add what ``other`` counted."""
        self.requests += other.requests
        self.lookups += other.lookups
        self.misses += other.misses
        self.seconds += other.seconds


class Details(Struct, array_like=True):
    """What one process did with the keys of one cache from ``start`` for ``seconds``.

    Kept apart from the window, over longer stretches, because it is many times as large and no
    chart needs it.
    """

    start: Start
    seconds: Length
    hot_keys: HotKeys
    group_limit: Count
    groups: dict[str, GroupStats] = {}
    uses: Count = 0
    views: dict[str, ViewStats] = {}

    final: bool = False
    """Whether their process will not change them any more; only then may they be rolled up."""

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the details do."""
        return self.uses, self.final

    def group(self, name: str, kind: GroupKind) -> GroupStats:
        """The statistics of the group ``name``; one shared group takes what is over the limit."""
        stats = self.groups.get(name)
        if stats is None:
            if len(self.groups) >= self.group_limit:
                name, kind = OTHER_GROUPS, "key"
            stats = self.groups.setdefault(name, GroupStats(kind))
        return stats

    def view(self, name: str) -> ViewStats:
        """The statistics of the view ``name``; one shared view takes what is over the limit."""
        stats = self.views.get(name)
        if stats is None:
            if len(self.views) >= VIEW_LIMIT:
                name = OTHER_VIEWS
            stats = self.views.setdefault(name, ViewStats())
        return stats

    def merge(self, other: "Details") -> None:
        """Add what ``other`` counted; afterwards ``other`` may share parts with these."""
        self.uses += other.uses
        for name, group in other.groups.items():
            self.group(name, group.kind).merge(group)
        for name, view in other.views.items():
            self.view(name).merge(view)
        self.hot_keys.merge(other.hot_keys)
