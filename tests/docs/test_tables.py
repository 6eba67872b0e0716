"""The tables of the documentation are those that the code gives."""

import pytest

from tests.docs import reference
from tests.docs.pages import name_of, text_of
from tests.docs.tables import TABLES, Place

HANDED_ON = {"cache_monitor.scan.entries"}
"""Modules whose ``__all__`` hands names on within the package, to the dashboard alone."""


@pytest.mark.parametrize("place", TABLES, ids=lambda place: f"{name_of(place[0])}-{place[1]}")
def test_a_table_is_the_one_that_the_code_gives(place: Place) -> None:
    """Where it fails: ``make tables``."""
    assert text_of(*place) == TABLES[place]().strip()


def test_every_public_module_is_on_the_page_of_the_python_api() -> None:
    """A user may import what ``__all__`` names: it is there where the page tells of a module."""
    assert reference.public_modules() - HANDED_ON == set(reference.PURPOSES)
