"""The example of groups and a sanitizer does what its table says."""

import re
import sys
from types import ModuleType

import pytest
from django.test import override_settings

from cache_monitor.checks import check_settings
from cache_monitor.keys.naming import name_key
from tests.docs.pages import DOCS, executed, marked, text_of


def test_keys_are_shown_and_grouped_as_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    setting, module = marked("keys", "python")
    site, keys = ModuleType("mysite"), ModuleType("mysite.keys")
    vars(keys).update(executed(module, "mysite.keys"))
    monkeypatch.setitem(sys.modules, "mysite", site)
    monkeypatch.setitem(sys.modules, "mysite.keys", keys)
    text = text_of(DOCS / "settings.md", "keys")
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) == 4
    with override_settings(CACHE_MONITOR=executed(setting)["CACHE_MONITOR"]):
        assert check_settings(None) == []
        for key, shown, group in rows:
            assert name_key(key)[:2] == (shown, group)
