"""The charts' colours stand out from the admin's backgrounds, in both of its themes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from cache_monitor import dashboard

CSS: Final = Path(dashboard.__file__).parents[1] / "static/cache_monitor/dashboard/dashboard.css"
COLOUR: Final = re.compile(r"--cm-(hit|miss|bad|series-[0-9]):\s*#([0-9a-f]{6});")
# WCAG 2.2 asks 3:1 of what must be seen to read a chart (1.4.11).
LEAST: Final = 3.0


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def blocks() -> list[list[tuple[str, str]]]:
    """The colours of the light theme, the dark one, and the dark one of the system."""
    text = CSS.read_text()
    return [found for block in text.split("}") if len(found := COLOUR.findall(block)) > 1]


@pytest.mark.parametrize(("place", "background"), [(0, "ffffff"), (1, "121212"), (2, "121212")])
def test_every_colour_stands_out(place: int, background: str) -> None:
    colours = blocks()[place]
    assert len(colours) == 11
    weak = {name: colour for name, colour in colours if contrast(colour, background) < LEAST}
    assert weak == {}


def test_both_dark_themes_are_the_same() -> None:
    assert blocks()[1] == blocks()[2]
