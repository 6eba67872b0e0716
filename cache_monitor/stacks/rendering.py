"""What a packed stack says: the line that made a call, and the way there."""

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from cache_monitor.stacks.capture import TEMPLATE, FrameRow, PackedStacks, RawStack, StackPacker

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_LAYERS = ("django/core/handlers/", "asgiref/")
"""Where one middleware hands the request on to the next, perhaps from async to sync: what is
further out did not call."""
_MACHINERY = ("django/core/cache/", "asgiref/", "concurrent/futures/", "debug_toolbar/")
_EDGE = "debug_toolbar/middleware.py"
_SITE_PACKAGES = ("/site-packages/", "/dist-packages/")
_SOURCE_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code, or of a template. ``path`` is as short as it can be told from others."""

    path: str
    line: int
    function: str
    file: str
    is_project: bool
    is_template: bool = False

    @property
    def source(self) -> str:
        """The line itself, read now; empty where it cannot be."""
        if self.file.startswith("<"):
            return ""
        text = linecache.getline(self.file, self.line).strip()
        return text if len(text) <= _SOURCE_LENGTH else f"{text[:_SOURCE_LENGTH]}…"

    @property
    def where(self) -> str:
        """Path and line as editors take them."""
        return f"{self.path}:{self.line}"


_SETTERS = ("django/utils/cache.py", "django/http/", "django/contrib/sessions/backends/")
"""Through which others set a header or read a session."""


def caller_of(stack: RawStack) -> Place | None:
    """Who made the call that ``stack`` was taken in, as :meth:`Traces.caller` tells it."""
    packer = StackPacker()
    number = packer.add(stack)
    return Traces(packer.packed(), machinery=(*_MACHINERY, *_SETTERS)).caller(number)


class Traces:
    """The stacks of one request, unpacked.

    ``hidden`` are names of modules whose frames are left out.
    """

    def __init__(
        self,
        packed: PackedStacks,
        hidden: Sequence[str] = (),
        machinery: tuple[str, ...] = _MACHINERY,
    ) -> None:
        self._frames = packed["frames"]
        self._machinery = machinery
        self._nodes = packed["nodes"]
        self._hidden = tuple(name.replace(".", "/") for name in hidden)
        # Files may have changed since they were last read here.
        linecache.checkcache()

    def caller(self, stack: int | None) -> Place | None:
        """Who made the call: the innermost line of the project's code or of a template.

        Where a middleware or a decorator of somebody else's called by itself, that one's line;
        the project's lines further out only passed the request on.
        """
        foreign: Place | None = None
        for place in map(place_of, self._rows(stack)):
            if place.is_project or place.is_template:
                return place
            if foreign is not None and place.path.startswith(_LAYERS):
                break
            if foreign is None and not self._is_hidden(place):
                foreign = place
        return foreign

    def trace(self, stack: int | None) -> list[Place]:
        """The way to the call, from the innermost line outwards, up to where the toolbar begins."""
        found: list[Place] = []
        for place in map(place_of, self._rows(stack)):
            if place.path == _EDGE:
                break
            if not self._is_hidden(place):
                found.append(place)
        return found

    def _rows(self, stack: int | None) -> Iterator[FrameRow]:
        node = stack
        while node is not None:
            outer, frame = self._nodes[node]
            yield self._frames[frame]
            node = outer

    def _is_hidden(self, place: Place) -> bool:
        if place.is_project or place.is_template:
            return False
        return (
            place.file.startswith((_PACKAGE, "<"))
            or place.path.startswith(self._machinery)
            or any(place.path.startswith((f"{name}/", f"{name}.py")) for name in self._hidden)
        )


def place_of(row: FrameRow) -> Place:
    """The place that a packed frame names."""
    file, line, function = str(row[0]).replace(os.sep, "/"), int(row[1]), str(row[2])
    if row[3:] == [TEMPLATE]:
        return Place(function, line, "", file, _is_project(file), is_template=True)
    return Place(_short(file), line, function, file, _is_project(file))


@lru_cache(maxsize=4096)
def _is_project(file: str) -> bool:
    """Whether the file is the project's own: neither installed, nor Python's, nor ours."""
    if file.startswith("<") or any(part in file for part in _SITE_PACKAGES):
        return False
    return not file.startswith(_libraries())


@cache
def _libraries() -> tuple[str, ...]:
    """The directories of Python itself, and of what may be installed from a checkout."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {path for name in names if (path := sysconfig.get_path(name))}
    for package in ("django", "debug_toolbar", "asgiref"):
        file = getattr(sys.modules.get(package), "__file__", None)
        if file:
            found.add(str(Path(file).parent))
    return (*(f"{path}/" for path in sorted(found)), f"{_PACKAGE}/")


@lru_cache(maxsize=4096)
def _short(file: str) -> str:
    """``file`` below the entry of Python's search path that it was imported from."""
    roots = [f"{root.replace(os.sep, '/').rstrip('/')}/" for root in sys.path if root]
    longest = max((root for root in roots if file.startswith(root)), key=len, default="")
    return file[len(longest) :]
