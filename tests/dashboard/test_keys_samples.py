"""The keys that a view or a group found and missed."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from msgspec.structs import replace

from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import HOSTILE, busy_cache, report_of, view
from tests.dashboard.test_pages import page_of

GROUP = "user:1:profile"


@pytest.mark.usefixtures("full_report")
def test_a_group_shows_five_hits_and_five_misses(viewer: Client) -> None:
    page = page_of(viewer, "keys", group=GROUP, alias="default")
    table = page.partition('id="samples"')[2].partition("</table>")[0]
    assert [f">{GROUP}:hit{n}<" in table for n in range(5)] == [True] * 5
    assert [f">{GROUP}:miss{n}<" in table for n in range(5)] == [True] * 5
    assert table.count(">hit<") == table.count(">miss<") == 5
    assert 'id="samples"' not in page_of(viewer, "keys")


@pytest.mark.usefixtures("full_report")
def test_a_view_leads_to_its_samples(viewer: Client) -> None:
    url = reverse("admin:cache_monitor_views", query={"range": "6h", "view": "shop:product"})
    assert f'href="{url.replace("&", "&amp;")}"' in page_of(viewer, "views", range="6h")
    page = page_of(viewer, "views", view="shop:product")
    assert "Only the view" in page
    for key in ("product:1", "product:2", "product:9"):
        assert f">{key}<" in page
    assert "product:1<" not in page_of(viewer, "views")


def test_only_the_view_that_was_asked_for_is_shown(viewer: Client, show_report: ShowReport) -> None:
    views = [view("shop:product"), replace(view("shop:cart"), sample_hits=["cart:1"])]
    show_report(report_of(default=replace(busy_cache(), views=views)))
    page = page_of(viewer, "views", view="shop:cart")
    assert ">cart:1<" in page
    assert ">product:1<" not in page
    assert "<bdi>shop:product</bdi>" not in page


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize(
    ("name", "query"), [("keys", {"group": GROUP}), ("views", {"view": "shop:product"})]
)
def test_samples_can_be_downloaded(viewer: Client, name: str, query: dict[str, str]) -> None:
    asked = {**query, "alias": "default", "table": "samples", "format": "json"}
    rows = viewer.get(reverse(f"admin:cache_monitor_{name}", query=asked)).json()
    assert {row["outcome"] for row in rows} == {"hit", "miss"}
    assert all(row["key"] for row in rows)


def test_a_hostile_sample_breaks_out_of_nothing(viewer: Client, show_report: ShowReport) -> None:
    hostile = replace(view(HOSTILE), sample_hits=[HOSTILE], sample_misses=[HOSTILE])
    show_report(report_of(default=replace(busy_cache(), views=[hostile])))
    response = viewer.get(reverse("admin:cache_monitor_views"), {"view": HOSTILE})
    page = response.content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page.partition("<bdi>")[2].partition('id="samples"')[2]


def test_a_session_of_a_view_leads_to_no_entry(viewer: Client, show_report: ShowReport) -> None:
    masked = replace(view(), sample_hits=["session:••••"], sample_misses=[])
    show_report(report_of(default=replace(busy_cache(), views=[masked])))
    page = page_of(viewer, "views", view="shop:product")
    assert "session:••••" in page
    assert reverse("admin:cache_monitor_entry") not in page
