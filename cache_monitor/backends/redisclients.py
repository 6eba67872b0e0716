"""What is known of django-redis, whose cache leaves everything to a client of its settings' choice.

It is not imported here: a cache of its class is there only where somebody has imported it.
"""

import sys
from importlib import import_module
from inspect import getattr_static, signature
from typing import Any

_GET_TAKES = ["key", "default", "version", "client"]
KEPT_AS = "_client"
"""The attribute in which its cache keeps the client."""


def keeps_client(real: type) -> bool:
    """Whether ``real`` has a property ``client`` that makes the client and keeps it."""
    client = getattr_static(real, "client", None)
    code = getattr(getattr(client, "fget", None), "__code__", None)
    return isinstance(client, property) and code is not None and KEPT_AS in code.co_names


def leaf_clients(real: type) -> frozenset[Any]:
    """The clients with which no method of ``real`` calls another operation of the cache; none
    where that is not known of ``real``, or does not hang on a client."""
    module = sys.modules.get("django_redis.cache")
    if module is None or real is not module.RedisCache or not keeps_client(real):
        return frozenset()
    get: Any = getattr_static(real, "get")
    if list(signature(get).parameters)[1:] != _GET_TAKES:
        return frozenset()
    client = import_module("django_redis.client")
    names = ("DefaultClient", "SentinelClient")
    return frozenset(getattr(client, name) for name in names if hasattr(client, name))
