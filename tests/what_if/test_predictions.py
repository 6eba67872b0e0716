"""Nothing is predicted of a cache, or of a group, whose simulation is not like the truth."""

from cache_monitor.predictor import cache_what_if
from cache_monitor.trace import HIT, MISS, SECOND, WRITE, CallType, Event
from cache_monitor.what_if import CacheWhatIf, Question
from cache_monitor.what_if.reading import CacheTrace
from cache_monitor.what_if.simulations import CacheFacts

ASKED = Question(entries=(10,), factors=(2.0,))
LASTING, VANISHING = 1, 2


def _visited(weights: dict[int, int]) -> CacheWhatIf:
    """Two groups, each asked for once a second, ``weights`` times. From one somebody else takes
    the entry away each third second, of which no call tells."""
    events = []
    for at in range(600):
        for key, times in weights.items():
            is_gone = at % 30 == 0 if key == LASTING else at % 3 == 0
            kinds = [MISS, WRITE] if is_gone else [HIT]
            for order, kind in enumerate(kinds):
                form = CallType(kind, "default", 1, 30 * SECOND)
                began = at * SECOND + 1000 * order
                times_then = times if kind == HIT else 1
                took = 100 if kind == WRITE else 0
                events.append(
                    Event(key, form, began, began + 1, 1, 1, times=times_then, compute_time=took)
                )
    trace = CacheTrace(events, {LASTING: "lasting", VANISHING: "vanishing"}, 1.0)
    return cache_what_if([trace], CacheFacts("allkeys-lru"), ASKED)


def test_of_a_group_that_loses_entries_otherwise_no_timeout_is_predicted() -> None:
    found = _visited({LASTING: 20, VANISHING: 1})
    assert found.problem is None
    assert [each.group for each in found.timeouts] == ["lasting"]
    assert found.entries


def test_of_a_cache_that_loses_entries_otherwise_nothing_is_predicted() -> None:
    found = _visited({LASTING: 2, VANISHING: 2})
    assert found.problem is not None
    assert "in truth it was 89.9 %" in found.problem
    assert (found.hit_ratio, found.entries, found.timeouts) == (None, [], [])
