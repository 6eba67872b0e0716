"""How long entries lasted, and what ended them."""

from typing import Literal

from msgspec import Struct

from cache_monitor.stats import histogram
from cache_monitor.stats.window import Bucket, Count, UnixTime

End = Literal["expired", "deleted", "cleared", "evicted", "lost", "overwritten", "version_changed"]
"""What ended the life of an entry: ``overwritten`` where its value was written anew before."""

Cause = Literal["restart", "replica", "refused"]
"""What made an entry be lost: the backend began anew, with nothing in it; reads went to a replica
that had not got it yet; or the backend refused to store it."""


class LifeStats(Struct, array_like=True, gc=False):
    """The lives of entries that have ended, from a write to what ended it. The histograms are of
    seconds."""

    ends: dict[End, Count] = {}
    unread: dict[End, Count] = {}
    """Of these, the ones that nobody had read."""
    lasted: dict[Bucket, Count] = {}
    """From the write to the end. Of an eviction or a loss, to the lookup that noticed it."""
    first_read: dict[Bucket, Count] = {}
    """From the write to the first read."""
    evicted_at: dict[Bucket, Count] = {}
    """Of what was ``lasted``, the part of the evicted ones."""

    causes: dict[Cause, Count] = {}
    """Misses of entries that were lost, by what is known to have taken these away."""
    restarted_at: UnixTime = 0.0
    """When a backend was last seen to have begun anew."""

    def lose(self, cause: Cause, weight: int, at: float = 0.0) -> None:
        """Count ``weight`` misses of lost entries; what took these away was seen ``at``."""
        self.causes[cause] = self.causes.get(cause, 0) + weight
        if cause == "restart":
            self.restarted_at = max(self.restarted_at, at)

    def end(self, how: End, seconds: float, weight: int, is_unread: bool) -> None:
        """Count ``weight`` lives that ended."""
        self.ends[how] = self.ends.get(how, 0) + weight
        if is_unread:
            self.unread[how] = self.unread.get(how, 0) + weight
        [bucket] = histogram.buckets_of([max(seconds, 0.0)])
        for each in (self.lasted, self.evicted_at) if how == "evicted" else (self.lasted,):
            each[bucket] = each.get(bucket, 0) + weight

    def read(self, seconds: float, weight: int) -> None:
        """Count ``weight`` values that were read for the first time."""
        [bucket] = histogram.buckets_of([max(seconds, 0.0)])
        self.first_read[bucket] = self.first_read.get(bucket, 0) + weight

    def merge(self, other: "LifeStats") -> None:
        """Add what ``other`` counted."""
        for how, count in other.ends.items():
            self.ends[how] = self.ends.get(how, 0) + count
        for how, count in other.unread.items():
            self.unread[how] = self.unread.get(how, 0) + count
        histogram.add(self.lasted, other.lasted)
        histogram.add(self.first_read, other.first_read)
        histogram.add(self.evicted_at, other.evicted_at)
        for cause, count in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        self.restarted_at = max(self.restarted_at, other.restarted_at)
