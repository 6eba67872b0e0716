"""Which values were produced while somebody else produced the same one.

The processes of a host tell their common ledger when they produced what. Of productions of one
entry whose times overlap, in one process or in several, all but the first that is told of were
made in vain. An entry is an alias's, a version's and a key's; of a cache that each process has for
itself, also the process's, who must produce it for himself. Other hosts' are not known here.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from itertools import islice

from cache_monitor.collecting.production import Produced
from cache_monitor.collecting.telling import Facts
from cache_monitor.ledger import Busy, Ledger, Production

MOST_WAITING = 10_000
"""Productions that wait for the ledger; 5 MB. Older ones make room, and count as needed."""
_BATCH = 1000


class Stampedes:
    """Tells the ledger of one process's productions. Not safe for several threads at once."""

    def __init__(self, ledger: Ledger, facts: Callable[[str], Facts | None]) -> None:
        self._ledger = ledger
        self._facts = facts
        self._waiting: deque[tuple[Produced, Production]] = deque(maxlen=MOST_WAITING)

    def hear(self, made: Produced, version: Hashable, began: float, ended: float) -> None:
        """Take in that a value of ``version``, as the caller gave it, was produced from ``began``
        to ``ended`` (``time.perf_counter``). Asks nobody, so that a thread of the site's may do
        it."""
        facts = self._facts(made.alias)
        if facts is None:
            return
        meant = facts.version if version is None else version
        space = f"{facts.space}\0{facts.prefix}"
        production = Production(space, made.key, str(meant), began, ended)
        self._waiting.append((made, production))

    def in_vain(self) -> Iterator[Produced]:
        """Tell the ledger of what waits; those of it that somebody else produced meanwhile."""
        # What the ledger is too busy for waits for the next turn.
        with suppress(Busy):
            while self._waiting:
                batch = list(islice(self._waiting, _BATCH))
                told = self._ledger.note_produced([production for _, production in batch])
                for (made, _), is_in_vain in zip(batch, told, strict=True):
                    self._waiting.popleft()
                    if is_in_vain:
                        yield made
