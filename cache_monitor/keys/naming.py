"""Name a key for people: mask secrets, find its group.

Each of a million users' keys may be used only once. So groups are cached by shape:
``user:0:profile`` for every ``user:{int}:profile``.
"""

import re
from typing import Literal, NamedTuple

from django.conf import settings

from cache_monitor.conf import SETTING, forget_on_change, get_conf, kept_until_change
from cache_monitor.key_patterns import ChosenGroups
from cache_monitor.keys import known_keys
from cache_monitor.keys.grouping import (
    CUT,
    GROUP_LENGTH,
    MATCHED_LENGTH,
    SHOWN_LENGTH,
    group_of,
    has_plain_numbers,
    learned,
    printable,
    shortened,
)
from cache_monitor.keys.known_keys import PREFIX, query_cache_group, routes
from cache_monitor.keys.masking import (
    NOT_SANITIZED,
    Masked,
    is_masked,
    is_sanitizing,
    is_session,
    masked,
    may_be_sessions,
    own_sessions,
    sanitized,
    without_look_alikes,
    without_masks,
)

_MOST_FORMS = 8192
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
# A longer number may be a hash: it becomes two zeros, and is not cached.
_NUMBERS = re.compile("[0-9]{1,19}")
_LONG_NUMBER = "00"
_groups: dict[bytes, str] = {}
"""By a key's form: its bytes with zeros for digits, which is faster than the shape. A shape has a
form for each length of its numbers."""


def known_group(text: str) -> str | None:
    """The group of ``text``, if :func:`group_by_shape` had another key of the same form."""
    if len(text) >= own_sessions.shortest:
        return None
    return _groups.get(text.encode("utf-8", "surrogatepass").translate(_ZEROS))


def group_by_shape(text: str) -> str | None:
    """The group of the key ``text``, cached by its shape; None where the shape does not decide.

    Where it does, ``text`` is printable, at most 250 characters, no session's, without a possible
    credential, and no setting of the project is about keys.
    """
    if len(text) > SHOWN_LENGTH or len(text) >= own_sessions.shortest:
        return None
    form = text.encode("utf-8", "surrogatepass").translate(_ZEROS)
    group = _groups.get(form)
    if group is None:
        shape = _NUMBERS.sub("0", text)
        if _decides(shape):
            if len(_groups) >= _MOST_FORMS:
                _groups.clear()
            _groups[form] = group = _learned_group_of(shape)
    return group


def _decides(shape: str) -> bool:
    if _LONG_NUMBER in shape or not has_plain_numbers(shape) or not settings.configured:
        return False
    conf = get_conf()
    return (
        conf.key_sanitizer is None
        and not conf.key_groups
        and shape.isprintable()
        and not shape.startswith(PREFIX)
        and not may_be_sessions(shape)
        and masked(shape) is None
        and not is_masked(shape)
    )


forget_on_change((SETTING, "SESSION_ENGINE"), _groups.clear)
learned.on_change(_groups.clear)


GroupedBy = Literal["chosen", "shape", "learned"]
"""``KEY_GROUPS``, the shapes of the key's parts, or the many values of a part."""

KeyKind = Literal["key", "page", "page_headers", "fragment", "session"]


class KeyName(NamedTuple):
    """A key as it may be shown.

    ``shown`` has at most 250 characters, ``group`` at most 120; both are printable and encode to
    UTF-8. Sessions' keys and possible credentials are masked; ``KEY_SANITIZER`` was applied.
    """

    shown: str
    group: str
    kind: KeyKind


SESSION_MASK = "session:••••"
"""The text of every session's key."""
_SESSION = KeyName(SESSION_MASK, "session", "session")
_NOT_SANITIZED = KeyName(NOT_SANITIZED, NOT_SANITIZED, "key")

# The form of django.core.cache.utils.
_REFERENCE = re.compile(r"\\(?:[0-9]+|g<\w+>)")
_FRAGMENT = re.compile(r"template\.cache\.(?P<name>.*)\.[0-9a-f]{32}", re.DOTALL)


def text_of(key: object) -> str:
    """The text that Django makes of ``key``, always a plain ``str``; ``<TypeName>`` where its
    ``__str__`` raises."""
    if type(key) is str:
        return key
    try:
        # Under ``python -bb`` str(b"…") raises; repr() gives the same text.
        text = repr(key) if isinstance(key, bytes) else str(key)
        return str.__str__(text)
    except Exception:
        return f"<{type(key).__name__}>"


def shown(text: str) -> str:
    """``text`` in at most 250 printable characters; a cut one ends in its true length."""
    if len(text) <= SHOWN_LENGTH and text.isprintable():
        return text
    # Escaping makes no character shorter, so one more than shown is enough.
    head = printable(text[: SHOWN_LENGTH + 1])
    cut_before = CUT.search(text)
    length = int(cut_before[1]) if cut_before else len(text)
    return shortened(head, SHOWN_LENGTH, f"… ({length:,} characters)")


def name_key(key: object, alias: str | None = None) -> KeyName:
    """The name of the user's ``key`` in the cache ``alias``, if known. Never raises."""
    if type(key) is str and (plain := name_plain_key(key)) is not None:
        return plain
    return name_other_key(key, alias)


def name_plain_key(key: str) -> KeyName | None:
    """The name of a key of plain words and numbers, much faster: it shows the key as it is and may
    be cached. None for any other key."""
    group = group_by_shape(key)
    return None if group is None else KeyName(key, group, "key")


def name_other_key(key: object, alias: str | None = None) -> KeyName:
    """The name of a key for which :func:`name_plain_key` has none."""
    found = _without_secrets(key)
    if isinstance(found, KeyName):
        return found
    if isinstance(found, Masked):
        text = CUT.sub("…", found.text)
        group, kind = _group_and_kind(text, query_cache_group(text_of(key), alias))
        chosen = _chosen_group(found.look_alike)
        # A name may contain what its pattern matched.
        group = without_look_alikes(chosen) if chosen else group
        return KeyName(shown(found.text), group, kind)
    group, kind = _group_and_kind(found, query_cache_group(found, alias))
    return KeyName(shown(found), _chosen_group(found) or group, kind)


def group_key(key: object, alias: str | None = None) -> str:
    """The ``group`` of the key's name, faster: a scan calls it for each key of a cache."""
    if type(key) is str and (plain := group_by_shape(key)) is not None:
        return plain
    return name_other_key(key, alias).group


def unmasked_name(key: object, alias: str | None = None) -> KeyName:
    """The name of ``key`` for a project's own tests: only sessions' keys are masked."""
    text = text_of(key)
    if masked(text) is None or is_sanitizing() or is_session(text[:MATCHED_LENGTH]):
        return name_key(key, alias)
    return name_key(key, alias)._replace(shown=shown(text))


def written_as_shown(key: str) -> str:
    """``key`` with possible credentials masked."""
    found = masked(key)
    return key if found is None else found.text


def _without_secrets(key: object) -> KeyName | Masked | str:
    """The text of ``key``, sanitized and masked; its name where that is all that may be kept."""
    text = text_of(key)
    # First: neither the memo nor a sanitizer may get a session key.
    if is_session(text[:MATCHED_LENGTH]):
        return _SESSION
    hidden = masked(text)
    if hidden is not None:
        text = hidden.text
    text = sanitized(text)
    if text is NOT_SANITIZED:
        return _NOT_SANITIZED
    if text.startswith(known_keys.PREFIX) and len(text) <= MATCHED_LENGTH:
        # Not kept, because the route may become known later.
        page = known_keys.page_key(text)
        if page is not None:
            return _page_name(text, page)
    return text if hidden is None or is_sanitizing() else hidden


def may_be_cached(name: KeyName) -> bool:
    """Whether this name may be cached by its key.

    Not with a session's or a masked key, not where the project sanitizes keys, and not a cached
    page's before its route is known.
    """
    return not (
        name.kind == "session"
        or name.shown.startswith(known_keys.PREFIX)
        or is_masked(name.shown)
        or is_sanitizing()
    )


def _group_and_kind(text: str, hashed: str | None) -> tuple[str, KeyKind]:
    if hashed is not None:
        return hashed, "key"
    text = without_masks(text)
    if len(text) <= MATCHED_LENGTH and (fragment := _FRAGMENT.fullmatch(text)):
        return _joined("fragment", group_of(fragment["name"])), "fragment"
    return _learned_group_of(text), "key"


def _learned_group_of(text: str) -> str:
    """The group of ``text``, by its shape and the learned templates."""
    return learned.folding.fold(group_of(text))


def _page_name(text: str, page: known_keys.PageKey) -> KeyName:
    """The name of a cached page, or its list of headers, by the route where known."""
    what = _what(page)
    route = routes.of(page.url)
    words = what, group_of(without_masks(page.prefix)), page.method, route or "{hash}"
    group = _chosen_group(text) or _joined(*words)
    if route is None:
        return KeyName(shown(text), group, page.kind)
    # A prefix may be a tenant's, whose pages are others.
    own = _joined(what, page.prefix, page.method, _path_of(page) or route)
    return KeyName(shown(f"{own} {page.digest} {page.suffix}".rstrip()), group, page.kind)


def _path_of(page: known_keys.PageKey) -> str | None:
    """The path of a page whose route serves many, if it may be shown."""
    path = routes.path_of(page.url)
    if path is None:
        return None
    path = sanitized(written_as_shown(path))
    return None if path is NOT_SANITIZED or is_session(path.strip("/")) else path


def is_page_known_as(name: str, key: str) -> bool:
    """Whether a process that knows the route shows the cached page ``key`` as ``name``."""
    if "#" not in name or (page := known_keys.page_key(sanitized(written_as_shown(key)))) is None:
        return False
    return name.startswith(f"{_joined(_what(page), page.prefix, page.method)} ") and name.endswith(
        f" {page.digest} {page.suffix}".rstrip()
    )


def headers_of_page(group: str) -> str | None:
    """The group of the header lists of the pages of ``group``, if these are of GET: both methods
    share their lists."""
    if not group.startswith("page ") or " GET " not in group:
        return None
    return shortened(
        "page headers " + group.removeprefix("page ").replace("GET ", "", 1), GROUP_LENGTH
    )


def _what(page: known_keys.PageKey) -> str:
    return "page" if page.kind == "page" else "page headers"


def _joined(*words: str) -> str:
    return shortened(printable(" ".join(word for word in words if word)), GROUP_LENGTH)


def _chosen_group(text: str) -> str | None:
    group = _chosen_groups().group_of(text)
    return None if group is None else shortened(printable(group), GROUP_LENGTH)


@kept_until_change(SETTING, before=ChosenGroups({}))
def _chosen_groups() -> ChosenGroups:
    return ChosenGroups(get_conf().key_groups)


def learned_group(group: str) -> str:
    """The learned group of ``group``; itself where ``KEY_GROUPS`` may have named it."""
    folded = learned.folding.fold(group)
    return group if folded == group or is_chosen(group) else folded


def is_chosen(group: str) -> bool:
    """Whether ``KEY_GROUPS`` may have given a group this name."""
    return any(name.fullmatch(group) for name in _chosen_names())


@kept_until_change(SETTING, before=())
def _chosen_names() -> tuple[re.Pattern[str], ...]:
    names = get_conf().key_groups.values()
    return tuple(re.compile(".*".join(map(re.escape, _REFERENCE.split(name)))) for name in names)


def why_grouped(key: object, alias: str | None = None) -> GroupedBy:
    """What decided the group of ``key``."""
    text = _without_secrets(key)
    if isinstance(text, str) and _chosen_group(text) is not None:
        return "chosen"
    group = name_key(key, alias).group
    return "learned" if group in learned.folding.templates else "shape"
