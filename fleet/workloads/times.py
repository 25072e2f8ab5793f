"""Times as systemd and Go read them, checked before a node has to.

A calendar event that systemd cannot parse leaves its timer dead, and a duration that Go cannot parse makes Podman drop
the whole unit; both are found on the node alone, hours later. The grammar is systemd's own
(``src/shared/calendarspec.c``, ``src/basic/time-util.c``) and that of Go's ``time.ParseDuration``.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from fleet.model import Grammar

_SHORTHANDS = {
    "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "annually", "semiannually",
    "semi-annually", "biannually", "bi-annually",
}  # fmt: skip
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*|utc")
"""A name of the tz database; whether there is one of that name, only the node knows."""
_SECOND = r"[0-9]+(?:\.[0-9]+)?"
_SPAN_UNITS = (
    "nsec|ns|usec|us|µs|μs|msec|ms|seconds|second|sec|s|minutes|minute|min|m|months|month|M|hours|hour|hr|h|"
    "days|day|d|weeks|week|w|years|year|y"
)

Range = tuple[int, int]
"""The least and the greatest value that a part of a calendar event can have."""


def calendar_event(text: str) -> str:
    """A calendar event, if systemd can read it (systemd.time(7), "Calendar events").

    Args:
        text: Such as "daily", "Mon *-*-* 03:00" or "*:0/10".

    Raises:
        ValueError: It cannot; says what to write instead where that can be told, for a line of crontab(5) for one.
    """
    if not _is_calendar_event(text):
        offered = from_cron(text)
        example = f'write "{offered}"' if offered else 'write "daily", "Mon *-*-* 03:00" or "*:0/10", for example'
        what = "is a line of a crontab, which systemd cannot read" if offered else "is no calendar event of systemd"
        raise ValueError(f"{text!r} {what}: {example} (systemd.time(7))")
    return text


def from_cron(text: str) -> str | None:
    """The calendar event that means what the time of a crontab's line does; ``None`` where it is none, or none does."""
    word = text.strip().lower()
    if word.startswith("@"):
        name = {"midnight": "daily"}.get(word[1:], word[1:])
        return name if name in _SHORTHANDS else None
    fields = word.split()
    if len(fields) != 5:
        return None
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        return None  # cron runs when either fits, systemd when both do.
    parts = [
        _cron_field(minute, 0, ()),
        _cron_field(hour, 0, ()),
        _cron_field(day, 1, ()),
        _cron_field(month, 1, _MONTHS),
    ]
    days = _cron_days(weekday)
    if days is None or None in parts:
        return None
    minutes, hours, dates, months = parts
    event = f"{days}*-{months}-{dates} {hours}:{minutes}:00"
    return event if _is_calendar_event(event) else None


def _cron_field(text: str, first: int, names: tuple[str, ...]) -> str | None:
    items = []
    for item in text.split(","):
        match = re.fullmatch(r"(\*|[0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?", item)
        if match is None:
            return None
        low, high, step = match.groups()
        ends = [_number(end, names) for end in (low, high) if end not in (None, "*")]
        if None in ends:
            return None
        if low == "*":
            if high or (step is None and text != "*"):
                return None
            items.append(f"{first}/{step}" if step else "*")
        else:
            items.append("..".join(f"{end:02d}" for end in ends if end is not None) + (f"/{step}" if step else ""))
    return ",".join(items)


def _cron_days(text: str) -> str | None:
    if text == "*":
        return ""
    items = []
    for item in text.split(","):
        ends = [_number(end, ("sun", *_DAYS[:-1])) for end in item.split("-")]
        if len(ends) > 2 or any(end is None or end > 7 for end in ends):
            return None
        days = [(int(end or 0) + 6) % 7 for end in ends]
        if len(days) == 2 and days[0] > days[1]:
            return None
        items.append("..".join(_DAYS[day].capitalize() for day in days))
    return ",".join(items) + " "


def _number(text: str | None, names: tuple[str, ...]) -> int | None:
    if text is None:
        return None
    if text in names:
        return names.index(text) + (1 if names is _MONTHS else 0)
    return int(text) if re.fullmatch("[0-9]+", text) else None


def _is_calendar_event(text: str) -> bool:
    if text != text.strip(" ") or not text:
        return False
    body, _, last = text.rpartition(" ")
    if _ZONE.fullmatch(last) and body and _day(last.lower()) is None:
        text = body
    if text.lower() in _SHORTHANDS:
        return True
    words = text.split()
    if words and _is_weekdays(words[0].lower()):
        words = words[1:]
    if words and ":" not in words[0]:
        if not _is_date(words[0]):
            return False
        words = words[1:]
    return not words or (len(words) == 1 and _is_time(words[0]))


def _is_weekdays(text: str) -> bool:
    # A comma at the end is allowed.
    for item in text.removesuffix(",").split(","):
        days = re.split(r"\.\.|-", item)
        numbers = [_day(day) for day in days]
        if len(days) > 2 or None in numbers or numbers != sorted(numbers, key=lambda number: number or 0):
            return False
    return True


def _day(text: str) -> int | None:
    for names in (_DAYS, _DAY_NAMES):
        if text in names:
            return names.index(text)
    return None


def _is_date(text: str) -> bool:
    if re.fullmatch("@[0-9]+", text):
        return True
    parts = re.split("[-~]", text)
    from_end = "~" in text
    # Only the last separator counts days from the month's end, of which there can be no list.
    if len(parts) not in (2, 3) or (from_end and not re.fullmatch("[^~]*~[^-~,*]*", text)):
        return False
    *year, month, day = parts
    return (
        all(_is_chain(_whole_year(part), (1970, 2199)) for part in year)
        and _is_chain(month, (1, 12))
        and _is_chain(day, (1, 28) if from_end else (1, 31), backwards=from_end)
    )


def _whole_year(text: str) -> str:
    """Two digits are a year of 1970 to 2069."""
    return re.sub(
        r"(?<![0-9/])[0-9]{1,2}(?![0-9])",
        lambda match: str(int(match[0]) + (2000 if int(match[0]) < 70 else 1900)),
        text,
    )


def _is_time(text: str) -> bool:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        return False
    hour, minute, *second = parts
    return (
        _is_chain(hour, (0, 23))
        and _is_chain(minute, (0, 59))
        and all(_is_chain(part, (0, 59), "s") for part in second)
    )


def _is_chain(text: str, within: Range, unit: str = "", *, backwards: bool = False) -> bool:
    """Whether a list of values, ranges and repetitions is one that can come true."""
    if text == "*":
        return True
    number = _SECOND if unit else "[0-9]+"
    for item in text.split(","):
        match = re.fullmatch(rf"({number})(?:\.\.({number}))?(?:/({number}))?", item)
        if match is None:
            return False
        start, stop, repeat = (None if part is None else float(part) for part in match.groups())
        assert start is not None
        step = repeat if repeat is not None else (1 if stop is not None else 0)
        low, high = within[0], within[1] + (0.999999 if unit else 0)
        if stop is not None and (stop == start or (stop > start and start + step > stop)):
            # systemd takes what is repeated never for a single value.
            step, stop = 0, None
        if repeat == 0 or not low <= start <= high or step > high - low:
            return False
        if stop is not None:
            if not low <= stop <= high or start + step > stop:
                return False
        elif (start - step < low) if backwards else (start + step > high):
            return False
    return True


def _no_duration(text: str) -> str:
    hint = f'"{text}s"' if re.fullmatch("[0-9]+", text) else '"30s" or "1m30s", for example'
    return f"{text!r} is no duration with units: write {hint}"


TIME_SPAN = Grammar(
    rf"infinity|(?:\s*{_SECOND}\s*(?:{_SPAN_UNITS})?)+\s*",
    lambda text: f'{text!r} is no span of time: write "15min" or "1h 30min", for example (systemd.time(7))',
)
GO_DURATION = Grammar(r"0|disable|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+", _no_duration)


CalendarEvent = Annotated[str, AfterValidator(calendar_event)]
"""A calendar event of systemd."""

TimeSpan = Annotated[str, TIME_SPAN]
"""A span of time of systemd (systemd.time(7), "Parsing time spans"), such as "1h 30min"; a bare number is seconds."""

GoDuration = Annotated[str, GO_DURATION]
"""A duration of Go (``time.ParseDuration``), as Podman and Docker have to read it, such as "1m30s"; or "disable"."""
