"""The ledger that knows why a get missed: the last writes, deletes and clears of every key.

All processes of one host share it. Plain Python, without Django and off the site's path.
"""

from cache_monitor.ledger.events import Event, Hit, Kind, Miss, Production, Reason
from cache_monitor.ledger.ledger import Ledger
from cache_monitor.ledger.memory import Busy

__all__ = ["Busy", "Event", "Hit", "Kind", "Ledger", "Miss", "Production", "Reason"]
