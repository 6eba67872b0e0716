"""Who made a call, told from its stack."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

import asgiref
import django
import pytest
from django.core.cache import cache as cache_module

from cache_monitor.stacks import TEMPLATE, PackedStacks, StackRenderer, place_of
from tests.stacks.test_capture import packed_rows, stacks_of

DJANGO = str(Path(django.__file__).parent)
OURS = str(Path(sys.modules["cache_monitor"].__file__ or "").parent)
STDLIB = sysconfig.get_path("stdlib")
PROJECT = "/srv/project/shop/views.py"
HANDLER = [f"{DJANGO}/core/handlers/exception.py", 55, "inner"]
ASGIREF = str(Path(asgiref.__file__ or "").parent)
MIDDLEWARE = [f"{DJANGO}/contrib/sessions/middleware.py", 20, "SessionMiddleware.process_request"]
OUTER = ["/srv/project/shop/middleware.py", 9, "Outer.__call__"]
TOOLBAR = ["/srv/lib/debug_toolbar/middleware.py", 140, "__call__"]


def packed(*rows: list[Any]) -> PackedStacks:
    """A stack of these frames, the innermost first; its number is the last."""
    nodes: list[list[Any]] = []
    for frame in range(len(rows) - 1, -1, -1):
        nodes.append([len(nodes) - 1 if nodes else None, frame])
    return {"frames": list(rows), "nodes": nodes}


def traces(*rows: list[Any], hidden: tuple[str, ...] = ()) -> tuple[StackRenderer, int]:
    return StackRenderer(packed(*rows), hidden), len(rows) - 1


def caller(*rows: list[Any], hidden: tuple[str, ...] = ()) -> str | None:
    told, number = traces(*rows, hidden=hidden)
    place = told.caller(number)
    return None if place is None else place.where


def test_the_caller_is_the_first_line_of_the_project() -> None:
    assert (
        caller(
            [f"{OURS}/backends/operations.py", 1, "succeeded"],
            [f"{DJANGO}/core/cache/backends/base.py", 1, "get_many"],
            [f"{DJANGO}/contrib/sessions/backends/cache.py", 30, "load"],
            [PROJECT, 17, "product"],
            OUTER,
        )
        == f"{PROJECT}:17"
    )


def test_a_template_comes_before_the_view_that_renders_it() -> None:
    assert (
        caller(
            [f"{DJANGO}/templatetags/cache.py", 50, "CacheNode.render"],
            ["/srv/project/templates/shop/box.html", 4, "shop/box.html", TEMPLATE],
            [f"{DJANGO}/template/base.py", 900, "Node.render_annotated"],
            [PROJECT, 17, "product"],
        )
        == "shop/box.html:4"
    )


def test_code_that_a_template_calls_comes_before_the_template() -> None:
    assert (
        caller(
            ["/srv/project/shop/models.py", 40, "Product.rating"],
            ["/srv/project/templates/shop/box.html", 4, "shop/box.html", TEMPLATE],
        )
        == "/srv/project/shop/models.py:40"
    )


def test_what_a_middleware_calls_by_itself_is_not_put_down_to_the_projects_further_out() -> None:
    told = caller(
        [f"{DJANGO}/contrib/sessions/backends/cache.py", 30, "load"], MIDDLEWARE, HANDLER, OUTER
    )
    assert told == "django/contrib/sessions/backends/cache.py:30"


def test_nor_is_what_a_decorator_calls_in_a_thread_of_asgirefs() -> None:
    told = caller(
        [f"{DJANGO}/utils/cache.py", 403, "get_cache_key"],
        [f"{ASGIREF}/sync.py", 493, "thread_handler"],
        OUTER,
    )
    assert told == "django/utils/cache.py:403"


@pytest.mark.parametrize(
    "file",
    [
        f"{STDLIB}/threading.py",
        f"{DJANGO}/http/request.py",
        "/srv/project/.venv/lib/python3.13/site-packages/somebody/cache.py",
        "/usr/lib/python3/dist-packages/somebody/cache.py",
        f"{OURS}/panel.py",
        "<frozen importlib._bootstrap>",
        "<string>",
    ],
)
def test_what_is_installed_is_not_the_projects(file: str) -> None:
    assert not place_of([file, 1, "f"]).is_project


def test_the_trace_leaves_out_the_machinery_and_ends_where_the_toolbar_begins() -> None:
    told, number = traces(
        [f"{OURS}/capture.py", 1, "heard"],
        [f"{DJANGO}/core/cache/backends/base.py", 1, "get_many"],
        [PROJECT, 17, "product"],
        [f"{DJANGO}/utils/decorators.py", 48, "_view_wrapper"],
        [f"{DJANGO}/contrib/auth/decorators.py", 59, "_view_wrapper"],
        OUTER,
        hidden=("django.utils.decorators",),
    )
    assert [place.where for place in told.trace(number)] == [
        f"{PROJECT}:17",
        "django/contrib/auth/decorators.py:59",
        f"{OUTER[0]}:9",
    ]


def test_nothing_outside_of_the_toolbar_is_in_the_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/srv/lib"])
    told, number = traces([PROJECT, 17, "product"], TOOLBAR, ["/srv/project/server.py", 3, "serve"])
    assert [place.where for place in told.trace(number)] == [f"{PROJECT}:17"]


def test_a_path_is_told_from_where_it_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/srv", "/srv/other-project", ""])
    assert place_of(["/srv/other-project/app/views.py", 3, "f"]).where == "app/views.py:3"


def test_a_real_call_is_put_down_to_its_line_with_its_source() -> None:
    def work() -> None:
        cache_module.get("a")  # the line in question

    [stack] = stacks_of(work)
    [rows] = packed_rows(stack)
    told, number = traces(*rows)
    place = told.caller(number)
    assert place is not None
    assert place.is_project
    assert place.source == 'cache_module.get("a")  # the line in question'
    assert place.function.endswith("work")


def test_a_source_that_is_not_there_is_empty_and_a_long_one_is_cut(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 1" + "1" * 500)
    assert place_of(["/nowhere/at/all.py", 3, "f"]).source == ""
    assert place_of(["<string>", 1, "f"]).source == ""
    assert len(place_of([str(tmp_path / "long.py"), 1, "f"]).source) == 161


def test_a_source_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "changing.py"
    file.write_text("before = 1\n")
    assert place_of([str(file), 1, "f"]).source == "before = 1"
    file.write_text("after_that = 2\n")
    traces([str(file), 1, "f"])
    assert place_of([str(file), 1, "f"]).source == "after_that = 2"


def test_without_a_stack_nobody_is_named() -> None:
    told, _ = traces([PROJECT, 17, "product"])
    assert told.caller(None) is None
    assert told.trace(None) == []
