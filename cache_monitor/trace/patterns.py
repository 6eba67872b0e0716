"""Patterns of keys in Redis's notation: ``*``, ``?``, ``[a-c]``, ``[^a]``, and ``\\`` before a sign
that means itself."""

import re
from functools import lru_cache

_SIGN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<set>(?:\\.|[^\]\\])*)\]|(?P<any>\?)|(?P<other>.)", re.DOTALL
)


def matches(pattern: str, key: str) -> bool:
    """Whether ``key`` is one of those that ``pattern`` means."""
    return _compiled(pattern).match(key) is not None


def may_match(beginning: str, key: str) -> bool:
    """Whether ``key`` can be one of those that a pattern with this ``beginning`` means."""
    # A set or an escape that the cut went through tells nothing.
    sure = re.split(r"[\[\\]", beginning)[0]
    return matches(f"{sure}*", key)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """``pattern`` as an expression. Between two stars the first match will do, for which an atomic
    group does not try again: the time does not explode, whatever the pattern."""
    first, *others = [_expression(part) for part in _parts(pattern)]
    if not others:
        return re.compile(rf"{first}\Z", re.DOTALL)
    *middle, last = others
    inner = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(rf"{first}{inner}.*{last}\Z", re.DOTALL)


def _parts(pattern: str) -> list[str]:
    """What stands between the stars that are neither escaped nor in a set."""
    parts = [""]
    for sign in _SIGN.finditer(pattern):
        if sign[0] == "*":
            parts.append("")
        else:
            parts[-1] += sign[0]
    return parts


def _expression(part: str) -> str:
    return "".join(map(_sign_expression, _SIGN.finditer(part)))


def _sign_expression(sign: re.Match[str]) -> str:
    if sign["any"]:
        return "."
    if sign["set"] is None:
        return re.escape(sign["escaped"] or sign["other"] or "")
    return _set_expression(sign["set"])


def _set_expression(members: str) -> str:
    is_negated = members.startswith("^")
    found = re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", members[is_negated:], re.DOTALL)
    ranges = ""
    for each in found:
        low, high = (part[-1:] for part in each)
        low, high = sorted((low, high or low))
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    if not ranges:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{ranges}]"
