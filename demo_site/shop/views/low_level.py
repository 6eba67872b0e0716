"""The low-level cache API, an operation at a time."""

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

NOTE_KEY = "demo:note"


def get_note() -> object:
    return cache.get(NOTE_KEY, "nothing is stored")


def set_note(text: str) -> object:
    cache.set(NOTE_KEY, text, timeout=120)
    return f"stored {text!r} for two minutes"


def add_note(text: str) -> object:
    added = cache.add(NOTE_KEY, text, timeout=120)
    return "stored" if added else "left alone: the key was there already"


def delete_note() -> object:
    deleted = cache.delete(NOTE_KEY)
    return "deleted" if deleted else "there was nothing to delete"


def get_or_set_note() -> object:
    return cache.get_or_set(NOTE_KEY, lambda: f"written at {timezone.now():%H:%M:%S}", timeout=120)


def perform(operation: str, text: str) -> object:
    match operation:
        case "get":
            return get_note()
        case "set":
            return set_note(text)
        case "add":
            return add_note(text)
        case "delete":
            return delete_note()
    return get_or_set_note()


OPERATIONS = {"GET": {"get"}, "POST": {"set", "add", "delete", "get_or_set"}}


@require_http_methods(["GET", "POST"])
def low_level(request: HttpRequest) -> HttpResponse:
    """Answer a POST directly, not by a redirect: so the toolbar shows the operation itself."""
    asked = request.POST if request.method == "POST" else request.GET
    operation = asked.get("do", "")
    if not operation:
        return render(request, "shop/low_level.html")
    if operation not in OPERATIONS[request.method or "GET"]:
        return HttpResponseBadRequest("No such operation here.")
    result = perform(operation, asked.get("text", "")[:200])
    return render(request, "shop/low_level.html", {"operation": operation, "result": result})
