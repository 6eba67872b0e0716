"""What the templates are given."""

from pprint import pformat

import pytest
from django.apps import apps
from django.template.loader import render_to_string

from cache_monitor.dashboard.formats import Cell
from cache_monitor.dashboard.query import CachedReport
from cache_monitor.dashboard.tables import Column, Table
from cache_monitor.dashboard.views import frame
from tests.dashboard.reports import report_of


def _table(rows: int) -> Table:
    return Table(
        name="hot_keys",
        caption="Hot keys",
        columns=[Column("Key", is_numeric=False)],
        rows=[[Cell(f"user:{number}:profile", code=True)] for number in range(rows)],
    )


def test_the_representation_of_a_table_does_not_grow_with_its_rows() -> None:
    assert len(repr(_table(1000))) == len(repr(_table(1)))
    assert len(pformat(_table(1000))) == len(pformat(_table(1)))


def test_tables_with_other_rows_differ() -> None:
    assert _table(2) != _table(3)


@pytest.mark.parametrize(("installed", "shown"), [([], False), (["django_tenants"], True)])
def test_where_tenants_share_the_processes_the_dashboard_says_whose_keys_it_shows(
    installed: list[str], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name in installed)
    framed = frame(CachedReport(report_of(), None))
    assert ("those of all tenants" in str(framed["quality"])) is shown
    html = render_to_string("cache_monitor/dashboard/quality.html", {"frame": framed, "query": {}})
    assert ("to operators alone" in html) is shown
