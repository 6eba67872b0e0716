"""Settings of a site with five caches, which a browser visits."""

from tests.benchmarks.reading import ALIASES
from tests.dashboard import site

globals().update({name: getattr(site, name) for name in dir(site) if name.isupper()})

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
CACHES = {alias: {"BACKEND": LOCMEM, "LOCATION": alias} for alias in ALIASES}
