"""``manage.py cache_token``: a new token for a program that reads the exports."""

from typing import Any

from cache_monitor.endpoints import digest, make_token
from cache_monitor.management import MonitorCommand


class Command(MonitorCommand):
    help = "Make a token with which a program may read the cache monitor's exports."

    def handle(self, *args: Any, **options: Any) -> None:
        token = make_token()
        self.stdout.write(f"token for the program, shown only now: {token}")
        self.stdout.write(f'for CACHE_MONITOR["EXPORT_TOKENS"]: "{digest(token)}"')
