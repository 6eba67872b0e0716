"""Windows and details as the payloads of rows, and the details of many rows in one.

A payload is MessagePack behind a version byte. What comes from a store is not trusted: it is
bounded in size, checked against the types while it is read, and never executed.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw, Struct, structs

from cache_monitor.stats import columns, distinct
from cache_monitor.stats.columns import Ranking, StoredKeys
from cache_monitor.stats.details import OTHER_GROUPS, Details, PageStats, ViewStats, ViewUse
from cache_monitor.stats.distinct import Union
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.histogram import Histogram
from cache_monitor.stats.packed_ints import MAX_COUNT
from cache_monitor.stats.top_keys import HotKeys, MergedSample, few_of
from cache_monitor.stats.window import Count, Counts, Length, Start


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


def pack_details(details: Details) -> StoredDetails:
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


def unpack_details(stored: StoredDetails) -> Details:
    """What :func:`pack_details` made ``stored`` of."""
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


MAX_BYTES = 4 * 1024 * 1024
_VERSION = b"\x01"

T = TypeVar("T")


class CorruptPayload(ValueError):
    """Bytes that are not a payload of this version."""


def encode(value: msgspec.Struct) -> bytes:
    """``value`` as bytes. Details of more groups than a reader would take have the least used ones
    in one."""
    payload = _encoded(value)
    if isinstance(value, Details):
        groups = len(value.groups)
        while len(payload) > MAX_BYTES and groups > 1:
            groups //= 2
            payload = _encoded(folded(value, groups))
    return payload


def _encoded(value: msgspec.Struct) -> bytes:
    stored = pack_details(value) if isinstance(value, Details) else value
    return _VERSION + msgspec.msgpack.encode(stored, enc_hook=_packed)


def decode(payload: bytes, type_: type[T]) -> T:
    """The value that :func:`encode` made ``payload`` of.

    Raises :class:`CorruptPayload` for anything else: cut, damaged, too large, of a newer version.
    """
    if type_ is Details:
        return cast(T, unpack_details(_decode(payload, StoredDetails)))
    return _decode(payload, type_)


def _decode(payload: bytes, type_: type[T]) -> T:
    if len(payload) > MAX_BYTES:
        raise CorruptPayload(f"{len(payload)} bytes, more than {MAX_BYTES}")
    if payload[:1] != _VERSION:
        raise CorruptPayload(f"version {payload[:1]!r}")
    try:
        return msgspec.msgpack.decode(memoryview(payload)[1:], type=type_, dec_hook=_unpacked)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CorruptPayload(str(error)) from error


def _packed(value: Any) -> bytes:
    if isinstance(value, Histogram):
        return value.pack()
    raise NotImplementedError(f"no encoding of {type(value)}")


def _unpacked(type_: type, value: Any) -> Any:
    """A histogram, of its bytes or of counts by bucket, as it was stored at first."""
    if isinstance(value, bytes):
        return Histogram.unpack(value)
    counts = msgspec.convert(value, Counts)
    if sum(counts.values()) > MAX_COUNT:
        raise ValueError("a histogram of too many calls")
    return Histogram(counts)


Fold = Callable[[str], str]
"""The group that a group belongs to: mostly itself."""


def fold_groups(details: Details, fold: Fold) -> None:
    """Count the groups of ``details`` by the names that ``fold`` gives them, wherever they are
    named."""
    groups = details.groups
    for name in [name for name, group in groups.items() if group.kind == "key"]:
        kept = fold(name)
        if kept == name:
            continue
        group = groups.pop(name)
        if kept in groups:
            _merge(groups[kept], group)
        else:
            groups[kept] = group
    for stats in details.hot_keys.table.values():
        if stats.group not in groups and (kept := fold(stats.group)) in groups:
            stats.group = kept
    for view in details.views.values():
        _fold_uses(view, details, fold)


def _fold_uses(view: ViewStats, details: Details, fold: Fold) -> None:
    for name in [name for name in view.groups if name not in details.groups]:
        kept = fold(name)
        if kept != name:
            use = view.groups.pop(name)
            view.groups.setdefault(kept, ViewUse()).merge(use)


def _merge(into: GroupStats, group: GroupStats) -> None:
    into.merge(group)
    into.keys = distinct.unite(into.keys, group.keys)
    into.sample_hits = few_of((*into.sample_hits, *group.sample_hits))
    into.sample_misses = few_of((*into.sample_misses, *group.sample_misses))


class DetailsMerge:
    """Merges details as they come out of a store.

    Hot keys are ranked while they come, and only those on top looked up at the end. Until then
    their tables are kept as the columns that they were read as.
    """

    def __init__(
        self, start: int, seconds: int, group_limit: int, fold: Fold | None = None
    ) -> None:
        self._fold = fold
        self._whole = Details(start, seconds, HotKeys(1), group_limit)
        # By the names that are kept.
        self._groups: dict[str, _Group] = {}
        self._views: dict[str, _View] = {}
        self._ranking = Ranking()
        self._tables: list[StoredKeys] = []

    def add(self, part: StoredDetails) -> None:
        """Take in ``part``, which stays as it is."""
        self._whole.uses += part.uses
        # A report merges tens of thousands of groups and views: hence few calls for each.
        groups, views = self._groups, self._views
        for name, group in part.groups.items():
            (groups.get(name) or self._enter_group(name, group)).add(group)
        for name, view in part.views.items():
            (views.get(name) or self._enter_view(name)).add(view)
        for route, page in part.pages.items():
            self._whole.page(route).merge(page)
        self._ranking.add(part.hot_keys)
        self._tables.append(part.hot_keys)

    def whole(self, most: int) -> Details:
        """All of them in one, with the ``most`` hottest keys."""
        whole = self._whole
        for group in self._groups.values():
            group.finish()
        for view in self._views.values():
            view.finish()
        hottest, floor = self._ranking.top(most)
        whole.hot_keys = HotKeys(most, floor, self._ranking.gather(self._tables, hottest))
        return whole

    def _enter_group(self, name: str, group: GroupStats) -> "_Group":
        if self._fold is not None and group.kind == "key":
            name = self._fold(name)
        kept = self._whole.kept_group(name)
        merged = self._groups.get(kept)
        if merged is None:
            merged = self._groups[kept] = _Group(self._whole.group(kept, group.kind))
        return merged

    def _enter_view(self, name: str) -> "_View":
        kept = self._whole.kept_view(name)
        merged = self._views.get(kept)
        if merged is None:
            merged = self._views[kept] = _View(self._whole.view(kept))
        return merged


class _Group:
    """One group of many parts: what is merged of it so far."""

    __slots__ = ("_hits", "_keys", "_misses", "_stats")

    def __init__(self, stats: GroupStats) -> None:
        self._stats = stats
        self._keys = Union()
        self._hits = MergedSample()
        self._misses = MergedSample()

    def add(self, group: GroupStats) -> None:
        self._stats.merge(group)
        # As it was stored at first, or as it is now.
        if group.keys:
            self._keys.add(group.keys)
        self._keys.add_packed(group.sketch)
        # Asked first: most have none of one or the other.
        if group.sample_hits:
            self._hits.add(group.sample_hits)
        if group.sample_misses:
            self._misses.add(group.sample_misses)

    def finish(self) -> None:
        self._stats.keys = self._keys.sketch()
        self._stats.sample_hits = self._hits.samples()
        self._stats.sample_misses = self._misses.samples()


class _View:
    """One view of many parts."""

    __slots__ = ("_hits", "_misses", "_stats")

    def __init__(self, stats: ViewStats) -> None:
        self._stats = stats
        self._hits = MergedSample()
        self._misses = MergedSample()

    def add(self, view: ViewStats) -> None:
        self._stats.merge(view)
        if view.sample_hits:
            self._hits.add(view.sample_hits)
        if view.sample_misses:
            self._misses.add(view.sample_misses)

    def finish(self) -> None:
        self._stats.sample_hits = self._hits.samples()
        self._stats.sample_misses = self._misses.samples()
