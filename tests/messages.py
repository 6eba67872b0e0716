"""Brings the catalogues up to date with the program: ``python -m tests.messages``.

Each text that is marked for translation gets its place in ``locale/*/LC_MESSAGES/django.po``, in
whose empty places a translator then writes; run again, the compiled ``.mo`` files take them up.
Needs Babel and none of the gettext programs.
"""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as BabelMessage
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "cache_monitor"
LOCALE: Final = PACKAGE / "locale"
LANGUAGES: Final = ("de", "zh_Hans")
FUNCTIONS: Final = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
}
_STRING = r"""u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
# What Django makes of a template is no Python throughout, but its calls are.
CALL: Final = re.compile(
    rf"\bn?gettext\({_STRING}(?:,\s*{_STRING},[^)]*)?\)|\bpgettext\({_STRING},\s*{_STRING}\)"
)
PERCENT_FORMAT: Final = "python-format"

Message = str | tuple[str, ...]


def main() -> int:
    found = catalogue_of(PACKAGE)
    for language in LANGUAGES:
        path = po_path(language)
        known = read(language) if path.is_file() else Catalog(locale=language)
        known.update(found, no_fuzzy_matching=True)
        known.obsolete.clear()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header(known) + written(known))
        path.with_suffix(".mo").write_bytes(compiled(known))
        missing = [each for each in known if each.id and not is_translated(each)]
        sys.stdout.write(f"{language}: {len(known)} texts, {len(missing)} to be translated\n")
    return 0


def po_path(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def read(language: str) -> Catalog:
    """The catalogue of a language as its translator wrote it."""
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language)


def header(catalogue: Catalog) -> bytes:
    """What gettext needs to know, without the times and versions that change with every run."""
    return (
        "# The texts of django-cache-monitor.\n"
        'msgid ""\n'
        'msgstr ""\n'
        f'"Language: {catalogue.locale}\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n'
        '"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n\n'
    ).encode()


def written(catalogue: Catalog) -> bytes:
    """The catalogue as a translator reads it."""
    content = io.BytesIO()
    write_po(content, catalogue, width=100, sort_output=True, omit_header=True)
    return content.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue as Django reads it."""
    content = io.BytesIO()
    write_mo(content, catalogue)
    return content.getvalue()


def forms(message: BabelMessage) -> list[str]:
    """The translation of a message: one text, or one for each of the language's plurals."""
    if message.string is None:
        return []
    return [message.string] if isinstance(message.string, str) else list(message.string)


def is_translated(message: BabelMessage) -> bool:
    return bool(forms(message)) and all(forms(message))


def catalogue_of(directory: Path) -> Catalog:
    """Every text below ``directory`` that is marked for translation, and where it stands."""
    catalogue = Catalog(charset="utf-8")
    for path, message, context in texts(directory):
        flags = [PERCENT_FORMAT] if "%(" in "".join(message) else []
        catalogue.add(message, locations=[(path, 0)], flags=flags, context=context)
    return catalogue


def texts(directory: Path) -> Iterator[tuple[str, Message, str | None]]:
    """Every marked text with the path of its file, a plural with both of its forms; and what it is
    said of, where the same text has other meanings."""
    # The templates are a link in a checkout, which a search from above does not follow.
    roots = (directory, directory / "templates")
    for path in sorted({path for root in roots for path in root.rglob("*")}):
        if path.suffix not in {".py", ".html"}:
            continue
        source = path.read_text("utf-8")
        if path.suffix == ".html":
            source = "\n".join(call[0] for call in CALL.finditer(templatize(source)))
        name = path.relative_to(ROOT).as_posix()
        for _, message, _, context in extract("python", io.BytesIO(source.encode()), FUNCTIONS):
            yield name, message, context


if __name__ == "__main__":
    sys.exit(main())
