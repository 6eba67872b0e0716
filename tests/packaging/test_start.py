"""The README's start, taken literally: every command and every line of it, in an empty place."""

from __future__ import annotations

import re

from tests.packaging.sites import Site, Visitor
from tests.packaging.start import commands


def test_the_steps_are_those_that_are_taken_here() -> None:
    assert [command[:-1] for command in commands()] == [
        ["python", "-m", "pip", "install"],
        *[["python", "manage.py"]] * 3,
    ]


def test_the_site_has_no_problem(started_site: Site) -> None:
    assert "no issues" in started_site.manage("check")


def test_its_calls_are_in_the_dashboard_and_in_the_terminal(started_site: Site) -> None:
    assert [Visitor(started_site.url).get("/").text for _ in range(2)] == ["a page"] * 2
    [dashboard] = _links(started_site.owner.get("/admin/").text, "Cache dashboard")
    # The site's process, which is asked for it, writes what is new to the store first.
    page = started_site.owner.get(dashboard)
    assert page.status == 200
    assert "default" in page.text
    *_, ask = commands()
    assert "page GET /" in started_site.run(*ask[1:])


def _links(text: str, label: str) -> list[str]:
    return re.findall(rf'<a href="([^"]+)"[^>]*>\s*{label}\s*</a>', text)[:1]
