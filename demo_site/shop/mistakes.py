"""The mistakes that the monitor finds by itself, as stops of the tour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse
from gallery.faults import FAULTS, Fault

from shop.pages import PAGES
from shop.tour import PANEL, Effect, findings_of, keys_of, memory_of


@dataclass(frozen=True)
class Mistake:
    """A mistake: the code of its finding, and the page that makes it."""

    code: str
    title: str
    sentence: str
    url: str
    effects: tuple[Effect, ...]

    @property
    def panel_url(self) -> str:
        return self.url + PANEL


def mistakes() -> Iterator[Mistake]:
    """Every page of the gallery, and the one mistake that takes several processes."""
    for fault in FAULTS.values():
        yield _of_the_gallery(fault)
    yield Mistake(
        "local-memory-many-processes",
        "Local memory, many processes",
        "Each process has a cache of its own: serve with WORKERS=4, reload, and the page misses "
        "again. A finding only where DEBUG is off.",
        PAGES["shop:product"].url,
        (memory_of("default"),),
    )


def _of_the_gallery(fault: Fault) -> Mistake:
    url = reverse("gallery:fault", kwargs={"code": fault.code})
    keys = (keys_of(fault.alias, fault.group),) if fault.group else ()
    return Mistake(fault.code, fault.title, fault.sentence, url, (findings_of(fault.alias), *keys))
