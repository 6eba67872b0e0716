"""Telling an alias's own keys from others, and undoing what made them."""

from hashlib import md5
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache
from django_redis.client import DefaultClient
from django_redis.util import CacheKey

from cache_monitor.scan.identity import key_form


def form(**params: Any) -> Any:
    return key_form(BaseCache(params))


@pytest.mark.parametrize("prefix", ["", "shop", "shop:eu", "%", "a*b[c]?\\d", "x" * 100])
@pytest.mark.parametrize("version", [1, 7, -2, "2026a"])
def test_what_django_makes_of_a_key_is_undone(prefix: str, version: Any) -> None:
    cache = BaseCache({"KEY_PREFIX": prefix, "VERSION": version})
    own = key_form(cache)
    for key in ("user:17", "", "cachemonitorkey", "a\nb", ":1:x", "ключ"):
        assert own.user_key(cache.make_key(key)) == key
    assert not own.opaque


@pytest.mark.parametrize("stored", ["shop:2:x", "shop", ":1:x", "shop:eu:1:x", "SHOP:1:x", ""])
def test_others_keys_are_none_of_ours(stored: str) -> None:
    assert form(KEY_PREFIX="shop").user_key(stored) is None


def test_a_pattern_takes_the_characters_of_a_prefix_as_they_are() -> None:
    assert form(KEY_PREFIX="a*b[c]?\\d").glob == "a\\*b\\[c\\]\\?\\\\d:1:*"


def test_a_key_function_of_ones_own_is_undone() -> None:
    own = form(KEY_FUNCTION=lambda key, prefix, version: f"<{version}|{key}|end>")
    assert own.user_key("<1|user:17|end>") == "user:17"
    assert own.user_key("<2|user:17|end>") is None
    assert own.user_key("<1|end>") is None


def test_of_a_digest_the_rest_still_tells_whose_a_key_is() -> None:
    def digest(key: str, prefix: str, version: int) -> str:
        return f"{prefix}:{version}:{md5(key.encode(), usedforsecurity=False).hexdigest()}"

    own = form(KEY_FUNCTION=digest, KEY_PREFIX="shop")
    assert (own.before, own.opaque, own.is_recognizable) == ("shop:1:", True, True)
    assert own.user_key("shop:1:abc") == "shop:1:abc"
    assert own.user_key("other:1:abc") is None


@pytest.mark.parametrize(
    "function",
    [
        lambda *_: "all-one",
        lambda *_: 1 / 0,
        lambda key, *_: md5(key.encode(), usedforsecurity=False).hexdigest(),
    ],
)
def test_where_nothing_tells_whose_a_key_is_that_is_known(function: Any) -> None:
    own = form(KEY_FUNCTION=function)
    assert (own.is_recognizable, own.opaque) == (False, True)


def test_a_key_function_that_changes_the_key_is_not_undone() -> None:
    own = form(KEY_FUNCTION=lambda key, *_: f"app:{key.upper()}")
    assert own.opaque
    assert own.user_key("app:MENU") == "app:MENU"


class SiteCache(BaseCache):
    """A backend of the project's own that makes keys without a KEY_FUNCTION."""

    def make_key(self, key: Any, version: Any = None) -> str:
        return f"site/{version or self.version}/{key}"


class SiteClient(DefaultClient):  # type: ignore[misc]  # it has no types
    """The same as a client of django-redis, with the hash tag of a cluster."""

    def make_key(self, key: str, version: Any = None, prefix: str | None = None) -> CacheKey:
        return CacheKey(f"{{site}}{super().make_key(key, version, prefix)}")


def test_a_class_that_makes_keys_itself_is_asked() -> None:
    own = key_form(SiteCache({"VERSION": 2}))
    assert own.user_key("site/2/user:17") == "user:17"
    assert own.user_key(":2:user:17") is None


def test_a_client_that_makes_keys_itself_is_asked() -> None:
    options = {"CLIENT_CLASS": f"{__name__}.SiteClient"}
    own = key_form(RedisCache("redis://127.0.0.1:1/0", {"OPTIONS": options, "KEY_PREFIX": "p"}))
    assert own.user_key("{site}p:1:user:17") == "user:17"
    assert own.user_key("p:1:user:17") is None


def _of_a_tenant(key: str, prefix: str, version: int) -> str:
    return f"public:{prefix}:{version}:{key}"


def test_a_key_function_of_tenants_tells_no_own_entries_in_a_thread_of_no_tenant() -> None:
    assert key_form(BaseCache({"KEY_FUNCTION": _of_a_tenant})).user_key("acme::1:a") is None
    _of_a_tenant.__module__ = "django_tenants.cache"
    form = key_form(BaseCache({"KEY_FUNCTION": _of_a_tenant}))
    assert not form.is_recognizable
    assert form.user_key("acme::1:a") == "acme::1:a"
