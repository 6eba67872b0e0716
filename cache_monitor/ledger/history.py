"""The history of one key: a few entries, the newest first.

An entry is one event, or a run of events of one version that had to share an entry. It is a tuple
``(last, run, ttl, seconds, state)``:

* ``last``, Unix time: the end of the (last) event; ``run``, seconds: how long before that the
  run's first event ended, 0 for a single event;
* ``ttl``, seconds: how long after ``last`` the entry expires, infinite without expiry;
* ``seconds``: the duration of the (last) event;
* ``state``: ``version << 8 | touched << 5 | blurred << 4 | inside << 2 | kind``. The kind is the
  last event's; ``touched`` tells that it left the value as it was.
  ``inside`` is why a get missed that fell between the run's first and last event.

A history that grows beyond ``DEPTH`` is shortened from its old end: two entries of one version
become a run. If every miss inside the run has the same reason, or lies further back than anybody
asks about, nothing is lost. Otherwise the history may grow to ``LONGEST``, and only then is a run
blurred, ``inside`` being the most plausible reason: a key that was both deleted and written again
and again was missing because of the deletes, not because the cache evicted what it was just given.
"""

from collections.abc import Iterable, Mapping
from struct import Struct

from cache_monitor.ledger.clears import Clears
from cache_monitor.ledger.events import Kind

DEPTH = 5
"""Entries that are stored together, which is what a key has for itself."""
LEVELS = 4
"""How many times ``DEPTH`` a busy key may take of its neighbours' room."""
NEWEST = 2
LONGEST = NEWEST + (LEVELS - 1) * DEPTH
"""17: the first of the levels is not filled, see ``levels``."""
HORIZON = 5.0
"""Seconds before a key's newest event from which on its misses can still be asked about."""
_TRIES = 4
TOLERANCE = 1.0
"""Seconds before its expiry from which on an entry counts as expired: memcached's clock ticks
in whole seconds, and so do the expiries that Django hands to it."""

Entry = tuple[float, float, float, float, int]
ENTRY = Struct("<dfffI")
"""The three spans are single floats: exact to 1 us over 10 s, and to 0.2 s over a month."""

EMPTY, WRITTEN, DELETED, MOVED = range(4)
KIND = 0b11
# The reasons inside a run, the more plausible the higher.
INSIDE_EVICTED, INSIDE_EXPIRED, INSIDE_DELETED, INSIDE_MOVED = range(4)
_INSIDE_OF = (INSIDE_EVICTED, INSIDE_EVICTED, INSIDE_DELETED, INSIDE_MOVED)
INSIDE_SHIFT = 2
BLURRED = 1 << 4
TOUCHED = 1 << 5
KINDS: Mapping[Kind, int] = {
    "written": WRITTEN,
    "touched": WRITTEN | TOUCHED,
    "deleted": DELETED,
    "moved": MOVED,
}
_ABOUT_RUN = BLURRED | 0b11 << INSIDE_SHIFT
_FORGOTTEN = 1 << 4
VERSION_SHIFT = 8
NO_VERSION = 0
"""The version of entries that are empty."""
_ENDLESS = 1e9
"""Seconds: longer spans are infinite, and fit a single float."""


def span(seconds: float) -> float:
    """A span that a single float holds."""
    return seconds if -_ENDLESS < seconds < _ENDLESS else float("inf")


def _between(older: Entry, until: float) -> int:
    """The reasons that a miss after ``older`` and before ``until`` can have, one bit each."""
    last, _, ttl, _, state = older
    kind = state & KIND
    if kind != WRITTEN:
        return 1 << _INSIDE_OF[kind]
    expired_from = last + ttl - TOLERANCE
    evicted = expired_from > last
    expired = expired_from <= until
    return evicted << INSIDE_EVICTED | expired << INSIDE_EXPIRED


def merge(older: Entry, newer: Entry, now: float, clears: Clears) -> tuple[Entry, bool]:
    """Both entries of one version as one run, and whether that loses what may be asked for.

    ``now`` is the time of the newest event; ``clears`` are those of the space.
    """
    last, run, _, _, state = older
    new_last, new_run, ttl, seconds, new_state = newer
    new_first = new_last - new_run
    # What lies before the horizon has no say, lest one delete colours a run for days.
    since = now - HORIZON
    if new_last <= since:
        state = new_state & ~_ABOUT_RUN | BLURRED
        return (new_last, span(new_last - last + run), ttl, seconds, state), False
    reasons = 0
    if run:
        reasons = 1 << inside(state) if last > since else _FORGOTTEN
    if new_first > last:
        reasons |= _between(older, new_first) if new_first > since else _FORGOTTEN
    if new_run:
        reasons |= 1 << inside(new_state) if new_last > since else _FORGOTTEN
    recent = reasons & _FORGOTTEN - 1
    loses = recent & (recent - 1) != 0 or (new_first > since and clears.has(last, new_first))
    blurred = BLURRED if loses or reasons >= _FORGOTTEN else (state | new_state) & BLURRED
    likely = recent.bit_length() - 1
    state = new_state & ~_ABOUT_RUN | blurred | (likely << INSIDE_SHIFT if likely > 0 else 0)
    return (new_last, span(new_last - last + run), ttl, seconds, state), loses


def inside(state: int) -> int:
    """Why a get missed that fell inside the run with this state."""
    return state >> INSIDE_SHIFT & 0b11


def insert(history: list[Entry], new: Entry, clears: Clears) -> bool:
    """Put ``new`` in its place in time; whether the last trace of a version had to go for it."""
    at, version = new[0], new[4] >> VERSION_SHIFT
    place = len(history)
    for index, (last, run, ttl, seconds, state) in enumerate(history):
        if last <= at:
            place = index
            break
        if last - run < at and state >> VERSION_SHIFT == version:
            likely = max(inside(state), _INSIDE_OF[new[4] & KIND])
            blurred = state & ~_ABOUT_RUN | BLURRED | likely << INSIDE_SHIFT
            history[index] = (last, run, ttl, seconds, blurred)
            return False
    history.insert(place, new)
    if len(history) > DEPTH:
        _shorten(history, DEPTH, clears, may_lose=False)
    if len(history) > LONGEST:
        _shorten(history, LONGEST, clears, may_lose=True)
    is_lost = len(history) > LONGEST
    del history[LONGEST:]
    return is_lost


def _shorten(history: list[Entry], length: int, clears: Clears, may_lose: bool) -> None:
    """Make runs, from the old end on, until the history has ``length``."""
    end = len(history) - 1
    # What is newer waits until it is older: what other processes did then may still come in.
    last = 0 if may_lose else end - _TRIES
    for older in range(end, max(0, last), -1):
        newer = _next_of_version(history, older)
        if newer is None:
            continue
        run, loses = merge(history[older], history[newer], history[0][0], clears)
        if may_lose or not loses:
            history[newer] = run
            del history[older]
            if len(history) <= length:
                return


def _next_of_version(history: list[Entry], older: int) -> int | None:
    version = history[older][4] >> VERSION_SHIFT
    for newer in range(older - 1, -1, -1):
        if history[newer][4] >> VERSION_SHIFT == version:
            return newer
    return None


def levels(history: list[Entry]) -> list[list[Entry]]:
    """The history in parts of at most ``DEPTH``, as it is stored.

    If it needs more than one, the first has but the ``NEWEST``, so that the next events only need
    to be put before them.
    """
    if len(history) <= DEPTH:
        return [history]
    return [history[:NEWEST]] + [
        history[start : start + DEPTH] for start in range(NEWEST, len(history), DEPTH)
    ]


def pack(history: Iterable[Entry]) -> bytes:
    """The bytes of at most ``DEPTH`` entries, as many for each."""
    return b"".join(ENTRY.pack(*entry) for entry in history).ljust(DEPTH * ENTRY.size, b"\0")


def unpack(raw: bytes) -> list[Entry]:
    """The entries in ``raw``, empty ones included."""
    return list(ENTRY.iter_unpack(raw))
