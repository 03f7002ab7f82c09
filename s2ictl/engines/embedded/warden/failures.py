"""What went wrong in the helper process, as data: it crosses to the other side, which makes an error of it."""

from __future__ import annotations

import os


class Damaged(Exception):
    """Something that was handed in is not what it may be."""


class TooMuch(Exception):
    """A limit was reached."""


class Missing(Exception):
    """This machine does not give what is needed; `hint` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


Told = dict[str, str | int]


def told(failure: Exception) -> Told:
    """A failure as it is sent."""
    if isinstance(failure, Missing):
        return {"kind": "missing", "text": failure.message, "hint": failure.hint}
    if isinstance(failure, Damaged | TooMuch):
        return {"kind": "damaged" if isinstance(failure, Damaged) else "too much", "text": str(failure)}
    if isinstance(failure, OSError) and failure.errno:
        return {"kind": "system", "number": failure.errno, "text": _said(failure)}
    import traceback

    return {"kind": "fault", "text": "".join(traceback.format_exception(failure))}


def _said(failure: OSError) -> str:
    where = os.fsdecode(failure.filename) if isinstance(failure.filename, str | bytes) else ""
    return ": ".join(filter(None, (where, os.strerror(failure.errno or 0))))
