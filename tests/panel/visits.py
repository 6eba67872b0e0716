"""Requests to the site under the toolbar, and what the panel tells of them afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final, Protocol

from django.test import AsyncClient, Client

PANEL: Final = "CacheMonitorPanel"


@dataclass(frozen=True)
class Visit:
    """A request that was answered."""

    response: Any

    @property
    def request_id(self) -> str:
        return str(self.response.headers["djdt-request-id"])

    @property
    def panel(self) -> Any:
        """The panel as the toolbar makes it from its store, without the request."""
        from debug_toolbar.toolbar import DebugToolbar

        toolbar = DebugToolbar.fetch(self.request_id, PANEL)
        assert toolbar is not None
        return toolbar.get_panel_by_id(PANEL)

    @property
    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.panel.get_stats()
        return stats

    @property
    def calls(self) -> list[tuple[str, str, list[tuple[str, bool | None]]]]:
        """Alias, operation, and each key with its outcome."""
        return [
            (
                call["alias"],
                call["operation"],
                [(key["key"], key["hit"]) for key in call["keys"]],
            )
            for call in self.stats["calls"]
        ]

    @property
    def keys(self) -> list[str]:
        return [key for _, _, keys in self.calls for key, _ in keys]

    def html(self) -> str:
        """The panel's content, fetched as the toolbar's script does."""
        query = {"request_id": self.request_id, "panel_id": PANEL}
        answer = Client().get("/__debug__/render_panel/", query).json()
        return str(answer["content"])

    @property
    def totals(self) -> dict[str, str]:
        """The figures of the header by their names."""
        [header] = re.findall(r'<dl class="cm-totals">(.*?)</dl>', self.html(), re.DOTALL)
        found = {}
        for part in re.findall(r"<dt>(.*?)(?=<dt>|$)", header, re.DOTALL):
            name, rest = part.split("</dt>", 1)
            found[name] = " ".join(re.sub(r"<[^>]*>", " ", rest).split())
        return found

    def rows(self, table: str) -> list[list[str]]:
        """The texts of the cells of the table of that class, header row first."""
        reader = _TableReader(table)
        reader.feed(self.html())
        return [[" ".join(cell.split()) for cell in row] for row in reader.rows]


class VisitDoing(Protocol):
    """The fixture ``visit_doing``; the toolbar's own cache panel takes long over many calls."""

    def __call__(self, work: Callable[[], Any], *, without_toolbars_own: bool = False) -> Visit: ...


def visit(client: Client, path: str) -> Visit:
    return Visit(client.get(path))


async def visit_async(client: AsyncClient, path: str) -> Visit:
    return Visit(await client.get(path))


class _TableReader(HTMLParser):
    def __init__(self, table: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._table = table
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._is_inside = self._table in (dict(attrs).get("class") or "").split()
        elif self._is_inside and tag == "tr":
            self.rows.append([])
        elif self._is_inside and tag in {"td", "th"}:
            self.rows[-1].append("")
        elif self._is_inside and tag in {"span", "li"}:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data
