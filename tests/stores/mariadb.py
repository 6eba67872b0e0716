"""A MariaDB server for the stores. Django talks to it through PyMySQL, which needs no compiler."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any, Final

from tests.services import LOOPBACK, Program, free_port, run_process
from tests.stores.servers import PASSWORD, Daemon, own, unprivileged

MARIADB: Final = Program("MariaDB", ("mariadbd",), "mariadb-server")
NAME: Final = "site"
SMALL: Final = "small"
"""A database that is there when something stands in its directory's place."""

_INIT: Final = f"""
CREATE DATABASE IF NOT EXISTS {NAME};
CREATE USER IF NOT EXISTS '{NAME}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON {NAME}.* TO '{NAME}'@'%';
GRANT ALL ON {SMALL}.* TO '{NAME}'@'%';
"""


def stand_in_for_mysqlclient() -> None:
    """Let Django find PyMySQL where it looks for mysqlclient."""
    import pymysql

    pymysql.install_as_MySQLdb()


class MariaDaemon(Daemon):
    """A MariaDB server with data of its own in ``directory``."""

    end_signal = signal.SIGTERM

    def __init__(self, command: str, directory: Path) -> None:
        self.port = free_port()
        self.settings: dict[str, Any] = {
            "ENGINE": "django.db.backends.mysql",
            "NAME": NAME,
            "USER": NAME,
            "PASSWORD": PASSWORD,
            "HOST": LOOPBACK,
            "PORT": self.port,
            "OPTIONS": {"connect_timeout": 2},
        }
        self.data = data = directory / "data"
        init = directory / "init.sql"
        init.write_text(_INIT)
        own(directory)
        own(init)
        self._make_data(data)
        argv = [*unprivileged(), command, "--no-defaults", f"--datadir={data}"]
        argv += [f"--port={self.port}", f"--bind-address={LOOPBACK}", f"--init-file={init}"]
        argv += [f"--socket={directory / 'socket'}", f"--pid-file={directory / 'pid'}"]
        argv += [f"--tmpdir={directory}"]
        # It syncs every write otherwise, which tests of an idle disk would wait for.
        argv += ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
        super().__init__(argv, self._answers_sql)

    @staticmethod
    def _make_data(data: Path) -> None:
        install = shutil.which("mariadb-install-db")
        assert install is not None, "it comes with the server"
        argv = [*unprivileged(), install, "--no-defaults", f"--datadir={data}"]
        argv += ["--skip-test-db", "--auth-root-authentication-method=normal"]
        argv += [f"--tmpdir={data.parent}"]
        with run_process(argv, lambda: True) as it:
            assert it.process.wait(120) == 0, it.output

    def connect(self) -> Any:
        import pymysql

        return pymysql.connect(
            host=LOOPBACK,
            port=self.port,
            user=NAME,
            password=PASSWORD,
            database=NAME,
            connect_timeout=2,
            autocommit=True,
        )

    def _answers_sql(self) -> bool:
        import pymysql

        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True
