"""The stores of the production guide are set up by what stands there."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from django.test import override_settings

from cache_monitor.checks import check_settings
from cache_monitor.conf import StoreConf
from cache_monitor.stores.base import Row, get_store, make_store
from tests import forked
from tests.docs.pages import ROOT, executed, marked
from tests.services import Server

ROW = Row("window", "process", "default", 100, 10, b"payload")


def test_the_store_in_redis_keeps_rows_under_its_prefix(redis_server: Server) -> None:
    import redis

    [code] = marked("redis-store", "python")
    store = executed(code)["CACHE_MONITOR"]["STORE"]
    with override_settings(CACHE_MONITOR={"STORE": store}):
        assert check_settings(None) == []
    url = store["OPTIONS"]["URL"].replace("redis.example.org:6379", redis_server.address)
    assert redis_server.address in url
    made = make_store(StoreConf(store["BACKEND"], {**store["OPTIONS"], "URL": url}))
    with redis.Redis.from_url(url) as client:
        client.flushdb()  # other tests share the server
        made.put([ROW], now=105)
        assert list(made.read("window", 0, 1000, None)) == [ROW]
        keys = client.keys("*")
        assert keys
        assert [key for key in keys if b"shop:" not in key[:6]] == []


def test_the_database_of_its_own_takes_the_table_and_the_statistics(tmp_path: Path) -> None:
    [setting] = marked("own-database", "python")
    [console] = marked("own-database", "console")
    (tmp_path / "guide_settings.py").write_text(f"from tests.settings import *\n\n{setting}\n")
    environment = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "TMPDIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "guide_settings",
    }
    [command] = console.splitlines()
    arguments = command.removeprefix("$ python manage.py ").split()
    for argv in (["django", *arguments], ["tests.programs.hammer", "main", "10"]):
        forked.printed(["-m", *argv], environment, tmp_path)
    statistics = sqlite3.connect(tmp_path / "statistics.sqlite3")
    [(rows,)] = statistics.execute("SELECT count(*) FROM cache_monitor_window")
    statistics.close()
    assert rows


def test_the_file_of_its_own_makes_itself(tmp_path: Path) -> None:
    [code] = marked("own-file", "python")
    store = executed(code)["CACHE_MONITOR"]["STORE"]
    path = tmp_path / Path(store["OPTIONS"]["PATH"]).name
    with override_settings(CACHE_MONITOR={"STORE": {**store, "OPTIONS": {"PATH": str(path)}}}):
        assert check_settings(None) == []
        get_store().put([ROW], now=105)
    assert list(
        make_store(StoreConf(store["BACKEND"], {"PATH": path})).read("window", 0, 1000, None)
    ) == [ROW]
