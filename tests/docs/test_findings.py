"""The recipes of the page on findings do what they say."""

import json
import logging.config
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import django
import pytest
from django.core import mail
from django.test import override_settings

from cache_monitor.findings import finding_detected
from cache_monitor.findings.engine import notify
from tests.docs.pages import executed, marked
from tests.findings.test_history import finding

MAILS = "django.core.mail.backends.locmem.EmailBackend"
IN_MEMORY: dict[str, Any] = (
    {"MAILERS": {"default": {"BACKEND": MAILS}}, "ADMINS": ["ann@example.org"]}
    if django.VERSION >= (6, 1)
    else {
        "EMAIL_BACKEND": MAILS,
        "ADMINS": ["ann@example.org"] if django.VERSION >= (6, 0) else [("Ann", "ann@example.org")],
    }
)


@pytest.fixture
def quiet_log() -> Iterator[None]:
    yield
    logger = logging.getLogger("cache_monitor.findings")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


def test_the_recipe_for_mail_sends_a_mail(quiet_log: None, outbox: list[Any]) -> None:
    names = _executed("mail")
    with override_settings(DEBUG=False, **IN_MEMORY):
        logging.config.dictConfig(names["LOGGING"])
        notify([finding()])
    [sent] = outbox
    assert "no-expiry (default, user:{int})" in sent.subject


def test_the_recipe_for_a_chat_posts_a_message(chat: "Chat") -> None:
    names = _executed("chat")
    with override_settings(CHAT_WEBHOOK=chat.url):
        names["ShopConfig"].ready(None)
        try:
            notify([finding()])
        finally:
            assert finding_detected.disconnect(names["tell_the_chat"])
    [message] = chat.messages
    assert message == {"text": "no-expiry on default, user:{int}: Write less."}


class Chat:
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                messages.append(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keep the tests' output clean."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def outbox() -> list[Any]:
    mail.outbox = []
    return mail.outbox


def _executed(name: str) -> dict[str, Any]:
    [code] = marked(name, "python")
    return executed(code, "shop.apps")
