"""Sessions whose keys begin with a number."""

from django.contrib.sessions.backends.cache import SessionStore as _SessionStore


class SessionStore(_SessionStore):
    cache_key_prefix = "7:"
