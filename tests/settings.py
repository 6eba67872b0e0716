"""Settings of the test suite: every cache that needs no server, and a database in a file, because
the store writes to it from a thread of its own."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def _make_var() -> Path:
    """A directory that goes with this process; not with children that it forks."""
    var, owner = tempfile.mkdtemp(prefix="cache-monitor-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(var, ignore_errors=True)

    atexit.register(remove)
    return Path(var)


_GIVEN = os.environ.get("CACHE_MONITOR_TEST_VAR")
_VAR = Path(_GIVEN) if _GIVEN else _make_var()

SECRET_KEY = "only for the tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
# Slow on purpose are those that keep a real site's passwords.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "cache_monitor",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _VAR / "site.sqlite3",
        # Nobody pulls the plug: no commit waits for the disk.
        "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous = OFF"},
        "TEST": {"NAME": _VAR / "test.sqlite3"},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(_VAR / "files"),
    },
    "database": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache_table",
    },
    "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
