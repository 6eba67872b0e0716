"""A program that runs uvicorn, calls its cache meanwhile and goes on after: ``PORT``.

Prints as JSON whether the server has shut down, and how often the monitor ended with it.
"""

import asyncio
import json
import os
import sys
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.programs.seldom"

import django

django.setup()


async def serve(port: int) -> bool:
    import uvicorn
    from django.core.cache import cache

    from cache_monitor.worker.wiring import background_worker
    from tests.programs.served import asgi

    class Server(uvicorn.Server):
        async def main_loop(self) -> None:
            cache.set("during", 1)
            # As the beginning of a request does.
            background_worker.notice_fork()
            self.should_exit = True

        def handle_exit(self, sig: int, frame: Any) -> None:
            super().handle_exit(sig, frame)

    server = Server(uvicorn.Config(asgi, host="127.0.0.1", port=port, log_level="error"))
    await server.serve()
    return server.should_exit


def main() -> None:
    from cache_monitor.worker import wiring

    ends: list[int] = []
    stop = wiring.background_worker.stop

    def count() -> None:
        ends.append(1)
        stop()

    wiring.background_worker.stop = count  # type: ignore[method-assign]  # to count
    has_shut_down = asyncio.run(serve(int(sys.argv[1])))
    from django.core.cache import cache

    cache.set("after", 1)
    cache.get("after")
    wiring.background_worker.stop()
    sys.stdout.write(json.dumps({"shut down": has_shut_down, "ends": len(ends)}))


main()
