from cache_monitor.findings.context import Environment
from tests.findings.healthy import LOCMEM, PRODUCTION, cache, codes, findings, group, operation

DUMMY = "django.core.cache.backends.dummy.DummyCache"
DEBUG = Environment(is_debug=True, processes={"default": 2})


def test_a_backend_that_raises_is_an_error() -> None:
    [finding] = findings(cache(operations={"get": operation(errors=20)}))
    assert (finding.code, finding.severity) == ("backend-errors", "error")
    assert finding.evidence == {"errors": 20, "calls": 10_000, "operation": "get"}
    assert "CACHES['default']" in finding.advice


def test_single_errors_and_counters_that_were_not_there_are_no_finding() -> None:
    assert codes(cache(operations={"get": operation(errors=10)})) == []
    assert codes(cache(operations={"get": operation(200, errors=4)})) == []
    counters = {"get": operation(), "incr": operation(errors=5000, absent=5000)}
    assert codes(cache(operations=counters)) == []


def test_what_the_sites_own_function_raises_is_no_fault_of_the_backend() -> None:
    now_and_then = {"get": operation(), "get_or_set": operation(1000, errors=400)}
    assert codes(cache(operations=now_and_then)) == []
    always = {"get_or_set": operation(1000, errors=900)}
    assert codes(cache(operations=always)) == [("backend-errors", None)]


def test_a_dummy_cache_is_found_where_debug_is_off() -> None:
    ill = cache(backend=DUMMY)
    assert codes(ill) == [("dummy-backend", None)]
    assert codes(ill, DEBUG) == []


def test_a_dummy_cache_has_no_other_mistakes() -> None:
    missing = group(sets=9000, lookups=9000, hits=0, misses=9000, hit_ratio=0.0)
    assert codes(cache(backend=DUMMY, key_groups=[missing]), DEBUG) == []


def test_local_memory_under_several_processes_is_found() -> None:
    ill = cache(backend=LOCMEM)
    assert codes(ill, PRODUCTION) == [("local-memory-many-processes", None)]
    assert codes(ill, Environment(is_debug=False, processes={"default": 1})) == []
    assert codes(ill, Environment(is_debug=False, processes={"other": 2})) == []
    assert codes(ill, DEBUG) == []
