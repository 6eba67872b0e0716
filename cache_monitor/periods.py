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

AHEAD = timedelta(days=1)
"""How far a period may go on into the future: the clocks of hosts differ."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


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

    A time without an offset is taken in Django's current time zone. A report's size grows with its
    period: refused is what lies before 1970, and what lies far ahead is brought to ``AHEAD``.
    """
    moment = _moment(text, now)
    if moment.timestamp() < 0:
        raise ValueError(_("It is too long ago."))
    return min(moment, now.astimezone(UTC) + AHEAD)


def _moment(text: str, now: datetime) -> datetime:
    if _DURATION.fullmatch(text.strip().lower()):
        try:
            return (now - parse_duration(text)).astimezone(UTC)
        except (ValueError, OverflowError):
            return _EARLIEST
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
    except ValueError:
        raise ValueError(
            _(
                "“%(text)s” is not a time. Write how long ago, such as 90m or 2d, "
                "or an RFC 3339 time, such as %(example)s."
            )
            % {"text": _cut(text), "example": rfc3339(now)}
        ) from None
    try:
        return _aware(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        # In UTC it would be in another year than there are.
        return _EARLIEST if moment.year < now.year else _LATEST


def rfc3339(moment: datetime | float) -> str:
    """``moment``, of which a number is Unix time, in UTC, to the second."""
    at = (
        moment.astimezone(UTC)
        if isinstance(moment, datetime)
        else datetime.fromtimestamp(moment, UTC)
    )
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
