"""Mistakes that make requests wait, and pages that are not cached."""

from collections.abc import Iterator

from cache_monitor.findings.context import IN_PROCESS, RuleContext
from cache_monitor.reports import Finding, Page, View
from cache_monitor.stats.details import OTHER_GROUPS

_AT_ONCE = 10
"""Values computed in vain: fewer are chance when a popular key expires."""
_OFTEN = 3
"""One value in so many is computed in vain: if two always compute at once it is one in two."""

_MANY_CALLS = 10
"""Calls of a request that are many: a cached page, a session and some values are fewer."""
_MUCH_OF_A_REQUEST = 1 / 3
_NOTICED = 10
"""So many times ``lost_request_seconds``: half of the tenth of a second that a visitor notices."""
_MOST_GROUPS = 3


def stampede(context: RuleContext) -> Iterator[Finding]:
    """At least ten values of a group, and a third of all, were computed while another process or
    thread computed the same value; that costs more than ``lost_share`` of a worker's time. Of
    several at once all but one count."""
    for group in context.copies():
        lost = group.stampedes * context.produce_seconds(group)
        if (
            group.stampedes >= _AT_ONCE
            and _OFTEN * group.stampedes >= group.produced
            and context.is_costly(lost)
        ):
            yield context.find(
                group.group,
                produced=group.produced,
                produced_in_vain=group.stampedes,
                produce_seconds=group.produce_seconds,
                lost_seconds=lost,
            )


def single_gets(context: RuleContext) -> Iterator[Finding]:
    """Requests get at least five keys of a group one by one; that costs ``lost_request_seconds`` of
    each request, or more than ``lost_share`` of a worker's time. Silent for backends without a
    server, and if a value is computed as fast as it is looked up."""
    if context.backend in IN_PROCESS:
        return
    gets_of_all = context.cache.operations.get("get")
    trip = (gets_of_all.seconds.p50 or 0.0) if gets_of_all is not None else 0.0
    for group in context.groups():
        requests, gets = group.single_gets_requests or 0, group.single_gets or 0
        lost = max(gets - requests, 0) * trip
        # What is computed as fast as it is looked up needs no cache, thus no get_many.
        is_dear = group.produce_seconds is None or group.produce_seconds > trip
        if requests and is_dear and _is_slow(context, lost, requests):
            yield context.find(
                group.group,
                requests=requests,
                gets_each=round(gets / requests, 1),
                get_seconds=round(trip, 9),
                lost_request_seconds=round(lost / requests, 6),
                lost_seconds=lost,
            )


def repeated_gets(context: RuleContext) -> Iterator[Finding]:
    """Requests get an unchanged entry, or the same entries by ``get_many``, at least three times;
    that costs ``lost_request_seconds`` of each request, or more than ``lost_share`` of a worker's
    time."""
    for group in context.groups():
        requests, again = group.repeated_gets_requests or 0, group.repeated_gets or 0
        lost = group.repeated_seconds or 0.0
        trip = lost / again if again else 0.0
        if requests and _is_slow(context, lost, requests):
            yield context.find(
                group.group,
                requests=requests,
                again_each=round(again / requests, 1),
                get_seconds=round(trip, 9),
                lost_request_seconds=round(lost / requests, 6),
                lost_seconds=lost,
            )


def cache_bound_view(context: RuleContext) -> Iterator[Finding]:
    """A view makes at least ten calls of one cache in each request, ``min_calls`` in all, and waits
    for them for a third of its time and for ten times ``lost_request_seconds``. One finding for
    each group that most of the time of such a view goes to."""
    worst: dict[str, View] = {}
    for view in context.cache.views:
        group = view.groups[0].group if view.groups else OTHER_GROUPS
        if group == OTHER_GROUPS or not _is_cache_bound(context, view):
            continue
        if group not in worst or worst[group].seconds < view.seconds:
            worst[group] = view
    for group, view in sorted(worst.items()):
        yield context.find(
            group,
            view=view.view,
            requests=view.requests,
            calls_each=round(view.calls / view.requests, 1),
            cache_request_seconds=round(view.seconds / view.requests, 6),
            request_share=view.share_of_request,
            groups=", ".join(use.group for use in view.groups[:_MOST_GROUPS]),
            lost_seconds=view.seconds,
        )


def _is_cache_bound(context: RuleContext, view: View) -> bool:
    return (
        view.calls >= context.limits.min_calls
        and view.calls >= _MANY_CALLS * view.requests
        and (view.share_of_request or 0.0) >= _MUCH_OF_A_REQUEST
        and view.seconds >= _NOTICED * context.limits.lost_request_seconds * view.requests
    )


def _is_slow(context: RuleContext, lost: float, requests: int) -> bool:
    return lost / requests >= context.limits.lost_request_seconds or context.is_costly(lost)


_ON_PURPOSE = frozenset({"method", "inner", "status", "streaming", "error", "unknown", "dummy"})
"""Reasons that a project may mean, or that have a finding of their own."""


def page_not_stored(context: RuleContext) -> Iterator[Finding]:
    """A page behind ``cache_page`` was requested at least ``min_calls`` times and never stored; to
    compute it each time costs more than ``lost_share`` of a worker's time. Silent if the reason may
    be meant, as the method or the status of its responses."""
    for page in context.cache.pages:
        reason = _reason(page)
        if (
            page.is_decorated
            and page.requests >= context.limits.min_calls
            and not page.served
            and not page.stored
            and reason is not None
            and context.is_costly(page.not_stored_seconds)
        ):
            yield context.find(
                page.page,
                requests=page.requests,
                reason=reason,
                detail=page.details.get(reason),
                cause=page.causes.get(reason),
                lost_seconds=page.not_stored_seconds,
            )


def _reason(page: Page) -> str | None:
    """Why most of its responses were not stored; None if that may be meant."""
    kept_out = {why: count for why, count in page.not_stored.items() if why not in _ON_PURPOSE}
    most = max(kept_out, key=lambda why: (kept_out[why], why), default=None)
    return most if most is not None and 2 * kept_out[most] > page.requests else None
