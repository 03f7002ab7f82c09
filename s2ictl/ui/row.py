"""One row of a terminal: which of its parts give way when it is too narrow for all of them."""

from __future__ import annotations

from collections.abc import Iterable

from s2ictl.ui.terminal import Marks, Piece, cells
from s2ictl.ui.text import harmless

_GAP = "  "
_LEAST = 4


def fitted(
    head: tuple[Piece, ...],
    subject: str,
    facts: Iterable[str],
    tail: str,
    room: int,
    marks: Marks,
    *,
    crop: bool = False,
) -> tuple[Piece, ...]:
    """Head, subject, facts and tail, as they fit: the tail gives way, then the subject, and by `crop` all the rest."""
    known = _GAP.join(filter(None, facts))
    left = room - cells("".join(piece.text for piece in head) + _GAP + known)
    enough = max(left // 2, left - cells(_GAP + tail)) if tail else left
    subject = cut_inside(subject, enough - len(_GAP), marks)
    left -= cells(_GAP + subject) if subject else 0
    tail = cut_end(tail, left - len(_GAP), marks)
    rest = [Piece(_GAP + text, style) for text, style in ((subject, ""), (known, "dim"), (tail, "dim")) if text]
    return _cropped((*head, *rest), room, marks) if crop else (*head, *rest)


def _cropped(pieces: tuple[Piece, ...], room: int, marks: Marks) -> tuple[Piece, ...]:
    kept = []
    for piece in pieces:
        text = cut_end(piece.text, room, marks, least=1)
        room -= cells(text)
        kept.append(Piece(text, piece.style))
        if text != piece.text:
            break
    return tuple(kept)


def cut_end(text: str, room: int, marks: Marks, *, least: int = _LEAST) -> str:
    """The beginning of a text; nothing where that would say nothing."""
    if cells(text) <= room:
        return text
    return _beginning(text, room - 1) + marks.cut if room >= least else ""


def cut_inside(text: str, room: int, marks: Marks) -> str:
    """Both ends of a text: of an address the host is known by one, and the name by the other."""
    if cells(text) <= room:
        return text
    if room < 2 * _LEAST:
        return ""
    end = _beginning(text[::-1], (room - 1) // 2)[::-1]
    return _beginning(text, room - 1 - cells(end)) + marks.cut + end


def _beginning(text: str, room: int) -> str:
    for position, character in enumerate(text):
        room -= cells(character)
        if room < 0:
            return text[:position]
    return text


def latest(line: str, room: int) -> str:
    """What a line would show now: programs draw their own bars with carriage returns."""
    shown = line.rstrip("\r").rpartition("\r")[2]
    return harmless(shown[: 4 * room]).replace("\t", " ").strip()
