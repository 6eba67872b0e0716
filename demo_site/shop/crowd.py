"""Several visitors at once: how their visits are sent."""

from __future__ import annotations

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from queue import Queue
from threading import Lock
from time import monotonic, sleep
from urllib.parse import urlencode, urlsplit

from config.toolbar import TRAFFIC_USER_AGENT

from shop.traffic import Visit
from shop.views.basket import COOKIE

REQUEST_TIMEOUT = 15.0
PAGES_A_VISITOR = 12
# Django accepts any token that the cookie and the header agree on.
CSRF_TOKEN = "trafficvisitor" + "0" * 18


@dataclass
class Tally:
    """What was sent, and what came of it."""

    pages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    @property
    def requests(self) -> int:
        return self.pages.total()

    @property
    def failures(self) -> int:
        return self.errors.total()

    def add(self, visit: Visit, error: str | None) -> None:
        with self.lock:
            self.pages[visit.page] += 1
            if error:
                self.errors[f"{visit.page}: {error}"] += 1


class Browser:
    """One visitor's connection and basket. After some pages he leaves, and another comes: a new
    connection, which another process of the site may take."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self.connection = kind(parts.netloc, timeout=REQUEST_TIMEOUT)
        self.prefix = parts.path.rstrip("/")
        self.basket = ""
        self.pages = 0

    def wait_until_served(self, seconds: float) -> bool:
        deadline = monotonic() + seconds
        while self.send(Visit("home", "/")):
            if monotonic() >= deadline:
                return False
            sleep(0.2)
        return True

    def send(self, visit: Visit) -> str | None:
        """Tell what went wrong, or None."""
        self.pages += 1
        if self.pages > PAGES_A_VISITOR:
            self.close()
        try:
            return self.exchange(visit)
        except (ConnectionResetError, BrokenPipeError):
            # The server may close an idle connection at any time: that is no error yet.
            self.connection.close()
        except (OSError, http.client.HTTPException) as error:
            return self.fail(error)
        try:
            return self.exchange(visit)
        except (OSError, http.client.HTTPException) as error:
            return self.fail(error)

    def fail(self, error: Exception) -> str:
        self.connection.close()
        return type(error).__name__

    def exchange(self, visit: Visit) -> str | None:
        cookies = {"csrftoken": CSRF_TOKEN, COOKIE: self.basket}
        headers = {
            "User-Agent": TRAFFIC_USER_AGENT,
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items() if value),
        }
        path = self.prefix + visit.path
        if visit.form is None:
            self.connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["X-CSRFToken"] = CSRF_TOKEN
            self.connection.request("POST", path, urlencode(visit.form), headers)
        response = self.connection.getresponse()
        response.read()
        self.keep_basket(response)
        return None if response.status < 400 else f"status {response.status}"

    def keep_basket(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie", []):
            cookie = SimpleCookie(header).get(COOKIE)
            if cookie is not None:
                self.basket = cookie.value

    def close(self) -> None:
        self.connection.close()
        self.basket = ""
        self.pages = 0


class Crowd:
    """Browsers that send at the same time, and the tally of all."""

    def __init__(self, base_url: str, size: int) -> None:
        self.tally = Tally()
        self.browsers = [Browser(base_url) for _ in range(size)]
        self.idle: Queue[Browser] = Queue()
        for browser in self.browsers:
            self.idle.put(browser)
        self.threads = ThreadPoolExecutor(size)

    def wait_until_served(self, seconds: float) -> bool:
        return self.browsers[0].wait_until_served(seconds)

    def send(self, visit: Visit) -> None:
        """Let somebody send it; wait while all are busy, so that a slow site is not run over."""
        self.threads.submit(self.send_with, self.idle.get(), visit)

    def send_with(self, browser: Browser, visit: Visit) -> None:
        try:
            self.tally.add(visit, browser.send(visit))
        finally:
            self.idle.put(browser)

    def close(self) -> None:
        """Wait for what is under way."""
        self.threads.shutdown()
        for browser in self.browsers:
            browser.close()
