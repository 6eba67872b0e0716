"""The wheel in an empty environment, with the oldest versions that are allowed and the newest.

On each Python that is supported and can be found here: a site with every extra is set up, serves a
page, and shows its calls in the terminal, the dashboard, the panel and the exports.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import jsonschema
import pytest

from tests.conftest import leave
from tests.packaging.sites import QUICK_PASSWORDS, ROOT, Site, Visitor, make_database, parse, run
from tests.services import Server, free_port

pytestmark = pytest.mark.slow

PYTHONS: Final = ("3.11", "3.13")
DEADLINE: Final = 40
SETTINGS: Final = """
INSTALLED_APPS += ["cache_monitor", "debug_toolbar"]
MIDDLEWARE = [
    "cache_monitor.middleware.CacheMonitorMiddleware",
    "cache_monitor.exporters.opentelemetry.CacheSpansMiddleware",
    "debug_toolbar.middleware.DebugToolbarMiddleware",
    *MIDDLEWARE,
]
INTERNAL_IPS = ["127.0.0.1"]
DEBUG_TOOLBAR_PANELS = ["cache_monitor.panel.CacheMonitorPanel"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS},
    "django-redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS},
}
CACHE_MONITOR = {
    "FLUSH_INTERVAL": 1,
    "EXPORTERS": ["opentelemetry", "prometheus"],
    "STORE": {
        "BACKEND": "cache_monitor.stores.redis.RedisStore",
        "OPTIONS": {"URL": REDIS, "PREFIX": "versions"},
    },
}
"""
ASK: Final = """
import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version

import django
from django.core.management import call_command
from django.urls import reverse

django.setup()


def said(*command):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        call_command(*command)
    return out.getvalue()


deadline, *names = sys.argv[1:]
ends = time.monotonic() + float(deadline)
report = {"caches": {}}
while not all(
    alias in report["caches"] and report["caches"][alias]["hits"]
    for alias in ("default", "redis", "django-redis")
):
    assert time.monotonic() < ends, f"the calls have not reached the store: {report}"
    time.sleep(0.5)
    report = json.loads(said("cache_stats", "--format", "json"))
told = {
    "versions": {name: version(name) for name in names},
    "checks": said("check"),
    "report": report,
    "schema": json.loads(said("cache_stats", "--schema")),
    "top": said("cache_top", "--once"),
    "dashboard": reverse("admin:cache_monitor_dashboard"),
}
print(json.dumps(told))
"""
"""What the site's commands say once the calls of a visit have reached the store."""
URLS: Final = """
from debug_toolbar.toolbar import debug_toolbar_urls
from django.core.cache import caches
from django.http import HttpResponse
from django.urls import include, path


def page(request):
    for alias in caches:
        caches[alias].set("known", 1)
        caches[alias].get_many(["known", "unknown"])
    return HttpResponse("<html><body>a page</body></html>")


urlpatterns += [
    path("", page),
    path("cache-monitor/", include("cache_monitor.urls")),
    *debug_toolbar_urls(),
]
"""


class Choice(NamedTuple):
    """A Python, and which versions of everything else."""

    python: str
    versions: str

    def __str__(self) -> str:
        return f"{self.python}-{self.versions}"


def _requirements() -> dict[str, str]:
    """Each dependency of the package and of its extras with its lowest version, as declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    every = [*project["dependencies"], *(each for extra in extras for each in extra)]
    found = [re.fullmatch(r"([\w-]+)>=([\w.]+)", each) for each in every]
    assert all(found), every
    return {match[1]: match[2] for match in found if match}


def _find_python(version: str) -> str | None:
    """A Python of this version that runs: one on the path may only say which versions there are."""
    known = Path.home() / ".pyenv" / "versions"
    places = [shutil.which(f"python{version}"), *map(str, known.glob(f"{version}.*/bin/python"))]
    for place in (sys.executable, *filter(None, places)):
        command = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.stdout.strip() == version:
            return place
    return None


def _install(environment: Path, python: str, wheel: Path, versions: str) -> Path:
    """A new environment with the wheel and all its extras; returns its Python."""
    run([python, "-m", "venv", "--without-pip", str(environment)], environment.parent)
    constraints = environment.parent / "constraints.txt"
    lowest = [f"{name}=={version}\n" for name, version in _requirements().items()]
    constraints.write_text("".join(lowest) if versions == "lowest" else "")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = f"{wheel}[{','.join(extras['optional-dependencies'])}]"
    made = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "--no-compile"]
    run([*pip, "--constraint", str(constraints), wanted], environment.parent)
    return made


@pytest.fixture(
    scope="module",
    params=[Choice(python, versions) for python in PYTHONS for versions in ("lowest", "newest")],
    ids=str,
)
def choice(request: pytest.FixtureRequest) -> Choice:
    made: Choice = request.param
    return made


@pytest.fixture(scope="module")
def site(
    choice: Choice, tmp_path_factory: pytest.TempPathFactory, wheel: Path, redis_server: Server
) -> Iterator[Site]:
    interpreter = _find_python(choice.python)
    if interpreter is None:
        leave(f"there is no Python {choice.python} here")
    directory = tmp_path_factory.mktemp(f"versions-{choice}")
    python = _install(directory / "environment", interpreter, wheel, choice.versions)
    project = directory / "project-of-somebody"
    project.mkdir()
    run([str(python), "-m", "django", "startproject", "project", "."], project)
    with (project / "project" / "settings.py").open("a") as settings:
        settings.write(f'\nREDIS = "{redis_server.url}/6"\n{SETTINGS}{QUICK_PASSWORDS}')
    with (project / "project" / "urls.py").open("a") as urls:
        urls.write(URLS)
    site = Site(project, python, free_port())
    make_database(site)
    with site.served():
        yield site


@pytest.fixture(scope="module")
def told(site: Site) -> Any:
    """What the commands say after a visit."""
    assert Visitor(site.url).get("/").status == 200
    return json.loads(site.run("-c", ASK, str(DEADLINE), *_requirements()))


def test_the_environment_has_the_versions_that_were_asked_for(told: Any, choice: Choice) -> None:
    names = told["versions"]
    lowest = {
        name: version for name, version in _requirements().items() if _same(version, names[name])
    }
    assert (lowest == _requirements()) == (choice.versions == "lowest"), names


def _same(declared: str, installed: str) -> bool:
    """Whether they are one version: 5.2 is 5.2.0."""
    return (installed + ".0.0").startswith(declared + ".0"[: 2 * (declared.count(".") < 2)])


def test_the_checks_have_nothing_to_say(told: Any) -> None:
    assert "cache_monitor" not in told["checks"]


def test_the_export_is_valid(told: Any) -> None:
    jsonschema.validate(told["report"], told["schema"])
    assert {alias: each["lookups"] > 0 for alias, each in told["report"]["caches"].items()} == {
        "default": True,
        "django-redis": True,
        "redis": True,
    }


def test_the_dashboard_shows_the_calls(site: Site, told: Any) -> None:
    page = site.owner.get(told["dashboard"])
    assert page.status == 200
    assert "django-redis" in page.text
    loaded = parse(page).loaded
    assert {url: site.owner.get(url).status for url in loaded} == dict.fromkeys(loaded, 200)


def test_the_panel_shows_the_calls(site: Site) -> None:
    found = re.search(r'data-(?:request|store)-id="([^"]+)"', Visitor(site.url).get("/").text)
    assert found is not None
    address = f"/__debug__/render_panel/?request_id={found[1]}&panel_id=CacheMonitorPanel"
    assert "unknown" in json.loads(Visitor(site.url).get(address).body)["content"]


def test_prometheus_and_the_terminal_have_the_figures(site: Site, told: Any) -> None:
    metrics = site.owner.get("/cache-monitor/metrics").text
    assert 'cache_monitor_lookups_total{alias="redis"' in metrics
    assert "django-redis" in told["top"]
