"""Tables that are sorted, searched and paged by the URL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.http import QueryDict

from cache_monitor.dashboard.formats import code_column, figure_column, link_column
from cache_monitor.dashboard.query import BadParameterError, Query, parse_query
from cache_monitor.dashboard.tables import (
    ROWS,
    Table,
    TableSpec,
    apply_query,
    parameters,
    parse_table_query,
    render_preview,
    render_table,
)
from tests.dashboard.reports import NOW

Row = tuple[str, int | None]
ROW_LIST: list[Row] = [("pear", 3), ("Apple", None), ("fig", 20), ("apricot", 1)]


def sheet_of(rows: list[Row], order: str = "-number") -> TableSpec[Row]:
    return TableSpec(
        "fruit",
        "Fruit",
        [
            code_column("name", "Name", lambda row: row[0]),
            figure_column("number", "Number", lambda row: row[1]),
            link_column("Eat", lambda row: f"/eat/{row[0]}"),
        ],
        rows,
        order=order,
        empty="There is no fruit.",
    )


def query_of(text: str) -> Query:
    return parse_query(QueryDict(text), NOW, parameters(["fruit", "nuts"]))


def names(text: str, rows: list[Row] = ROW_LIST) -> list[str]:
    spec = sheet_of(rows)
    asked = parse_table_query(query_of(text).own, "", spec)
    return [name for name, _ in apply_query(spec, asked).items]


def table_of(text: str, rows: list[Row]) -> Table:
    spec, query = sheet_of(rows), query_of(text)
    return render_table(spec, parse_table_query(query.own, "", spec), "/page/", query)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", ["fig", "pear", "apricot", "Apple"]),
        ("sort=number", ["apricot", "pear", "fig", "Apple"]),
        ("sort=name", ["Apple", "apricot", "fig", "pear"]),
        ("sort=-name", ["pear", "fig", "apricot", "Apple"]),
        ("q=AP", ["apricot", "Apple"]),
        ("q=nothing", []),
    ],
)
def test_rows_are_found_and_sorted_with_the_unknown_last(asked: str, expected: list[str]) -> None:
    assert names(asked) == expected


def test_figures_are_not_searched() -> None:
    assert names("q=20") == []


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ("sort=colour", "sort"),
        ("sort=action", "sort"),
        ("page=0", "page"),
        ("page=one", "page"),
        ("page=9999999", "page"),
        (f"q={'x' * 201}", "q"),
    ],
)
def test_what_cannot_be_used_is_named(asked: str, parameter: str) -> None:
    with pytest.raises(BadParameterError) as caught:
        names(asked)
    assert caught.value.parameter == parameter


def test_a_long_table_has_pages_that_keep_the_rest_of_the_question() -> None:
    rows: list[Row] = [(f"kind-{number:03}", number) for number in range(2 * ROWS + 1)]
    table = table_of("sort=name&q=kind&page=2&range=6h", rows)
    assert [row[0].text for row in table.rows][:1] == [f"kind-{ROWS:03}"]
    assert table.pager is not None
    assert table.pager.text == f"{ROWS + 1} to {2 * ROWS} of {2 * ROWS + 1}"
    for url, page in ((table.pager.previous_url, "1"), (table.pager.next_url, "3")):
        assert url == f"/page/?range=6h&sort=name&q=kind&page={page}#fruit"


def test_a_page_beyond_the_end_is_the_last_one() -> None:
    rows: list[Row] = [(f"kind-{number}", number) for number in range(ROWS + 1)]
    assert len(table_of("page=99", rows).rows) == 1


def test_a_heading_sorts_figures_from_the_largest_and_words_from_the_first() -> None:
    name, number, action = table_of("", ROW_LIST).columns
    assert (name.order, number.order, action.sort_url) == ("", "descending", "")
    assert "sort=name#" in name.sort_url
    assert "sort=number#" in number.sort_url


def test_the_search_box_keeps_the_order_and_starts_at_the_first_page() -> None:
    rows: list[Row] = [(f"kind-{number}", number) for number in range(11)]
    search = table_of("sort=name&page=1&q=kind&nuts-q=wal", rows).search
    assert search is not None
    assert search.hidden == {"range": "1h", "sort": "name", "nuts-q": "wal"}
    assert search.text == "kind"
    assert search.hint == "Name"


def test_a_table_may_have_fewer_rows_on_a_page() -> None:
    spec = replace(sheet_of(ROW_LIST), rows=3)
    asked = parse_table_query({"page": "2"}, "", spec)
    table = render_table(spec, asked, "/page/", parse_query(QueryDict(""), NOW))
    assert len(table.rows) == 1
    assert table.pager is not None
    assert table.pager.text == "4 to 4 of 4"


def test_a_table_that_is_read_at_a_glance_has_no_search_box() -> None:
    assert table_of("", ROW_LIST).search is None


def test_a_table_may_do_without_a_search_box() -> None:
    rows: list[Row] = [(f"kind-{number}", number) for number in range(11)]
    spec = replace(sheet_of(rows), is_searchable=False)
    query = parse_query(QueryDict(""), NOW)
    assert render_table(spec, parse_table_query({}, "", spec), "/page/", query).search is None


def test_a_second_table_has_parameters_of_its_own() -> None:
    assert parameters(["fruit", "nuts"]) == [
        *("q", "sort", "page", "hide"),
        *("nuts-q", "nuts-sort", "nuts-page", "nuts-hide"),
    ]


def test_an_empty_table_says_whether_it_is_the_search() -> None:
    assert table_of("", []).empty == "There is no fruit."
    assert "search" in table_of("q=none", ROW_LIST).empty


WIDE: TableSpec[Row] = TableSpec(
    "wide",
    "Wide",
    [
        code_column("name", "Name", lambda row: row[0]),
        *[figure_column(f"n{place}", f"Number {place}", lambda row: row[1]) for place in range(5)],
    ],
    ROW_LIST,
    order="-n0",
)


def wide(text: str, spec: TableSpec[Row] = WIDE) -> Table:
    query = parse_query(QueryDict(text), NOW, parameters(["wide"]))
    return render_table(spec, parse_table_query(query.own, "", spec), "/page/", query)


def test_columns_that_are_left_out_stay_so_by_the_url() -> None:
    every, some = wide("sort=n1"), wide("sort=n1&hide=n0,n3")
    assert len(every.columns) == len(every.rows[0]) == 6
    left = ["Name", "Number 1", "Number 2", "Number 4"]
    assert [column.label for column in some.columns] == left
    assert len(some.rows[0]) == 4
    assert [row[0].text for row in some.rows] == [row[0].text for row in every.rows]
    assert "hide=n0%2Cn3" in some.columns[1].sort_url
    assert every.every_column_url == ""
    assert "hide" not in some.every_column_url


def test_columns_that_are_left_out_at_first_are_there_for_whoever_asks() -> None:
    spec = replace(WIDE, hidden=frozenset({"n1", "n3"}))
    first = wide("", spec)
    assert [column.label for column in first.columns] == [
        "Name",
        "Number 0",
        "Number 2",
        "Number 4",
    ]
    assert "hide=none" in first.every_column_url
    assert len(render_preview(spec, 3).columns) == len(render_preview(spec, 3).rows[0]) == 4
    every = wide("hide=none", spec)
    assert len(every.columns) == 6
    assert every.every_column_url == ""
    choices = {each.label: each for each in wide("hide=n1", spec).choices}
    assert not choices["Number 1"].is_shown
    assert "hide" not in choices["Number 3"].url
    assert "hide=none" in choices["Number 1"].url


def test_each_column_but_the_first_can_be_chosen() -> None:
    choices = {each.label: each for each in wide("hide=n3").choices}
    assert list(choices) == [f"Number {place}" for place in range(5)]
    assert [each.label for each in choices.values() if not each.is_shown] == ["Number 3"]
    assert "hide" not in choices["Number 3"].url
    assert "hide=n0%2Cn3" in choices["Number 0"].url


def test_a_table_of_few_columns_leaves_nothing_to_choose() -> None:
    assert table_of("", ROW_LIST).choices == []


@pytest.mark.parametrize("text", ["hide=name", "hide=colour", "hide=n1,colour"])
def test_a_column_that_cannot_be_left_out_is_named(text: str) -> None:
    with pytest.raises(BadParameterError, match="n0, n1") as caught:
        wide(text)
    assert caught.value.parameter == "hide"
