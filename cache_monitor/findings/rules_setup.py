"""Mistakes in the setup: a cache that cannot work as it is meant to."""

from collections.abc import Iterator

from cache_monitor.findings.context import Cost, RuleContext
from cache_monitor.reports.schema import Finding, Operation

_SEVERAL = 2


def backend_errors(context: RuleContext) -> Iterator[Finding]:
    """At least ``min_errors`` calls raised, and more than ``error_share`` of all. A ``get_or_set``
    raises what the site's own function raises: it counts where most of its calls fail. That a
    counter's key is absent is an answer of ``incr``, no failure."""
    operations = context.cache.operations
    failed = {name: _failed(name, each) for name, each in operations.items()}
    calls = sum(each.calls for each in operations.values())
    errors = sum(failed.values())
    if errors >= max(context.limits.min_errors, 1) and errors > context.limits.error_share * calls:
        worst = max(failed, key=lambda name: failed[name])
        yield context.find(
            "backend-errors",
            "error",
            [("errors", errors), ("calls", calls), ("operation", worst)],
            cost=Cost(failed_calls=errors),
        )


def _failed(name: str, operation: Operation) -> int:
    is_the_sites = name == "get_or_set" and 2 * operation.errors <= operation.calls
    return 0 if is_the_sites else operation.errors - operation.absent


def dummy_backend(context: RuleContext) -> Iterator[Finding]:
    """A ``DummyCache`` is asked where ``DEBUG`` is off: it stores nothing."""
    if (
        context.backend == "DummyCache"
        and not context.environment.is_debug
        and context.cache.lookups
    ):
        lookups = context.cache.lookups
        cost = Cost(failed_calls=lookups)
        lost = context.cache.miss_reasons.lost
        evidence = [("lookups", lookups), ("lost", lost)]
        yield context.find("dummy-backend", "warning", evidence, cost=cost)


def local_memory_many_processes(context: RuleContext) -> Iterator[Finding]:
    """Several processes use a ``LocMemCache`` by now, where ``DEBUG`` is off, and made at least
    ``min_calls`` lookups: each has its own entries, and what one deletes the others go on
    serving."""
    processes = context.environment.processes.get(context.alias, 0)
    if (
        context.backend == "LocMemCache"
        and not context.environment.is_debug
        and processes >= _SEVERAL
        and context.cache.lookups >= context.limits.min_calls
    ):
        yield context.find(
            "local-memory-many-processes",
            "warning",
            [("processes", processes), ("lookups", context.cache.lookups)],
            cost=Cost(context.cache.misses * context.mean_produce_seconds),
        )
