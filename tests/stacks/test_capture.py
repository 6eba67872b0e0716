"""Stacks: taken raw, packed small."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.template import Context, Engine, Template
from django.template.base import Node

from cache_monitor import stacks as capture
from cache_monitor.context import start_listening, stop_listening
from cache_monitor.listeners import Capture
from cache_monitor.stacks import DEPTH, TEMPLATE, RawStack, StackPacker, StackTaker


def stacks_of(work: Callable[[], object]) -> list[RawStack]:
    """The stacks of the cache calls that ``work`` makes."""
    capture = Capture(take_stack=StackTaker().take)
    start_listening(capture)
    try:
        work()
    finally:
        stop_listening(capture)
        caches["default"].clear()
    found = [stack for *_, stack in capture.kept()]
    assert all(isinstance(stack, RawStack) for stack in found)
    return found  # type: ignore[return-value]  # as just asserted


def unpacked(packed: dict[str, list[list[Any]]], number: int | None) -> list[list[Any]]:
    rows = []
    while number is not None:
        number, frame = packed["nodes"][number]
        rows.append(packed["frames"][frame])
    return rows


def packed_rows(*stacks: RawStack) -> list[list[list[Any]]]:
    packer = StackPacker()
    numbers = [packer.add(stack) for stack in stacks]
    packed = json.loads(json.dumps(packer.packed()))
    return [unpacked(packed, number) for number in numbers]


def get_once() -> None:
    cache.get("a")


def deeper(levels: int) -> None:
    if levels:
        deeper(levels - 1)
    else:
        cache.get("a")


def line_in(function: Callable[..., object], offset: int) -> int:
    return function.__code__.co_firstlineno + offset


def test_a_stack_names_the_line_that_called_and_those_further_out() -> None:
    [stack] = stacks_of(get_once)
    [rows] = packed_rows(stack)
    here = [row for row in rows if row[0] == __file__]
    assert here[0] == [__file__, line_in(get_once, 1), "get_once"]
    assert here[1][2] == "stacks_of"


def test_a_stack_is_bounded() -> None:
    [stack] = stacks_of(lambda: deeper(200))
    assert len(stack.codes) == len(stack.instructions) == DEPTH


def test_a_stack_keeps_code_and_numbers_and_no_value() -> None:
    class Value:
        """Something that a local variable holds."""

    kept: list[RawStack] = []

    def call_with_a_value() -> weakref.ref[Value]:
        value = Value()
        kept.extend(stacks_of(get_once))
        return weakref.ref(value)

    gone = call_with_a_value()
    gc.collect()
    assert gone() is None
    [stack] = kept
    assert {type(code) for code in stack.codes} == {CodeType}
    assert {type(number) for number in stack.instructions} == {int}


def test_only_the_calls_that_are_kept_have_their_stack_taken() -> None:
    taken: list[RawStack] = []

    def take() -> RawStack:
        taken.append(RawStack([], [], None))
        return taken[-1]

    capture = Capture(keep=3, take_stack=take)
    start_listening(capture)
    for _ in range(10):
        cache.get("a")
    stop_listening(capture)
    assert len(taken) == 3
    assert capture.totals()["default"].calls == 10


def test_the_template_tag_under_way_is_in_the_stack_with_its_line() -> None:
    engine = Engine(
        libraries={"cache": "django.templatetags.cache"},
        loaders=[
            (
                "django.template.loaders.locmem.Loader",
                {"page.html": "{% load cache %}\n\n<p>\n{% cache 60 box %}x{% endcache %}"},
            )
        ],
    )
    stacks = stacks_of(lambda: engine.get_template("page.html").render(Context()))
    rows = packed_rows(*stacks)
    assert len(rows) == 2
    for stack in rows:
        [tag] = [row for row in stack if row[3:] == [TEMPLATE]]
        assert tag[1:3] == [4, "page.html"]


def test_a_node_that_was_made_by_hand_has_no_line() -> None:
    class Asking(Node):
        """Made without a parser, which would give it its token."""

        def render(self, context: Context) -> str:
            return str(cache.get("a"))

    page = Template("", engine=Engine())
    page.nodelist.append(Asking())
    [stack] = stacks_of(lambda: page.render(Context()))
    assert stack.template is None


def test_calls_of_a_loop_share_one_stack() -> None:
    def work() -> None:
        for _ in range(5):
            get_once()

    packer = StackPacker()
    assert len({packer.add(stack) for stack in stacks_of(work)}) == 1


def test_the_stack_of_a_loop_is_kept_once() -> None:
    def work() -> None:
        for number in range(5):
            cache.get(f"a:{number}")
            cache.set(f"a:{number}", 1)

    stacks = stacks_of(work)
    assert len(stacks) == 10
    assert len({id(stack) for stack in stacks}) == 2


def test_stacks_share_the_frames_that_they_have_in_common() -> None:
    def work() -> None:
        get_once()
        deeper(0)

    first, second = stacks_of(work)
    packer = StackPacker()
    assert packer.add(first) != packer.add(second)
    assert len(packer.packed()["nodes"]) < len(first.codes) + len(second.codes)
    rows = packed_rows(first, second)
    assert rows[0] != rows[1]
    assert rows[0][-3:] == rows[1][-3:]


def test_two_calls_on_one_line_are_two_stacks_at_that_line() -> None:
    def work() -> None:
        _ = cache.get("a"), cache.get("b")

    first, second = stacks_of(work)
    lines = {
        tuple(row)
        for stack in packed_rows(first, second)
        for row in stack
        if row[2] == work.__qualname__
    }
    assert lines == {(__file__, line_in(work, 1), work.__qualname__)}


@pytest.mark.parametrize("instruction", [-1, 10**6])
def test_an_instruction_without_a_line_is_told_by_its_function(instruction: int) -> None:
    assert capture._line(get_once.__code__, instruction) == line_in(get_once, 0)


def test_a_stack_without_frames_has_no_number() -> None:
    assert StackPacker().add(RawStack([], [], None)) is None
