"""The addresses for programs: the report, its schema, and the metrics for Prometheus.

They answer programs with a token, and staff who may view the dashboard.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from hashlib import blake2b, sha256
from hmac import compare_digest
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec
from django.apps import apps
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import (
    NoReverseMatch,
    Resolver404,
    ResolverMatch,
    get_script_prefix,
    resolve,
    reverse,
)
from django.utils.cache import (
    get_conditional_response,
    patch_cache_control,
    patch_vary_headers,
)
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.dashboard.query import OF_REPORTS, BadParameterError, cached_report, parse_query
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters import json
from cache_monitor.exporters.json import parse_top, trim
from cache_monitor.reports import Report

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite

PERMISSION = "cache_monitor.view_dashboard"
_SCHEME = "bearer"
PERMITTED = HTTPStatus.NO_CONTENT
"""The status of the admin's view for a request that has the attribute ``PROBE``: it is called only
to see whether it permits that."""
PROBE = "_cache_monitor_asks_only"


def make_token() -> str:
    """A new token of 256 random bits, for which a digest without salt is safe."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """The entry of ``token`` in ``CACHE_MONITOR["EXPORT_TOKENS"]``."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer_token(request: HttpRequest) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else None


def is_known(token: str) -> bool:
    """Whether the settings have ``token``, in constant time."""
    given = digest(token)
    # All of them: stopping at the first match would show its place.
    found = [compare_digest(given, known) for known in get_conf().export_tokens]
    return any(found)


def is_allowed_staff(request: HttpRequest) -> bool:
    """Whether the admin would show the dashboard to the request's user.

    The admin may require more than a login, such as a second factor. So its own view is called,
    with all of the project's decorators.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff and user.has_perm(PERMISSION)):
        return False
    sites = _admin_sites()
    views = [view for site in sites if (view := _admin_view(site.name, request)) is not None]
    if views:
        return any(_permits(view, request) for view in views)
    # No admin site has a URL: each must permit it.
    return all(site.has_permission(request) for site in sites)


def _admin_sites() -> "list[AdminSite]":
    if not apps.is_installed("django.contrib.admin"):
        return []
    return list(import_module("django.contrib.admin.sites").all_sites)


def _admin_view(site: str, request: HttpRequest) -> ResolverMatch | None:
    """The admin's own view of the report on the site of this name, where it has a URL."""
    urlconf = getattr(request, "urlconf", None)
    try:
        url = reverse(f"{site}:cache_monitor_stats_json", urlconf)
        return resolve("/" + url.removeprefix(get_script_prefix()), urlconf)
    except (NoReverseMatch, Resolver404):
        return None


def _permits(view: ResolverMatch, request: HttpRequest) -> bool:
    setattr(request, PROBE, True)
    try:
        answer = view.func(request, *view.args, **view.kwargs)
    except (PermissionDenied, Http404):
        return False
    finally:
        delattr(request, PROBE)
    return bool(answer.status_code == PERMITTED)


JSON = "application/json"

View = Callable[[HttpRequest], HttpResponseBase]


def for_programs(view: View) -> Callable[..., HttpResponseBase]:
    """``view`` for staff and token holders; compressed where the client takes gzip.

    Others get 401, or 403 where they are logged in. No shared cache keeps an answer.
    """

    # The project may require a login for every page, with a redirect to a form.
    @login_not_required
    @require_safe
    @gzip_page
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        response = _refusal(request) or view(request)
        patch_vary_headers(response, ("Accept", "Authorization", "Cookie"))
        patch_cache_control(response, private=True, no_cache=True)
        return response

    return guarded


def _refusal(request: HttpRequest) -> HttpResponse | None:
    token = bearer_token(request)
    if is_known(token) if token is not None else is_allowed_staff(request):
        return None
    if token is None and getattr(getattr(request, "user", None), "is_authenticated", False):
        return problem(
            HTTPStatus.FORBIDDEN, "This needs a staff account that may view the cache dashboard."
        )
    response = problem(
        HTTPStatus.UNAUTHORIZED,
        "Send a token (Authorization: Bearer …) whose digest is in "
        'CACHE_MONITOR["EXPORT_TOKENS"], or log in to the admin.',
    )
    response["WWW-Authenticate"] = 'Bearer realm="cache monitor"'
    return response


def problem(status: HTTPStatus, message: str, parameter: str | None = None) -> HttpResponse:
    """What is wrong with a request, in JSON: ``{"error": {"message": …, "parameter": …}}``."""
    error = {"message": message} | ({"parameter": parameter} if parameter else {})
    body = msgspec.json.encode({"error": error})
    return HttpResponse(body, content_type=JSON, status=status)


def answer(
    request: HttpRequest, body: bytes, media_types: Sequence[str], etag: str
) -> HttpResponseBase:
    """``body`` in a media type that the client takes; 304 for the same ``etag``, or 406."""
    media_type = media_types[0]
    if request.headers.get("Accept"):
        # In the client's order of preference.
        media_type = request.get_preferred_type(list(media_types)) or ""
    if not media_type:
        return problem(HTTPStatus.NOT_ACCEPTABLE, f"There is {', '.join(media_types)} only.")
    response = HttpResponse(body, content_type=media_type, headers={"ETag": etag})
    return get_conditional_response(request, etag=etag, response=response) or response


def report_answer(request: HttpRequest, report: Report, *, is_live: bool) -> HttpResponseBase:
    """``report`` as JSON. ``is_live``: its period ends now, so the ETag leaves the times out."""
    moments: Mapping[str, str] = {"since": "", "until": ""} if is_live else {}
    etag = weak_etag(json.encode(replace(report, generated_at="", **moments)))
    return answer(request, json.encode(report), (JSON,), etag)


def weak_etag(content: bytes) -> str:
    """The same for the same content, compressed or not."""
    return f'W/"{blake2b(content, digest_size=12).hexdigest()}"'


@for_programs
def stats(request: HttpRequest) -> HttpResponseBase:
    """The report as JSON. Parameters: ``since`` and ``until``, or ``range``; ``alias``; ``top``.

    400 for a parameter that cannot be used, 503 where the store cannot be read.
    """
    try:
        query = parse_query(request.GET, datetime.now(UTC), ("top",), OF_REPORTS)
        top = parse_top(query.own["top"]) if "top" in query.own else None
    except BadParameterError as error:
        return problem(HTTPStatus.BAD_REQUEST, error.message, error.parameter)
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), "top")
    try:
        report, trouble = cached_report(query)
    except api.UnknownAlias as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), "alias")
    if trouble:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, trouble)
    shown = report if top is None else trim(report, top)
    return report_answer(request, shown, is_live=query.live)


@for_programs
def schema(request: HttpRequest) -> HttpResponseBase:
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
