import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import jsonschema
import msgspec
import pytest
from django.core.cache import caches
from django.core.management import CommandError, ManagementUtility, call_command
from django.test import override_settings

import cache_monitor
from cache_monitor import api
from cache_monitor.exporters.json import schema
from cache_monitor.reports import Finding, Severity
from tests.anew import begin_anew
from tests.dashboard.reports import busy_cache, hot_key, report_of
from tests.exporters.conftest import wait_for_midnight

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def traffic() -> Iterator[None]:
    store = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHE_MONITOR=store):
        begin_anew()
        caches["default"].set("user:1", "a")
        caches["default"].get("user:1")
        yield
        begin_anew()
        caches["default"].clear()


def _run(*arguments: str) -> str:
    out = StringIO()
    call_command("cache_stats", *arguments, stdout=out)
    return out.getvalue()


def test_json_is_one_document_of_schema_version_one() -> None:
    document = json.loads(_run("--format", "json"))
    assert document["schema_version"] == 1
    assert document["caches"]["default"]["hits"] == 1


def test_the_table_names_caches_operations_and_keys() -> None:
    text = _run()
    assert "default (django.core.cache.backends.locmem.LocMemCache)" in text
    assert "hit ratio 100.0%" in text
    assert "user:1" in text
    assert "not called" in text
    assert all(len(line) <= 80 for line in text.splitlines() if "(" not in line)


def test_the_table_says_what_to_do_where_nothing_was_called() -> None:
    hint = "Use a page that caches something"
    assert hint not in _run()
    assert hint in _run("--alias", "files")


@pytest.mark.parametrize("form", ["json", "table", "prometheus"])
def test_a_terminal_without_the_characters_of_a_key_is_printed_to(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    cache = msgspec.structs.replace(busy_cache("köln:中"), hit_ratio=None)
    monkeypatch.setattr(api, "report", lambda **_: report_of(default=cache))
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    call_command("cache_stats", "--format", form, stdout=terminal)
    terminal.seek(0)
    printed = terminal.buffer.read()
    if form == "json":
        [key] = json.loads(printed)["caches"]["default"]["hot_keys"]
        assert key["key"] == "köln:中"
    elif form == "table":
        assert b"k?ln:?" in printed
        assert b"hit ratio -" in printed
    else:
        # UTF-8 by its definition.
        assert "köln" in printed.decode()


def test_one_alias_can_be_asked_for() -> None:
    assert set(json.loads(_run("--format", "json", "--alias", "files"))["caches"]) == {"files"}


@pytest.fixture
def show_findings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the report have a finding of each of these severities."""

    def show(*severities: Severity) -> None:
        found = [
            Finding(
                code="no-expiry",
                severity=severity,
                alias="default",
                group="user:{int}",
                key=None,
                evidence={},
                advice="Give them a timeout.",
                docs="",
            )
            for severity in severities
        ]
        report = msgspec.structs.replace(report_of(default=busy_cache()), findings=found)
        monkeypatch.setattr(api, "report", lambda **_: report)

    return show


def test_the_document_is_as_the_printed_schema_says() -> None:
    printed = json.loads(_run("--schema"))
    assert printed == schema()
    jsonschema.validate(json.loads(_run("--format", "json")), printed)


def test_the_top_of_each_list_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [hot_key(f"user:{number}") for number in range(20)]
    cache = msgspec.structs.replace(busy_cache(), hot_keys=keys)
    monkeypatch.setattr(api, "report", lambda **_: report_of(default=cache))
    found = json.loads(_run("--format", "json", "--top", "2"))["caches"]["default"]
    assert [key["key"] for key in found["hot_keys"]] == ["user:0", "user:1"]
    assert "user:19" in _run("--top", "20")
    assert "user:5" not in _run()


def test_hot_keys_stand_below_a_heading_and_none_below_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = msgspec.structs.replace(busy_cache(), hot_keys=[hot_key("user:1")])
    monkeypatch.setattr(api, "report", lambda **_: report_of(default=cache))
    *_, heading, row = (line for line in _run().splitlines() if line.startswith("  "))
    assert heading.split() == ["of", "lookups", "hot", "key"]
    assert row.endswith("  user:1")
    assert heading.index("hot key") == row.index("user:1")
    cache = msgspec.structs.replace(cache, hot_keys=[])
    monkeypatch.setattr(api, "report", lambda **_: report_of(default=cache))
    assert "hot key" not in _run()


def test_metrics_are_printed_for_prometheus() -> None:
    wait_for_midnight(15)
    caches["default"].get("user:1")
    assert cache_monitor.flush()
    text = _run("--format", "prometheus", "--alias", "default")
    assert 'cache_monitor_lookups_total{alias="default",operation="get",outcome="hit"} 2.0' in text
    assert 'alias="files"' not in text


def test_output_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert _run("--format", "json", "--output", str(path)) == ""
    assert json.loads(path.read_text())["schema_version"] == 1


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Nothing was written.*No such file") as raised:
        _run("--output", str(tmp_path / "nowhere" / "report.txt"))
    assert raised.value.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fail_on", "severities", "fails"),
    [
        (None, ["error"], False),
        ("error", [], False),
        ("error", ["info", "warning"], False),
        ("error", ["warning", "error"], True),
        ("warning", ["info"], False),
        ("warning", ["warning"], True),
        ("warning", ["error"], True),
    ],
)
def test_findings_that_are_grave_enough_make_it_fail(
    fail_on: str | None,
    severities: list[Severity],
    fails: bool,
    show_findings: Callable[..., None],
    tmp_path: Path,
) -> None:
    show_findings(*severities)
    output = tmp_path / "report.txt"
    arguments = ["--output", str(output), *(["--fail-on", fail_on] if fail_on else [])]
    if fails:
        with pytest.raises(CommandError, match=r"no-expiry on default \(user:\{int\}\)") as raised:
            _run(*arguments)
        assert raised.value.returncode == 1
    else:
        _run(*arguments)
    # The report is written all the same: it tells what to do.
    assert output.read_text().count("no-expiry") == len(severities)


def test_the_table_tells_what_to_do(show_findings: Callable[..., None]) -> None:
    show_findings("warning")
    assert "warning: no-expiry on default, user:{int}\n  Give them a timeout." in _run()


@override_settings(CACHE_MONITOR={"STORE": {"BACKEND": "nowhere.Store"}})
@pytest.mark.parametrize("form", ["json", "table", "prometheus"])
def test_a_store_that_cannot_be_read_is_a_failure_with_what_to_do(form: str) -> None:
    with pytest.raises(CommandError, match=r"'nowhere.Store', which cannot be imported") as raised:
        _run("--format", form)
    assert raised.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--alias", "nowhere"), "no cache 'nowhere'"),
        (("--since", "yesterday"), "yesterday.*such as 90m"),
        (("--since", "9999999d"), "--since is '9999999d'. It is too long ago"),
        (("--since", "0001-01-01"), "--since is '0001-01-01'. It is too long ago"),
        (("--until", "999999999w"), "--until is '999999999w'. It is too long ago"),
        (("--since", ""), "“” is not a time"),
        (("--since", "2999-01-01"), "since must be before until"),
        (("--until", "later"), "later.*such as 90m"),
        (("--since", "1h", "--until", "2h"), "since must be before until"),
        (("--top", "0"), "--top is '0'. Write a whole number from 1"),
        (("--top", "many"), "--top is 'many'"),
        (("--format", "prometheus", "--since", "1h"), "leave out --since"),
    ],
)
def test_a_bad_option_says_what_to_write(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError, match=says) as raised:
        _run(*arguments)
    assert raised.value.returncode == 2


IN_MEMORY = {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}
# Nobody listens on a port that only root may open.
AWAY = {
    "BACKEND": "cache_monitor.stores.redis.RedisStore",
    "OPTIONS": {"URL": "redis://127.0.0.1:1"},
}
DUMMY = "django.core.cache.backends.dummy.DummyCache"
LOCAL = "django.core.cache.backends.locmem.LocMemCache"


@pytest.mark.parametrize(
    ("store", "arguments", "status", "says"),
    [
        (IN_MEMORY, ["--fail-on", "error"], 0, ""),
        (IN_MEMORY, ["--fail-on", "warning", "--alias", "healthy"], 0, ""),
        (IN_MEMORY, ["--since", "yesterday"], 2, "--since is 'yesterday'"),
        (IN_MEMORY, ["--since", "9999999d"], 2, "It is too long ago"),
        (IN_MEMORY, ["--since", "-1h"], 2, "argument --since"),
        (IN_MEMORY, ["--format", "xml"], 2, "argument --format"),
        (IN_MEMORY, ["--fail-on", "nothing"], 2, "argument --fail-on"),
        (IN_MEMORY, ["--output", f"{__file__}/report"], 2, "Nothing was written"),
        (AWAY, [], 2, "see whether it is up"),
        (AWAY, ["--fail-on", "warning"], 2, "see whether it is up"),
        (AWAY, ["--format", "prometheus"], 2, "see whether it is up"),
    ],
)
def test_the_exit_status_is_the_documented_one(
    store: object,
    arguments: list[str],
    status: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ``manage.py`` gives it, in a project whose default cache stores nothing."""
    project = override_settings(
        CACHES={"default": {"BACKEND": DUMMY}, "healthy": {"BACKEND": LOCAL}},
        CACHE_MONITOR={"STORE": store},
    )
    argv = ["manage.py", "cache_stats", *arguments]
    with project:
        caches["default"].get("user:1")
        try:
            ManagementUtility(argv).fetch_command("cache_stats").run_from_argv(argv)
            ended = 0
        except SystemExit as end:
            ended = int(end.code or 0)
    printed = capsys.readouterr()
    assert ended == status, printed.err
    assert says in printed.err
    assert bool(printed.out) == (status < 2)


@pytest.mark.parametrize(
    ("store", "arguments", "status", "says", "reader"),
    [
        (IN_MEMORY, [], 0, "", "a pipe"),
        (IN_MEMORY, ["--fail-on", "warning"], 1, "Findings: dummy-backend on default", "a pipe"),
        (IN_MEMORY, ["--fail-on", "warning"], 1, "Findings: dummy-backend on default", "nobody"),
        (IN_MEMORY, [], 2, "No space left on device", "a full disk"),
        (
            {"BACKEND": "cache_monitor.stores.database.DatabaseStore"},
            ["--format", "json"],
            2,
            "manage.py migrate",
            "a pipe",
        ),
    ],
    ids=["nothing wrong", "a finding", "a finding, and nobody reads", "no room", "no table"],
)
def test_a_process_ends_with_it_too(
    store: object, arguments: list[str], status: int, says: str, reader: str
) -> None:
    lines = [
        "import sys",
        "from django.conf import settings",
        "dummy = {'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}",
        "local = {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}",
        "base = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}",
        "settings.configure(INSTALLED_APPS=['cache_monitor'], SECRET_KEY='x',",
        "    DATABASES={'default': base}, CACHES={'default': dummy, 'healthy': local},",
        f"    CACHE_MONITOR={{'STORE': {store!r}}})",
        "from django.core.cache import cache",
        "from django.core.management import execute_from_command_line",
        "import django; django.setup(); cache.get('user:1')",
        "execute_from_command_line(['manage.py', 'cache_stats', *sys.argv[1:]])",
    ]
    nobody, writer = os.pipe()
    os.close(nobody)
    full = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *arguments],
        stdout={"a pipe": subprocess.PIPE, "nobody": writer, "a full disk": full}[reader],
        stderr=subprocess.PIPE,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": ""},
    )
    os.close(writer)
    os.close(full)
    assert done.returncode == status, done.stderr
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert bool(done.stdout) == (status < 2 and reader == "a pipe")
    assert b"BrokenPipe" not in done.stderr
