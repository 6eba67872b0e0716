"""With ``ENABLED`` False every method of a cache is the original one. A part of ``calls``."""

import sys

import django
from django.conf import settings
from django.core.cache import caches

from cache_monitor.instrument.install import is_ours


def main() -> None:
    """Look at the methods of every cache in the settings; exit with 1 where one is ours."""
    django.setup()
    changed = [alias for alias in settings.CACHES if _is_changed(type(caches[alias]))]
    told = f"changed: {', '.join(changed)}" if changed else "the original methods on every alias"
    sys.stdout.write(f"ENABLED False: {told} ({len(settings.CACHES)})\n")
    sys.exit(bool(changed))


def _is_changed(class_: type) -> bool:
    return any(is_ours(each) for own in class_.__mro__ for each in vars(own).values())


if __name__ == "__main__":
    main()
