"""The tables of the documentation are those that the code gives."""

import pytest

from tests.docs.pages import name_of, text_of
from tests.docs.tables import TABLES, Place


@pytest.mark.parametrize("place", TABLES, ids=lambda place: f"{name_of(place[0])}-{place[1]}")
def test_a_table_is_the_one_that_the_code_gives(place: Place) -> None:
    """Where it fails: ``make tables``."""
    assert text_of(*place) == TABLES[place]().strip()
