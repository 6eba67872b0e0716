"""Imports go one way: each room knows only the rooms before it."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "cache_monitor"

# The way a call takes, from the first room to the last. A room may import those above its own
# line, and what stands on its own line.
ROOMS = [
    {"calls", "concurrency", "conf", "errors", "key_patterns", "keys", "models"}
    | {"stats", "trace"},
    {"context", "stores", "scan"},
    {"instrument", "page_cache", "stacks"},
    {"backends", "listeners", "worker"},
    {"what_if"},
    {"reports"},
    {"findings"},
    {"api", "checks", "predictor", "testing"},
    {"exporters", "pytest_plugin"},
    {"dashboard", "panel", "middleware"},
    {"endpoints", "management"},
    {"admin", "apps", "urls"},
]
PURE = {
    "calls",
    "concurrency",
    "context",
    "errors",
    "key_patterns",
    "stats",
}
"""Rooms and modules that work without Django."""


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    return list(_parsed())


def _parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if "migrations" not in name and name != "__init__":
            yield name, ast.parse(path.read_text())


def _imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _rooms_imported(module: ast.Module) -> set[str]:
    names = (name.split(".") for name in _imports(module) if name.startswith("cache_monitor."))
    return {parts[1] for parts in names}


def _place(room: str) -> int:
    """What has none comes after all others: nothing may import it."""
    return next((place for place, rooms in enumerate(ROOMS) if room in rooms), len(ROOMS))


def test_every_room_has_its_place() -> None:
    found = {name.split(".")[0] for name, _ in _modules()}
    assert found == set().union(*ROOMS)


def test_a_module_imports_only_from_the_rooms_before_it() -> None:
    wrong = [
        f"{name} imports {room}"
        for name, module in _modules()
        for room in _rooms_imported(module)
        if _place(room) > _place(name.split(".", maxsplit=1)[0])
    ]
    assert wrong == []


READERS = {"what_if", "reports", "findings", "predictor", "checks", "testing"}
READERS |= {"dashboard", "management", "panel"}


def test_who_reads_the_store_imports_nothing_of_the_worker_that_fills_it() -> None:
    readers = [(name, module) for name, module in _modules() if name.split(".")[0] in READERS]
    assert [name for name, module in readers if "worker" in _rooms_imported(module)] == []


FACES = {"admin", "dashboard", "endpoints", "exporters", "management", "middleware"}
FACES |= {"panel.__init__", "panel.present"}
"""Rooms, and of the panel what shows the request that the rest of it makes figures of."""


def test_no_face_adds_up_or_averages_figures() -> None:
    """A figure is computed once, for all of them: in the report, or in what keeps it."""
    assert [
        f"{name}:{node.lineno}"
        for name, module in _modules()
        if {name, name.split(".")[0]} & FACES
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"sum", "mean", "median", "statistics.mean", "math.fsum"}
    ] == []


def test_nothing_imports_the_package_root() -> None:
    rooms = set().union(*ROOMS)
    wrong = [
        f"{name} imports {alias.name} from the root"
        for name, module in _modules()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module == "cache_monitor"
        for alias in node.names
        if alias.name not in rooms
    ]
    assert wrong == []


def test_the_statistics_and_the_hot_path_know_nothing_of_django() -> None:
    wrong = [
        f"{name} imports {each}"
        for name, module in _modules()
        if name in PURE or name.split(".")[0] in PURE
        for each in _imports(module)
        if each.split(".")[0] == "django"
    ]
    assert wrong == []


def test_rooms_of_one_line_do_not_import_each_other_in_a_circle() -> None:
    edges = {
        (name.split(".")[0], room)
        for name, module in _modules()
        for room in _rooms_imported(module)
    }
    assert not [(a, b) for a, b in edges if a < b and (b, a) in edges]


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = dict(_modules())
    edges = {
        name.removesuffix(".__init__"): {
            each.removeprefix("cache_monitor.")
            for each in _imports(module)
            if each.removeprefix("cache_monitor.") in modules
        }
        for name, module in modules.items()
    }
    TopologicalSorter(edges).prepare()  # raises CycleError, which names the circle


OPTIONAL = {"debug_toolbar", "redis", "django_redis", "prometheus_client", "opentelemetry", "rich"}
DEAR = {"multiprocessing.util", "pytest"} | {
    f"cache_monitor.{name}" for name in ("api", "dashboard.views", "what_if", "reports.build")
}
LIFE_OF_A_PROCESS = """
import sys
import django
from django.conf import settings

apps = ["admin", "auth", "contenttypes", "sessions", "messages"]
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{name}" for name in apps), "cache_monitor"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()
started = set(sys.modules)

from django.core.cache import cache
from cache_monitor.worker.wiring import background_worker

cache.set_many({"a": 1, "b": 2})
cache.get_many(["a", "b", "c"])
cache.get_or_set("d", lambda: cache.get("e"))
background_worker.stop()
print(*started)
print(*set(sys.modules) - started)
"""


def test_modules_are_imported_at_the_start_or_with_what_needs_them(tmp_path: Path) -> None:
    """What few processes need is not imported at each start, and what all of them do is: a call
    would wait for it; in a thread, and at the end, other threads may fork and locks be held."""
    command = [sys.executable, "-c", LIFE_OF_A_PROCESS, str(tmp_path / "site.sqlite3")]
    told = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout
    started, later = (set(line.split()) for line in told.splitlines())
    assert (OPTIONAL | DEAR) & started == set()
    assert "cache_monitor.worker.wiring" in started
    assert {name for name in later if name.startswith(("cache_monitor", "django"))} == set()


ONE_NAME_TWICE = {"Command", "Meta", "Window"}
"""What Django calls so in every module, and a model beside the statistics that its rows hold."""


def test_no_name_of_a_class_has_two_meanings() -> None:
    names = Counter(
        node.name
        for _, module in _modules()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in names.items() if times > 1} == ONE_NAME_TWICE
