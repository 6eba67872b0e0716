from collections.abc import Iterator

import pytest

from cache_monitor import context
from cache_monitor.calls import Call, RawCall
from tests.backends.sentinel import run_sentinel
from tests.conftest import find_or_leave
from tests.services import REDIS, Server


class Heard(list[Call]):
    """The calls recorded, as they were made."""

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        self.append(Call(*call))

    def summary(self) -> list[tuple[str, object, object]]:
        """Operation, key and outcome of each call."""
        return [(call.source.operation, call.key, call.outcome) for call in self]


@pytest.fixture
def heard() -> Iterator[Heard]:
    listener = Heard()
    context.start_listening(listener)
    yield listener
    context.stop_listening(listener)


@pytest.fixture(scope="session")
def sentinel_server(redis_server: Server, pytestconfig: pytest.Config) -> Iterator[Server]:
    """A sentinel that watches the Redis server of this test run."""
    with run_sentinel(find_or_leave(REDIS, pytestconfig), redis_server) as server:
        yield server
