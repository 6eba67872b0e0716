"""What begins anew when a setting is changed while the process runs, as tests do: the one list."""

from collections import defaultdict
from collections.abc import Callable

from django.core.signals import setting_changed

_forgetting: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)


def forget_on_change(settings: tuple[str, ...], *forget: Callable[[], object]) -> None:
    """Have each of ``forget`` called when one of ``settings`` has another value."""
    for setting in settings:
        _forgetting[setting].extend(forget)


def _changed(*, setting: str, **_: object) -> None:
    for forget in _forgetting[setting]:
        forget()


setting_changed.connect(_changed, dispatch_uid="cache_monitor.setting_changes")
