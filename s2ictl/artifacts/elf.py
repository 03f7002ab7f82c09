"""A program for Linux, by its ELF header: for which machine, and what it needs beside itself."""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from s2ictl.errors import InvalidArtifact, WrongPlatform
from s2ictl.models import Binary
from s2ictl.values import dataclass

MAGIC = b"\x7fELF"
_MACHINES = {
    (2, 1, 62): "amd64",
    (2, 1, 183): "arm64",
    (1, 1, 3): "386",
    (1, 1, 40): "arm",
    (2, 1, 21): "ppc64le",
    (2, 2, 22): "s390x",
    (2, 1, 243): "riscv64",
    (2, 1, 258): "loong64",
    (2, 1, 8): "mips64le",
}
_SYSTEMS = {0: "Linux", 3: "Linux", 6: "Solaris", 9: "FreeBSD", 12: "OpenBSD", 2: "NetBSD"}
_PROGRAM, _SHARED = 2, 3  # e_type
_DYNAMIC, _INTERPRETER = 2, 3  # p_type
_FLAGS_1, _POSITION_INDEPENDENT = 0x6FFFFFFB, 0x08000000  # d_tag, and the bit that tells a program from a library
_MOST_SEGMENTS = 256
_MOST_TAGS = 1024
_LONGEST_INTERPRETER = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How the structures of one word size and byte order are packed."""

    header: struct.Struct
    segment: struct.Struct
    tag: struct.Struct
    # Where type, offset and size stand in a segment: the two word sizes order them differently.
    fields: tuple[int, int, int]


_LAYOUTS = {
    (bits, order): _Layout(
        header=struct.Struct(f"{mark}HHI{word}{word}{word}IHHHHHH"),
        segment=struct.Struct(f"{mark}{segment}"),
        tag=struct.Struct(f"{mark}{word}{word}"),
        fields=fields,
    )
    for bits, word, segment, fields in ((1, "I", "8I", (0, 1, 4)), (2, "Q", "2I6Q", (0, 2, 5)))
    for order, mark in ((1, "<"), (2, ">"))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elf:
    """The open file, how long it is, and what it is called in a message."""

    file: BinaryIO
    size: int
    name: str

    def unpacked(self, form: struct.Struct, at: int) -> tuple[int, ...]:
        if at + form.size > self.size:
            raise self.truncated()
        self.file.seek(at)
        content = self.file.read(form.size)
        if len(content) < form.size:
            raise self.truncated()
        return form.unpack(content)

    def truncated(self) -> InvalidArtifact:
        return InvalidArtifact(
            f"{self.name} is cut short: it ends after {self.size} bytes, and its own header speaks of more",
            hint="fetch or build it again",
        )


def read_elf(file: BinaryIO, *, size: int, name: str) -> Binary:
    """What the program asks for, or why it is none."""
    elf = _Elf(file=file, size=size, name=name)
    word, order, system = _identity(elf)
    layout = _LAYOUTS[word, order]
    kind, machine, _, entry, at, sections, _, _, length, count, section, section_count, _ = elf.unpacked(
        layout.header, 16
    )
    if kind not in (_PROGRAM, _SHARED):
        raise InvalidArtifact(f"{name} is an ELF file, but no program", detail="it is an object file or a core dump")
    if count > _MOST_SEGMENTS or (count and length != layout.segment.size) or not count:
        raise InvalidArtifact(f"{name} has a broken ELF header", detail=f"it speaks of {count} segments")
    if sections and sections + section * section_count > size:
        raise elf.truncated()
    segments = [_segment(elf, layout, at + number * length) for number in range(count)]
    interpreter = _interpreter(elf, segments)
    if kind == _SHARED and not interpreter and not (entry and _is_program(elf, layout, segments)):
        raise InvalidArtifact(f"{name} is a shared library, and no program")
    return Binary(
        machine=_machine((word, order, machine), system, name),
        linkage="dynamic" if interpreter else "static",
        interpreter=interpreter,
    )


def _identity(elf: _Elf) -> tuple[int, int, int]:
    if elf.size < 16:
        raise elf.truncated()
    elf.file.seek(4)
    word, order, _, system = elf.file.read(4)
    if (word, order) not in _LAYOUTS:
        raise InvalidArtifact(f"{elf.name} has a broken ELF header", detail=f"class {word}, byte order {order}")
    return word, order, system


def _machine(kind: tuple[int, int, int], system: int, name: str) -> str:
    """Its machine, by the name that container platforms use."""
    if _SYSTEMS.get(system) != "Linux":
        raise WrongPlatform(f"{name} is a program for {_SYSTEMS.get(system, f'system {system}')}, not for Linux")
    if kind not in _MACHINES:
        raise WrongPlatform(f"{name} is for a machine that no image is made for", detail=f"ELF machine {kind[2]}")
    return _MACHINES[kind]


def _segment(elf: _Elf, layout: _Layout, at: int) -> _Segment:
    values = elf.unpacked(layout.segment, at)
    kind, offset, length = (values[field] for field in layout.fields)
    if offset + length > elf.size:
        raise elf.truncated()
    return _Segment(type=kind, offset=offset, size=length)


def _interpreter(elf: _Elf, segments: list[_Segment]) -> str:
    """The loader that the program asks for; "" where it brings everything itself."""
    asked = next((segment for segment in segments if segment.type == _INTERPRETER), None)
    if asked is None:
        return ""
    elf.file.seek(asked.offset)
    name, _, rest = elf.file.read(min(asked.size, _LONGEST_INTERPRETER)).partition(b"\0")
    if rest.strip(b"\0") or not re.fullmatch(rb"/[!-~]+", name):
        raise InvalidArtifact(f"{elf.name} has a broken ELF header", detail="its interpreter is not a path")
    return name.decode("ascii")


def _is_program(elf: _Elf, layout: _Layout, segments: list[_Segment]) -> bool:
    """Whether something position-independent without a loader is a program (static-pie) and not a library."""
    dynamic = next((segment for segment in segments if segment.type == _DYNAMIC), None)
    if dynamic is None:
        return True
    for number in range(min(dynamic.size // layout.tag.size, _MOST_TAGS)):
        tag, value = elf.unpacked(layout.tag, dynamic.offset + number * layout.tag.size)
        if tag == _FLAGS_1:
            return bool(value & _POSITION_INDEPENDENT)
        if tag == 0:
            break
    return False
