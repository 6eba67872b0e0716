"""The fingerprint of what is written is that of the value, and no value is in a call."""

from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse

from cache_monitor.calls import Call, recorder
from cache_monitor.instrument.probes import MOST_BYTES, print_of
from tests.backends.conftest import Heard
from tests.backends.contract import open_pair

SERVERS = ["redis", "django_redis", "memcached"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_same_value_has_the_same_fingerprint_and_another_has_another(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        cache = pair.monitored
        heard.clear()
        for value in ("one", "one", "two", 5, 5, 6, [1, 2], [1, 2]):
            cache.set("key", value)
        prints = [call.prints for call in heard]
    assert all(len(each) == 1 and each[0] > 0 for each in prints)
    one, same, two, five, as_much, six, some, alike = prints
    assert (one, five, some) == (same, as_much, alike)
    assert len({one, two, five, six, some}) == 5


@pytest.mark.parametrize("name", SERVERS)
def test_every_operation_that_writes_one_value_tells_its_fingerprint(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        cache = pair.monitored
        cache.clear()
        heard.clear()
        cache.set("a", "value")
        cache.add("b", "value")
        cache.get_or_set("c", lambda: "value")
        cache.get_or_set("c", lambda: "value")
        cache.get("c")
        cache.set_many({"d": "value"})
        prints = [call.prints for call in heard]
    assert prints[0] == prints[1] == prints[2] == prints[5] != ()
    assert prints[3] == prints[4] == ()


@pytest.mark.parametrize("name", SERVERS)
def test_the_short_way_tells_it_too(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "take", lambda most: [])
    with open_pair(name, request, tmp_path) as pair:
        recorder.buffer.clear()
        pair.monitored.set("key", "value")
        pair.monitored.set("key", "value", 60)
        first, again = (Call(*each) for each in recorder.buffer)
    assert first.prints == again.prints != ()


@pytest.mark.parametrize("name", ["redis", "django_redis"])
def test_several_values_that_are_written_at_once_have_one_each(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        heard.clear()
        pair.monitored.set("a", "one")
        pair.monitored.set("b", "two")
        pair.monitored.set_many({"a": "one", "b": "two"})
        (one,), (two,), both = (call.prints for call in heard)
    assert both == (one, two)


def test_of_several_memcached_servers_nobody_knows_the_order(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair("memcached", request, tmp_path) as pair:
        heard.clear()
        pair.monitored.set_many({"a": "one", "b": "two"})
        assert [call.prints for call in heard] == [()]


def page(content: str, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(content, status=status, headers=headers)


@pytest.mark.parametrize("name", SERVERS)
def test_of_a_page_the_content_counts_and_not_its_headers(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        heard.clear()
        for each in (
            page("text", Expires="Mon, 01 Jan 2024 00:00:00 GMT"),
            page("text", Expires="Mon, 01 Jan 2024 00:05:00 GMT"),
            page("other", Expires="Mon, 01 Jan 2024 00:00:00 GMT"),
            page("text", 404),
        ):
            pair.monitored.set("page", each)
        first, again, other, missing = (call.prints for call in heard)
    assert first == again
    assert len({first, other, missing}) == 3


class Asked:
    """Something that does not want to be asked for its class."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError


def test_a_value_is_not_asked_for_its_class() -> None:
    assert print_of(b"bytes", Asked()) == print_of(b"bytes", "anything") > 0


def test_what_is_too_large_has_none_instead_of_that_of_a_part() -> None:
    assert print_of(b"x" * MOST_BYTES, None) > 0
    assert print_of(b"x" * (MOST_BYTES + 1), None) == 0
    assert print_of(b"", page("x" * MOST_BYTES)) > 0
    assert print_of(b"", page("x" * (MOST_BYTES + 1))) == 0
    assert print_of(object(), None) == 0
