"""Lines small enough to stand beside a figure: of hit ratios, of counts."""

from collections.abc import Sequence

from cache_monitor.reports.schema import Point

WIDTH, HEIGHT = 100.0, 20.0
# Half of a line's width, which would be cut off at the edges.
_INSET = 1.0


def spark(series: Sequence[Point]) -> list[str]:
    """The points of SVG lines, one for each stretch without a gap; a box of 100 by 20.

    Steps without lookups have no ratio: the line is interrupted there, not drawn at zero.
    """
    first = next((place for place, point in enumerate(series) if point.lookups), None)
    if first is None:
        return []
    # What was before the first lookup is left out, or a new site's line would be a dot.
    drawn = series[first:]
    step = WIDTH / max(1, len(drawn) - 1)
    lines: list[list[str]] = [[]]
    for place, point in enumerate(drawn):
        if point.lookups:
            lines[-1].append(f"{place * step:.1f},{_height(point.hits / point.lookups):.1f}")
        elif lines[-1]:
            lines.append([])
    return [" ".join(_seen(line)) for line in lines if line]


def counts(numbers: Sequence[int]) -> str:
    """The points of an SVG line from nothing at the bottom to the most at the top; a box of 100
    by 20."""
    most = max(1, *numbers)
    step = WIDTH / max(1, len(numbers) - 1)
    points = [
        f"{place * step:.1f},{_height(number / most):.1f}" for place, number in enumerate(numbers)
    ]
    return " ".join(_seen(points))


def _height(ratio: float) -> float:
    return _INSET + (1 - ratio) * (HEIGHT - 2 * _INSET)


def _seen(line: Sequence[str]) -> Sequence[str]:
    """A single point is drawn as a line to itself, which round ends make a dot."""
    return line if len(line) > 1 else (*line, *line)
