"""What the README says is what the code does."""

import re
from pathlib import Path

from cache_monitor.conf import documentation

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_table_of_settings_is_the_one_that_the_code_gives() -> None:
    found = re.search(
        r"<!-- settings.*?-->\n(.*?)<!-- end of settings -->", README.read_text(), re.DOTALL
    )
    assert found is not None
    assert found[1].strip() == documentation().strip()


def test_every_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^]]*]\(([^)]+)\)", README.read_text()):
        assert (README.parent / picture).stat().st_size > 10_000
