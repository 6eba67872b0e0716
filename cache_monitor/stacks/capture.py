"""Who made a call: the stack, taken in its raw form on the caller's path and packed later.

Taking it reads no source and keeps no frame, because a frame would hold the values of its
variables. What a stack says is worked out when somebody looks: see
:mod:`cache_monitor.stacks.rendering`.
"""

import sys
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

    codes: list[Any]
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
    codes: list[Any] = []
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
        self._latest: tuple[RawStack | None, int | None] = (None, None)
        self._rows: list[FrameRow] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._nodes: dict[tuple[int | None, int], int] = {}
        self._known: dict[tuple[int, ...], list[tuple[RawStack, int | None]]] = {}

    def add(self, stack: RawStack) -> int | None:
        """The number of the stack; None for one without frames."""
        if stack is self._latest[0]:
            return self._latest[1]
        number = self._number_of(stack)
        self._latest = (stack, number)
        return number

    def _number_of(self, stack: RawStack) -> int | None:
        # Code is compared by identity first, which is quick; its hash is not.
        alike = self._known.setdefault(tuple(stack.instructions), [])
        for known, number in alike:
            if known.codes == stack.codes and known.template == stack.template:
                return number
        number = self._pack(stack)
        alike.append((stack, number))
        return number

    def packed(self) -> PackedStacks:
        """All that was added."""
        return {"frames": self._rows, "nodes": [list(node) for node in self._nodes]}

    def _pack(self, stack: RawStack) -> int | None:
        node: int | None = None
        for place in range(len(stack.codes) - 1, -1, -1):
            frame = self._frame(stack.codes[place], stack.instructions[place])
            node = self._node(node, frame)
            if stack.template is not None and stack.template[0] == place:
                node = self._node(node, self._tag(stack.template))
        return node

    def _frame(self, code: Any, instruction: int) -> int:
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


def _line(code: Any, instruction: int) -> int:
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return int(line)
    return int(code.co_firstlineno)
