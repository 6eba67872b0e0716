import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from cache_monitor import joining

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def traffic() -> Iterator[None]:
    store = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHE_MONITOR=store):
        joining.collector.stop()
        joining.collector.after_fork()
        caches["default"].set("user:1", "a")
        caches["default"].get("user:1")
        yield
        joining.collector.stop()
        joining.collector.after_fork()
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


def test_one_alias_can_be_asked_for() -> None:
    assert set(json.loads(_run("--format", "json", "--alias", "files"))["caches"]) == {"files"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--alias", "nowhere"), "no cache 'nowhere'"),
        (("--since", "yesterday"), "yesterday"),
        (("--until", "later"), "later"),
        (("--since", "1h", "--until", "2h"), "since must be before until"),
    ],
)
def test_a_bad_option_says_what_to_write(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        _run(*arguments)
