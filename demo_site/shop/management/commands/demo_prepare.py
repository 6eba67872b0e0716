"""All that the demo needs before it is served."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Make the tables, the shop and the login: in one process, which starts once."

    def handle(self, *_args: Any, **_options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        for command in ("demo_seed", "demo_admin"):
            call_command(command, stdout=self.stdout)
