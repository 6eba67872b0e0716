"""What of a key must not be shown: session keys, credentials, and what ``KEY_SANITIZER`` removes.

A session key logs its reader in, and a key such as ``cart:<session key>`` contains one. Django's
are 32 letters and digits. A digest looks the same, so it is masked too; by its mask it keeps a name
of its own.

A project's ``SESSION_ENGINE`` may make keys of any form; those of ``signed_cookies`` are whole
cookies. So such keys are learned where Django's base class sets them, before the view runs. Of
Django's other engines nothing is learned: their keys are known by their form.
"""

import hashlib
import inspect
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, wraps
from importlib import import_module
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from cache_monitor.calls import KEY_LIMIT, bounded
from cache_monitor.conf import SETTING, forget_on_change, get_conf, kept_until_change
from cache_monitor.errors import let_pass, type_and_line
from cache_monitor.keys import known_keys
from cache_monitor.keys.grouping import CUT, SHOWN_LENGTH, looks_random

_DJANGOS = re.compile("[a-z0-9]{32}")
_MARK: Final = "_cache_monitor_learns"
_DJANGOS_ENGINES = frozenset(
    f"django.contrib.sessions.backends.{name}" for name in ("cache", "cached_db", "db", "file")
)
_MOST = 10_000
"""Session keys in memory at least; twice as many at most."""
_MOST_LENGTHS = 64
"""Different lengths that are searched for in each key."""
NONE_KNOWN: Final = 1 << 62


class OwnSessions:
    """The session keys of the last requests, as hashes, which are no credentials.

    Two tables, without a lock: a full young one replaces the old one. ``shortest`` is the length of
    the shortest key learned so far.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.shortest = NONE_KNOWN
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._lengths: Counter[int] = Counter()

    def learn(self, session_key: object) -> None:
        """Keep a session's key, unless it is known by Django's form."""
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
        """The spans of the known keys in ``text``."""
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
    """Begin to learn the session keys of this process. Idempotent."""
    if settings.SESSION_ENGINE in _DJANGOS_ENGINES:
        # Imported now, because threads that name keys later must not import.
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


_NUMBERS = re.compile("[0-9]+")
# Of ``sessions.backends.cache``, and with one letter more of ``cached_db``.
_DJANGO_PREFIX = "django.contrib.sessions.cache"


def is_session(text: str) -> bool:
    """Whether the key ``text`` contains a session key."""
    if _DJANGO_PREFIX in text:
        return True
    own = _own_sessions()
    return own is not None and own.search(text) is not None


def may_be_sessions(shape: str) -> bool:
    """Whether a key of this ``shape``, which has zeros for numbers, may contain a session key."""
    if _DJANGO_PREFIX in shape:
        return True
    if not (settings.configured and apps.ready):
        return True
    prefix = _own_prefix()
    # Without a prefix it is 32 letters and digits, which have no shape.
    return bool(prefix) and _NUMBERS.sub("0", prefix or "") in shape


@kept_until_change("SESSION_ENGINE", before=None, of_apps=True)
def _own_sessions() -> re.Pattern[str] | None:
    """Matches the keys of a ``SESSION_ENGINE`` with its own ``cache_key_prefix``."""
    prefix = _own_prefix()
    if prefix is None or prefix.startswith(_DJANGO_PREFIX):
        return None
    if not prefix:
        return re.compile(r"\A[a-z0-9]{32}\Z")
    # At the start of a word only: the prefix "s:" must not match "users:17".
    return re.compile(r"(?<![^\W_])" + re.escape(prefix))


def _own_prefix() -> str | None:
    try:
        prefix = import_module(settings.SESSION_ENGINE).SessionStore.cache_key_prefix
    except Exception:
        return None
    return prefix if isinstance(prefix, str) else None


DOTS = "••••"
"""The beginning of every mask; eight characters of a digest follow."""

LEAST = 32
"""Characters of a Django session key, a CSRF secret, and the shortest tokens that are masked."""

_JWT = r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{7,}\.[A-Za-z0-9_.-]+"
_RUN = rf"[A-Za-z0-9_-]{{{LEAST},}}"
_CANDIDATE = re.compile(f"(?P<jwt>{_JWT})|{_RUN}")
# Without separators too: "cart" + session key, or either in capitals.
_ONE_CASE = re.compile(rf"[a-z0-9]{{{LEAST},}}|[A-Z0-9]{{{LEAST},}}")
_WORD = re.compile(rf"[A-Za-z0-9]{{{LEAST},}}")
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])", re.DOTALL)
_HEX = re.compile("[0-9a-f]+|[0-9A-F]+")
# A cut key may end with the beginning of a credential.
_LAST_RUN = re.compile(r"[A-Za-z0-9_-]+\Z")
_VARIETY = 6
"""Different characters that a credential has at least: of Django's session keys one in 10^21 has
fewer. Padding has fewer: ``xxxx…``, ``0000…``."""

_FRAGMENT = re.compile(r"template\.cache\..*(?=\.[0-9a-f]{32}\Z)", re.DOTALL)

_MASK = re.compile(f"{DOTS}(?:(?P<hash>[0-9a-f]{{8}})|[g-v]{{8}})")
# The mask of a token has other letters than that of a hash, for its group.
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

    ``text`` has a mask for each, the same in all processes. ``look_alike`` has as many dummies of
    the same kinds of characters, for the patterns of ``KEY_GROUPS``.
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
        # The shown length must be the key's.
        text += f"… ({length} characters)"
    return Masked(text, "".join([*alike, rest]))


def without_look_alikes(text: str) -> str:
    """``text``, made of a ``look_alike``, with placeholders for the dummies."""
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
    """The spans of the credentials, in order, without overlaps."""
    done = 0
    spans = [*own_sessions.within(text)]
    for start, end in _open_parts(text):
        spans += _looking_like_one(text, start, end)
    # The shown part reaches a cut only where masks have shortened it.
    if spans and is_cut and (last := _LAST_RUN.search(text)):
        spans.append(last.span())
    for start, end in sorted(spans):
        if end > done:
            yield max(start, done), end
            done = end


def _open_parts(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a key that are not Django's own digests, such as of addresses."""
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
        if found["jwt"]:
            yield found.span()
            continue
        rest, stop = found.span()
        # These first: with "Cart" before it a session key hardly looks like a token.
        for inner in _ONE_CASE.finditer(text, rest, stop):
            if _is_varied(inner[0]):
                yield inner.span()
                yield from _tokens(text, rest, inner.start())
                rest = inner.end()
        yield from _tokens(text, rest, stop)


def _tokens(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The run from ``start`` to ``end`` where it is a token of mixed case, or those within it."""
    if end - start >= LEAST and _is_token(text[start:end]):
        yield start, end
        return
    for word in _WORD.finditer(text, start, end):
        if _is_token(word[0]):
            yield word.span()


def _is_token(run: str) -> bool:
    """Whether a run of mixed case is a token, and no long name."""
    return _MIXED.match(run) is not None and looks_random(run.replace("_", "").replace("-", ""))


def _is_varied(run: str) -> bool:
    return len(set(run)) >= _VARIETY and not run.isdecimal()


def _mask(credential: str) -> str:
    digest = hashlib.blake2b(credential.encode("utf-8", "surrogatepass"), key=_secret())
    letters = digest.hexdigest()[:8]
    is_hash = _HEX.fullmatch(credential) is not None
    return DOTS + (letters if is_hash else letters.translate(_TOKEN_LETTERS))


@kept_until_change("SECRET_KEY", before=b"")
def _secret() -> bytes:
    """The key of the masks: without it a short session key could be guessed."""
    try:
        return hashlib.sha256(f"cache_monitor:{settings.SECRET_KEY}".encode()).digest()
    except ImproperlyConfigured:
        return b""


# KEY_SANITIZER

logger = logging.getLogger("cache_monitor")

NOT_SANITIZED = "(KEY_SANITIZER failed)"
"""Replaces every key that the sanitizer failed on."""

Sanitizer = Callable[[str], str]


def sanitized(text: str) -> str:
    """The key ``text`` after the sanitizer, if there is one.

    The sanitizer gets at most 512 characters. Where it raises, or returns no text, the result is
    :data:`NOT_SANITIZED`. Never raises.
    """
    sanitizer = _sanitizer()
    return text if sanitizer is None else sanitizer(text)


def is_sanitizing() -> bool:
    """Whether unsanitized keys must not be kept, not even in memory."""
    return _sanitizer() is not None


def sanitizer_problem(path: str) -> str | None:
    """Why the dotted ``path`` names no sanitizer; None where it does."""
    try:
        found = import_string(path)
    except Exception as error:
        return f"names {path!r}, which cannot be imported: {type(error).__name__}: {error}."
    if not callable(found) or isinstance(found, type):
        return f"names {path!r}, which is no function."
    if inspect.iscoroutinefunction(found):
        return f"names {path!r}, which is a coroutine function."
    return None if _takes_one_text(found) else f"names {path!r}, which does not take one argument."


def _takes_one_text(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind("key")
    except TypeError:
        return False
    except ValueError:
        # Some functions of C have no signature.
        return True
    return True


class _Guarded:
    """A sanitizer whose faults are caught, and logged once."""

    def __init__(self, path: str, function: Callable[[str], object]) -> None:
        self._path = path
        self._function = function
        self._has_failed = False

    def __call__(self, text: str) -> str:
        try:
            clean = self._function(str(bounded(text)))
            if isinstance(clean, str):
                # A subclass may have methods of its own.
                return str.__str__(clean)
            self._failed(f"returned {type(clean).__name__} and no str")
        except Exception as error:
            self._failed(f"raised {type_and_line(error)}")
        return NOT_SANITIZED

    def _failed(self, how: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.error(
                "CACHE_MONITOR['KEY_SANITIZER'] %s %s. Keys that it fails on are shown as"
                " %r; further faults are not logged.",
                self._path,
                how,
                NOT_SANITIZED,
            )


@kept_until_change(SETTING, before=None)
def _path() -> str | None:
    return get_conf().key_sanitizer


def _sanitizer() -> Sanitizer | None:
    path = _path()
    return None if path is None else _imported(path, apps.ready)


def _refusing(text: str) -> str:
    return NOT_SANITIZED


@cache
def _imported(path: str, is_final: bool) -> Sanitizer:
    try:
        return _Guarded(path, import_string(path))
    except Exception as error:
        if not is_final:
            # It may need the apps.
            return _refusing
        logger.error(
            "CACHE_MONITOR['KEY_SANITIZER'] %s cannot be imported (%s), so every key is shown as"
            " %r. Run manage.py check.",
            path,
            type_and_line(error),
            NOT_SANITIZED,
        )
        return _refusing


forget_on_change((SETTING,), _imported.cache_clear)
