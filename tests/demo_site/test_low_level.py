"""The forms of the low-level page, each of which makes one cache call."""

from __future__ import annotations

import pytest

from tests.demo_site.site import Answer, Visitor

PAGE = "/low-level/"


def perform(visitor: Visitor, operation: str, text: str = "") -> Answer:
    answer = visitor.submit(PAGE, do=operation, text=text)
    assert answer.status == 200
    return answer


@pytest.fixture(autouse=True)
def nothing_stored(visitor: Visitor) -> None:
    perform(visitor, "delete")


def read(visitor: Visitor) -> str:
    return visitor.get(f"{PAGE}?do=get").visible_text


def test_get_answers_the_default_when_nothing_is_stored(visitor: Visitor) -> None:
    assert "nothing is stored" in read(visitor)


def test_set_stores_what_get_answers(visitor: Visitor) -> None:
    perform(visitor, "set", "a lantern")

    assert "get a lantern" in read(visitor)


def test_add_leaves_a_stored_value_alone(visitor: Visitor) -> None:
    perform(visitor, "add", "first")
    second = perform(visitor, "add", "second")

    assert "left alone" in second.visible_text
    assert "get first" in read(visitor)


def test_delete_tells_whether_there_was_anything(visitor: Visitor) -> None:
    perform(visitor, "set", "a lantern")

    assert "delete deleted" in perform(visitor, "delete").visible_text
    assert "there was nothing to delete" in perform(visitor, "delete").visible_text


def test_get_or_set_answers_what_is_stored_before_it_makes_anything(visitor: Visitor) -> None:
    assert "written at" in perform(visitor, "get_or_set").visible_text
    perform(visitor, "set", "a lantern")
    assert "get_or_set a lantern" in perform(visitor, "get_or_set").visible_text


def test_a_form_without_its_token_is_refused(visitor: Visitor) -> None:
    assert visitor.post(PAGE, do="set", text="forged").status == 403


@pytest.mark.parametrize("operation", ["set", "add", "delete", "get_or_set", "clear"])
def test_a_link_cannot_write(visitor: Visitor, operation: str) -> None:
    assert visitor.get(f"{PAGE}?do={operation}&text=forged").status == 400


def test_what_a_visitor_types_is_escaped(visitor: Visitor) -> None:
    answer = perform(visitor, "set", "<script>alert(1)</script>")

    assert "<script>alert" not in answer.text
