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
"""What the admin's view answers when it :func:`is_only_asked`."""
_ASKED = "_cache_monitor_asks_only"


def make_token() -> str:
    """A new token: 256 random bits, so that a digest without salt is enough to keep it secret."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What ``CACHE_MONITOR["EXPORT_TOKENS"]`` holds of ``token``."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer_token(request: HttpRequest) -> str | None:
    """The token that the request brings; None where it brings none."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else None


def is_known(token: str) -> bool:
    """Whether ``token`` is one of the settings'. The time that this takes tells nothing of it."""
    given = digest(token)
    # All of them, always: stopping at the first that fits would tell its place.
    found = [compare_digest(given, known) for known in get_conf().export_tokens]
    return any(found)


def is_allowed_staff(request: HttpRequest) -> bool:
    """Whether the request's session belongs to staff whom the admin would show the dashboard.

    The admin may ask for more than a login, such as a second factor. So it is asked itself, with
    all that the project has put in front of it.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff and user.has_perm(PERMISSION)):
        return False
    sites = _admin_sites()
    doors = [door for site in sites if (door := _door(site.name, request)) is not None]
    if doors:
        return any(_lets_in(door, request) for door in doors)
    # There is an admin perhaps, and none that can be visited: each has a say.
    return all(site.has_permission(request) for site in sites)


def is_only_asked(request: HttpRequest) -> bool:
    """Whether the admin's view is asked if it would answer, and for no answer."""
    return hasattr(request, _ASKED)


def _admin_sites() -> "list[AdminSite]":
    if not apps.is_installed("django.contrib.admin"):
        return []
    return list(import_module("django.contrib.admin.sites").all_sites)


def _door(site: str, request: HttpRequest) -> ResolverMatch | None:
    """The admin's own view of the figures on the site of this name, where it has an address."""
    urlconf = getattr(request, "urlconf", None)
    try:
        url = reverse(f"{site}:cache_monitor_stats_json", urlconf)
        return resolve("/" + url.removeprefix(get_script_prefix()), urlconf)
    except (NoReverseMatch, Resolver404):
        return None


def _lets_in(door: ResolverMatch, request: HttpRequest) -> bool:
    setattr(request, _ASKED, True)
    try:
        answer = door.func(request, *door.args, **door.kwargs)
    except (PermissionDenied, Http404):
        return False
    finally:
        delattr(request, _ASKED)
    return bool(answer.status_code == YES)
