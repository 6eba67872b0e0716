"""Who may read the exports: staff with the permission, and programs with a token."""

import secrets
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import (
    NoReverseMatch,
    Resolver404,
    ResolverMatch,
    get_script_prefix,
    resolve,
    reverse,
)

from cache_monitor.conf import get_conf

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite

PERMISSION = "cache_monitor.view_dashboard"
_SCHEME = "bearer"
YES = HTTPStatus.NO_CONTENT
"""The status of the admin's view for a request that :func:`is_permission_probe`."""
_PROBE = "_cache_monitor_asks_only"


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


def is_permission_probe(request: HttpRequest) -> bool:
    """Whether the admin's view is called only to see whether it permits the request."""
    return hasattr(request, _PROBE)


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
    setattr(request, _PROBE, True)
    try:
        answer = view.func(request, *view.args, **view.kwargs)
    except (PermissionDenied, Http404):
        return False
    finally:
        delattr(request, _PROBE)
    return bool(answer.status_code == YES)
