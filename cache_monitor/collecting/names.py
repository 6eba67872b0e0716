"""The names of the keys that are counted, remembered from one call to the next."""

from cache_monitor.conf import SETTING
from cache_monitor.keys.learned import learned
from cache_monitor.keys.naming import KeyName, may_be_remembered, other_name, plain_name
from cache_monitor.keys.ownsessions import own_sessions
from cache_monitor.setting_changes import forget_on_change
from cache_monitor.stats.distinct import hash_of

_MOST_REMEMBERED = 16_384

_Named = tuple[KeyName, int]
"""The name and the hash of a key."""


class _Remembered:
    """The keys that were named last, by alias and key. When half of the room is taken, what was
    not asked for since the last time makes room: keys that come again and again stay. Who asks
    looks among the ``young`` by himself, which spares a call for nearly every key."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.young: dict[tuple[str, str], _Named] = {}
        self._old = self.young

    def from_before(self, place: tuple[str, str]) -> _Named | None:
        """What is not among the ``young``, and is from now on."""
        known = self._old.get(place)
        if known is not None:
            self.note(place, known)
        return known

    def note(self, place: tuple[str, str], named: _Named) -> None:
        if 2 * len(self.young) >= _MOST_REMEMBERED:
            self._old, self.young = self.young, {}
        self.young[place] = named


_remembered = _Remembered()


def name_and_hash(key: str, alias: str) -> _Named:
    """The name and the hash of a key of the cache ``alias``, remembered where that is allowed."""
    if len(key) >= own_sessions.shortest:
        # It may hold a session key that was learned since it was named.
        return other_name(key, alias), hash_of(key)
    place = (alias, key)
    known = _remembered.young.get(place) or _remembered.from_before(place)
    if known is None:
        plain = plain_name(key)
        known = plain or other_name(key, alias), hash_of(key)
        if plain or may_be_remembered(known[0]):
            _remembered.note(place, known)
    return known


forget_on_change((SETTING, "SESSION_ENGINE"), _remembered.forget)
learned.on_change(_remembered.forget)
