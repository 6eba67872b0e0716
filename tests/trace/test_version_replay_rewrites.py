"""What was written anew when it had expired is counted, and what else was written is not."""

from cache_monitor.stats.groups import ChangeStats
from cache_monitor.trace import DELETE, NEVER, SECOND, TOUCH, WRITE, CallType, Event
from cache_monitor.trace.state import LastWrite
from cache_monitor.trace.version_replay import count_rewrites

LASTS = 60


def event(
    kind: int, at: float, value: int = 0, timeout: int = LASTS * SECOND, weight: int = 1
) -> Event:
    began = int(at * SECOND)
    form = CallType(kind, "default", 1, timeout)
    return Event(1, form, began, began + 1000, 1, 1, fingerprint=value, weight=weight)


def counted(*events: Event, before: LastWrite | None = None) -> ChangeStats:
    stats = ChangeStats()
    count_rewrites(before, events, lambda alias, at: stats)
    return stats


def test_a_write_after_the_expiry_tells_whether_the_value_had_changed() -> None:
    same = counted(event(WRITE, 0, 7), event(WRITE, 70, 7))
    assert (sum(same.same.values()), sum(same.changed.values())) == (1, 0)
    changed = counted(event(WRITE, 0, 7), event(WRITE, 70, 8, weight=4))
    assert (sum(changed.same.values()), sum(changed.changed.values())) == (0, 4)


def test_a_write_before_the_expiry_is_none_of_them() -> None:
    assert counted(event(WRITE, 0, 7), event(WRITE, 30, 7)).rewrites == 0
    assert counted(event(WRITE, 0, 7, NEVER), event(WRITE, 99, 7)).rewrites == 0
    touched = counted(event(WRITE, 0, 7), event(TOUCH, 50), event(WRITE, 70, 7))
    assert touched.rewrites == 0


def test_of_a_stampede_one_value_counts() -> None:
    crowd = [event(WRITE, 70 + number / 100, 7) for number in range(5)]
    assert counted(event(WRITE, 0, 7), *crowd).rewrites == 1


def test_what_is_written_after_a_delete_is_none_of_them() -> None:
    assert counted(event(WRITE, 0, 7), event(DELETE, 50), event(WRITE, 70, 7)).rewrites == 0


def test_without_a_fingerprint_nothing_is_told_of_it() -> None:
    assert counted(event(WRITE, 0, 7), event(WRITE, 70)).unknown == 1


def test_a_replay_goes_on_where_the_one_before_it_ended() -> None:
    before = count_rewrites(None, [event(WRITE, 0, 7)], lambda alias, at: None)
    assert counted(event(WRITE, 70, 7), before=before).rewrites == 1
