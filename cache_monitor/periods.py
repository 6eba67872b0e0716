"""Moments as people write them: a time, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"([0-9]{1,9})([smhdw])")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
# A "+" that was not percent-encoded in a URL arrives as a space.
_LOST_PLUS = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) ([0-9]{2}:[0-9]{2})$")


def parse_duration(text: str) -> timedelta:
    """The length that ``text`` names, such as ``90m`` or ``1h30m``."""
    written = text.strip().lower()
    if not _DURATION.fullmatch(written):
        raise ValueError(
            _("“%(text)s” is not a duration. Write a number and s, m, h, d or w, such as 90m.")
            % {"text": _cut(text)}
        )
    try:
        return sum(
            (timedelta(**{_UNITS[unit]: int(n)}) for n, unit in _PART.findall(written)),
            timedelta(),
        )
    except OverflowError:
        raise ValueError(_("“%(text)s” is too long.") % {"text": _cut(text)}) from None


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that ``text`` names, in UTC: an RFC 3339 time, or a duration back from ``now``.

    A time without an offset is taken in Django's current time zone.
    """
    try:
        if _DURATION.fullmatch(text.strip().lower()):
            return (now - parse_duration(text)).astimezone(UTC)
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
        return _aware(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            _(
                "“%(text)s” is not a time. Write how long ago, such as 90m or 2d, "
                "or an RFC 3339 time, such as %(example)s."
            )
            % {"text": _cut(text), "example": rfc3339(now)}
        ) from None


def rfc3339(moment: datetime) -> str:
    """``moment`` in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
