"""A terminal's screen, as far as s2ictl needs one: any sequence beyond that is an error, and so is a foreign one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

_TOKEN = re.compile(r"\x1b\[(?P<csi>[?0-9;]*[A-Za-z])|\x1b\](?P<mark>[^\x07\x1b]*)\x07|(?P<char>[^\x1b])", re.DOTALL)


@dataclass
class Row:
    """One row of cells; a wide character takes two, and what did not fit goes on in the next row."""

    cells: list[str] = field(default_factory=list)
    goes_on: bool = False

    def __str__(self) -> str:
        return "".join(self.cells).rstrip()


@dataclass
class Screen:
    columns: int
    height: int
    rows: list[Row] = field(default_factory=lambda: [Row()])
    row: int = 0
    column: int = 0
    cursor_shown: bool = True
    marked: list[tuple[str, str]] = field(default_factory=list)

    def feed(self, text: str) -> None:
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            assert token, f"no sequence of ours: {text[position : position + 20]!r}"
            position = token.end()
            self._obey(token)

    def _obey(self, token: re.Match[str]) -> None:
        if (name := token["mark"]) is not None:
            self._look(name)
        elif (sequence := token["csi"]) is not None:
            self._control(sequence)
        else:
            self._put(token["char"])

    def _look(self, name: str) -> None:
        columns = re.fullmatch(r"(fold|clip) (\d+)", name)
        if columns:
            (self.fold if columns[1] == "fold" else self.clip)(int(columns[2]))
        else:
            self.marked.append((name, self.visible()))

    def _control(self, sequence: str) -> None:
        if sequence in ("?25l", "?25h"):
            self.cursor_shown = sequence == "?25h"
        elif sequence == "J":
            # At the right margin the cursor still stands on the last character.
            del self.rows[self.row].cells[min(self.column, self.columns - 1) :]
            del self.rows[self.row + 1 :]
            self.rows[self.row].goes_on = False
        else:
            assert sequence.endswith("m"), f"no sequence of ours: {sequence!r}"

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character == "\t":
            self._fill(min(self.columns - 1, (self.column // 8 + 1) * 8))
        else:
            assert character >= " ", f"a control character: {character!r}"
            self._print(character)

    def _print(self, character: str) -> None:
        width = width_of(character)
        if width == 0:
            cells = self.rows[self.row].cells
            cells[self.column - 1 : self.column] = ["".join(cells[self.column - 1 : self.column]) + character]
            return
        if self.column + width > self.columns:
            self.rows[self.row].goes_on = True
            self._down()
            self.column = 0
        self._fill(self.column)
        self.rows[self.row].cells[self.column : self.column + width] = [character, *[""] * (width - 1)]
        self.column += width

    def _fill(self, column: int) -> None:
        cells = self.rows[self.row].cells
        cells.extend(" " * (column - len(cells)))
        self.column = column

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append(Row())

    # ---------------------------------------------------------------------------------------------------- resized

    def fold(self, columns: int) -> None:
        """Another width, as most terminals take it: long rows go on below, and the cursor stays in its text."""
        rows, at, self.columns = self.rows, (self.row, self.column), columns
        self.rows, self.row, self.column = [Row()], 0, 0
        for number, old in enumerate(rows):
            if number == at[0]:
                cursor = (len(self.rows) - 1, self.column + at[1])
            for character in filter(None, old.cells):
                self._print(character)
            if not old.goes_on and number < len(rows) - 1:
                self._put("\r")
                self._put("\n")
        self.row, self.column = cursor

    def clip(self, columns: int) -> None:
        """Another width, as the oldest terminals take it: what stood beyond is gone."""
        self.columns = columns
        for row in self.rows:
            del row.cells[columns:]

    # ------------------------------------------------------------------------------------------------------- shown

    def visible(self) -> str:
        return _text(self.rows[-self.height :])

    def everything(self) -> str:
        return _text(self.rows)


def width_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _text(rows: list[Row]) -> str:
    return "".join(f"{row}\n" for row in rows).rstrip("\n") + "\n"
