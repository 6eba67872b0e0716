"""What happened to the keys of one cache in one time bucket."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, structs

from cache_monitor.stats import columns, compact
from cache_monitor.stats.columns import StoredKeys
from cache_monitor.stats.lifetimes import ChangeStats, LifeStats
from cache_monitor.stats.pages import OTHER_PAGES, PAGE_LIMIT, PageStats
from cache_monitor.stats.top_keys import SAMPLE_SIZE, HotKeys, Samples, with_one_more
from cache_monitor.stats.window import (
    Bucket,
    Count,
    Duration,
    Hash,
    Length,
    Reasons,
    Start,
    UnixTime,
    add_reasons,
    total,
)

GroupKind = Literal["key", "page", "page_headers", "fragment", "session"]

OTHER_GROUPS = "(other groups)"
OTHER_VIEWS = "(other views)"
VIEW_LIMIT = 500
GROUPS_OF_A_VIEW = 32
"""Groups of keys that are told apart for one view."""


class GroupStats(Struct, array_like=True, gc=False):
    """The calls on the keys of one group; ``keys`` sketches how many different ones there are, or
    ``sketch`` does, in bytes as a store has them."""

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
    produced: Count = 0
    """How many values were seen being produced, in ``produce_seconds`` together."""
    produce_seconds: Duration = 0.0
    ages: dict[Bucket, Count] = {}
    """The histogram of the seconds since the write, of hits whose write is known."""
    other_uses: Count = 0
    """Calls that had the use of an entry without a lookup: ``has_key``, ``add``, ``incr``."""
    stampedes: Count = 0
    """How many of the values were produced while somebody else produced the same one."""
    repeated_gets: Count = 0
    """Gets that ``repeated_gets_requests`` requests could have spared, having got the same."""
    repeated_gets_requests: Count = 0
    single_gets: Count = 0
    """Different keys that ``single_gets_requests`` requests got one by one."""
    single_gets_requests: Count = 0
    sample_hits: Samples = ()
    """A few of the keys that were found."""
    sample_misses: Samples = ()
    sketch: Annotated[bytes, Meta(max_length=compact.MAX_BYTES)] = b""
    traced: Count = 0
    """See :attr:`~cache_monitor.stats.window.Window.traced`."""
    judged: Count = 0
    lookup_seconds: Duration = 0.0
    """The time of the lookups, each key of a ``get_many`` its share of its call."""
    other_seconds: Duration = 0.0
    """The time of all other calls on its keys."""
    counts: Count = 0
    """Of ``other_uses``, the calls that change a value where it is: ``incr`` and ``decr``."""
    adds: Count = 0
    """Of ``other_uses``, the calls of ``add``."""
    rewrites: Count = 0
    """Writes of a value by the request that had found it."""
    repeated_seconds: Duration = 0.0
    """The time of the ``repeated_gets``."""
    first_set: UnixTime = 0.0
    """When one of its keys was first written; 0 where none was."""
    timeout: Duration = 0.0
    """The longest timeout that a write gave; 0 where none gave one."""
    produce_squares: Duration = 0.0
    """The squares of the seconds that each value took to produce, added up: how they spread."""
    squares: Annotated[float, Meta(ge=0, le=1e300)] = 0.0
    """See :attr:`~cache_monitor.stats.window.Window.squares`."""
    lives: LifeStats | None = None
    """Of its entries that have ended and are in the trace."""
    changes: ChangeStats | None = None
    """Of its values that were written anew and are in the trace."""
    mean_set: UnixTime = 0.0
    """When its keys were written on average; 0 where that is when the first one was, or close."""
    called_from: Annotated[str, Meta(max_length=200)] = ""
    """A line of code that asks for its keys, where their names do not tell what they are for and it
    was seen outside of requests."""

    def count(self, hit: bool | None, wrote: bool, times: int, sample: str | None = None) -> None:
        """Count ``times`` uses of a key; ``hit`` is None where nothing was looked up. ``sample``
        is the key as it may be shown."""
        if hit is not None:
            self.lookups += times
            if hit:
                self.hits += times
                if sample is not None and len(self.sample_hits) < SAMPLE_SIZE:
                    self.sample_hits = with_one_more(self.sample_hits, sample)
            else:
                self.misses += times
                if sample is not None and len(self.sample_misses) < SAMPLE_SIZE:
                    self.sample_misses = with_one_more(self.sample_misses, sample)
        if wrote:
            self.sets += times

    def add_seconds(self, seconds: float, looked_up: bool) -> None:
        """Add what calls on its keys took."""
        if looked_up:
            self.lookup_seconds += seconds
        else:
            self.other_seconds += seconds

    def note_set(self, at: float, timeout: float) -> None:
        """Note that a key was written at the Unix time ``at`` for ``timeout`` seconds, 0 where
        the call gave no timeout."""
        self.first_set = min(self.first_set, at) if self.first_set else at
        self.timeout = max(self.timeout, timeout)

    def add_bytes(self, size: int, wrote: bool) -> None:
        """Add the bytes of values that were written or read."""
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def add_key(self, key_hash: int) -> None:
        """Add a key to the sketch."""
        self.keys.add(key_hash)
        if len(self.keys) > 2 * compact.SIZE:
            self.keys = compact.smallest(self.keys)

    def add_keys(self, hashes: Sequence[int]) -> None:
        """Add many keys to the sketch."""
        if len(hashes) > compact.SIZE <= len(self.keys):
            limit = max(self.keys)
            hashes = [each for each in hashes if each < limit]
        self.keys.update(hashes)
        if len(self.keys) > 2 * compact.SIZE:
            self.keys = compact.smallest(self.keys)

    def count_hits(self, samples: Sequence[str], hits: int, read: int | None) -> None:
        """Count ``hits`` that read so many bytes, where that is known; of some of the keys that
        were found, as they may be shown, samples are kept."""
        self.lookups += hits
        self.hits += hits
        if read is not None:
            self.add_bytes(read, False)
        for sample in samples:
            if len(self.sample_hits) >= SAMPLE_SIZE:
                break
            self.sample_hits = with_one_more(self.sample_hits, sample)

    def count_misses(self, samples: Sequence[str], misses: int) -> None:
        """Count ``misses``; of some of the keys, as they may be shown, samples are kept."""
        self.lookups += misses
        self.misses += misses
        for sample in samples:
            if len(self.sample_misses) >= SAMPLE_SIZE:
                break
            self.sample_misses = with_one_more(self.sample_misses, sample)

    def merge(self, other: "GroupStats") -> None:
        """Add the calls that ``other`` counted, but for its keys and samples."""
        self.lookups += other.lookups
        self.hits += other.hits
        self.misses += other.misses
        self.sets += other.sets
        self.lookup_seconds += other.lookup_seconds
        self.other_seconds += other.other_seconds
        # Asked first: a report merges thousands, most of which have none of what follows.
        if other.deletes or other.errors or other.other_uses:
            self.deletes += other.deletes
            self.errors += other.errors
            self.other_uses += other.other_uses
            self.counts += other.counts
            self.adds += other.adds
        if other.bytes_read is not None or other.bytes_written is not None:
            self.bytes_read = total(self.bytes_read, other.bytes_read)
            self.bytes_written = total(self.bytes_written, other.bytes_written)
        # What was produced may be told in a later bucket than its write.
        if other.first_set or other.produced or other.rewrites or other.stampedes:
            self._merge_writes(other)
        if other.repeated_gets or other.single_gets:
            self._merge_access_patterns(other)
        if other.reasons:
            add_reasons(self.reasons, other.reasons)
            self.traced += other.traced
            self.judged += other.judged
            self.squares += other.squares
        if other.ages:
            compact.add(self.ages, other.ages)
        if other.lives is not None or other.changes is not None or other.called_from:
            self._merge_seldom(other)

    def _merge_seldom(self, other: "GroupStats") -> None:
        if other.called_from:
            # The same one in whatever order they come.
            self.called_from = min(self.called_from or other.called_from, other.called_from)
        if other.lives is not None:
            self.lives = self.lives or LifeStats()
            self.lives.merge(other.lives)
        if other.changes is not None:
            self.changes = self.changes or ChangeStats()
            self.changes.merge(other.changes)

    def _merge_writes(self, other: "GroupStats") -> None:
        self.produced += other.produced
        self.produce_seconds += other.produce_seconds
        self.produce_squares += other.produce_squares
        self.stampedes += other.stampedes
        self.rewrites += other.rewrites
        if other.first_set:
            self.mean_set = self._mean_set_with(other)
            self.note_set(other.first_set, other.timeout)

    def _mean_set_with(self, other: "GroupStats") -> float:
        """The mean of both, when the sets of ``other`` are counted already."""
        theirs = other.mean_set or other.first_set
        if not self.first_set:
            return theirs
        share = min(other.sets / self.sets, 1.0) if self.sets else 0.0
        return (1 - share) * (self.mean_set or self.first_set) + share * theirs

    def _merge_access_patterns(self, other: "GroupStats") -> None:
        self.repeated_gets += other.repeated_gets
        self.repeated_gets_requests += other.repeated_gets_requests
        self.repeated_seconds += other.repeated_seconds
        self.single_gets += other.single_gets
        self.single_gets_requests += other.single_gets_requests

    def packed(self) -> "GroupStats":
        """The same as a store takes it."""
        return structs.replace(self, keys=set(), sketch=compact.pack_sketch(self.keys))

    def unpacked(self) -> "GroupStats":
        """The same as it is counted on."""
        return structs.replace(
            self, keys=self.keys.union(compact.unpack_sketch(self.sketch)), sketch=b""
        )


class ViewUse(Struct, array_like=True, gc=False):
    """What the requests of one view did with the keys of one group."""

    calls: Count = 0
    """Calls on its keys; of a call on several keys each counts its part."""
    lookups: Count = 0
    hits: Count = 0
    rewrites: Count = 0
    """Hits whose value the same request wrote anew."""
    seconds: Duration = 0.0

    def merge(self, other: "ViewUse") -> None:
        """Add what ``other`` counted."""
        self.calls += other.calls
        self.lookups += other.lookups
        self.hits += other.hits
        self.rewrites += other.rewrites
        self.seconds += other.seconds


class ViewStats(Struct, array_like=True, gc=False):
    """What the requests of one view did with the cache."""

    requests: Count = 0
    lookups: Count = 0
    misses: Count = 0
    seconds: Duration = 0.0
    calls: Count = 0
    request_seconds: Duration = 0.0
    """The time of the requests themselves."""
    sample_hits: Samples = ()
    """A few of the keys that its requests found."""
    sample_misses: Samples = ()
    groups: dict[str, ViewUse] = {}

    def use(self, group: str) -> ViewUse:
        """What its requests did with ``group``; one shared use takes what is over the limit."""
        found = self.groups.get(group)
        if found is None:
            kept = group if len(self.groups) < GROUPS_OF_A_VIEW else OTHER_GROUPS
            found = self.groups.setdefault(kept, ViewUse())
        return found

    def merge(self, other: "ViewStats") -> None:
        """Add what ``other`` counted, but for its samples."""
        self.requests += other.requests
        self.lookups += other.lookups
        self.misses += other.misses
        self.seconds += other.seconds
        self.calls += other.calls
        self.request_seconds += other.request_seconds
        for name, use in other.groups.items():
            (self.groups.get(name) or self.use(name)).merge(use)


class Details(Struct, array_like=True):
    """What one process did with the keys of one cache from ``start`` for ``seconds``.

    Kept apart from the window, over longer buckets, because it is many times as large and no
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
    pages: dict[str, PageStats] = {}
    """By route: what the page cache was asked for."""

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the details do."""
        return self.uses, self.final

    def group(self, name: str, kind: GroupKind) -> GroupStats:
        """The statistics of the group ``name``; one shared group takes what is over the limit."""
        stats = self.groups.get(name)
        if stats is None:
            kept = self.kept_group(name)
            stats = self.groups.setdefault(kept, GroupStats(kind if kept == name else "key"))
        return stats

    def kept_group(self, name: str) -> str:
        """The name that the group ``name`` is counted under."""
        if name in self.groups or len(self.groups) < self.group_limit:
            return name
        return OTHER_GROUPS

    def view(self, name: str) -> ViewStats:
        """The statistics of the view ``name``; one shared view takes what is over the limit."""
        return self.views.get(name) or self.views.setdefault(self.kept_view(name), ViewStats())

    def kept_view(self, name: str) -> str:
        """The name that the view ``name`` is counted under."""
        return name if name in self.views or len(self.views) < VIEW_LIMIT else OTHER_VIEWS

    def page(self, route: str) -> PageStats:
        """The statistics of the page ``route``; one shared page takes what is over the limit."""
        return self.pages.get(route) or self.pages.setdefault(self.kept_page(route), PageStats())

    def kept_page(self, route: str) -> str:
        """The name that the page ``route`` is counted under."""
        return route if route in self.pages or len(self.pages) < PAGE_LIMIT else OTHER_PAGES


class StoredDetails(Struct, array_like=True, gc=False):
    """:class:`Details` as bytes have them."""

    start: Start
    seconds: Length
    hot_keys: StoredKeys
    group_limit: Count
    groups: dict[str, GroupStats] = {}
    uses: Count = 0
    views: dict[str, ViewStats] = {}
    final: bool = False
    pages: dict[str, PageStats] = {}


class DetailedKeys(Struct, array_like=True, gc=False):
    """The beginning of :class:`StoredDetails`, for those who want its keys alone: what follows is
    not even read."""

    start: Start
    seconds: Length
    hot_keys: StoredKeys


class DetailsState(Struct, array_like=True, gc=False):
    """:class:`StoredDetails` for those who want to know whether they are final, and nothing of
    what is in them."""

    start: Start
    seconds: Length
    hot_keys: Raw
    group_limit: Count
    groups: Raw = Raw()
    uses: Count = 0
    views: Raw = Raw()
    final: bool = False


def folded(details: Details, most: int) -> Details:
    """``details`` with the ``most`` used groups of their own, and the others counted as one."""
    ranked = sorted(
        (name for name in details.groups if name != OTHER_GROUPS),
        key=lambda name: details.groups[name].lookups + details.groups[name].sets,
        reverse=True,
    )
    kept = {*ranked[:most]}
    groups = {name: group for name, group in details.groups.items() if name in kept}
    other = GroupStats("key")
    for name, group in details.groups.items():
        if name not in kept:
            other.merge(group)
            other.add_keys([*group.keys])
    return structs.replace(details, groups={**groups, OTHER_GROUPS: other})


def pack(details: Details) -> StoredDetails:
    """``details`` as a store takes them."""
    return StoredDetails(
        details.start,
        details.seconds,
        columns.pack(details.hot_keys),
        details.group_limit,
        {name: group.packed() for name, group in details.groups.items()},
        details.uses,
        details.views,
        details.final,
        {route: page.bounded() for route, page in details.pages.items()},
    )


def unpack(stored: StoredDetails) -> Details:
    """What :func:`pack` made ``stored`` of."""
    return Details(
        stored.start,
        stored.seconds,
        columns.unpack(stored.hot_keys),
        stored.group_limit,
        {name: group.unpacked() for name, group in stored.groups.items()},
        stored.uses,
        stored.views,
        stored.final,
        stored.pages,
    )
