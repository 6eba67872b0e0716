"""What goes into the ledger and what comes out of it."""

from typing import Literal, NamedTuple

Kind = Literal["written", "touched", "deleted", "moved", "swept", "cleared"]
"""``moved``: ``incr_version`` or ``decr_version`` took the entry out of this version; the version
that it went to gets a ``touched``, which stands for a new expiry of a value that was there before.
``swept``: all keys of this version that match a pattern were deleted; the key is the pattern, in
Redis's notation. ``cleared`` concerns a whole space and has no key."""

Reason = Literal[
    "never_set", "expired", "evicted", "deleted", "cleared", "version_changed", "unknown"
]

Version = int | str


class Event(NamedTuple):
    """Something that a finished call did to an entry.

    ``space`` says whose entries these are: the alias of a cache that processes share, alias and
    process of one that they do not. ``at`` is the Unix time of the call's end, ``seconds`` its
    duration. ``expires_at`` is a Unix time, None for an entry without expiry.
    """

    space: str
    kind: Kind
    at: float
    key: str = ""
    version: Version = 1
    expires_at: float | None = None
    seconds: float = 0.0


class Miss(NamedTuple):
    """A key that was looked up and not found; ``at`` is the Unix time of the call's start."""

    space: str
    key: str
    version: Version
    at: float
    seconds: float = 0.0


class Production(NamedTuple):
    """A value that a caller produced, from ``began`` to ``ended``, by ``time.perf_counter``: the
    processes of a host share that clock, and nobody sets it."""

    space: str
    key: str
    version: Version
    began: float
    ended: float


class Hit(NamedTuple):
    """A key that was looked up and found; ``at`` is the Unix time of the call's start."""

    space: str
    key: str
    version: Version
    at: float
