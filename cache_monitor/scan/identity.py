"""Which store an alias keeps its entries in, and which of the keys there are its own.

Several aliases of ``CACHES`` often share a database, table, directory or dict, with a key prefix or
a version each; other programs may use a server too. The form of an alias's own stored keys is found
by calling its key function with probes.
"""

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from os.path import commonprefix
from pathlib import Path, PurePosixPath
from threading import local
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import getnode

from django.apps import apps
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends import locmem
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router

from cache_monitor.conf import get_conf
from cache_monitor.keys.known_keys import OF_TENANTS
from cache_monitor.scan.base import ScanError
from cache_monitor.stores.base import DATABASE, chosen_store, mount_of
from cache_monitor.trace import HostProof

_LOCAL = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - nothing is bound to it
_REDIS_PORT = 6379
_MEMCACHED_PORT = 11211
_ADDRESS = re.compile(
    r"(?:inet6?:)?(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?(?::[0-9]+)?"
)


def identity_of(alias: str, cache: Any) -> str:
    """The name of the store with the entries of ``cache``, known as ``alias``.

    Aliases whose settings lead to one store have the same name in all processes, though an address
    may mean another store on each host. It contains no user or password. An unknown store has a
    name for each alias. Opens no connection.
    """
    try:
        found = _store_of(cache)
    except Exception:
        # A backend of the project may have attributes of these names with other contents.
        found = None
    return f"alias:{alias}" if found is None else found


class _Instances(local):
    """The caches that this thread has made, by the settings that were in force then."""

    def __init__(self) -> None:
        self.settings: object = None
        self.made: dict[str, BaseCache] = {}


_instances = _Instances()


def own_cache(alias: str) -> BaseCache:
    """The monitor's own instance of the cache ``alias``, one for each thread.

    Its threads never ask ``caches``, which gives out Django's instances under a lock: a signal
    handler that raises in the thread that holds it leaves it held, and all others wait for ever.

    Raises ``InvalidCacheBackendError`` where there is no such alias, as in tests that change the
    settings, and whatever the backend raises.
    """
    if _instances.settings is not caches.settings:
        _instances.settings, _instances.made = caches.settings, {}
    cache = _instances.made.get(alias)
    if cache is None:
        if alias not in caches.settings:
            raise InvalidCacheBackendError(f"There is no cache {alias!r} any more.")
        cache = _instances.made[alias] = caches.create_connection(alias)
    return cache


class EntriesIdentity(NamedTuple):
    """Digests of the store that an alias keeps its entries in, and of the form of its keys."""

    store: str
    keys: str


def entries_identity(alias: str, cache: Any) -> EntriesIdentity:
    """Digests that are equal for aliases with the same entries."""
    try:
        # In a directory every alias sees all files, because their names are digests.
        form = "" if hasattr(cache, "cache_suffix") else _form(cache)
    except Exception:
        form = f"alias:{alias}"
    return EntriesIdentity(_digest(identity_of(alias, cache)), _digest(form))


def scan_identity(alias: str, cache: Any) -> tuple[EntriesIdentity, str]:
    """Equal for aliases that a scan shows the same of: one is enough.

    The names of files are digests, and each alias knows keys from its own recorded calls.
    """
    return entries_identity(alias, cache), alias if hasattr(cache, "cache_suffix") else ""


def trace_store(alias: str, cache: Any, process: str) -> str:
    """The trace's name of the store of ``cache``. After a dot it has the process where each process
    has a store, or the host where each host may have one."""
    place = _digest(identity_of(alias, cache))
    if is_of_one_process(cache):
        return f"{place}.{process[:12]}"
    try:
        host = _host_of(cache)
    except Exception:
        host = None  # as in identity_of: nothing is known of it
    return place if host is None else f"{place}.{host.proof}{_digest(host.name)}"


def store_of(alias: str) -> str | None:
    """The name under which the trace has the entries of ``alias``, without the process where each
    has its own; None where there is no such cache."""
    try:
        return trace_store(alias, own_cache(alias), "").partition(".")[0]
    except InvalidCacheBackendError:
        return None


def is_of_one_process(cache: Any) -> bool:
    """Whether each process has entries of its own."""
    return isinstance(cache, (LocMemCache, DummyCache))


def prefix_of(cache: Any) -> str:
    """Its ``KEY_PREFIX``; a class that derives from nothing of Django's may have none."""
    return _plain_text(getattr(cache, "key_prefix", ""))


def version_of(cache: Any) -> str:
    """Its ``VERSION`` as text."""
    return _plain_text(getattr(cache, "version", 1))


def _plain_text(value: object) -> str:
    # The text of a subclass of str may be one of the same subclass.
    return str.__str__(str(value))


# Which host's it is


class Host(NamedTuple):
    """The host of a store whose address may mean another one on each host."""

    proof: HostProof
    name: str


def _host_of(cache: Any) -> Host | None:
    bases = {each.__name__ for each in type(cache).__mro__}
    if "FileBasedCache" in bases:
        return _host_of_path(Path(cache._dir))
    if "BaseDatabaseCache" in bases:
        return _host_of_table(cache)
    # The servers in the store's name.
    store = _store_of(cache) or ""
    kind, _, places = store.partition(":")
    if kind not in {"redis", "memcached"}:
        return None
    own = [each for each in re.split("[,@]", places) if each.startswith(("localhost:", "unix:"))]
    if not own:
        return None
    sockets = [each.removeprefix("unix:") for each in own if each.startswith("unix:")]
    # A proxy to a server of all hosts may listen there.
    names = [_host_of_path(Path(each)).name for each in sockets]
    return Host("s", "\0".join([*names, *([_network()] if len(sockets) < len(own) else [])]))


def _host_of_table(cache: Any) -> Host | None:
    using = router.db_for_write(cache.cache_model_class)
    database: Mapping[str, Any] = connections.settings[using]
    name, host = str(database.get("NAME", "")), str(database.get("HOST") or "")
    if str(database.get("ENGINE", "")).endswith("sqlite3"):
        if ":memory:" in name or "mode=memory" in name:
            return None
        proof, place = _host_of_path(Path(name))
        # Several tables of one file are several stores.
        return Host(proof, f"{place}\0{cache._table}")
    if host.startswith("/") or _host(host) == "localhost":
        return None if _is_the_monitors(database) else Host("u", _network())
    return None


def _is_the_monitors(database: Mapping[str, Any]) -> bool:
    """Whether the statistics are on the same server: then all hosts that report share it."""
    chosen = chosen_store(get_conf().store, in_tests=False).store
    if chosen.backend != DATABASE:
        return False
    window = apps.get_model("cache_monitor", "Window")
    own = connections.settings[chosen.options.get("DATABASE") or router.db_for_write(window)]
    return all(own.get(name) == database.get(name) for name in ("ENGINE", "HOST", "PORT"))


@lru_cache(maxsize=1)
def _machine() -> str:
    """The identity of this machine, which its containers share."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()}/{getnode()}"


def _network() -> str:
    """The identity of this network namespace: each container may have its own loopback address."""
    try:
        return f"{_machine()}/{Path('/proc/self/ns/net').stat().st_ino}"
    except OSError:
        return f"{_machine()}/{socket.gethostname()}"


_OF_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph"})
_OF_A_DISK = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


def _host_of_path(path: Path) -> Host:
    """The host of a directory or file. Containers may share one under different paths, and hosts
    one in the network."""
    found = path.resolve()
    mount = mount_of(found)
    if mount is None:
        return Host("u", f"{_machine()}/{socket.gethostname()}{found}")
    own = found.relative_to(mount.at).as_posix()
    place = f"{PurePosixPath(mount.root) / own}"
    if mount.kind in _OF_A_NETWORK and _host(mount.source.partition(":")[0]) != "localhost":
        return Host("p", f"{mount.source}\0{place}")
    # Other file systems may be local or not.
    proof: HostProof = "p" if mount.kind in _OF_A_DISK else "u"
    return Host(proof, f"{_machine()}\0{mount.device}\0{place}")


# What it is by its settings


def _form(cache: Any) -> str:
    form = key_form(cache)
    makers = cache.key_func, type(cache).make_key
    made_by = [getattr(each, "__qualname__", repr(each)) for each in makers]
    return repr((*form, *made_by, prefix_of(cache)) if form.opaque else form)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _store_of(cache: Any) -> str | None:
    bases = {each.__name__ for each in type(cache).__mro__}
    return next((name_of(cache) for name, name_of in _NAMES.items() if name in bases), None)


def _of_locmem(cache: Any) -> str | None:
    names = (name for name, each in locmem._caches.items() if each is cache._cache)  # type: ignore[attr-defined] # not in the stubs
    return next((f"memory:{name}" for name in names), None)


def _of_table(cache: Any) -> str:
    using = router.db_for_write(cache.cache_model_class)
    database: Mapping[str, Any] = connections.settings[using]
    name = str(database.get("NAME", ""))
    if str(database.get("ENGINE", "")).endswith("sqlite3") and ":memory:" not in name:
        name = str(Path(name).resolve())
    host = f"{_host(str(database.get('HOST') or ''))}:{database.get('PORT') or ''}"
    return f"table:{database.get('ENGINE')}/{host}/{name}/{cache._table}"


def _memcached_server(server: object) -> str:
    if isinstance(server, str) and server.startswith(("unix:", "/")):
        return _socket(server.removeprefix("unix:"))
    host, port = address_of(server)
    return f"{_host(host)}:{port}"


def address_of(server: object) -> tuple[str, int]:
    """The host and port of a server in ``LOCATION``. Raises :class:`ScanError`."""
    if isinstance(server, (tuple, list)):
        return str(server[0]), int(server[1])
    match = _ADDRESS.fullmatch(str(server).strip())
    if match is None:
        raise ScanError("LOCATION is in a form that cannot be scanned.")
    return match["six"] or match["host"] or "localhost", int(match["port"] or _MEMCACHED_PORT)


def _of_redis(cache: Any) -> str:
    if not hasattr(cache, "_params"):
        return _of_urls(cache._servers, cache._options or {})
    # Of django-redis and django-valkey. The pool's options may name a database.
    options = cache._params.get("OPTIONS") or {}
    return _of_urls(cache._server, {**options, **(options.get("CONNECTION_POOL_KWARGS") or {})})


def _of_urls(servers: Any, options: Mapping[str, Any]) -> str:
    urls = re.split("[;,]", servers) if isinstance(servers, str) else servers
    places = [_redis_server(str(each).strip(), options) for each in urls]
    sentinels = options.get("SENTINELS") or options.get("sentinels")
    if sentinels:
        known = _listed(f"{_host(str(host))}:{int(port)}" for host, port in sentinels)
        return f"redis:{places[0]}@{known}"
    if "Shard" in str(options.get("CLIENT_CLASS", "")):
        return f"redis:{_listed(places)}"
    # The first is written to; the others are its replicas.
    return f"redis:{places[0]}"


def _redis_server(url: str, options: Mapping[str, Any]) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if parts.scheme.endswith("unix"):
        place, path = _socket(unquote(parts.path)), ""
    else:
        host = unquote(parts.hostname or "")
        place, path = f"{_host(host)}:{parts.port or _REDIS_PORT}", unquote(parts.path)
    # As the libraries read it: the query, the path, the options.
    database = query.get("db", [path.replace("/", "")])[0] or options.get("db") or 0
    return f"{place}/{int(database)}"


def _host(name: str) -> str:
    lower = name.strip().lower()
    return "localhost" if lower in _LOCAL else lower


def _socket(path: str) -> str:
    return f"unix:{Path(path).resolve()}"


def _listed(places: Iterable[str]) -> str:
    return ",".join(sorted(set(places)))


_NAMES: dict[str, Callable[[Any], str | None]] = {
    "LocMemCache": _of_locmem,
    "FileBasedCache": lambda cache: f"directory:{Path(cache._dir).resolve()}",
    "BaseDatabaseCache": _of_table,
    "BaseMemcachedCache": (
        lambda cache: f"memcached:{_listed(map(_memcached_server, cache._servers))}"
    ),
    "BaseValkeyCache": _of_redis,
    "KeyValueCache": _of_redis,
    "RespCache": _of_redis,
    "RedisCache": _of_redis,
}
"""By the name of a base class."""


# Its stored keys

# They differ at both ends, in either case of letters. So many digests share only what is the same
# in all: the chance of a common hexadecimal digit is 1 in 16 ** 11.
_PROBES = tuple(f"{letter}-probe-{letter}" for letter in "bcdfghjklmnp")
NOT_RECOGNIZABLE = "KEY_FUNCTION leaves nothing that distinguishes this cache's keys from others."
_GLOB_SPECIAL = re.compile(r"([*?\[\]\\])")


class KeyForm(NamedTuple):
    """What stands ``before`` and ``after`` the user's key in a stored key.

    ``opaque``: between them is something made of the user's key, such as a digest.
    """

    before: str
    after: str
    opaque: bool

    @property
    def is_recognizable(self) -> bool:
        """Whether the alias's keys can be distinguished from others."""
        return bool(self.before or self.after)

    @property
    def glob(self) -> str:
        """A Redis pattern that all stored keys match."""
        return f"{_escaped(self.before)}*{_escaped(self.after)}"

    def user_key(self, stored: str) -> str | None:
        """The user's key, or the stored one where that is opaque; None for another's entry."""
        before, after = self.before, self.after
        if not (stored.startswith(before) and stored.endswith(after)):
            return None
        if len(stored) < len(before) + len(after):
            return None
        return stored if self.opaque else stored[len(before) : len(stored) - len(after)]


def stored_key(cache: Any, key: str, version: int | None = None) -> str:
    """What ``cache`` stores the user's ``key`` under: a class of the project may make that itself,
    and django-redis leaves it to its client."""
    client: Any = getattr(cache, "client", None)
    maker = client if hasattr(client, "make_key") else cache
    return str(maker.make_key(key, version=version))


def key_form(cache: BaseCache) -> KeyForm:
    """The form of ``cache``'s stored keys, with its prefix and its version."""
    if getattr(cache.key_func, "__module__", "").partition(".")[0] in OF_TENANTS:
        return KeyForm("", "", opaque=True)
    try:
        made = [stored_key(cache, probe) for probe in _PROBES]
    except Exception:
        made = []
    if len(set(made)) < len(_PROBES):
        # Different keys become the same one, or it fails.
        return KeyForm("", "", opaque=True)
    before = commonprefix(made)  # noqa: RUF071 - keys, not paths
    rests = [each[len(before) :][::-1] for each in made]
    after = commonprefix(rests)[::-1]  # noqa: RUF071 - as above
    is_undone = all(
        stored == f"{before}{probe}{after}" for stored, probe in zip(made, _PROBES, strict=True)
    )
    return KeyForm(before, after, opaque=not is_undone)


def shown_text(stored: bytes) -> str:
    """A stored key as text, whatever bytes it is made of."""
    return stored.decode("utf-8", "backslashreplace")


def is_text(stored: bytes) -> bool:
    """Whether a stored key is text. No cache of Django's writes others."""
    try:
        stored.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escaped(part: str) -> str:
    return _GLOB_SPECIAL.sub(r"\\\1", part)
