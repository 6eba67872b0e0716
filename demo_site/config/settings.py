"""Settings of the demo site; nothing here is meant for production."""

from __future__ import annotations

import os
from pathlib import Path

from debug_toolbar.settings import PANELS_DEFAULTS

from config.caches import build_caches
from config.serving import SERVING

SITE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("DEMO_VAR") or SITE_DIR / "var")
VAR.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("DEMO_DEBUG", "1") != "0"
SECRET_KEY = "demo-only-key-never-use-it-for-a-real-site"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INTERNAL_IPS = ["127.0.0.1", "::1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "cache_monitor",
    "shop",
    "gallery",
]

MIDDLEWARE = [
    "cache_monitor.middleware.CacheMonitorMiddleware",
    "shop.middleware.PerSiteSectionMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if DEBUG:
    INSTALLED_APPS.append("debug_toolbar")
    # First, so that the per-site cache stores pages without the toolbar in them.
    MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context.demo_page",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "demo.sqlite3",
        # The server, the traffic and the commands share this file: waiting for a lock, taking it
        # when the transaction begins, and the write-ahead log keep them out of each other's way.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = build_caches(VAR)
# The database keeps sessions, so that a visit of the shop calls no cache but its own.
SESSION_ENGINE = os.environ.get("DEMO_SESSION_ENGINE", "django.contrib.sessions.backends.db")
SESSION_CACHE_ALIAS = "sessions"
CACHE_MIDDLEWARE_ALIAS = "site"
CACHE_MIDDLEWARE_SECONDS = 60

# Short, so that figures show soon after the first page.
# More often than a site needs, so that a visitor sees what he did.
CACHE_MONITOR = {
    "FLUSH_INTERVAL": float(os.environ.get("DEMO_FLUSH_INTERVAL", "2")),
    "INSPECT_INTERVAL": 10,
    # Ten minutes: longer than the shop keeps anything, and short enough to be seen in a demo.
    "FINDINGS": {"AGED_AFTER": float(os.environ.get("DEMO_AGED_AFTER", "600"))},
}

DEBUG_TOOLBAR_PANELS = [
    panel
    for panel in PANELS_DEFAULTS
    # It hears of the templates of other visitors' threads as well, looks at their contexts while
    # those change, and fails then: the demo has visitors all the time.
    if panel != "debug_toolbar.panels.templates.TemplatesPanel"
]
DEBUG_TOOLBAR_PANELS.insert(
    DEBUG_TOOLBAR_PANELS.index("debug_toolbar.panels.cache.CachePanel") + 1,
    "cache_monitor.panel.CacheMonitorPanel",
)
DEBUG_TOOLBAR_CONFIG: dict[str, object] = {
    "SHOW_TOOLBAR_CALLBACK": "config.toolbar.show_to_people",
    # Open, it would lie over the page.
    "SHOW_COLLAPSED": True,
}

if SERVING.has_several_processes:
    # The panel is opened by a second request, which another process may answer.
    DEBUG_TOOLBAR_CONFIG["TOOLBAR_STORE_CLASS"] = "debug_toolbar.store.DatabaseStore"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"

# A line for each request of the simulated traffic would hide all other output.
LOGGING = {
    "version": 1,
    "incremental": True,
    "loggers": {"django.server": {"level": os.environ.get("DEMO_SERVER_LOG", "WARNING")}},
}
