"""Real servers end politely, and nothing that was called is lost: the store has it all."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from cache_monitor.worker import shutdown
from cache_monitor.worker.shutdown import ServerShutdown
from tests.programs import gunicorn_hooks
from tests.services import LOOPBACK, free_port, run_process, run_server, wait_for_group
from tests.test_processes import ROOT, Site, _ask, _need, calls_in
from tests.waiting import until

PAGES = 20
SERVED = "tests.programs.served"

WORKERS = 2
GUNICORN = (
    *("gunicorn", "-w", str(WORKERS), "-b", f"{LOOPBACK}:PORT", "--no-control-socket"),
    *("-c", f"python:{gunicorn_hooks.__name__}"),
)
SERVERS: dict[str, tuple[tuple[str, ...], signal.Signals]] = {
    "uvicorn": (
        ("uvicorn", f"{SERVED}:asgi", "--host", LOOPBACK, "--port", "PORT"),
        signal.SIGTERM,
    ),
    "uvicorn, by Ctrl-C": (
        ("uvicorn", f"{SERVED}:asgi", "--host", LOOPBACK, "--port", "PORT"),
        signal.SIGINT,
    ),
    "uvicorn of two workers": (
        ("uvicorn", f"{SERVED}:asgi", "--host", LOOPBACK, "--port", "PORT", "--workers", "2"),
        signal.SIGTERM,
    ),
    "uvicorn, wsgi": (
        ("uvicorn", f"{SERVED}:wsgi", "--interface", "wsgi", "--host", LOOPBACK, "--port", "PORT"),
        signal.SIGTERM,
    ),
    **{
        f"gunicorn, {kind}": (
            (*GUNICORN, "-k", kind, f"{SERVED}:{app}"),
            signal.SIGTERM,
        )
        for kind, app in (
            ("sync", "wsgi"),
            ("gthread", "wsgi"),
            ("gevent", "wsgi"),
            ("uvicorn.workers.UvicornWorker", "asgi"),
        )
    },
    "gunicorn, gevent after --preload": (
        (*GUNICORN, "-k", "gevent", "--preload", f"{SERVED}:wsgi"),
        signal.SIGTERM,
    ),
    "hypercorn": (("hypercorn", f"{SERVED}:asgi", "-b", f"{LOOPBACK}:PORT"), signal.SIGTERM),
    "hypercorn of two workers": (
        ("hypercorn", f"{SERVED}:asgi", "-b", f"{LOOPBACK}:PORT", "-w", "2"),
        signal.SIGTERM,
    ),
    "daphne": (("daphne", "-b", LOOPBACK, "-p", "PORT", f"{SERVED}:asgi"), signal.SIGTERM),
    "waitress, by Ctrl-C": (
        ("waitress", "--listen", f"{LOOPBACK}:PORT", f"{SERVED}:wsgi"),
        signal.SIGINT,
    ),
}


@pytest.mark.slow
@pytest.mark.at_once("processes")
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_ends_politely_loses_nothing(server: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    arguments, end = SERVERS[server]
    _need(arguments[0])
    port = free_port()
    argv = [sys.executable, "-m", *(each.replace("PORT", str(port)) for each in arguments)]
    url = f"http://{LOOPBACK}:{port}/"
    with run_server(argv, site.environment, url, cwd=ROOT, deadline=120) as running:
        for _ in range(PAGES):
            _ask(url)
        if "gunicorn" in arguments:
            until(lambda: running.output.count(gunicorn_hooks.READY) == WORKERS)
        running.process.send_signal(end)
        wait_for_group(running.process)
        assert "cache monitor" not in running.output
    answers = (tmp_path / "answers").stat().st_size
    # The first is the one that found that the server answers.
    assert answers >= PAGES + 1
    assert site.calls() == {"set": answers, "get": 2 * answers}


@pytest.mark.at_once("processes")
def test_a_sigterm_while_a_process_flushes_at_its_end_loses_nothing_and_ends_it(
    tmp_path: Path,
) -> None:
    """As from hypercorn, which terminates its workers once the first of them has ended."""
    site = Site(tmp_path)
    process = site.start("tests.programs.terminated")
    assert process.stdout is not None
    assert process.stdout.readline() == "flushing\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate("go on\n", timeout=60)
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    assert site.calls() == {"set": 2, "get": 1}


@pytest.mark.slow
@pytest.mark.at_once("processes")
@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_celerys_workers_without_children_lose_nothing_when_they_end(
    pool: str, tmp_path: Path
) -> None:
    _need("celery")
    site = Site(tmp_path)
    site.run("tests.programs.tasks")
    argv = [sys.executable, "-m", "celery", "-A", "tests.programs.tasks", "worker"]
    argv += ["-P", pool, "-c", "2", "--without-gossip", "--without-mingle"]

    def are_done() -> bool:
        return len(list(tmp_path.glob("done-*"))) == 10

    environment = {**site.environment, "DJANGO_SETTINGS_MODULE": "tests.programs.seldom"}
    with run_process(argv, are_done, env=environment, cwd=ROOT, deadline=120) as worker:
        worker.process.send_signal(signal.SIGTERM)
        wait_for_group(worker.process)
    assert site.calls() == {"set": 500, "get": 500}


@pytest.mark.slow
@pytest.mark.at_once("processes")
def test_a_server_whose_process_lives_on_is_recorded_after_its_end(tmp_path: Path) -> None:
    """It began in another thread, or was begun by a program."""
    _need("uvicorn")
    site = Site(tmp_path)
    out, err = site.run("tests.programs.revived", str(free_port()))
    assert json.loads(out) == {"shut down": True, "ends": 2}, err
    report = site.stats()
    assert calls_in(report) == {"set": 2, "get": 1}
    assert report["quality"]["processes"] == 2


def test_nothing_but_uvicorns_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def handle_exit(self, *_: object) -> None: ...

        async def shutdown(self) -> None: ...

    other = Other()
    watch = ServerShutdown(lambda: pytest.fail("called"))
    for handler in (signal.SIG_DFL, None, lambda *_: None, other.handle_exit):
        monkeypatch.setattr(shutdown, "handler_of", lambda _, handler=handler: handler)
        watch.watch()
    assert vars(other) == {}
    asyncio.run(other.shutdown())


def test_the_sites_handler_of_a_signal_is_not_written_as_text() -> None:
    """Python would run what handles other signals there, as gunicorn's second one at its end."""
    written: list[object] = []

    class Handler:
        def __call__(self, *_: object) -> None: ...

        def __repr__(self) -> str:
            written.append(self)
            return "a handler"

    handler = Handler()
    before = signal.signal(signal.SIGTERM, handler)
    try:
        ServerShutdown(lambda: None).watch()
        with shutdown.termination_deferred():
            assert shutdown.handler_of(signal.SIGTERM) is handler
        assert written == []
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_server_made_of_uvicorns_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    uvicorn: Any = pytest.importorskip("uvicorn")
    ended: list[int] = []

    class Own(uvicorn.Server):  # type: ignore[misc]  # of a module that may not be there
        async def shutdown(self, sockets: object = None) -> None:
            assert ended == []

    server = Own(uvicorn.Config("app"))
    handler = server.handle_exit
    monkeypatch.setattr(shutdown, "handler_of", lambda _: handler)
    watch = ServerShutdown(lambda: ended.append(1))
    for _ in range(3):
        watch.watch()
    asyncio.run(server.shutdown(sockets=None))
    assert ended == [1]
