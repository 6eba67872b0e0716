"""A visitor's basket, in a session that the cache serves."""

from __future__ import annotations

from django.contrib.sessions.backends.cached_db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

# Apart from the admin's login, whose session the database alone keeps in this demo.
COOKIE = "basket"


def session_of(request: HttpRequest) -> SessionStore:
    """What SESSION_ENGINE = "django.contrib.sessions.backends.cached_db" gives a whole site."""
    return SessionStore(request.COOKIES.get(COOKIE))


@require_http_methods(["GET", "POST"])
def basket(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    if request.method == "POST":
        session["items"] = session.get("items", 0) + 1
        session.save()
    response = render(request, "shop/basket.html", {"items": session.get("items", 0)})
    if session.modified:
        response.set_cookie(COOKIE, session.session_key or "", httponly=True, samesite="Lax")
    return response
