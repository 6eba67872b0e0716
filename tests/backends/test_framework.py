"""What Django itself does with caches is recorded as what it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends import cache as cache_sessions
from django.contrib.sessions.backends import cached_db
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from django.views.decorators.cache import cache_page

from cache_monitor.api import report
from cache_monitor.exporters.json import encode
from tests.backends.conftest import Heard
from tests.backends.contract import IN_DATABASE

LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "framework"}


@pytest.fixture(autouse=True)
def _local() -> Iterator[None]:
    with override_settings(CACHES={"default": LOCAL}):
        yield
        caches["default"].clear()


def _operations(heard: Heard) -> list[tuple[str, object]]:
    return [(operation, outcome) for operation, _, outcome in heard.summary()]


@cache_page(60)
def page(request: Any) -> HttpResponse:
    return HttpResponse("page")


def test_cache_page_looks_up_and_stores_page_and_headers(heard: Heard) -> None:
    request = RequestFactory().get("/page/")
    page(request)
    page(RequestFactory().get("/page/"))
    assert _operations(heard) == [
        ("get", False),
        ("set", None),
        ("set", None),
        ("get", True),
        ("get", True),
    ]
    assert all(str(call.key).startswith("views.decorators.cache.cache_") for call in heard)


def test_the_middleware_of_a_whole_site_is_recorded(heard: Heard) -> None:
    def answer(request: Any) -> HttpResponse:
        return HttpResponse("page")

    site = UpdateCacheMiddleware(FetchFromCacheMiddleware(answer))
    for _ in range(2):
        response: Any = site(RequestFactory().get("/site/"))
        assert response.content == b"page"
    assert _operations(heard) == [
        ("get", False),
        ("set", None),
        ("set", None),
        ("get", True),
        ("get", True),
    ]


def test_a_template_fragment_is_recorded(heard: Heard) -> None:
    template = Template("{% load cache %}{% cache 60 side 5 %}side{% endcache %}")
    assert template.render(Context()) == template.render(Context()) == "side"
    assert _operations(heard) == [("get", False), ("set", None), ("get", True)]
    assert all(str(call.key).startswith("template.cache.side.") for call in heard)


@IN_DATABASE
@pytest.mark.parametrize("backend", [cache_sessions, cached_db])
def test_a_session_is_recorded_and_its_key_shown_to_nobody(backend: Any, heard: Heard) -> None:
    session = backend.SessionStore()
    session["a"] = 1
    session.save()
    again = backend.SessionStore(session.session_key)
    assert again["a"] == 1
    operations = [call.source.operation for call in heard]
    assert operations[-1] == "get"
    assert heard[-1].outcome is True
    assert {"add", "set"} & set(operations)
    from cache_monitor import context

    context.stop_listening(heard)
    shown = encode(report()).decode()
    assert session.session_key not in shown
    assert "session" in {
        group["group"] for group in json.loads(shown)["caches"]["default"]["key_groups"]
    }


@IN_DATABASE
def test_the_statements_of_a_database_cache_are_those_of_the_bare_one() -> None:
    path = "django.core.cache.backends.db.DatabaseCache"
    with override_settings(CACHES={"default": {"BACKEND": path, "LOCATION": "framework"}}):
        call_command("createcachetable", verbosity=0)
        assert _statements(caches["default"]) == _statements(import_string(path)("framework", {}))


def _statements(cache: Any) -> list[str]:
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        cache.set("a", 1)
        cache.get("a")
        cache.get("no")
        cache.get_many(["a", "no"])
        cache.get_or_set("b", 1)
        cache.incr("a")
        cache.has_key("a")
        cache.touch("a")
        cache.delete_many(["a"])
    return [query["sql"].split()[0] for query in queries]
