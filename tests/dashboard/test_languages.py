"""The dashboard in other languages, and the catalogues that ship with it."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import django
import pytest
from babel.messages.mofile import read_mo
from django.test import Client
from django.urls import reverse
from django.utils import translation

from cache_monitor.dashboard import formats
from tests.messages import LANGUAGES, PACKAGE, forms, is_translated, po_path, read, texts

FIELD = re.compile(r"%\((\w+)\)s|%%")
# The other rooms' texts may change without a translator at hand; then they are shown in English.
OURS = ("/dashboard/", "api.py", "models.py")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_dashboard_is_translated(language: str) -> None:
    catalogue = read(language)
    missing = []
    for path, message, context in texts(PACKAGE):
        found = catalogue.get(message if isinstance(message, str) else message[0], context)
        if any(part in path for part in OURS) and not (found and is_translated(found)):
            missing.append(message)
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_fields_of_its_text(language: str) -> None:
    for message in read(language):
        if not message.id or not is_translated(message):
            continue
        if isinstance(message.id, str):
            (text,) = forms(message)
            assert sorted(FIELD.findall(text)) == sorted(FIELD.findall(message.id)), text
        else:
            # A form for one need not say the number.
            for text in forms(message):
                assert set(FIELD.findall(text)) <= set(FIELD.findall(message.id[-1])), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_that_of_the_translator(language: str) -> None:
    """``python -m tests.messages`` compiles them anew."""
    with po_path(language).with_suffix(".mo").open("rb") as file:
        known = gettext.GNUTranslations(file)
    for message in read(language):
        if message.id and isinstance(message.id, str) and is_translated(message):
            context = message.context
            told = known.pgettext(context, message.id) if context else known.gettext(message.id)
            assert told == message.string


SAME_SENSE = {"Action", "No, take me back", "Show all"}
"""Texts that Django has too, and means as they are meant here."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_one_of_django_with_another_meaning(language: str) -> None:
    """The catalogue of an app before this one in ``INSTALLED_APPS`` wins: the admin has "View" for
    what one may do."""
    ours = {message for _, message, context in texts(PACKAGE) if context is None}
    translated = {m.id: m.string for m in read(language) if not m.context and is_translated(m)}
    clashes = {
        text
        for path in Path(django.__file__).parent.rglob(f"locale/{language}/LC_MESSAGES/django.mo")
        for text, string in _compiled(path).items()
        if text in ours and translated.get(text, string) != string
    }
    assert clashes <= SAME_SENSE


def _compiled(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {m.id: str(m.string) for m in read_mo(file) if isinstance(m.id, str) and m.id}


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize(
    ("language", "expected"),
    [("de", ["Trefferquote", "91,7", "1.200"]), ("zh-hans", ["命中率", "91.7%"])],
)
def test_a_page_is_in_the_language_of_its_reader(
    viewer: Client, language: str, expected: list[str]
) -> None:
    with translation.override(language):
        page = viewer.get(reverse("admin:cache_monitor_dashboard")).content.decode()
    for text in expected:
        assert text in page, text


def test_figures_are_written_as_the_language_does() -> None:
    with translation.override("de"):
        assert formats.count(1_234_567) == "1.234.567"
        assert formats.ratio(0.917) == "91,7 %"
        assert formats.duration(0.00238) == "2,38\u202fms"
