"""The groups of keys that differ in nothing but their numbers, told from the first of them.

Of a million users' keys each may come by once. What they have in common, their shape, is then all
that can be remembered: ``user:0:profile`` for every ``user:{int}:profile``.
"""

import re
from collections.abc import Callable

from django.conf import settings

from cache_monitor.conf import SETTING, get_conf
from cache_monitor.keys.credentials import is_masked, masked
from cache_monitor.keys.display import SHOWN_LENGTH
from cache_monitor.keys.grouping import has_plain_numbers
from cache_monitor.keys.learned import learned
from cache_monitor.keys.ownsessions import own_sessions
from cache_monitor.keys.pages import PREFIX
from cache_monitor.keys.sessions import may_be_sessions
from cache_monitor.setting_changes import forget_on_change

_MOST_FORMS = 8192
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
# A longer number becomes two, and such keys are looked at one by one: it may be a hash.
_NUMBERS = re.compile("[0-9]{1,19}")
_LONG = "00"
_groups: dict[bytes, str] = {}
"""By a key's form: its bytes with zeros for digits. That is quicker told than the shape; of one
shape there are as many forms as its numbers have lengths."""


def known_group(text: str) -> str | None:
    """The group of the key ``text``, where :func:`group_by_shape` has told that of another key
    which differs in nothing but the digits of its numbers."""
    if len(text) >= own_sessions.shortest:
        return None
    return _groups.get(text.encode("utf-8", "surrogatepass").translate(_ZEROS))


def group_by_shape(text: str, group_of: Callable[[str], str]) -> str | None:
    """The group of the key ``text``, which ``group_of`` tells for the first key of each shape;
    None where its shape does not decide.

    Where it does, ``text`` is printable, short enough to be shown, no session's, has nothing in it
    that looks like a credential, and the project has nothing to say about its keys.
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
            _groups[form] = group = group_of(shape)
    return group


def _decides(shape: str) -> bool:
    if _LONG in shape or not has_plain_numbers(shape) or not settings.configured:
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
