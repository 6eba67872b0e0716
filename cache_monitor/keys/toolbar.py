"""Tell the keys under which the debug toolbar keeps its own data: no news for anybody."""

from collections.abc import Hashable, Iterable, Mapping
from functools import cache

from django.conf import settings

from cache_monitor.setting_changes import forget_on_change

_SETTING = "DEBUG_TOOLBAR_CONFIG"


def is_toolbars_own(key: Hashable) -> bool:
    """Whether the key, or the first of several keys, is the toolbar's."""
    return is_one_toolbars_own((key,))


def is_one_toolbars_own(keys: Iterable[Hashable]) -> bool:
    """The same for any of ``keys``, in less time than it takes to ask for each."""
    prefix = _prefix()
    for key in keys:
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, str) and first.startswith(prefix):
            return True
    return False


@cache
def _prefix() -> str:
    config = getattr(settings, _SETTING, None)
    chosen = config.get("CACHE_KEY_PREFIX") if isinstance(config, Mapping) else None
    # An empty prefix would take every key for the toolbar's.
    return chosen if isinstance(chosen, str) and chosen else "djdt:"


forget_on_change((_SETTING,), _prefix.cache_clear)
