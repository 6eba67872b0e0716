"""Forked children begin anew, and a system without forks gets along without."""

import json
import os
from pathlib import Path

import pytest

from cache_monitor.forks import call_in_forked_children
from tests.test_processes import Site


def test_a_system_without_forks_has_nothing_to_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    call_in_forked_children(lambda: pytest.fail("called"))


@pytest.mark.slow
def test_where_there_is_nothing_of_unix_calls_are_recorded_all_the_same(tmp_path: Path) -> None:
    out, err = Site(tmp_path).run("tests.programs.windows")
    assert err == ""
    assert json.loads(out) == {"flushed": True, "hits": 1, "misses": 1}
