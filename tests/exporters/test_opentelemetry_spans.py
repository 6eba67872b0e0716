"""Spans of cache calls, as a receiver of OTLP gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer, get_tracer

from cache_monitor import context
from cache_monitor.exporters import opentelemetry
from cache_monitor.worker.requests import RequestStats
from tests.exporters.receiver import Received, run_receiver

TRACERS: list[Tracer] = []


def traced(request: HttpRequest) -> HttpResponse:
    with TRACERS[-1].start_as_current_span("page"):
        cache.set("user:17", "a")
        cache.get_many(["user:17", "user:18"])
        for operation, key in ((cache.incr, "user:17"), (cache.decr, "absent")):
            with pytest.raises((TypeError, ValueError)):
                operation(key)
    return HttpResponse("done")


async def traced_async(request: HttpRequest) -> HttpResponse:
    with TRACERS[-1].start_as_current_span("page"):
        await asyncio.gather(cache.aget("user:1"), cache.aget("user:2"))
    return HttpResponse("done")


def untraced(request: HttpRequest) -> HttpResponse:
    cache.get("user:17")
    return HttpResponse("done")


urlpatterns = [
    path("traced", traced),
    path("traced-async", traced_async),
    path("untraced", untraced),
]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with run_receiver() as received:
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"{received.url}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        # A process's provider can be set only once.
        monkeypatch.setattr(opentelemetry, "get_tracer", provider.get_tracer)
        TRACERS.append(provider.get_tracer("test"))
        middleware = ["cache_monitor.exporters.opentelemetry.CacheSpansMiddleware"]
        with override_settings(MIDDLEWARE=middleware):
            yield received
        TRACERS.pop()
        provider.shutdown()
        cache.clear()


def test_each_call_of_a_traced_request_is_a_span_inside_it(received: Received) -> None:
    assert Client().get("/traced").status_code == 200
    page = next(each for each in received.spans if each.name == "page")
    calls = [each for each in received.spans if each.name != "page"]
    assert [each.name for each in calls] == [
        "set default",
        "get_many default",
        "incr default",
        "decr default",
    ]
    for call in calls:
        assert call.parent_span_id == page.span_id
        assert page.start_time_unix_nano <= call.end_time_unix_nano <= page.end_time_unix_nano
        assert call.start_time_unix_nano < call.end_time_unix_nano


def test_a_span_tells_hits_misses_groups_and_errors(received: Received) -> None:
    Client().get("/traced")
    _, many, incr, decr, _ = received.spans
    told = {each.key: each.value for each in many.attributes}
    assert told["django.cache.alias"].string_value == "default"
    assert told["django.cache.hits"].int_value == 1
    assert told["django.cache.misses"].int_value == 1
    groups = told["django.cache.key_groups"].array_value.values
    assert [each.string_value for each in groups] == ["user:{int}"]
    assert {each.key: each.value.string_value for each in incr.attributes}[
        "error.type"
    ] == "TypeError"
    assert (incr.status.code, decr.status.code) == (2, 0)
    assert "error.type" not in {each.key for each in decr.attributes}


def test_calls_of_an_async_view_are_spans_inside_it(received: Received) -> None:
    async def visit() -> int:
        return (await AsyncClient().get("/traced-async")).status_code

    assert asyncio.run(visit()) == 200
    page = next(each for each in received.spans if each.name == "page")
    calls = [each for each in received.spans if each.name == "get default"]
    assert [each.parent_span_id for each in calls] == [page.span_id] * 2


def test_a_request_that_nobody_traces_has_no_spans(received: Received) -> None:
    assert Client().get("/untraced").status_code == 200
    assert received.spans == []


def test_calls_after_the_request_are_not_its_own(received: Received) -> None:
    Client().get("/untraced")
    with TRACERS[-1].start_as_current_span("later"):
        cache.get("user:17")
    assert [each.name for each in received.spans] == ["later"]


def test_calls_that_become_spans_go_the_quick_way() -> None:
    """Beside the calls of a view, too: the way of a call must not be a longer one for it."""
    before = context.current()
    tracer = get_tracer("quick")
    listeners: list[context.Listener] = [opentelemetry.CallSpans(tracer), RequestStats()]
    for number, listener in enumerate(listeners):
        context.start_listening(listener)
        around = context.current()
        assert around is not None
        assert around.only is not None
        assert len(around.listeners) == number + 1
    for listener in listeners:
        context.stop_listening(listener)
    assert context.current() == before
