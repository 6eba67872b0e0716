"""Fixtures for every test: real servers, a real browser, and what happens where they are missing.

A test that needs a program which the machine lacks is skipped, and the summary says how to get it.
With CI=true it fails instead, so that no part of the suite goes unrun unnoticed.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, NoReturn

import hypothesis
import pytest
import redis
from _pytest.runner import runtestprotocol
from django.core.cache import close_caches
from django.core.signals import request_finished, setting_changed
from django.dispatch import receiver
from django.test.utils import setup_databases, teardown_databases
from django.utils import translation
from playwright.sync_api import Browser, sync_playwright

from tests import at_once, connections, interpreters, workers
from tests.demo_site.site import Demo
from tests.services import (
    CHROMIUM,
    MEMCACHED,
    PROMETHEUS,
    PROMTOOL,
    REDIS,
    TMUX,
    Program,
    Server,
    answers_line,
    run_memcached,
    run_redis,
)
from tests.stores.mariadb import MARIADB, MariaDaemon, stand_in_for_mysqlclient
from tests.stores.servers import POSTGRESQL, PostgresDaemon, directory_for_all
from tests.workers import made_once

# Hundreds of processes import Django and the package. Where Python is told to keep no bytecode, as
# images of containers often do, each of them would compile all of it anew: two thirds of its start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MISSING: Final = pytest.StashKey[set[tuple[str, str]]]()
"""The programs that tests needed and the machine has not, each with how to get it."""
LEFT: Final = pytest.StashKey[int]()
"""How many of the tests that run once were left out."""
EMPTY_SHARED: Final = pytest.StashKey[list[Callable[[], object]]]()
"""What empties the servers that run by now and that tests share."""
MARKER_OF_FIXTURE: Final = {
    "browser": "browser",
    "chromium_path": "browser",
    "memcached_server": "memcached",
    "prometheus_path": "prometheus",
    "promtool_path": "prometheus",
    "redis_server": "redis",
    "small_redis": "redis",
    "redis_daemon": "redis",
    "redis_on_small_disk": "redis",
    "sentinel": "redis",
    "sentinel_server": "redis",
    "sentinel_of_all": "redis",
    "watching_sentinel": "redis",
    "cluster": "redis",
    "pgbouncer": "postgresql",
    "postgresql_server": "postgresql",
    "mariadb_server": "mariadb",
    "tmux_path": "tmux",
}
CHROMIUM_ARGUMENTS: Final = (
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-gpu",
    # It would look for hosts of its maker at every start, which a closed network refuses.
    "--disable-quic",
    "--no-first-run",
    # Else each page has a process of its own, which takes long to begin.
    "--process-per-site",
    "--renderer-process-limit=1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_configure(config: pytest.Config) -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and all that is started here too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes depends on what else the machine does.
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")
    config.pluginmanager.register(_Order())
    connections.watch()
    config.stash[MISSING] = set()
    config.stash[LEFT] = 0
    config.stash[EMPTY_SHARED] = []


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let ``-m "not browser"`` and the like choose by what a test really asks for."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[fixture])
        interpreters.mark_once(item)
        workers.keep_together(item)


class _Order:
    """The last word on the order: pytest-django's would have tests of the database before all
    others."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        yield
        workers.order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """As many as ``-n auto`` starts, which is the default."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    return workers.workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.Scheduling | None:
    return workers.Scheduling(config, log) if config.getoption("dist") == "loadgroup" else None


@receiver(setting_changed)
def _follow_use_i18n(*, setting: str, **_: object) -> None:
    """Django binds each function of translation, for good, where it is first called."""
    if setting == "USE_I18N":
        vars(vars(translation)["_trans"]).clear()


def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end: no collection of garbage need go through them."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run it in a context of its own: each change of the settings' caches leaves one more variable
    in it, with the caches that were opened, and a call of asgiref's goes through all of them."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    copy_context().run(_run, item, nextitem)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    runtestprotocol(item, nextitem=nextitem)
    connections.close()


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The bodies of tests that wait at once have been run together."""
    if at_once.group_of(pyfuncitem) is None:
        return None
    at_once.outcome(pyfuncitem).result()
    return True


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[LEFT] += interpreters.is_once(item)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the one that sums up what only it knows."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash[LEFT]
        missing = session.config.stash[MISSING]
        session.config.workeroutput["missing"] = sorted(missing)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    stash, told = node.config.stash, getattr(node, "workeroutput", {})
    # Each of them has collected, and left, the same.
    stash[LEFT] = max(stash[LEFT], told.get("left", 0))
    stash[MISSING].update((name, how) for name, how in told.get("missing", ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if hasattr(config, "workerinput"):
        return  # nobody sees what a worker says
    terminalreporter.section("what ran where")
    told = interpreters.told(terminalreporter.stats, config.stash[LEFT])
    interpreters.note(told)
    for line in told:
        terminalreporter.line(line)
    missing = config.stash[MISSING]
    if not missing:
        return
    terminalreporter.section("missing services")
    for name, how_to_get_it in sorted(missing):
        terminalreporter.line(f"{name}: {how_to_get_it}")


def find_or_leave(program: Program, config: pytest.Config) -> str:
    """The path of the program, or the end of the test that needs it."""
    path = program.find()
    if path is None:
        config.stash[MISSING].add((program.name, program.how_to_get_it))
        leave(f"{program.name} is not installed ({program.how_to_get_it})")
    return path


def leave(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


_NUMBERS: Final = count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this test's own, as pytest's, which looks through those of all others for the
    next number of a name."""
    name = re.sub(r"\W", "_", request.node.name)[:26]
    return tmp_path_factory.mktemp(f"{name}-{next(_NUMBERS)}", numbered=False)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None
) -> Iterator[None]:
    """The test database, whoever asks for it: pytest-django's own makes none where no mark or
    argument of the chosen tests names it, as where a parameter asks for it while the test runs."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default": False})
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def postgresql_server(pytestconfig: pytest.Config) -> Iterator[PostgresDaemon]:
    command = find_or_leave(POSTGRESQL, pytestconfig)
    with directory_for_all() as directory:
        server = PostgresDaemon(command, directory)
        with server.running():
            yield server


@pytest.fixture(scope="session")
def mariadb_server(pytestconfig: pytest.Config) -> Iterator[MariaDaemon]:
    command = find_or_leave(MARIADB, pytestconfig)
    stand_in_for_mysqlclient()
    with directory_for_all() as directory:
        server = MariaDaemon(command, directory)
        with server.running():
            yield server


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A Redis server of this test run's own, which is empty for each module."""
    with (
        run_redis(find_or_leave(REDIS, pytestconfig)) as server,
        _emptied_for_each_module(pytestconfig, partial(_empty_redis, server)),
    ):
        yield server


def _empty_redis(server: Server) -> None:
    # Connections that stay are counted by tests.
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


@pytest.fixture
def small_redis(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server of one test's own that has room for some 70 entries of 50 kB and evicts the rest."""
    with redis_with_little_room(pytestconfig) as server:
        yield server


@contextmanager
def redis_with_little_room(config: pytest.Config) -> Iterator[Server]:
    """Of one test's own, since what other clients' buffers take counts against the room as well."""
    with run_redis(find_or_leave(REDIS, config)) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 4_000_000)
        yield server


@pytest.fixture(scope="session")
def memcached_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A memcached server of this test run's own, which is empty for each module."""
    with (
        run_memcached(find_or_leave(MEMCACHED, pytestconfig)) as server,
        _emptied_for_each_module(pytestconfig, partial(answers_line, server, b"flush_all", b"OK")),
    ):
        yield server


@contextmanager
def _emptied_for_each_module(config: pytest.Config, empty: Callable[[], object]) -> Iterator[None]:
    config.stash[EMPTY_SHARED].append(empty)
    yield
    config.stash[EMPTY_SHARED].remove(empty)


@pytest.fixture(scope="module", autouse=True)
def _no_entries_of_another_module(pytestconfig: pytest.Config) -> None:
    """What tests have left in a server would be counted by the next module that shares it."""
    for empty in pytestconfig.stash[EMPTY_SHARED]:
        empty()


@pytest.fixture(scope="session")
def prepared_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, set up and never changed: a test that writes takes a copy."""
    made = made_once(tmp_path_factory, "demo", lambda place: Demo(place / "var").prepare())
    return Demo(made / "var")


@pytest.fixture(scope="session")
def chromium_path(pytestconfig: pytest.Config) -> str:
    return find_or_leave(CHROMIUM, pytestconfig)


@pytest.fixture(scope="session")
def prometheus_path(pytestconfig: pytest.Config) -> str:
    return find_or_leave(PROMETHEUS, pytestconfig)


@pytest.fixture(scope="session")
def promtool_path(pytestconfig: pytest.Config) -> str:
    return find_or_leave(PROMTOOL, pytestconfig)


@pytest.fixture(scope="session")
def tmux_path(pytestconfig: pytest.Config) -> str:
    return find_or_leave(TMUX, pytestconfig)


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Browser]:
    """Chromium, driven by Playwright, for the tests of one module.

    Playwright's synchronous API keeps an event loop running in this thread until it is stopped.
    Django refuses database calls meanwhile, and asyncio.run() fails, so it must not outlive the
    module. For the same reason the site under test belongs into a process of its own: see
    tests.services.run_server.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path, args=list(CHROMIUM_ARGUMENTS)
        )
        yield chromium
        chromium.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Chromium for one test: the pages that it opens are closed with it."""
    yield chromium
    for context in chromium.contexts:
        context.close()


@pytest.fixture(autouse=True)
def _no_reading_of_another_test() -> None:
    """A dashboard's reading of the store serves whoever asks the same within two seconds: here that
    may be the next test, of another store."""
    for name, kept in (("query", "readings"), ("keys", "key_lines")):
        module = sys.modules.get(f"cache_monitor.dashboard.{name}")
        if module is not None:
            getattr(module, kept).clear()


@pytest.fixture(autouse=True)
def _no_session_of_another_test() -> None:
    """What a request of another test had for a session's key would be masked in the next one's."""
    ownsessions = sys.modules.get("cache_monitor.keys.masking")
    if ownsessions is not None:
        ownsessions.own_sessions.forget()


@pytest.fixture(autouse=True)
def _end_of_requests_as_django_has_it() -> Iterator[None]:
    """django-valkey, once imported, has a coroutine close all caches at the end of each request,
    which fails a stream that ends in an event loop: of it no other test is to know."""
    yield
    base = sys.modules.get("django_valkey.base")
    if base is not None:
        request_finished.disconnect(base.close_async_caches)
        request_finished.connect(close_caches)
