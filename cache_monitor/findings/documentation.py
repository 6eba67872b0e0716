"""What each finding means, made of the rules themselves: for the README and for the dashboard."""

import re
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import override

from cache_monitor.findings.engine import RULES, Rule
from cache_monitor.findings.texts import ADVICE, TITLES
from cache_monitor.thresholds import NAMES

_ANY_ALIAS = "CACHES['…']"
_QUOTED = re.compile(r"``([^`]+)``")


class Explained(NamedTuple):
    """A rule for people: the finding's code and title, where it is found, what to do about it."""

    code: str
    title: str
    found_where: str
    advice: str


def explained() -> list[Explained]:
    """All rules. Title and advice are in the language that is active, the rest is English."""
    return [
        Explained(code, str(TITLES[code]), _condition(rule).replace("`", ""), _generally(code))
        for code, rule in sorted(RULES.items())
    ]


def documentation() -> str:
    """One row for each code, which links lead to, in Markdown."""
    # Without a language a text is as it is written.
    with override(None):
        rows = [
            f'| <a id="finding-{code}"></a>`{code}` | {_condition(rule)} | '
            f"{_generally(code).replace(_ANY_ALIAS, '`CACHES`')} |"
            for code, rule in sorted(RULES.items())
        ]
    return "\n".join(["| finding | found where | what to do |", "| --- | --- | --- |", *rows])


def _condition(rule: Rule) -> str:
    """What the docstring of ``rule`` says, in Markdown."""

    def quoted(match: re.Match[str]) -> str:
        upper = match[1].upper()
        return f"`{upper if upper in NAMES else match[1]}`"

    return _QUOTED.sub(quoted, " ".join((rule.__doc__ or "").split()))


def _generally(code: str) -> str:
    """The advice on no place in particular."""
    anything = {"alias": "…", "what": "…"}
    words = {"backend": _("the backend"), "limit": _("the cache's limit")}
    return str(ADVICE[code]) % {**anything, **words}
