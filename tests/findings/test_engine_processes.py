from cache_monitor.findings.engine import concurrent_processes
from cache_monitor.stats.codec import encode
from cache_monitor.stats.window import OperationStats, Window
from cache_monitor.stores.base import Row

NOW = 10_000


def rows(process: int, starts: range, *, alias: str = "default", calls: int = 1) -> list[Row]:
    return [
        Row(
            "window",
            str(process),
            alias,
            start,
            10,
            encode(
                Window(start, 10, processes={process}, operations={"get": OperationStats(calls)})
            ),
        )
        for start in starts
    ]


def test_processes_that_work_beside_each_other_are_counted() -> None:
    lately = range(NOW - 60, NOW, 10)
    assert concurrent_processes([*rows(1, lately), *rows(2, lately), *rows(3, lately)], NOW) == {
        "default": 3
    }


def test_each_cache_has_processes_of_its_own() -> None:
    lately = range(NOW - 60, NOW, 10)
    both = [*rows(1, lately), *rows(2, lately, alias="other"), *rows(1, lately, alias="other")]
    assert concurrent_processes(both, NOW) == {"default": 1, "other": 2}


def test_a_command_that_makes_some_calls_and_ends_does_not_run_the_site() -> None:
    site = rows(1, range(NOW - 300, NOW, 10))
    command = rows(2, range(NOW - 100, NOW - 70, 10))
    assert concurrent_processes([*site, *command], NOW) == {"default": 1}


def test_a_process_that_takes_the_place_of_another_is_one() -> None:
    before, after = rows(1, range(NOW - 200, NOW - 90, 10)), rows(2, range(NOW - 100, NOW, 10))
    assert concurrent_processes([*before, *after], NOW) == {"default": 1}


def test_what_was_earlier_or_made_no_call_does_not_run_now() -> None:
    site = rows(1, range(NOW - 100, NOW, 10))
    earlier = rows(2, range(NOW - 600, NOW - 310, 10))
    idle = rows(3, range(NOW - 100, NOW, 10), calls=0)
    assert concurrent_processes([*site, *earlier, *idle], NOW) == {"default": 1}


def test_rows_that_cannot_be_read_are_nobody() -> None:
    assert concurrent_processes([Row("window", "1", "default", NOW - 10, 10, b"x")], NOW) == {}
