"""What is done beside the counting does not share its fate."""

from queue import SimpleQueue
from threading import Event
from threading import enumerate as enumerate_threads

import pytest

from cache_monitor.worker.jobs import BackgroundJob
from tests.waiting import until


class _Noted:
    def __init__(self) -> None:
        self.faults: list[str] = []
        self.ends: SimpleQueue[str] = SimpleQueue()

    def failed(self, error: Exception) -> None:
        self.faults.append(str(error))

    def at_end(self) -> None:
        self.ends.put("end")


@pytest.fixture
def noted() -> _Noted:
    return _Noted()


def test_a_job_is_done_in_a_thread_of_its_own(noted: _Noted) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)
    names: SimpleQueue[list[str]] = SimpleQueue()
    assert aside.do(lambda: names.put([each.name for each in enumerate_threads()]))
    assert "cache-monitor-test" in names.get(timeout=60)
    aside.end()
    assert noted.ends.get(timeout=60) == "end"


def test_who_is_busy_takes_no_other_job(noted: _Noted) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)
    go_on = Event()

    def wait() -> None:
        go_on.wait(60)

    assert aside.do(wait)
    assert not aside.do(lambda: pytest.fail("done"))
    go_on.set()
    until(lambda: not aside.is_busy)
    aside.end()
    assert noted.ends.get(timeout=60) == "end"


def test_a_fault_of_a_job_ends_nothing(noted: _Noted) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)

    def fail() -> None:
        raise RuntimeError("broken")

    assert aside.do(fail)
    until(lambda: not aside.is_busy)
    done: SimpleQueue[str] = SimpleQueue()
    assert aside.do(lambda: done.put("done"))
    assert done.get(timeout=60) == "done"
    assert noted.faults == ["broken"]
    aside.end()
    assert noted.ends.get(timeout=60) == "end"


# pytest warns of what Python itself passes over.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_ends_a_jobs_thread_from_outside_keeps_no_later_job_from_being_done(
    noted: _Noted,
) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)

    def leave() -> None:
        raise SystemExit  # as a timeout of gevent's or eventlet's, no Exception

    assert aside.do(leave)
    assert noted.ends.get(timeout=60) == "end"
    until(lambda: "cache-monitor-test" not in [each.name for each in enumerate_threads()])
    done: SimpleQueue[str] = SimpleQueue()
    assert aside.do(lambda: done.put("done"))
    assert done.get(timeout=60) == "done"
    assert noted.faults == []
    aside.end()
    assert noted.ends.get(timeout=60) == "end"


def test_after_the_end_no_job_begins(noted: _Noted) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)
    assert aside.do(lambda: None)
    aside.end()
    assert noted.ends.get(timeout=60) == "end"
    assert not aside.do(lambda: pytest.fail("done"))
    assert not aside.is_busy


def test_where_nothing_was_to_be_done_there_is_no_thread(noted: _Noted) -> None:
    BackgroundJob("idle", noted.failed, noted.at_end).end()
    assert "cache-monitor-idle" not in {each.name for each in enumerate_threads()}


def test_where_no_thread_is_to_be_had_the_next_job_tries_again(
    noted: _Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = BackgroundJob("test", noted.failed, noted.at_end)
    refusals = ["can't start new thread", "can't create new thread at interpreter shutdown"]

    def refuse(*_: object) -> None:
        raise RuntimeError(refusals.pop(0))

    with monkeypatch.context() as context:
        context.setattr("cache_monitor.concurrency._thread.start_new_thread", refuse)
        assert not aside.do(lambda: pytest.fail("done"))
        assert not aside.do(lambda: pytest.fail("done"))
    assert noted.faults == ["can't start new thread"], "that the program ends is none"
    done: SimpleQueue[str] = SimpleQueue()
    assert aside.do(lambda: done.put("done"))
    assert done.get(timeout=60) == "done"
    aside.end()
    assert noted.ends.get(timeout=60) == "end"
