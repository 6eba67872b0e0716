"""What the scripts are given."""

from __future__ import annotations

import pytest
from django.template.defaultfilters import filesizeformat
from django.utils import translation

from cache_monitor.dashboard import views


@pytest.mark.parametrize("language", ["en", "de", "zh-hans"])
def test_the_scripts_write_sizes_as_the_templates_do(language: str) -> None:
    with translation.override(language):
        texts = views._sizes()
        assert len(texts) == 7
        assert texts[0].replace("%s", "1") == filesizeformat(1)
        assert texts[1].replace("%s", "512") == filesizeformat(512)
        for place, text in enumerate(texts[2:], 1):
            written = filesizeformat(3 * 1024**place)
            assert text.replace("%s", "3") == written.replace(".0", "").replace(",0", "")
