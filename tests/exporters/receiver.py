"""A receiver of OTLP over HTTP, in this process."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.services import LOOPBACK


@dataclass
class Received:
    """What was sent so far, and to where."""

    url: str
    metrics: list[Any] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        """Take note of a request."""
        if path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics += [each for scope in resource.scope_metrics for each in scope.metrics]
        else:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [each for scope in resource.scope_spans for each in scope.spans]

    def points(self, name: str) -> dict[tuple[str, ...], Any]:
        """The points of the metric ``name`` when it was last sent, by the values of their
        attributes in the alphabetical order of these."""
        newest = next(each for each in reversed(self.metrics) if each.name == name)
        data = getattr(newest, newest.WhichOneof("data"))
        return {
            tuple(each.value.string_value for each in sorted(point.attributes, key=_key)): point
            for point in data.data_points
        }


def _key(attribute: Any) -> str:
    return str(attribute.key)


@contextmanager
def run_receiver() -> Iterator[Received]:
    """Listens until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    received = Received(f"http://{LOOPBACK}:{server.server_port}")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
