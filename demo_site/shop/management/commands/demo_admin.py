"""A login for the demo's admin."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

NAME = "admin"
PASSWORD = "admin"


class Command(BaseCommand):
    help = "Make the superuser admin with the password admin; refused unless DEBUG is on."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("A login that everybody knows is only made while DEBUG is on.")
        user, _ = User.objects.get_or_create(username=NAME)
        user.is_staff = user.is_superuser = True
        user.set_password(PASSWORD)
        user.save()
        self.stdout.write(f"Log in at /admin/ as {NAME} with the password {PASSWORD}.")
