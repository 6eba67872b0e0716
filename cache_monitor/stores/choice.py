"""Which store it is: the one that the settings name, or the one that suits the site's database."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.utils import load_backend
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cache_monitor.conf import StoreConf

DATABASE = "cache_monitor.stores.database.DatabaseStore"
MEMORY = "cache_monitor.stores.memory.MemoryStore"
SQLITE = "cache_monitor.stores.sqlite.SQLiteStore"
_INFIX = ".cache-monitor"
"""What tells the monitor's file from the site's database beside it."""
WHAT_TO_NAME = (
    "Write 'STORE': {'BACKEND': 'cache_monitor.stores.sqlite.SQLiteStore', 'OPTIONS': {'PATH': "
    "'/…/statistics.sqlite3'}} with a file that all processes of the site may write to, or "
    "'STORE': {'BACKEND': 'cache_monitor.stores.redis.RedisStore', 'OPTIONS': {'URL': "
    "'redis://…'}}."
)


class Choice(NamedTuple):
    """A store, and why it is only memory where a better one would have been the default."""

    store: StoreConf
    in_memory_because: str | Promise | None = None


def chosen_store(conf: StoreConf, *, in_tests: bool) -> Choice:
    """The store that ``conf`` means, under a test runner or not. Neither opens it nor asks a
    database."""
    if conf.backend is not None:
        return Choice(conf)
    if "DATABASE" in conf.options:
        return Choice(StoreConf(DATABASE, conf.options))
    choice = _default(in_tests)
    options = {**choice.store.options, **conf.options}
    return choice._replace(store=StoreConf(choice.store.backend, options))


def _default(in_tests: bool) -> Choice:
    vendor = _vendor()
    if vendor is None:
        return _in_memory(_("DATABASES has none that it could be in"))
    if vendor != "sqlite":
        return Choice(StoreConf(DATABASE))
    if in_tests:
        return _in_memory(_("tests are run, and their database goes with them"))
    site = _file(settings.DATABASES[DEFAULT_DB_ALIAS].get("NAME"))
    if site is None:
        return _in_memory(_("the default database is in memory"))
    path = site.with_name(f"{site.stem}{_INFIX}{site.suffix}")
    if site.parent.is_dir() and not can_be_written(path):
        return _in_memory(_("%(path)s cannot be written to") % {"path": path})
    return Choice(StoreConf(SQLITE, {"PATH": path, "like": site}))


def in_memory(reason: str | Promise) -> str:
    """The sentences that say that statistics are only kept in memory."""
    return gettext(
        "The statistics are kept in each process's memory, because %(reason)s: they are of that "
        "process alone and end with it."
    ) % {"reason": reason}


def _in_memory(reason: str | Promise) -> Choice:
    return Choice(StoreConf(MEMORY), reason)


def _vendor() -> str | None:
    """What the default database is; None where there is none."""
    engine = settings.DATABASES.get(DEFAULT_DB_ALIAS, {}).get("ENGINE")
    if not isinstance(engine, str) or not engine:
        return None
    try:
        vendor = load_backend(engine).DatabaseWrapper.vendor
    except (ImproperlyConfigured, AttributeError):
        return None
    # That of the backend that Django puts in where DATABASES is empty.
    return None if vendor == "unknown" else str(vendor)


def _file(name: object) -> Path | None:
    """The file of a SQLite database, whichever way to it; None where it is in memory."""
    text = os.fspath(name) if isinstance(name, os.PathLike) else str(name or "")
    if text.startswith("file:"):
        parts = urlsplit(text)
        if "mode=memory" in parts.query:
            return None
        text = url2pathname(parts.path) if os.name == "nt" else unquote(parts.path)
    if not text or text == ":memory:":
        return None
    # A link to it may be in a folder that the next release replaces.
    return Path(text).resolve()


def can_be_written(path: Path) -> bool:
    """Whether SQLite could write to ``path``, beside which it needs further files."""
    return os.access(path.parent, os.W_OK | os.X_OK) and (
        not path.exists() or os.access(path, os.R_OK | os.W_OK)
    )
