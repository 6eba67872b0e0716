"""The addresses for programs: the report, its schema, and the metrics for Prometheus."""

from datetime import UTC, datetime
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from cache_monitor import api
from cache_monitor.dashboard.query import BadParameterError, Query, parse_query
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters import json
from cache_monitor.exporters.http import (
    JSON,
    answer,
    for_programs,
    problem,
    report_answer,
    weak_etag,
)
from cache_monitor.exporters.json import parse_top, trim
from cache_monitor.reports.schema import Report

_TOP = "top"


@for_programs
def stats(request: HttpRequest) -> HttpResponseBase:
    """The report as JSON. Parameters: ``since`` and ``until``, or ``range``; ``alias``; ``top``.

    400 for a parameter that cannot be used, 503 where the store cannot be read.
    """
    try:
        query = parse_query(request.GET, datetime.now(UTC), own=(_TOP,))
        report = _report(query)
    except BadParameterError as error:
        return problem(HTTPStatus.BAD_REQUEST, error.message, error.parameter)
    if trouble := api.problem_of(report):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, trouble)
    return report_answer(request, report, is_live=query.live)


@for_programs
def schema(request: HttpRequest) -> HttpResponseBase:
    """The JSON Schema of the report."""
    body = json.encode_schema()
    return answer(request, body, ("application/schema+json", JSON), weak_etag(body))


@for_programs
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics, for Prometheus; 501 where its client library is not installed."""
    try:
        # Imported here: it needs the package of an extra.
        from cache_monitor.exporters import prometheus  # noqa: PLC0415 - an optional dependency
    except MissingExtra as error:
        return problem(HTTPStatus.NOT_IMPLEMENTED, str(error))
    body, content_type = prometheus.scrape(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def _report(query: Query) -> Report:
    try:
        top = parse_top(query.own[_TOP]) if _TOP in query.own else None
    except ValueError as error:
        raise BadParameterError(_TOP, str(error)) from error
    try:
        until = None if query.live else query.until
        report = api.report(since=query.since, until=until, alias=query.alias)
    except api.UnknownAlias as error:
        raise BadParameterError("alias", str(error)) from error
    return report if top is None else trim(report, top)
