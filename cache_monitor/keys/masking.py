"""What in a key looks like a credential, and the mask that it is shown with.

Whoever reads a session key is logged in as its owner, and a key such as ``cart:<session key>`` has
one in it. Django's are 32 letters and digits, which is also what a digest looks like: that is
masked as well, since nobody can tell the two apart, and keeps a name of its own by its mask.

A ``SESSION_ENGINE`` of the project's own may make keys of any form, and ``signed_cookies`` has the
whole cookie for a key. No look at a cache's key finds those, so they are learned where Django's
base class takes them: when a session is made for a request, before its view runs. Of Django's other
engines nothing is learned: what a visitor sends them that has not their form is no session's key.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, wraps
from importlib import import_module
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from cache_monitor.calls import KEY_LIMIT
from cache_monitor.errors import let_pass
from cache_monitor.keys import known_keys
from cache_monitor.keys.display import CUT, SHOWN_LENGTH
from cache_monitor.keys.grouping import looks_random
from cache_monitor.setting_changes import forget_on_change

_DJANGOS = re.compile("[a-z0-9]{32}")
_MARK: Final = "_cache_monitor_learns"
_DJANGOS_ENGINES = frozenset(
    f"django.contrib.sessions.backends.{name}" for name in ("cache", "cached_db", "db", "file")
)
_MOST = 10_000
"""Session keys that are remembered at least; twice as many at most."""
_MOST_LENGTHS = 64
"""Different lengths that are looked for in each key."""
NONE_KNOWN: Final = 1 << 62


class OwnSessions:
    """The session keys of the last requests, as hashes: nothing is logged in with those.

    Two tables take turns, which takes no lock: when the young one is full it becomes the old one,
    whose content goes. ``shortest`` is the length of the shortest key learned so far.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all of them."""
        self.shortest = NONE_KNOWN
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._lengths: Counter[int] = Counter()

    def learn(self, session_key: object) -> None:
        """Remember a session's key, unless its form is Django's, which tells it."""
        if type(session_key) is not str or _DJANGOS.fullmatch(session_key):
            return
        digest, length = hash(session_key), len(session_key)
        if digest in self._young or not length:
            return
        young = self._young
        young[digest] = length
        self._lengths[length] += 1
        self.shortest = min(self.shortest, length)
        if len(young) >= _MOST:
            self._old, self._young = young, {}
            self._lengths = Counter(young.values())

    def within(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in ``text`` one of them is."""
        if len(text) < self.shortest:
            return
        young, old = self._young, self._old
        for length, _ in self._lengths.most_common(_MOST_LENGTHS):
            for start in range(len(text) - length + 1):
                digest = hash(text[start : start + length])
                if digest in young or digest in old:
                    yield start, start + length


own_sessions = OwnSessions()


def learn_sessions() -> None:
    """Learn from now on the keys of the sessions that this process has. Idempotent."""
    if settings.SESSION_ENGINE in _DJANGOS_ENGINES:
        # Which keys are sessions' is asked later, by a thread: none may import then.
        import_module(settings.SESSION_ENGINE)
    # Its module asks for settings.
    base: Any = import_module("django.contrib.sessions.backends.base").SessionBase
    kept = base.__dict__.get("_session_key")
    if not isinstance(kept, property) or kept.fset is None or hasattr(kept.fset, _MARK):
        return
    keep = kept.fset

    @wraps(keep)
    def learning(self: Any, value: Any) -> None:
        keep(self, value)
        try:
            if type(self).__module__ not in _DJANGOS_ENGINES and kept.fget is not None:
                own_sessions.learn(kept.fget(self))
        except Exception as error:
            let_pass(error)

    setattr(learning, _MARK, True)
    base._session_key = property(kept.fget, learning, kept.fdel, kept.__doc__)


DOTS = "••••"
"""What every mask begins with; eight characters follow that tell one credential from another."""

LEAST = 32
"""Characters of a Django session key, a CSRF secret, and the shortest tokens that are masked."""

_JWT = r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{7,}\.[A-Za-z0-9_.-]+"
_RUN = rf"[A-Za-z0-9_-]{{{LEAST},}}"
_CANDIDATE = re.compile(f"(?P<jwt>{_JWT})|{_RUN}")
# However it is glued to other words: "cart" + session key, or either in capitals.
_INNER = re.compile(
    rf"[a-z0-9]{{{LEAST},}}|[A-Z0-9]{{{LEAST},}}|(?P<mixed>[A-Za-z0-9]{{{LEAST},}})"
)
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])", re.DOTALL)
_HEX = re.compile("[0-9a-f]+|[0-9A-F]+")
# The beginning of a credential may stand at the end of a key that was cut.
_LAST_RUN = re.compile(r"[A-Za-z0-9_-]+\Z")
_VARIETY = 6
"""Different characters that a credential has at least: of all session keys that Django makes, one
in 10^21 has fewer. What has fewer is filled up: ``xxxx…``, ``0000…``. Numbers are none either."""

_FRAGMENT = re.compile(r"template\.cache\..*(?=\.[0-9a-f]{32}\Z)", re.DOTALL)

_MASK = re.compile(f"{DOTS}(?:(?P<hash>[0-9a-f]{{8}})|[g-v]{{8}})")
# The digest of what may be a token has other letters than a digest's: its group is another.
_TOKEN_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
_ALIKE = re.compile("[aA0]{8,}")
_LOOK_ALIKE = str.maketrans(
    {
        **dict.fromkeys("0123456789", "0"),
        **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "a"),
        **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A"),
    }
)


class Masked(NamedTuple):
    """A key without its credentials.

    ``text`` has a mask for each, the same in all processes. ``look_alike`` has letters and digits
    that tell nothing, as many and of the same kinds, for the patterns of ``KEY_GROUPS``.
    """

    text: str
    look_alike: str


def masked(text: str) -> Masked | None:
    """The key ``text`` without its credentials; None where it has none."""
    if len(text) < own_sessions.shortest and len(text) < LEAST:
        return None
    cut = CUT.search(text)
    whole = text[: cut.start()] if cut else text
    kept = whole[:KEY_LIMIT]
    spans = [*_spans(kept, is_cut=cut is not None or len(whole) > KEY_LIMIT)]
    if not spans:
        return None
    shown, alike, before = [], [], 0
    for start, end in spans:
        shown += [kept[before:start], _mask(kept[start:end])]
        alike += [kept[before:start], kept[start:end].translate(_LOOK_ALIKE)]
        before = end
    rest = kept[before:]
    text = "".join([*shown, rest])
    length = int(cut[1]) if cut else len(whole)
    if length > KEY_LIMIT or len(text) > SHOWN_LENGTH:
        # What shows it tells the length of the key, not that of this text.
        text += f"… ({length} characters)"
    return Masked(text, "".join([*alike, rest]))


def without_look_alikes(text: str) -> str:
    """What a pattern has made of a ``look_alike``, with placeholders for what stands there for a
    credential."""
    return _ALIKE.sub("{token}", text)


def is_masked(text: str) -> bool:
    """Whether ``text`` has a mask in it."""
    return DOTS in text


def without_masks(text: str) -> str:
    """``text`` with the placeholders of groups in the place of masks."""
    if DOTS not in text:
        return text
    return _MASK.sub(lambda found: "{hash}" if found["hash"] else "{token}", text)


def _spans(text: str, *, is_cut: bool) -> Iterator[tuple[int, int]]:
    """Where the credentials are, from the first to the last, none over another."""
    done = 0
    spans = [*own_sessions.within(text)]
    for start, end in _open_parts(text):
        spans += _looking_like_one(text, start, end)
    # What is shown ends long before a cut, unless masks have made it short.
    if spans and is_cut and (last := _LAST_RUN.search(text)):
        spans.append(last.span())
    for start, end in sorted(spans):
        if end > done:
            yield max(start, done), end
            done = end


def _open_parts(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a key that are not digests which Django made, of addresses and the like."""
    page = known_keys.page_key(text)
    if page is not None:
        start = text.index(".", len(known_keys.PREFIX)) + 1
        yield start, start + len(page.prefix)
        yield len(text) - len(page.suffix), len(text)
    elif fragment := _FRAGMENT.match(text):
        yield fragment.span()
    else:
        yield 0, len(text)


def _looking_like_one(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found in _CANDIDATE.finditer(text, start, end):
        if found["jwt"] or _is_token(found[0]):
            yield found.span()
            continue
        for inner in _INNER.finditer(text, *found.span()):
            if (_is_token if inner["mixed"] else _is_varied)(inner[0]):
                yield inner.span()


def _is_token(run: str) -> bool:
    """Whether a run with small and capital letters in it is one, and no words: those of Python's
    names are long."""
    return _MIXED.match(run) is not None and looks_random(run.replace("_", "").replace("-", ""))


def _is_varied(run: str) -> bool:
    return len(set(run)) >= _VARIETY and not run.isdecimal()


def _mask(credential: str) -> str:
    digest = hashlib.blake2b(credential.encode("utf-8", "surrogatepass"), key=_secret())
    letters = digest.hexdigest()[:8]
    is_hash = _HEX.fullmatch(credential) is not None
    return DOTS + (letters if is_hash else letters.translate(_TOKEN_LETTERS))


@cache
def _secret() -> bytes:
    """What nobody can guess a short session key by its mask without."""
    try:
        return hashlib.sha256(f"cache_monitor:{settings.SECRET_KEY}".encode()).digest()
    except ImproperlyConfigured:
        return b""


forget_on_change(("SECRET_KEY",), _secret.cache_clear)
