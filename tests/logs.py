"""What was said, as a test compares it: the events of a journal without their times, the texts of the notices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from s2ictl import journal
from s2ictl.events import Event, Notice


def said(path: Path) -> list[Event]:
    return [moment.event for moment in journal.moments(path)]


def texts(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]
