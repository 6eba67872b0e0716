"""Mistakes that make requests wait: for each other's work, or for one answer after the other."""

from collections.abc import Iterator

from cache_monitor.findings.case import IN_PROCESS, Case
from cache_monitor.reports.schema import Finding

_AT_ONCE = 10
"""Values produced in vain: fewer are chance where a popular key expires."""
_OFTEN = 3
"""One value in so many is produced in vain: where two always do so at once it is one in two."""


def stampede(case: Case) -> Iterator[Finding]:
    """A third of the values of a group, ten and more, were produced while somebody else on the
    host, in the same process or in another, produced the same one, and that costs more than
    ``lost_share`` of a worker's time. Of several at once all but one count."""
    for group in case.groups():
        lost = group.stampedes * case.produce_seconds(group)
        if (
            group.stampedes >= _AT_ONCE
            and _OFTEN * group.stampedes >= group.produced
            and case.is_costly(lost)
        ):
            yield case.find(
                "stampede",
                "warning",
                [
                    ("produced", group.produced),
                    ("produced_in_vain", group.stampedes),
                    ("produce_seconds", group.produce_seconds),
                    ("lost_seconds", round(lost, 3)),
                ],
                group=group.group,
            )


def single_gets(case: Case) -> Iterator[Finding]:
    """Requests get five and more keys of a group one by one, and that costs
    ``lost_request_seconds`` of each of them, or more than ``lost_share`` of a worker's time."""
    if case.backend in IN_PROCESS:
        return
    trip = _trip(case)
    for group in case.groups():
        requests, gets = group.single_gets_requests or 0, group.single_gets or 0
        lost = max(gets - requests, 0) * trip
        if requests and _is_slow(case, lost, requests):
            yield case.find(
                "single-gets",
                "warning",
                [
                    ("requests", requests),
                    ("gets_each", round(gets / requests, 1)),
                    ("get_seconds", round(trip, 9)),
                    ("lost_request_seconds", round(lost / requests, 6)),
                    ("lost_seconds", round(lost, 3)),
                ],
                group=group.group,
            )


def repeated_gets(case: Case) -> Iterator[Finding]:
    """Requests get one unchanged entry three times and more, and that costs
    ``lost_request_seconds`` of each of them, or more than ``lost_share`` of a worker's time."""
    trip = _trip(case)
    for group in case.groups():
        requests, again = group.repeated_gets_requests or 0, group.repeated_gets or 0
        lost = again * trip
        if requests and _is_slow(case, lost, requests):
            yield case.find(
                "repeated-gets",
                "warning",
                [
                    ("requests", requests),
                    ("again_each", round(again / requests, 1)),
                    ("get_seconds", round(trip, 9)),
                    ("lost_request_seconds", round(lost / requests, 6)),
                    ("lost_seconds", round(lost, 3)),
                ],
                group=group.group,
            )


def _trip(case: Case) -> float:
    """What a ``get`` mostly takes."""
    gets = case.cache.operations.get("get")
    return (gets.seconds.p50 or 0.0) if gets is not None else 0.0


def _is_slow(case: Case, lost: float, requests: int) -> bool:
    return lost / requests >= case.limits.lost_request_seconds or case.is_costly(lost)
