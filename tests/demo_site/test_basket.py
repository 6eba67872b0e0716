"""The basket, whose session the cache serves."""

from __future__ import annotations

from tests.demo_site.site import RunningDemo, Visitor

PAGE = "/basket/"


def test_a_basket_keeps_what_is_put_into_it(running_demo: RunningDemo) -> None:
    visitor = running_demo.visitor()

    assert "0 items" in visitor.get(PAGE).visible_text
    assert "1 item in" in visitor.submit(PAGE).visible_text
    assert "2 items" in visitor.submit(PAGE).visible_text
    assert "2 items" in visitor.get(PAGE).visible_text


def test_another_visitor_has_another_basket(running_demo: RunningDemo) -> None:
    running_demo.visitor().submit(PAGE)

    assert "0 items" in running_demo.visitor().get(PAGE).visible_text


def test_a_basket_does_not_log_the_admin_out(visitor: Visitor) -> None:
    visitor.submit("/admin/login/", username="admin", password="admin", next="/admin/")
    visitor.submit(PAGE)

    assert "Site administration" in visitor.get("/admin/").visible_text
