"""Who may read the exports: staff with the permission, and programs with a token."""

import secrets
from hashlib import sha256
from hmac import compare_digest

from django.http import HttpRequest

from cache_monitor.conf import get_conf

PERMISSION = "cache_monitor.view_dashboard"
_SCHEME = "bearer"


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
    """Whether the request's session belongs to staff who may see the dashboard."""
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff and user.has_perm(PERMISSION))
