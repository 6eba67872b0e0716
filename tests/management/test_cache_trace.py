"""``cache_trace`` writes what other simulators read, and these come to our figures."""

from __future__ import annotations

import shlex
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from cache_monitor.management.commands import cache_trace
from cache_monitor.predictor import _cache_traces
from cache_monitor.scan.identity import store_of
from cache_monitor.stores.base import Row, get_store
from cache_monitor.trace import HASH_BITS, HIT, MISS, SECOND, CallType, Key, Plan, Value
from cache_monitor.trace.codec import encode_slices
from cache_monitor.trace.slices import Slice
from cache_monitor.what_if.hit_ratios import predict
from cache_monitor.what_if.simulated_caches import Access, Arc, Lfu, Model, S3Fifo
from cache_monitor.what_if.simulated_servers import RedisLru
from cache_monitor.what_if.workload import SimulatedCall, simulated_calls
from cache_monitor.worker import wiring
from tests.anew import begin_anew, count_now
from tests.clocks import traffic_clock
from tests.docs.pages import marked
from tests.what_if import asking

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "trace file",
        "OPTIONS": {"MAX_ENTRIES": 150},
    },
}


def look_up(asked: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Look up products, and write them where they are missing, one in 0.9 seconds."""
    clock = traffic_clock(monkeypatch, time.time() - 3000)
    cache = caches["default"]
    cache.clear()
    for key in asked:
        clock.go_on(0.9)
        count_now()
        if cache.get(f"product:{key}") is None:
            cache.set(f"product:{key}", 1, 7200)
    wiring.background_worker.flush()


@pytest.fixture
def recording() -> Iterator[None]:
    with override_settings(CACHES=CACHES, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        begin_anew()


@pytest.fixture
def asked(recording: None, monkeypatch: pytest.MonkeyPatch) -> Sequence[int]:
    """The products that were looked up."""
    asked = Random(1).choices(range(20), k=60)
    look_up(asked, monkeypatch)
    return asked


def written(form: str, folder: Path, *options: str) -> tuple[Path, str]:
    """The file, and what was said of it."""
    path, said = folder / f"trace.{form}", StringIO()
    call_command("cache_trace", "--format", form, "--output", str(path), *options, stderr=said)
    return path, said.getvalue()


def our_demands() -> Sequence[SimulatedCall]:
    (part,) = _cache_traces(get_store(), "default", (time.time() - 3600, time.time()))
    return simulated_calls(part.events, part.groups)


@pytest.mark.django_db
def test_libcachesim_comes_to_our_hit_ratios_from_the_file(
    recording: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libcachesim = pytest.importorskip("libcachesim")
    weights = [1 / rank for rank in range(1, 201)]
    look_up(Random(7).choices(range(200), weights, k=1000), monkeypatch)
    path, _ = written("oracle-general", tmp_path)
    numbers = [each[1] for each in struct.iter_unpack("<IQIq", path.read_bytes())]
    traced = our_demands()
    # Of the latter two each has its own way to fill an empty cache.
    same, alike = 0.001, 0.01
    kinds: Sequence[tuple[str, Callable[[float], Model], float]] = [
        ("LRU", RedisLru, same),
        ("LFU", Lfu, same),
        ("FIFO", Model, same),
        ("ARC", Arc, alike),
        ("S3FIFO", S3Fifo, alike),
    ]
    for name, model, off in kinds:
        for size in (20, 60, 150):
            kind = libcachesim.TraceType.ORACLE_GENERAL_TRACE
            reader = libcachesim.TraceReader(
                str(path), kind, libcachesim.ReaderInitParam(ignore_obj_size=True)
            )
            theirs, _ = getattr(libcachesim, name)(size).process_trace(reader)
            hits = asking.hits(model(size), (Access(number, 0.0) for number in numbers))
            assert hits / len(numbers) == pytest.approx(1 - theirs, abs=off), (name, size)
            predicted = predict(traced, model, size).hit_ratio
            assert predicted == pytest.approx(1 - theirs, abs=off), (name, size)


@pytest.mark.django_db
def test_the_command_of_the_documentation_writes_a_file(
    asked: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [text] = marked("trace-file", "console")
    monkeypatch.chdir(tmp_path)
    call_command(*shlex.split(text)[3:], stderr=StringIO())
    assert len((tmp_path / "shop.oracleGeneral").read_bytes()) == 24 * len(asked)


@pytest.mark.django_db
def test_a_dash_is_the_standard_output(
    asked: Sequence[int], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    call_command("cache_trace", "--format", "caffeine", "--output", "-", stderr=StringIO())
    assert len(capsysbinary.readouterr().out.splitlines()) == len(asked)


@pytest.mark.django_db
def test_the_records_of_libcachesim_name_the_next_request_for_the_same(
    asked: Sequence[int], tmp_path: Path
) -> None:
    path, said = written("oracle-general", tmp_path)
    records = list(struct.iter_unpack("<IQIq", path.read_bytes()))
    assert f"{len(asked):,} lookups written" in said
    assert len(records) == len(asked)
    assert [each[0] for each in records] == sorted(each[0] for each in records)
    # Nobody saw how large a value was.
    assert {each[2] for each in records} == {1}
    following: dict[int, int] = {}
    for place in range(len(records) - 1, -1, -1):
        _, number, _, again = records[place]
        assert again == following.get(number, -1)
        following[number] = place
    # Which is which nobody can tell, but how often each was asked for is the same.
    assert sorted(Counter(each[1] for each in records).values()) == sorted(Counter(asked).values())


@pytest.mark.django_db
def test_caffeines_file_has_a_number_a_line_that_java_can_read(
    asked: Sequence[int], tmp_path: Path
) -> None:
    path, _ = written("caffeine", tmp_path)
    numbers = [int(each) for each in path.read_text().split()]
    assert len(numbers) == len(asked)
    assert all(0 < each < 2**63 for each in numbers)


@pytest.mark.django_db
def test_twitters_file_has_the_fillings_with_their_timeouts(
    asked: Sequence[int], tmp_path: Path
) -> None:
    path, _ = written("twitter-csv", tmp_path)
    lines = [each.split(",") for each in path.read_text().splitlines()]
    assert {len(each) for each in lines} == {7}
    operations = Counter(each[5] for each in lines)
    assert operations["get"] == len(asked)
    assert {each[6] for each in lines if each[5] == "set"} == {"7200"}
    assert {each[6] for each in lines if each[5] == "get"} == {"0"}
    first_asked = {each[1]: each[5] for each in reversed(lines)}
    assert set(first_asked.values()) == {"get"}


@pytest.mark.django_db
def test_the_plain_file_has_every_operation_under_the_same_name(
    asked: Sequence[int], tmp_path: Path
) -> None:
    cache = caches["default"]
    cache.set("product:1", 1, None)
    cache.touch("product:1", 60)
    cache.delete("product:1")
    cache.clear()
    wiring.background_worker.flush()
    path, _ = written("csv", tmp_path)
    head, *lines = path.read_text().splitlines()
    assert head == "time,operation,key,timeout,bytes"
    last = [each.split(",")[1:] for each in lines[-4:]]
    assert [each[0] for each in last] == ["set", "touch", "delete", "clear"]
    assert [each[2] for each in last] == ["", "60", "", ""]
    assert len({each[1] for each in last[:3]}) == 1
    assert "product" not in path.read_text()


@pytest.mark.django_db
def test_two_files_name_the_same_key_by_different_hashes(
    asked: Sequence[int], tmp_path: Path
) -> None:
    names = set[str]()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        names.add(written("caffeine", tmp_path / folder)[0].read_text().split()[0])
    assert len(names) == 2


@pytest.mark.django_db
def test_of_a_sample_the_keys_of_every_minute_are_written(recording: None, tmp_path: Path) -> None:
    family, now = store_of("default"), int(time.time())
    assert family is not None
    for level, before in ((0, 300), (2, 180)):
        start = now - before
        part = Slice(start, 60, "one process", 1, Plan(1 + level, level, frozenset({1})))
        for key in range(1, 5):
            # A quarter of the keys has a hash as small as that of every fourth.
            number = 1 << (HASH_BITS - key)
            part.add(
                Key(number), CallType(MISS, "default", "1"), start * SECOND, start * SECOND + 9
            )
        row = Row("trace", "", f"{family}.p", start, 60, encode_slices([part.stored()]))
        get_store().put([row], now)
    path, said = written("caffeine", tmp_path)
    assert "They are of one key in 4: simulate a cache of 1/4 of the size." in said
    # Of the four the two that are in at both levels, each asked for twice.
    assert sorted(Counter(path.read_text().split()).values()) == [2, 2]


@pytest.mark.django_db
def test_the_bytes_of_the_values_are_written_where_they_were_seen(
    recording: None, tmp_path: Path
) -> None:
    family, now = store_of("default"), int(time.time())
    assert family is not None
    part = Slice(now - 120, 60, "one process", 1)
    for number, size in enumerate((300, 500, 0)):
        at = (now - 100 + number) * SECOND
        part.add(
            Key(number + 1), CallType(MISS, "default", "1"), at, at + 9, value=Value(size=size)
        )
    # What is seen later is what it was.
    later = Slice(now - 60, 60, "one process", 1)
    at = (now - 30) * SECOND
    later.add(Key(1), CallType(HIT, "default", "1"), at, at + 9)
    row = Row(
        "trace", "", f"{family}.p", now - 120, 60, encode_slices([part.stored(), later.stored()])
    )
    get_store().put([row], now)
    path, _ = written("oracle-general", tmp_path)
    records = list(struct.iter_unpack("<IQIq", path.read_bytes()))
    # One of which it is not known is as large as the others on the average.
    assert [each[2] for each in records] == [300, 500, 400, 300]
    path, _ = written("twitter-csv", tmp_path)
    assert [line.split(",")[3] for line in path.read_text().splitlines()] == [
        "300",
        "500",
        "0",
        "300",
    ]
    path, _ = written("csv", tmp_path)
    _, *lines = [line.split(",") for line in path.read_text().splitlines()]
    assert [line[4] for line in lines] == ["300", "500", "", "300"]


@pytest.mark.django_db
def test_of_caches_in_each_process_the_busiest_is_written(recording: None, tmp_path: Path) -> None:
    family, now = store_of("default"), int(time.time())
    for process, lookups in (("one", 3), ("two", 5)):
        part = Slice(now - 120, 60, process, 1)
        for number in range(lookups):
            at = (now - 120 + number) * SECOND
            part.add(Key(number + 1), CallType(MISS, "default", "1"), at, at + 9)
        row = Row("trace", "", f"{family}.{process}", now - 120, 60, encode_slices([part.stored()]))
        get_store().put([row], now)
    path, said = written("caffeine", tmp_path)
    assert "this is the busiest of 2" in said
    assert len(path.read_text().split()) == 5


@pytest.mark.django_db
def test_a_file_that_was_not_finished_leaves_the_one_before_it(
    asked: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = written("csv", tmp_path)
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cache_trace.FORMATS, "csv", interrupted)
    with pytest.raises(SystemExit) as ended:
        written("csv", tmp_path)
    assert ended.value.code == 130
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--since", "yesterday"), "--since is 'yesterday'"),
        (("--until", "never"), "--until is 'never'"),
        (("--since", "1h", "--until", "2h"), "--since must be earlier than --until"),
        (("--alias", "other"), "There is no cache 'other'"),
        (("--since", "1h"), "The trace has no lookups of 'default' in this period"),
    ],
)
def test_what_cannot_be_written_is_told_with_what_to_write(
    options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    with (
        override_settings(CACHES=CACHES, CACHE_MONITOR=MEMORY),
        pytest.raises(CommandError, match=says) as found,
    ):
        written("csv", tmp_path, *options)
    assert found.value.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_a_folder_that_is_not_there_is_named(asked: Sequence[int], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Nothing was written to .*missing") as found:
        written("csv", tmp_path / "missing")
    assert found.value.returncode == 2


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="oracle-general"):
        written("arff", tmp_path)
