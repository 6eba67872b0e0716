"""Servers for the stores: such as can be stopped, paused and started again by a test."""

import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from tests.services import COPIED_AT_ONCE, LOOPBACK, Program, answers_line, free_port, run_process
from tests.services import Server as Address

PASSWORD: Final = "only for the tests"
UNPRIVILEGED: Final = "nobody"


class Daemon:
    """A server program on a port of its own, whose data outlives its being stopped."""

    # PostgreSQL waits for its clients with another one; Redis makes no difference.
    end_signal = signal.SIGINT

    def __init__(self, argv: Sequence[str], answers: Callable[[], bool]) -> None:
        self._argv = argv
        self._answers = answers
        self._life = ExitStack()
        self._pid = 0

    def start(self) -> None:
        running = self._life.enter_context(run_process(self._argv, self._answers))
        self._pid = running.process.pid
        self._life.callback(self._end, running.process)

    def _end(self, process: Any) -> None:
        process.send_signal(self.end_signal)
        process.wait(10)

    def stop(self) -> None:
        self._life.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self.start()
            yield
        finally:
            self.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The kernel takes connections and bytes, and nobody answers."""
        _signal([self._pid], signal.SIGSTOP)
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        family = [self._pid, *map(int, children)]
        _signal(family, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(family, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a child may have ended
            os.kill(pid, number)


class RedisDaemon(Daemon):
    """A Redis server; ``options`` are those of its command line, or a file of them."""

    def __init__(self, command: str, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.address = Address("redis", LOOPBACK, self.port)
        argv = [command, *options, "--bind", LOOPBACK, "--port", str(self.port)]
        argv += ["--dir", str(directory)]
        if "--sentinel" not in options:
            argv += ["--save", "", *COPIED_AT_ONCE]
        super().__init__(argv, lambda: answers_line(self.address, b"PING", b"+PONG"))

    def client(self, **options: Any) -> Any:
        return redis.Redis(host=LOOPBACK, port=self.port, **options)


class ClusterNode(RedisDaemon):
    """A Redis server that belongs to a cluster."""

    def __init__(self, command: str, directory: Path) -> None:
        # By default ten thousand above the other port, which may be more than there are.
        self.bus_port = free_port()
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        super().__init__(command, directory, *cluster)


@dataclass(frozen=True)
class _Postgres(Program):
    """Debian keeps the server's programs apart from the commands of its users."""

    def find(self) -> str | None:
        kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return super().find() or (str(kept[-1]) if kept else None)


POSTGRESQL: Final = _Postgres("PostgreSQL", ("postgres",), "postgresql")


PGBOUNCER: Final = Program("PgBouncer", ("pgbouncer", "/usr/sbin/pgbouncer"), "pgbouncer")


class PostgresDaemon(Daemon):
    """A PostgreSQL server with a cluster of its own in ``directory``."""

    def __init__(self, command: str, directory: Path) -> None:
        self.port = free_port()
        self.settings: dict[str, Any] = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "PASSWORD": PASSWORD,
            "HOST": LOOPBACK,
            "PORT": self.port,
            "OPTIONS": {"connect_timeout": 2},
        }
        self._make_cluster(command, directory)
        argv = [*unprivileged(), command, "-D", str(directory / "data"), "-F"]
        argv += ["-h", LOOPBACK, "-p", str(self.port), "-k", str(directory)]
        super().__init__(argv, self._answers_sql)

    @staticmethod
    def _make_cluster(command: str, directory: Path) -> None:
        password = directory / "password"
        password.write_text(PASSWORD)
        own(directory)
        own(password)
        argv = [*unprivileged(), str(Path(command).resolve().with_name("initdb"))]
        argv += ["-D", str(directory / "data"), "--username=postgres", "--no-sync"]
        argv += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-locale", "--encoding=UTF8"]
        with run_process(argv, (directory / "data" / "postgresql.conf").exists) as it:
            assert it.process.wait(60) == 0, it.output

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            dbname="postgres",
            user="postgres",
            password=self.settings["PASSWORD"],
            connect_timeout=2,
            autocommit=True,
        )

    def _answers_sql(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


class BouncerDaemon(Daemon):
    """PgBouncer before ``server``, with two connections for as many clients as come."""

    def __init__(self, command: str, directory: Path, server: PostgresDaemon) -> None:
        self.port = free_port()
        users = directory / "users.txt"
        users.write_text(f'"postgres" "{PASSWORD}"\n')
        conf = directory / "pgbouncer.ini"
        conf.write_text(
            f"[databases]\npostgres = host={LOOPBACK} port={server.port} dbname=postgres"
            f" user=postgres password='{PASSWORD}'\n"
            f"[pgbouncer]\nlisten_addr = {LOOPBACK}\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\npool_mode = transaction\n"
            "default_pool_size = 2\nmax_client_conn = 100\n"
        )
        for path in (directory, users, conf):
            own(path)
        super().__init__([*unprivileged(), command, str(conf)], self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True


def unprivileged() -> list[str]:
    """What runs a program as nobody in particular: databases refuse to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(UNPRIVILEGED)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def own(path: Path) -> None:
    """Give ``path`` to whom databases run as."""
    if unprivileged():
        shutil.chown(path, UNPRIVILEGED)


@contextmanager
def directory_for_all() -> Iterator[Path]:
    """A directory that an unprivileged user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="server-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
