"""Looking into Redis, through Django's own backend and through django-redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache
from django_redis.cache import RedisCache as DjangoRedisCache
from redis import Redis

from cache_monitor.scan import redis
from cache_monitor.scan.backends import scanner_for
from cache_monitor.scan.base import Bounds
from cache_monitor.scan.entries import Selection, list_entries
from cache_monitor.scan.snapshot import Snapshot
from tests.conftest import find_or_leave
from tests.scan.inspection import inspect_cache
from tests.services import REDIS, Server, run_redis

BACKENDS = [RedisCache, DjangoRedisCache]
IDLE = 7200
USAGE, IDLE_TIME = "cmdstat_memory|usage", "cmdstat_object|idletime"


class Site:
    """An empty Redis server and a backend for it."""

    def __init__(self, server: Server, backend: type[Any]) -> None:
        self.server = server
        self.backend = backend
        self.redis = Redis(host=server.host, port=server.port)

    def cache(self, prefix: str = "", credentials: str = "", **params: Any) -> Any:
        url = f"redis://{credentials}{self.server.address}/0"
        return self.backend(url, {"KEY_PREFIX": prefix, **params})

    def age(self) -> None:
        """Make everything that is there look as if nobody had used it for IDLE seconds."""
        for key in self.redis.scan_iter():
            ttl, dumped = max(0, self.redis.pttl(key)), self.redis.dump(key)
            self.redis.restore(key, ttl, dumped, replace=True, idletime=IDLE)  # type: ignore[arg-type]


@pytest.fixture(params=BACKENDS, ids=["django", "django-redis"])
def site(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[Site]:
    site = Site(redis_server, request.param)
    site.redis.flushall()
    site.redis.config_resetstat()
    # Other tests share the server, and may leave it small.
    site.redis.config_set("maxmemory", 0)
    yield site
    site.redis.config_set("maxmemory", 0)
    site.redis.config_set("maxmemory-policy", "noeviction")
    site.redis.close()


def look(
    cache: BaseCache, limit: int = 100_000, seconds: float = 5, stale_after: float = 60
) -> Snapshot:
    found = inspect_cache("main", cache, limit=limit, seconds=seconds, stale_after=stale_after)
    cache.close()
    return found


def test_an_empty_cache_has_no_entries_rather_than_unknown_ones(site: Site) -> None:
    found = look(site.cache())
    assert (found.entries, found.bytes, found.idle, found.no_expiry) == (0, 0, 0, 0)
    assert (found.expired, found.never_read, found.limit_bytes, found.limit_entries) == (None,) * 4
    assert (found.exact, found.scope, found.evictions, found.problem) == (True, "shared", 0, None)


def test_entries_weigh_what_the_server_uses_for_them(site: Site) -> None:
    site.cache().set_many({"user:1": "x" * 1000, "user:2": "y", "menu": 1})
    stored = [site.redis.memory_usage(key) for key in site.redis.scan_iter()]
    found = look(site.cache())
    assert (found.entries, found.bytes) == (3, sum(map(int, stored)))  # type: ignore[arg-type]
    assert [(each.group, each.entries) for each in found.groups] == [("user:{int}", 2), ("menu", 1)]
    assert found.largest[0].key == "user:1"


def test_each_stale_entry_is_found_under_its_kind_and_no_other(site: Site) -> None:
    cache = site.cache()
    cache.set("idle", "a", 30_000)
    site.age()
    cache.set("forever", "a", None)
    cache.set("fine", "a", 30_000)
    found = look(cache, stale_after=IDLE / 2)
    assert {each.key: each.why for each in found.stale} == {
        "forever": ["no_expiry"],
        "idle": ["idle"],
    }
    assert (found.idle, found.no_expiry, found.entries) == (1, 1, 3)
    idle = {each.key: each.idle for each in found.stale}["idle"]
    assert idle == pytest.approx(IDLE, rel=0.25)


def test_looking_is_no_use_of_an_entry(site: Site) -> None:
    site.cache().set("idle", 1, 30_000)
    site.age()
    for _ in range(3):
        look(site.cache())
    assert look(site.cache(), stale_after=IDLE / 2).idle == 1


@pytest.mark.parametrize("prefix", ["", "shop", "shop:eu", "a*b[c]?\\d"])
def test_keys_of_others_on_the_server_are_neither_counted_nor_shown(
    site: Site, prefix: str
) -> None:
    for each in ("", "shop", "shop:eu", "a*b[c]?\\d", "axb[c]?\\d", "shop:eu:x"):
        site.cache(each).set(f"of:{each}", 1)
        site.cache(each).set("of:another:version", 1, version=3)
    for foreign in (b"celery", b"_kombu.binding.x", b"shop:cart", b":", b"\xff:1:x"):
        site.redis.set(foreign, 1)
    found = look(site.cache(prefix))
    assert found.entries == 1
    assert [each.key for each in found.largest] == [f"of:{prefix}"]


def test_a_key_function_that_can_be_undone_is(site: Site) -> None:
    site.redis.set("other", 1)
    cache = site.cache("p", KEY_FUNCTION=lambda key, prefix, version: f"{prefix}/{key}/v{version}")
    cache.set("user:17", 1)
    assert [each.key for each in look(cache).largest] == ["user:17"]


@pytest.mark.parametrize("stored", ["all-one", "{key}"])
def test_a_key_function_that_hides_whose_a_key_is_is_an_error(site: Site, stored: str) -> None:
    site.redis.set("other", 1)
    cache = site.cache(KEY_FUNCTION=lambda key, prefix, version: stored.format(key=key))
    found = look(cache)
    assert (found.entries, found.bytes) == (None, None)
    assert found.problem is not None
    assert "KEY_FUNCTION" in found.problem


def test_a_look_that_stops_at_its_limit_says_so_and_estimates(site: Site) -> None:
    site.cache("mine").set_many({f"a:{number}": "x" * 99 for number in range(3000)}, None)
    site.redis.mset({f"other:{number}": 1 for number in range(3000)})
    found = look(site.cache("mine"), limit=600)
    assert 300 < found.examined <= 600
    assert not found.exact
    assert found.entries == pytest.approx(3000, rel=0.25)
    assert found.no_expiry == found.entries
    assert found.bytes == pytest.approx(look(site.cache("mine")).bytes, rel=0.25)


def test_a_look_that_has_no_time_ends_after_the_first_page(site: Site) -> None:
    site.cache().set_many({f"a:{number}": "x" for number in range(3000)})
    found = look(site.cache(), seconds=0)
    assert 0 < found.examined < 1000
    assert not found.exact


def test_more_keys_than_a_page_holds_are_each_counted_once(site: Site) -> None:
    site.cache().set_many({f"a:{number}": "x" for number in range(3000)})
    found = look(site.cache())
    assert (found.examined, found.exact, found.entries) == (3000, True, 3000)


def test_nothing_is_said_of_a_cache_of_which_nothing_was_seen_in_time(site: Site) -> None:
    site.redis.mset({f"other:{number}": 1 for number in range(3000)})
    found = look(site.cache("mine"), seconds=0)
    assert (found.examined, found.exact, found.entries, found.bytes) == (0, False, None, None)


def test_the_servers_policy_is_told(site: Site) -> None:
    for policy in ("noeviction", "allkeys-lru", "volatile-ttl"):
        site.redis.config_set("maxmemory-policy", policy)
        assert look(site.cache()).policy == policy


def test_the_servers_limit_is_told(site: Site) -> None:
    site.redis.config_set("maxmemory", 50_000_000)
    assert look(site.cache()).limit_bytes == 50_000_000


def test_idle_times_are_unknown_where_the_server_counts_uses_instead(site: Site) -> None:
    site.redis.config_set("maxmemory-policy", "allkeys-lfu")
    site.cache().set("menu", 1)
    found = look(site.cache())
    assert (found.entries, found.idle, found.no_expiry, found.problem) == (1, None, 0, None)


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "allkeys-lfu"])
def test_looking_is_no_error_in_the_servers_own_statistics(site: Site, policy: str) -> None:
    site.redis.config_set("maxmemory-policy", policy)
    cache = site.cache()
    cache.set_many({f"a:{number}": 1 for number in range(300)})
    site.redis.config_resetstat()
    assert look(cache).entries == 300
    assert site.redis.info("stats")["total_error_replies"] == 0


def test_looking_is_no_use_where_the_server_counts_uses(site: Site) -> None:
    site.redis.config_set("maxmemory-policy", "allkeys-lfu")
    site.redis.config_set("lfu-log-factor", 0)  # each use counts
    site.cache().set("menu", 1)
    before = site.redis.object("FREQ", ":1:menu")
    for _ in range(3):
        look(site.cache())
    assert site.redis.object("FREQ", ":1:menu") == before
    site.redis.config_set("lfu-log-factor", 10)


def test_a_key_that_is_no_text_is_counted_and_cannot_be_deleted(site: Site) -> None:
    site.redis.set(b"mine:1:\xff\xfe\n<b>", "x")
    site.cache("mine").set("menu", 1)
    cache = site.cache("mine")
    found = look(cache)
    assert (found.entries, found.problem) == (2, None)
    assert {each.key for each in found.largest} == {r"\xff\xfe\n<b>", "menu"}
    opened = scanner_for("main", cache, Bounds())
    assert opened is not None
    (page,) = opened.pages("", 100)
    assert {each.key: opened.can_remove(each) for each in page.entries} == {
        "menu": True,
        "\\xff\\xfe\n<b>": False,
    }
    opened.close()
    cache.close()


def test_sessions_are_masked(site: Site) -> None:
    site.cache().set("django.contrib.sessions.cachek7fz0q2m9x4b1v8c", {}, None)
    found = look(site.cache())
    assert "k7fz" not in repr(found)
    assert found.groups[0].group == "session"


def test_a_server_that_is_down_is_told_and_raises_nothing(site: Site) -> None:
    found = look(site.backend("redis://:geheim@127.0.0.1:1/0", {}))
    assert (found.entries, found.bytes, found.exact) == (None, None, False)
    assert found.problem == "ConnectionError: Connection refused"


@pytest.mark.parametrize("url", ["redis://:ge/heim@127.0.0.1:1/0", "geheim://x:geheim@y"])
def test_no_error_shows_a_password(site: Site, url: str) -> None:
    found = look(site.backend(url, {}))
    assert found.problem == "ValueError"


class TestAUserWithFewRights:
    @pytest.fixture
    def user(self, site: Site) -> Iterator[Site]:
        yield site
        site.redis.acl_deluser("looker")

    def allow(self, site: Site, *categories: str) -> Any:
        site.redis.acl_setuser(
            "looker",
            enabled=True,
            passwords=["+geheim"],
            keys=["*"],
            categories=["+@all"],
            commands=[f"-{each}" for each in categories],
        )
        site.cache().set("menu", 1, None)
        return site.cache(credentials="looker:geheim@")

    def test_a_wrong_password_is_told_and_not_shown(self, user: Site) -> None:
        self.allow(user)
        found = look(user.cache(credentials="looker:falsch@"))
        assert found.entries is None
        assert found.problem is not None
        assert found.problem.startswith("AuthenticationError")
        assert "falsch" not in found.problem

    def test_without_a_password_nothing_is_known(self, user: Site) -> None:
        self.allow(user)
        user.redis.acl_setuser("default", enabled=True, passwords=["+geheim"], reset_passwords=True)
        try:
            found = look(user.cache())
        finally:
            authenticated = Redis(host=user.server.host, port=user.server.port, password="geheim")
            authenticated.acl_setuser("default", enabled=True, nopass=True)
            authenticated.close()
        assert found.entries is None
        assert found.problem is not None
        assert "Authentication" in found.problem or "NOAUTH" in found.problem

    def test_what_is_refused_is_not_asked_for_again_and_again(self, user: Site) -> None:
        cache = self.allow(user, "memory", "object")
        cache.set_many({f"a:{number}": 1 for number in range(2000)}, None)
        user.redis.config_resetstat()
        found = look(cache)
        assert (found.entries, found.bytes, found.idle, found.no_expiry) == (2001, None, None, 2001)
        assert found.problem == "The server refuses MEMORY USAGE, OBJECT."
        stats = user.redis.info("commandstats")
        refused = [stats[name]["rejected_calls"] for name in (USAGE, IDLE_TIME)]
        assert refused == [1, 1]

    def test_without_scan_nothing_is_known(self, user: Site) -> None:
        found = look(self.allow(user, "scan"))
        assert (found.entries, found.problem) == (None, "The server refuses SCAN (NOPERM).")

    def test_without_the_number_of_keys_the_entries_are_listed(
        self, user: Site, settings: Any
    ) -> None:
        self.allow(user, "dbsize")
        settings.CACHES = {
            "default": {
                "BACKEND": f"{user.backend.__module__}.{user.backend.__qualname__}",
                "LOCATION": f"redis://looker:geheim@{user.server.address}/0",
            }
        }
        found = list_entries("default", Selection())
        assert ([each.key for each in found.entries], found.total, found.problem) == (
            ["menu"],
            None,
            None,
        )

    def test_without_memory_the_rest_is_known(self, user: Site) -> None:
        found = look(self.allow(user, "memory"))
        assert (found.entries, found.bytes, found.no_expiry) == (1, None, 1)
        assert found.groups[0].bytes is None
        assert found.problem == "The server refuses MEMORY USAGE."

    def test_without_object_and_info_the_rest_is_known(self, user: Site) -> None:
        found = look(self.allow(user, "object", "info", "pttl"))
        assert (found.entries, found.idle, found.no_expiry, found.evictions) == (
            1,
            None,
            None,
            None,
        )
        assert found.problem == "The server refuses OBJECT, PTTL."


def test_a_server_that_was_restarted_counts_from_another_start(pytestconfig: pytest.Config) -> None:
    boots = []
    for _ in range(2):
        with run_redis(find_or_leave(REDIS, pytestconfig)) as server:
            boots.append([look(RedisCache(server.url, {})).boot for _ in range(2)])
    (first, again), (other, _) = boots
    assert first == again != ""
    assert other != first


def test_buffers_that_maxmemory_does_not_count_are_not_among_the_used_bytes() -> None:
    info = {b"used_memory": b"1000", b"mem_not_counted_for_evict": b"300"}
    assert redis._limited_bytes(info) == 700
