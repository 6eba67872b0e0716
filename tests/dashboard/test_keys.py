"""What the lists of keys and groups say in words."""

from cache_monitor.dashboard.keys import what_ended
from cache_monitor.reports import Lives


def test_what_ended_entries_is_told_with_the_most_frequent_first() -> None:
    lives = Lives(
        expired=20, overwritten=1200, deleted=3, overwritten_unread=1100, deleted_unread=0
    )
    assert what_ended(lives) == "1,200 overwritten (1,100 unread), 20 expired, 3 deleted"


def test_where_nothing_ended_nothing_is_told() -> None:
    assert what_ended(Lives()) == ""
