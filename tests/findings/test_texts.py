"""A finding is told to programs in English, and to a person in the person's language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from django.template.loader import render_to_string
from django.test import override_settings
from django.utils import translation
from msgspec.structs import replace

from cache_monitor.findings.engine import RULES, explanations
from cache_monitor.findings.texts import ADVICE, TITLES, advice, in_words
from tests.docs import tables
from tests.docs.pages import DOCS
from tests.findings.healthy import REDIS, cache, findings, group
from tests.messages import compiled

ENGLISH = "Hits on “%(what)s” got values that were stored long ago, so visitors may see what has "
ENGLISH += "changed since. Set a shorter timeout, or delete the keys where their content is saved."
ILL = cache(key_groups=[group(age_p50=80_000.0, age_p90=90_000.0)])


@pytest.fixture
def german(tmp_path: Path) -> Iterator[None]:
    """A site whose reader has a language for which these texts are translated."""
    catalogue = Catalog(locale="de")
    catalogue.add("Old content", "Alter Inhalt")
    catalogue.add(ENGLISH, "Timeout von „%(what)s“ senken: Besucher sehen alte Werte.")
    place = tmp_path / "de" / "LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "django.mo").write_bytes(compiled(catalogue))
    with override_settings(LOCALE_PATHS=[tmp_path]), translation.override("de"):
        yield


def test_every_rule_has_a_title_and_an_advice() -> None:
    assert set(TITLES) == set(ADVICE) == set(RULES)
    assert len({str(each) for each in TITLES.values()}) == len(TITLES)


@pytest.mark.parametrize("code", sorted(RULES))
def test_an_advice_names_its_place_and_leaves_no_field_open(code: str) -> None:
    text = advice(code, "shop", REDIS, "user:{int}")
    assert "shop" in text or "user:{int}" in text or "redis.conf" in text
    assert not re.search(r"%\(|%s", text)


@pytest.mark.parametrize("code", sorted(RULES))
def test_an_advice_says_what_was_seen_before_it_says_what_to_do(code: str) -> None:
    """Two sentences at least, and not the order first."""
    sentences = advice(code, "shop", REDIS, "user:{int}").split(". ")
    assert len(sentences) >= 2
    orders = ("Ask", "Delete", "Get", "Give", "Let", "Look", "Lower", "Make", "Raise", "See", "Set")
    assert not sentences[0].startswith(orders)


def test_a_percent_sign_in_a_key_is_a_text_like_any_other() -> None:
    assert "“50%(alias)s%d”" in advice("never-read", "shop", REDIS, "50%(alias)s%d")


def test_a_finding_is_english_whatever_language_is_active(german: None) -> None:
    [finding] = findings(ILL)
    assert finding.advice == ENGLISH % {"what": "user:{int}"}


def test_its_reader_has_it_in_his_language(german: None) -> None:
    [finding] = findings(ILL)
    assert in_words(finding, REDIS) == (
        "Alter Inhalt",
        "Timeout von „user:{int}“ senken: Besucher sehen alte Werte.",
    )


def test_an_advice_that_is_not_ours_stays_as_it_is(german: None) -> None:
    [finding] = findings(ILL)
    assert in_words(replace(finding, advice="Ask Ann."), REDIS).advice == "Ask Ann."
    assert in_words(replace(finding, code="own-rule"), REDIS) == ("own-rule", finding.advice)


def test_the_explanations_are_in_the_readers_language_and_the_table_is_not(german: None) -> None:
    [each] = [each for each in explanations() if each.code == "aged-content"]
    assert (each.title, each.advice[:12]) == ("Alter Inhalt", "Timeout von ")
    assert "AGED_AFTER" in each.found_where
    page = render_to_string("cache_monitor/findings/explained.html", {"explained": [each]})
    assert "AGED_AFTER" in page
    assert "`" not in page
    assert "Set a shorter timeout" in tables.TABLES[DOCS / "findings.md", "findings"]()
