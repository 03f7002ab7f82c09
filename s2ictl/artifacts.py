"""A finished artifact, read before anything runs: what it is, what it runs on, and why it cannot be used.

Its content decides and its name never does: an HTML page called app is what the download of an old link leaves behind.
It is read within limits and from one descriptor, and nothing of it is executed or unpacked here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from s2ictl.errors import InvalidArtifact, LimitReached, WrongPlatform
from s2ictl.models import Artifact

SUPPORTED = "supported are programs for Linux: ELF binaries, linked statically or dynamically"
LARGEST = (8 << 30) - 1  # what the size field of a ustar header can say
_CHUNK = 1 << 20
_HEAD = 4096
_LONGEST_NAME = 80  # with the directory of the image before it, it still fits the name field of a ustar header


def read(path: Path) -> Artifact:
    """Find out what an artifact is, or say why it is none."""
    with _opened(path) as file:
        size = _size(file, path)
        head = file.read(_HEAD)
        reader = next((reader for magic, reader in _READERS if head.startswith(magic)), None)
        if reader is None:
            raise InvalidArtifact(f"{path} is not a program: {_guess(head)}", detail=SUPPORTED)
        return reader(file, path, size)


def safe_name(path: Path) -> str:
    """The name of the file as far as it is fit to stand in an image, a command line and a label."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-.")[:_LONGEST_NAME] or "app"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        # Without waiting: a FIFO would have us wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InvalidArtifact(f"there is no artifact {path}") from None
    except OSError as error:
        raise InvalidArtifact(f"{path} cannot be read", detail=error.strerror or "") from error
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def _check_kind(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise InvalidArtifact(f"{path} is a directory", hint=f"for source: s2ictl build {path}")
    if not stat.S_ISREG(mode):
        raise InvalidArtifact(f"{path} is not a regular file", detail="an artifact is read from a file")


def _size(file: BinaryIO, path: Path) -> int:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise InvalidArtifact(f"{path} is empty")
    if size > LARGEST:
        raise LimitReached(f"{path} has {size} bytes; the limit is {LARGEST}")
    return size


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    seen = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        seen.update(chunk)
    return f"sha256:{seen.hexdigest()}"


def _guess(head: bytes) -> str:
    for pattern, words in _FOREIGN:
        if re.match(pattern, head, re.IGNORECASE):
            return words
    return "its content is of no kind that is known here"


_FOREIGN = (
    (rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml)", "it is an HTML or XML page, as a failed download leaves it"),
    (rb"#!", "it is a script"),
    (rb"MZ", "it is a program for Windows"),
    (rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xca\xfe\xba\xbe", "it is a program for macOS, or a Java class"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "it is a compressed archive"),
)


# -------------------------------------------------------------------------------------------------------------- ELF

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


def _read_elf(file: BinaryIO, path: Path, size: int) -> Artifact:
    word, order, system = _identity(file, path, size)
    layout = _LAYOUTS[word, order]
    kind, machine, _, entry, at, sections, _, _, length, count, section, section_count, _ = _unpacked(
        file, layout.header, 16, path, size
    )
    if kind not in (_PROGRAM, _SHARED):
        raise InvalidArtifact(f"{path} is an ELF file, but no program", detail="it is an object file or a core dump")
    if count > _MOST_SEGMENTS or (count and length != layout.segment.size) or not count:
        raise InvalidArtifact(f"{path} has a broken ELF header", detail=f"it speaks of {count} segments")
    if sections and sections + section * section_count > size:
        raise _truncated(path, size)
    segments = [_segment(file, layout, at + number * length, path, size) for number in range(count)]
    interpreter = _interpreter(file, segments, path)
    if kind == _SHARED and not interpreter and not (entry and _is_program(file, layout, segments, path, size)):
        raise InvalidArtifact(f"{path} is a shared library, and no program")
    return Artifact(
        path=path,
        name=safe_name(path),
        kind="binary",
        size=size,
        digest=_digest(file),
        machine=_machine(word, order, machine, system, path),
        linkage="dynamic" if interpreter else "static",
        interpreter=interpreter,
    )


def _identity(file: BinaryIO, path: Path, size: int) -> tuple[int, int, int]:
    if size < 16:
        raise _truncated(path, size)
    file.seek(4)
    word, order, _, system = file.read(4)
    if (word, order) not in _LAYOUTS:
        raise InvalidArtifact(f"{path} has a broken ELF header", detail=f"class {word}, byte order {order}")
    return word, order, system


def _machine(word: int, order: int, machine: int, system: int, path: Path) -> str:
    """Its machine, by the name that container platforms use."""
    if _SYSTEMS.get(system) != "Linux":
        raise WrongPlatform(f"{path} is a program for {_SYSTEMS.get(system, f'system {system}')}, not for Linux")
    if (word, order, machine) not in _MACHINES:
        raise WrongPlatform(f"{path} is for a machine that no image is made for", detail=f"ELF machine {machine}")
    return _MACHINES[word, order, machine]


def _segment(file: BinaryIO, layout: _Layout, at: int, path: Path, size: int) -> _Segment:
    values = _unpacked(file, layout.segment, at, path, size)
    kind, offset, length = (values[field] for field in layout.fields)
    if offset + length > size:
        raise _truncated(path, size)
    return _Segment(type=kind, offset=offset, size=length)


def _interpreter(file: BinaryIO, segments: list[_Segment], path: Path) -> str:
    """The loader that the program asks for; "" where it brings everything itself."""
    asked = next((segment for segment in segments if segment.type == _INTERPRETER), None)
    if asked is None:
        return ""
    file.seek(asked.offset)
    name, _, rest = file.read(min(asked.size, _LONGEST_INTERPRETER)).partition(b"\0")
    if rest.strip(b"\0") or not re.fullmatch(rb"/[!-~]+", name):
        raise InvalidArtifact(f"{path} has a broken ELF header", detail="its interpreter is not a path")
    return name.decode("ascii")


def _is_program(file: BinaryIO, layout: _Layout, segments: list[_Segment], path: Path, size: int) -> bool:
    """Whether something position-independent without a loader is a program (static-pie) and not a library."""
    dynamic = next((segment for segment in segments if segment.type == _DYNAMIC), None)
    if dynamic is None:
        return True
    for number in range(min(dynamic.size // layout.tag.size, _MOST_TAGS)):
        tag, value = _unpacked(file, layout.tag, dynamic.offset + number * layout.tag.size, path, size)
        if tag == _FLAGS_1:
            return bool(value & _POSITION_INDEPENDENT)
        if tag == 0:
            break
    return False


def _unpacked(file: BinaryIO, form: struct.Struct, at: int, path: Path, size: int) -> tuple[int, ...]:
    if at + form.size > size:
        raise _truncated(path, size)
    file.seek(at)
    content = file.read(form.size)
    if len(content) < form.size:
        raise _truncated(path, size)
    return form.unpack(content)


def _truncated(path: Path, size: int) -> InvalidArtifact:
    return InvalidArtifact(
        f"{path} is cut short: it ends after {size} bytes, and its own header speaks of more",
        hint="fetch or build it again",
    )


def _read_archive(_file: BinaryIO, path: Path, _size: int) -> Artifact:
    raise InvalidArtifact(f"{path} is a zip, jar or war archive, which this version does not take", detail=SUPPORTED)


Reader = Callable[[BinaryIO, Path, int], Artifact]
_READERS: tuple[tuple[bytes, Reader], ...] = ((b"\x7fELF", _read_elf), (b"PK\x03\x04", _read_archive))
