"""Who made a call: the stack as taken on the caller's path, packed later, rendered when read.

Taking it reads no source and keeps no frame, because a frame would hold the values of its
variables. What a stack says is worked out when somebody looks: see
:mod:`cache_monitor.stacks`.
"""

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from django.template.base import Node

DEPTH = 50
"""Frames that are taken, from the innermost outwards."""
LATEST = 4
"""Stacks that a new one is compared with: a loop makes its calls from a few lines."""
_RENDERING = Node.render_annotated.__code__

FrameRow = list[Any]
"""File, line and function; of a template tag file, line, the template's name, and "template"."""
PackedStacks = dict[str, list[list[Any]]]
"""``frames`` are :data:`FrameRow`; ``nodes`` are pairs of the node further out, None at the end,
and a frame. A stack is the number of its innermost node: stacks share what they have in common."""

TEMPLATE = "template"


class RawStack(NamedTuple):
    """Frames from the innermost outwards: their code and their last instruction in it.

    ``template`` is the innermost template tag under way: its frame's place, the template's file,
    the line and the template's name.
    """

    codes: list[CodeType]
    instructions: list[int]
    template: tuple[int, str, int, str] | None


class StackTaker:
    """Takes the stacks of one request's calls.

    Calls in a loop have the same stack again and again; it is kept once, which spares the site's
    garbage collector the others.
    """

    def __init__(self) -> None:
        self._latest: list[RawStack] = []

    def take(self) -> RawStack:
        """The stack of whoever calls the listener that calls this."""
        stack = take_stack(4)
        latest = self._latest
        for known in latest:
            # Code is compared by identity first.
            if known.instructions == stack.instructions and known.codes == stack.codes:
                return known if known.template == stack.template else stack
        # Threads may lose one of each other's: then it is kept twice.
        self._latest = [stack, *latest[: LATEST - 1]]
        return stack


def take_stack(skipped: int) -> RawStack:
    """The stack from the frame on that is ``skipped`` calls outside of this one."""
    codes: list[CodeType] = []
    instructions: list[int] = []
    template = None
    add_code, add_instruction = codes.append, instructions.append
    frame = sys._getframe(skipped)
    for place in range(DEPTH):
        code = frame.f_code
        add_code(code)
        add_instruction(frame.f_lasti)
        if code is _RENDERING and template is None:
            template = _template_tag(place, frame.f_locals.get("self"))
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return RawStack(codes, instructions, template)


def _template_tag(place: int, node: Any) -> tuple[int, str, int, str] | None:
    try:
        origin = node.origin
        name = origin.template_name or origin.name
        return place, str(origin.name), int(node.token.lineno), str(name)
    except (AttributeError, TypeError, ValueError):
        # A node that some code made by hand has neither origin nor token.
        return None


class StackPacker:
    """Packs the stacks of one request into a few short lists that JSON can hold."""

    def __init__(self) -> None:
        self._rows: list[FrameRow] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._nodes: dict[tuple[int | None, int], int] = {}
        self._known: dict[tuple[int, ...], list[tuple[RawStack, int | None]]] = {}

    def add(self, stack: RawStack) -> int | None:
        """The number of the stack; None for one without frames."""
        # Code is compared by identity first, which is quick; its hash is not.
        alike = self._known.setdefault(tuple(stack.instructions), [])
        for known, number in alike:
            if known.codes == stack.codes and known.template == stack.template:
                return number
        number = self._pack(stack)
        alike.append((stack, number))
        return number

    def packed(self) -> PackedStacks:
        return {"frames": self._rows, "nodes": [list(node) for node in self._nodes]}

    def _pack(self, stack: RawStack) -> int | None:
        node: int | None = None
        for place in range(len(stack.codes) - 1, -1, -1):
            frame = self._frame(stack.codes[place], stack.instructions[place])
            node = self._node(node, frame)
            if stack.template is not None and stack.template[0] == place:
                node = self._node(node, self._tag(stack.template))
        return node

    def _frame(self, code: CodeType, instruction: int) -> int:
        # The identity is safe to tell code by: the stacks added hold on to it.
        name = (id(code), instruction)
        number = self._numbers.get(name)
        if number is None:
            line = _line(code, instruction)
            number = self._add(name, [code.co_filename, line, code.co_qualname])
        return number

    def _tag(self, template: tuple[int, str, int, str]) -> int:
        _, file, line, name = template
        number = self._numbers.get((file, line, name))
        if number is None:
            number = self._add((file, line, name), [file, line, name, TEMPLATE])
        return number

    def _add(self, name: tuple[object, ...], row: FrameRow) -> int:
        number = self._numbers[name] = len(self._rows)
        self._rows.append(row)
        return number

    def _node(self, outer: int | None, frame: int) -> int:
        return self._nodes.setdefault((outer, frame), len(self._nodes))


def _line(code: CodeType, instruction: int) -> int:
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return int(line)
    return int(code.co_firstlineno)


_PACKAGE = str(Path(__file__).resolve().parent)
_LAYERS = ("django/core/handlers/", "asgiref/")
"""Where one middleware hands the request on to the next, perhaps from async to sync: what is
further out did not call."""
_MACHINERY = ("django/core/cache/", "asgiref/", "concurrent/futures/", "debug_toolbar/")
_EDGE = "debug_toolbar/middleware.py"
_SITE_PACKAGES = ("/site-packages/", "/dist-packages/")
_SOURCE_LENGTH = 160


@dataclass(frozen=True, slots=True)
class CodeLine:
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


def caller_of(stack: RawStack) -> CodeLine | None:
    """Who made the call that ``stack`` was taken in, as :meth:`StackRenderer.caller` tells it."""
    packer = StackPacker()
    number = packer.add(stack)
    return StackRenderer(packer.packed(), machinery=(*_MACHINERY, *_SETTERS)).caller(number)


class StackRenderer:
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

    def caller(self, stack: int | None) -> CodeLine | None:
        """Who made the call: the innermost line of the project's code or of a template.

        Where a middleware or a decorator of somebody else's called by itself, that one's line;
        the project's lines further out only passed the request on.
        """
        foreign: CodeLine | None = None
        for place in map(place_of, self._rows(stack)):
            if place.is_project or place.is_template:
                return place
            if foreign is not None and place.path.startswith(_LAYERS):
                break
            if foreign is None and not self._is_hidden(place):
                foreign = place
        return foreign

    def trace(self, stack: int | None) -> list[CodeLine]:
        """The way to the call, from the innermost line outwards, up to where the toolbar begins."""
        found: list[CodeLine] = []
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

    def _is_hidden(self, place: CodeLine) -> bool:
        if place.is_project or place.is_template:
            return False
        return (
            place.file.startswith((_PACKAGE, "<"))
            or place.path.startswith(self._machinery)
            or any(place.path.startswith((f"{name}/", f"{name}.py")) for name in self._hidden)
        )


def place_of(row: FrameRow) -> CodeLine:
    """The place that a packed frame names."""
    file, line, function = str(row[0]).replace(os.sep, "/"), int(row[1]), str(row[2])
    if row[3:] == [TEMPLATE]:
        return CodeLine(function, line, "", file, _is_project(file), is_template=True)
    return CodeLine(_short(file), line, function, file, _is_project(file))


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
